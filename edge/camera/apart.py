"""A source in a process of its own: what blocks or crashes inside OpenCV can be ended at any moment.

Why a process and not a thread, measured with OpenCV 5.0 (FFMPEG 8) against an RTSP server that was
stopped with SIGSTOP: the explicit timeouts hold (a read set to 1 s returns after 1.00 s, an open set
to 3 s after 3.01 s) and releasing never blocks, so a thread would do for one camera. But OpenCV opens
all FFMPEG sources of a process under one lock, so a camera that does not answer kept a second one
from opening for 5.8 s instead of 0.95 s; V4L2 has a timeout of 10 s that only an environment variable
changes; a thread that comes back from FFMPEG while the interpreter ends crashed 2 of 24 processes; and
FFMPEG writes to the standard error of its process, URLs with passwords included. Aravis blocks for
11 s when a GigE camera falls silent. The price is 27 MB, and 0.2 s at each opening; decoding costs the
line nothing any more.
"""

import contextlib
import json
import math
import mmap
import os
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np

import edge
from edge.camera import CameraSettings, CameraStalled, Shot, redacted
from edge.capture import PICTURE
from edge.clock import Clock
from edge.errors import CameraError

HOME = Path(edge.__file__).parent.parent
GOODBYE_S = 0.3
"""How long a reader may take to say goodbye to its camera before it is killed."""


class Apart:
    """What streams and cameras share. The constructor returns at once; the first `read` waits.

    Any thread may call `close` at any moment, and it takes no longer than half a second.
    """

    live = True
    module = "edge.capture.opencv"
    backend = ""
    refused: tuple[str, ...] = ()
    timestamps: Literal["driver", "arrival"] = "arrival"

    def __init__(self, settings: CameraSettings, clock: Clock, request: dict[str, Any]) -> None:
        self._settings = settings
        self._clock = clock
        self._name = redacted(settings.source)
        self._shape: tuple[int, ...] | None = None
        self._fps = 0.0
        self._slots: mmap.mmap | None = None
        self._closed = False
        self._reading = threading.Lock()
        self._deadline = time.monotonic() + settings.open_timeout_s
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._memory = os.memfd_create("sortline-camera")
        try:
            with theirs:
                self._child = subprocess.Popen(
                    [sys.executable, "-m", self.module, str(theirs.fileno()), str(self._memory)],
                    pass_fds=(theirs.fileno(), self._memory),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=_environment(settings),
                )
        except OSError as error:
            self._release()
            raise CameraError(f"{self._name}: its reader cannot be started ({error.strerror})") from None
        # Not in the arguments, where every user of the machine could read a password.
        whole = {**request, "deadline": self._deadline, "read_timeout_s": settings.read_timeout_s}
        self._line.send(json.dumps(whole).encode())

    def read(self) -> Shot | None:
        """The next picture: the first one within open_timeout_s, each further one within read_timeout_s."""
        with self._reading:
            try:
                return self._next()
            finally:
                if self._closed:
                    self._release()

    def close(self) -> None:
        """Ends the process; a `read` that waits in another thread raises CameraError at once."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):  # the other side may have gone first
            self._line.shutdown(socket.SHUT_RDWR)
        try:
            self._child.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait(GOODBYE_S)
        if self._reading.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._reading.release()

    def describe(self) -> str:
        if self._shape is None:
            return "not open yet"
        height, width = self._shape[:2]
        rate = f", {self._fps:.3g} fps" if 0 < self._fps <= 1000 else ""
        refused = f"; refused: {', '.join(self.refused)}" if self.refused else ""
        return f"{self.backend}, {width}x{height}{rate}{refused}"

    def _captured_at(self, arrival: float, own: float) -> float:
        """The moment of capture on CLOCK_MONOTONIC; own is the picture's time on its source's clock, or NaN."""
        return arrival - self._settings.delay_ms / 1e3

    def _opened(self, about: dict[str, Any]) -> None:
        """Takes note of what the process says of its source."""
        self.backend = about["backend"]
        self.refused = tuple(about["refused"])
        self._shape = tuple(about["shape"])
        self._fps = about["fps"]
        self._slots = mmap.mmap(self._memory, 0, prot=mmap.PROT_READ)

    def _next(self) -> Shot:
        while True:
            message = self._receive()
            kind, body = message[:1], message[1:]
            if kind == b"H":
                self._opened(json.loads(body))
            elif kind == b"E":
                said = json.loads(body)
                if said["stalled"] and self._shape is not None:
                    raise CameraStalled(self._late())
                raise CameraError(f"{self._name}: {self._failed(said['text'])}")
            elif kind == b"F":
                return self._shot(*PICTURE.unpack(body))
            elif self._closed:
                raise CameraError(f"{self._name}: was closed")
            else:
                status = self._child.wait(GOODBYE_S)
                raise CameraError(f"{self._name}: its reader ended by itself (status {status})")

    def _shot(self, slot: int, dropped: int, arrival: float, own: float) -> Shot:
        assert self._shape is not None and self._slots is not None
        size = math.prod(self._shape)
        pixels = np.frombuffer(self._slots, np.uint8, size, slot * size).reshape(self._shape).copy()
        with contextlib.suppress(OSError):  # it has ended meanwhile, and the next message says why
            self._line.send(bytes([slot]))
        at = self._captured_at(arrival, own)
        return Shot(pixels, self._clock.now() - (time.monotonic() - at), dropped)

    def _receive(self) -> bytes:
        """The next message; b"" at the end; CameraError when none comes in time."""
        settings = self._settings
        until = self._deadline if self._shape is None else time.monotonic() + settings.read_timeout_s
        poll = select.poll()  # not select(), which refuses file numbers beyond 1,023
        try:
            poll.register(self._line, select.POLLIN)
            if poll.poll(max(until - time.monotonic(), 0.0) * 1e3):
                with contextlib.suppress(ConnectionResetError):
                    return self._line.recv(1 << 16)
                # It ended before it read all that was sent to it; its last words are still there.
                return self._line.recv(1 << 16)
        except (OSError, ValueError):
            return b""
        if self._shape is None:
            raise CameraError(self._late())
        raise CameraStalled(self._late())

    def _late(self) -> str:
        if self._shape is None:
            return f"{self._name}: did not answer within {self._settings.open_timeout_s:g} s"
        return f"{self._name}: gave no picture for {self._settings.read_timeout_s:g} s"

    def _failed(self, text: str) -> str:
        if self._shape is not None:
            return text
        return "cannot be opened" + (f" ({text})" if text else "")

    def _release(self) -> None:
        """Gives back what this process holds; only once nobody is in `read`."""
        self._line.close()
        if self._slots is not None:
            self._slots.close()
            self._slots = None
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1


def _environment(settings: CameraSettings) -> dict[str, str]:
    """Private to the child, where OpenCV takes these from nowhere else; this process stays as it was.

    fpsprobesize keeps FFMPEG from watching 20 pictures only to guess a rate: the first picture of an
    RTSP camera comes after 0.3 s instead of 1.0 s. (nobuffer, which is often advised with it, throws
    the first key picture away: with one every 4 s the first picture came after 4.0 s.)
    """
    return {
        "OPENCV_FFMPEG_CAPTURE_OPTIONS": "rtsp_flags;prefer_tcp|fpsprobesize;0",
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH")))),
        "OPENCV_FFMPEG_LOGLEVEL": "24",  # AV_LOG_WARNING: the child takes the cause from there
        "OPENCV_LOG_LEVEL": "SILENT",
        "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": str(math.ceil(settings.read_timeout_s)),
        "OPENBLAS_NUM_THREADS": "1",
    }

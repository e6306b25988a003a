"""The process that holds one camera: what it says to the line, and its main loop.

`edge.camera.apart` starts `python -m edge.capture.opencv` or `.genicam` with the numbers of one
SOCK_SEQPACKET socket and one shared memory (a memfd):

    in    JSON, the request: "source", "deadline", "read_timeout_s", ...   once, first
    in    bytes: slots of the shared memory that may be written again
    out   b"H" + JSON {"backend", "shape", "fps", "refused"}               once, when the first picture is there
    out   b"F" + PICTURE: a picture lies in a slot
    out   b"E" + JSON {"text", "stalled"}                                  the end of it

Each slot has one owner at any time, so no picture is ever half old and half new. While the line holds
all of them, pictures are dropped here and counted. All times are CLOCK_MONOTONIC, which all processes
of a machine share. Nothing here imports pydantic or anything else of `edge`: it has to start quickly.
"""

import json
import mmap
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np

PICTURE = struct.Struct("=B I d d")  # slot, pictures dropped before this one, arrival, the source's own time
SLOTS = 4
MAX_PIXELS = 50_000_000  # more than 8K video has; a stranger's stream could unpack to gigabytes


class Failure(Exception):
    """Why there is no picture (any more), in words that follow "the camera ..."; may be empty."""

    def __init__(self, text: str, stalled: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.stalled = stalled


class Capture(Protocol):
    """An open camera inside this process. lost counts pictures that did not arrive whole."""

    backend: str
    fps: float
    refused: list[str]
    lost: int

    def grab(self) -> tuple[float, float]:
        """Waits for the next picture: its arrival and its own time (NaN where it has none); Failure."""
        ...

    def retrieve(self, into: np.ndarray | None) -> np.ndarray:
        """The picture just grabbed, uint8 [H, W, 3] BGR; written into `into` where that has its shape."""
        ...

    def release(self) -> None:
        """Lets go of the camera."""
        ...


def main(open_: Callable[[dict[str, Any]], Capture]) -> None:
    """Opens what the first message asks for and sends pictures until one of the two sides ends.

    What libraries write meanwhile is kept, so that open_ may look into it (`written`) for a cause.
    """
    # Ctrl-C and a service manager's SIGTERM reach the whole group; the line ends this process in its turn.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    line = socket.socket(fileno=int(sys.argv[1]))
    memory = int(sys.argv[2])
    _redirect(os.memfd_create("written"))
    cv2.setNumThreads(1)
    capture = None
    try:
        request = json.loads(line.recv(1 << 16))
        capture = open_(request)
        times = capture.grab()
        first = capture.retrieve(None)
        check_size(first.shape[1], first.shape[0])
        _redirect(os.open(os.devnull, os.O_WRONLY))
        about = {
            "backend": capture.backend,
            "shape": first.shape,
            "fps": capture.fps,
            "refused": capture.refused,
        }
        os.ftruncate(memory, SLOTS * first.size)
        slots = np.frombuffer(mmap.mmap(memory, 0), np.uint8).reshape(SLOTS, *first.shape)
        slots[SLOTS - 1] = first
        line.send(b"H" + json.dumps(about).encode())
        _serve(line, capture, slots, times)
    except Failure as failure:
        _send(line, b"E" + json.dumps({"text": failure.text, "stalled": failure.stalled}).encode())
    except (BrokenPipeError, ConnectionResetError):
        return  # the line is gone, or done with this camera
    finally:
        if capture is not None:
            capture.release()


def check_size(width: int, height: int) -> None:
    """Failure where pictures of this size, in pixels, are larger than a line can use."""
    if width * height > MAX_PIXELS:
        raise Failure(f"sends pictures of {width}x{height}; at most {MAX_PIXELS // 1_000_000} million pixels are taken")


def written() -> str:
    """What this process wrote to its standard output and error so far."""
    return os.pread(2, 1 << 16, 0).decode("utf-8", "replace")


def _serve(line: socket.socket, capture: Capture, slots: np.ndarray, times: tuple[float, float]) -> None:
    """Sends the picture that lies in the last slot, and all that follow."""
    free = list(range(SLOTS))
    dropped = 0
    while True:
        if free:
            line.send(b"F" + PICTURE.pack(free.pop(), dropped, *times))
            dropped = 0
        else:
            dropped += 1
        times = capture.grab()
        dropped, capture.lost = dropped + capture.lost, 0
        if (returned := _returned(line)) is None:
            return
        free += returned
        if free:
            picture = capture.retrieve(slots[free[-1]])
            if picture.shape != slots.shape[1:]:
                sizes = [f"{shape[1]}x{shape[0]}" for shape in (slots.shape[1:], picture.shape)]
                raise Failure("its pictures changed from {} to {}".format(*sizes))


def _returned(line: socket.socket) -> bytes | None:
    """The slots that came back since the last call; None when the other side has closed."""
    slots = b""
    while True:
        try:
            message = line.recv(SLOTS, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return slots
        if not message:
            return None
        slots += message


def _send(line: socket.socket, message: bytes) -> None:
    try:
        line.send(message)
    except (BrokenPipeError, ConnectionResetError):
        return


def _redirect(to: int) -> None:
    for output in (1, 2):  # FFMPEG's lines go to the one, OpenCV's to the other
        os.dup2(to, output)
    os.close(to)

"""The process that holds one cv2.VideoCapture of a stream or device; `edge.camera.apart` starts it as a script.

It speaks over one SOCK_SEQPACKET socket and writes pictures into shared memory (a memfd):

    in    JSON {"kind", "source", "deadline", "read_timeout_s", ...}     once, first
    in    bytes: slots of the shared memory that may be written again
    out   b"H" + JSON {"backend", "shape", "fps", "refused"}             once, when the first picture is there
    out   b"F" + PICTURE: a picture lies in a slot
    out   b"E" + JSON {"text", "stalled"}                                the end of it

Each slot has one owner at any time, so no picture is ever half old and half new. When the reader
holds all of them, the newest pictures are dropped here and counted. All times are CLOCK_MONOTONIC,
which every process of a machine shares. It imports nothing of `edge`, so that it starts quickly.
"""

import json
import mmap
import os
import re
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

PICTURE = struct.Struct("=B I d d")  # slot, pictures dropped before this one, arrival, the source's own time
SLOTS = 4
BACKLOG = 600  # pictures at most that are thrown away after opening: 10 s at 60 fps
WAITED_S = 0.005  # a picture that comes sooner after the one before was lying ready

# AV_NOPTS_VALUE as OpenCV hands it on: the stream has no timestamps, those it shows are made up.
NO_TIMESTAMP = float(-(2**63))


class Failure(Exception):
    """Why there is no picture (any more)."""


def main() -> None:
    """Opens what the first message asks for and sends pictures until one of the two sides ends."""
    # Ctrl-C and a service manager's SIGTERM reach the whole group; the line ends this process in its turn.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    line = socket.socket(fileno=int(sys.argv[1]))
    memory = int(sys.argv[2])
    log = os.memfd_create("log")
    for output in (1, 2):  # FFMPEG's lines go to the one, OpenCV's to the other
        os.dup2(log, output)
    cv2.setNumThreads(1)
    request = json.loads(line.recv(1 << 16))
    capture = None
    try:
        capture, refused = OPEN[request["kind"]](request)
        first = _first_picture(capture, request)
        for output in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), output)
        about = {
            "backend": capture.getBackendName(),
            "shape": first.shape,
            "fps": capture.get(cv2.CAP_PROP_FPS),
            "refused": refused,
        }
        slots = _slots(memory, first.shape)
        line.send(b"H" + json.dumps(about).encode())
        _serve(line, capture, request, slots, first)
    except Failure as failure:
        text, stalled = (*failure.args, False)[:2]
        _send(line, b"E" + json.dumps({"text": text or reason(_text(log)), "stalled": stalled}).encode())
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        if capture is not None:
            capture.release()


def reason(log: str) -> str:
    """The last thing that FFMPEG wrote, without its addresses and URLs: "Connection refused"."""
    lines = [line for line in log.splitlines() if line.startswith("[") and ": " in line]
    told = [line for line in lines if not re.search(r"Immediate exit|Could not find codec", line)]
    return told[-1].rpartition(": ")[2].strip() if told else ""


def open_stream(request: dict[str, Any]) -> tuple[cv2.VideoCapture, list[str]]:
    """An RTSP or HTTP stream: timeouts set, one decoder thread, because each further one adds a frame of delay."""
    left_s = max(request["deadline"] - time.monotonic(), 0.1)
    parameters = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(left_s * 1e3)),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(request["read_timeout_s"] * 1e3)),
        *(cv2.CAP_PROP_N_THREADS, 1),
    ]
    capture = cv2.VideoCapture(request["source"], cv2.CAP_FFMPEG, parameters)
    if not capture.isOpened():
        raise Failure("")
    return capture, []


def open_device(request: dict[str, Any]) -> tuple[cv2.VideoCapture, list[str]]:
    """A V4L2 device with what was asked of it, and the settings that it did not take."""
    capture = cv2.VideoCapture(request["source"], cv2.CAP_V4L2)
    if not capture.isOpened():
        raise Failure("it is busy, or not a camera")
    wanted = {name: value for name, value in request["wanted"].items() if value is not None}
    if "exposure" in wanted:
        capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, 1)  # V4L2_EXPOSURE_MANUAL
    refused = []
    for name, prop in PROPERTIES.items():  # in this order: the format decides on sizes, the size on rates
        if name in wanted:
            capture.set(prop, wanted[name])
    for name, value in wanted.items():
        has = capture.get(PROPERTIES[name])
        if abs(has - value) > 0.01 * max(abs(value), 1.0):
            refused.append(f"{name} {_shown(name, value)} (it has {_shown(name, has)})")
    return capture, refused


OPEN: dict[str, Callable[[dict[str, Any]], tuple[cv2.VideoCapture, list[str]]]] = {
    "stream": open_stream,
    "device": open_device,
}
PROPERTIES = {
    "fourcc": cv2.CAP_PROP_FOURCC,
    "width": cv2.CAP_PROP_FRAME_WIDTH,
    "height": cv2.CAP_PROP_FRAME_HEIGHT,
    "fps": cv2.CAP_PROP_FPS,
    "exposure": cv2.CAP_PROP_EXPOSURE,
    "gain": cv2.CAP_PROP_GAIN,
}


def _shown(name: str, value: float) -> str:
    return int(value).to_bytes(4, "little").decode("ascii", "replace") if name == "fourcc" else f"{value:g}"


def _first_picture(capture: cv2.VideoCapture, request: dict[str, Any]) -> np.ndarray:
    """The first picture that is not from before: opening a stream collects up to a second of them.

    A picture from the backlog comes sooner after its predecessor than it was taken after it.
    """
    last_source = last_arrival = float("nan")
    for _ in range(BACKLOG):
        if not capture.grab():
            raise Failure("it opens, but gives no picture", True)
        arrival, source = time.monotonic(), _source_time(capture, request)
        if np.isnan(source) or request["kind"] == "device":
            break
        if arrival - last_arrival >= max(0.5 * (source - last_source), WAITED_S):
            break
        last_source, last_arrival = source, arrival
    ok, first = capture.retrieve()
    if not ok or first is None:
        raise Failure("its pictures cannot be decoded")
    return first


def _serve(
    line: socket.socket,
    capture: cv2.VideoCapture,
    request: dict[str, Any],
    slots: np.ndarray,
    first: np.ndarray,
) -> None:
    """Sends the first picture and all that follow."""
    free = list(range(SLOTS))
    dropped = 0
    slots[free[-1]] = first
    arrival, source = time.monotonic(), _source_time(capture, request)
    while True:
        if free:
            line.send(b"F" + PICTURE.pack(free.pop(), dropped, arrival, source))
            dropped = 0
        else:
            dropped += 1
        began = time.monotonic()
        if not capture.grab():
            stalled = time.monotonic() - began > 0.9 * request["read_timeout_s"]
            raise Failure("" if stalled else "the connection ended", stalled)
        arrival, source = time.monotonic(), _source_time(capture, request)
        if (returned := _returned(line)) is None:
            return
        free += returned
        if free:
            ok, picture = capture.retrieve(slots[free[-1]])
            if not ok or picture is None:
                raise Failure("a picture could not be decoded")
            if picture.shape != slots.shape[1:]:
                now = f"{picture.shape[1]}x{picture.shape[0]}"
                raise Failure(f"its pictures are no longer {slots.shape[2]}x{slots.shape[1]} but {now}")


def _source_time(capture: cv2.VideoCapture, request: dict[str, Any]) -> float:
    """Seconds on the source's own clock, of the picture just grabbed; NaN where it has none."""
    if request["kind"] == "stream" and capture.get(cv2.CAP_PROP_PTS) == NO_TIMESTAMP:
        return float("nan")
    milliseconds = capture.get(cv2.CAP_PROP_POS_MSEC)
    return milliseconds / 1e3 if milliseconds >= 0 else float("nan")


def _slots(memory: int, shape: tuple[int, ...]) -> np.ndarray:
    os.ftruncate(memory, SLOTS * int(np.prod(shape)))
    return np.frombuffer(mmap.mmap(memory, 0), np.uint8).reshape(SLOTS, *shape)


def _returned(line: socket.socket) -> list[int] | None:
    """The slots that came back since the last call; None when the other side has closed."""
    slots: list[int] = []
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


def _text(log: int) -> str:
    return os.pread(log, 1 << 16, 0).decode("utf-8", "replace")


if __name__ == "__main__":
    main()

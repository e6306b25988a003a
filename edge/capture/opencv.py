"""Streams and V4L2 devices, held by OpenCV: `python -m edge.capture.opencv`."""

import math
import re
import time
from typing import Any

import cv2
import numpy as np

from edge.capture import Failure, check_size, main, written

BACKLOG = 600  # pictures at most that are thrown away after opening: 10 s at 60 fps
WAITED_S = 0.005  # a picture that comes sooner after the one before was lying ready

# AV_NOPTS_VALUE as OpenCV hands it on: the stream has no timestamps, those it shows are made up.
NO_TIMESTAMP = float(-(2**63))

PROPERTIES = {
    "fourcc": cv2.CAP_PROP_FOURCC,
    "width": cv2.CAP_PROP_FRAME_WIDTH,
    "height": cv2.CAP_PROP_FRAME_HEIGHT,
    "fps": cv2.CAP_PROP_FPS,
    "exposure": cv2.CAP_PROP_EXPOSURE,
    "gain": cv2.CAP_PROP_GAIN,
}


class OpencvCapture:
    """A cv2.VideoCapture that says why it failed."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._read_timeout_s = float(request["read_timeout_s"])
        self._is_stream = request["kind"] == "stream"
        self._times: tuple[float, float] | None = None
        self.refused: list[str] = []
        self.lost = 0
        self._capture = _stream(request) if self._is_stream else _device(request)
        if not self._is_stream:
            self.refused = _set(self._capture, request["wanted"])
        self.backend = f"OpenCV {self._capture.getBackendName()}"
        self.fps = self._capture.get(cv2.CAP_PROP_FPS)
        if self._is_stream:
            # Before a whole picture is decoded: the header has told its size.
            check_size(*(int(self._capture.get(PROPERTIES[side])) for side in ("width", "height")))
            self._times = self._drained()

    def grab(self) -> tuple[float, float]:
        times, self._times = self._times, None
        if times is not None:
            return times
        began = time.monotonic()
        grabbed = self._capture.grab()
        if time.monotonic() - began > 0.9 * self._read_timeout_s:
            # What it may still give then was in the decoder all that time.
            raise Failure("gave no picture in time", stalled=True)
        if not grabbed:
            raise Failure("the connection ended")
        return time.monotonic(), self._own_time()

    def retrieve(self, into: np.ndarray | None) -> np.ndarray:
        ok, picture = self._capture.retrieve(into)
        if not ok or picture is None:
            raise Failure("its pictures cannot be decoded")
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if picture.ndim == 2 else picture

    def release(self) -> None:
        self._capture.release()

    def _drained(self) -> tuple[float, float]:
        """Throws away what was collected while opening; the times of the first new picture.

        A picture of that backlog comes sooner after its predecessor than it was taken after it.
        """
        last_arrival = last_own = math.nan
        for _ in range(BACKLOG):
            arrival, own = self.grab()
            if math.isnan(own) or arrival - last_arrival >= max(0.5 * (own - last_own), WAITED_S):
                break
            last_arrival, last_own = arrival, own
        return arrival, own

    def _own_time(self) -> float:
        """Seconds on the source's own clock, of the picture just grabbed; NaN where it has none."""
        if self._is_stream and self._capture.get(cv2.CAP_PROP_PTS) == NO_TIMESTAMP:
            return math.nan
        milliseconds = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        return milliseconds / 1e3 if milliseconds >= 0 else math.nan


def reason(log: str) -> str:
    """The last failure that FFMPEG wrote of, without its addresses and URLs: "Connection refused"."""
    failures = re.findall(r"^\[[^]]*\] (.*(?:error|fail|refused|unauthori[sz]ed).*)", log, re.IGNORECASE | re.MULTILINE)
    told = [line for line in failures if "Immediate exit" not in line]
    return told[-1].rpartition(": ")[2].strip() if told else ""


def _stream(request: dict[str, Any]) -> cv2.VideoCapture:
    """RTSP or HTTP, with the timeouts set, and one decoder thread: each further one adds a frame of delay.

    (Measured on H.264 at 30 fps: 55 ms from camera to picture with 1 thread, 88 with 2, 555 with 16.)
    """
    left_s = max(request["deadline"] - time.monotonic(), 0.1)
    parameters = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(left_s * 1e3)),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(request["read_timeout_s"] * 1e3)),
        *(cv2.CAP_PROP_N_THREADS, 1),
    ]
    capture = cv2.VideoCapture(request["source"], cv2.CAP_FFMPEG, parameters)
    if not capture.isOpened():
        raise Failure(reason(written()))
    return capture


def _device(request: dict[str, Any]) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(request["source"], cv2.CAP_V4L2)
    if not capture.isOpened():
        raise Failure("it is busy, or not a camera")
    return capture


def _set(capture: cv2.VideoCapture, wanted: dict[str, float | None]) -> list[str]:
    """Asks for settings, and reads back what the device made of them: those that it did not take."""
    asked = {name: value for name in PROPERTIES if (value := wanted.get(name)) is not None}
    if "exposure" in asked:
        capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, 1)  # V4L2_EXPOSURE_MANUAL
    for name, value in asked.items():  # in this order: the format decides on sizes, the size on rates
        capture.set(PROPERTIES[name], value)
    has = {name: capture.get(PROPERTIES[name]) for name in asked}
    return [
        f"{_shown(name, value)} ({f'it has {_value(name, has[name])}' if has[name] >= 0 else 'it cannot'})"
        for name, value in asked.items()
        if abs(has[name] - value) > 0.01 * max(abs(value), 1.0)
    ]


def _shown(name: str, value: float) -> str:
    """A setting as it stands in [camera]."""
    return f"{'exposure_ms' if name == 'exposure' else name} {_value(name, value)}"


def _value(name: str, value: float) -> str:
    if name == "fourcc":
        return int(value).to_bytes(4, "little").decode("ascii", "replace")
    return f"{value / 10 if name == 'exposure' else value:g}"


if __name__ == "__main__":
    main(OpencvCapture)

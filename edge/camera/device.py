"""USB and other V4L2 cameras: /dev/videoN, or its number."""

import math
import os
import time
from pathlib import Path

import cv2

from edge.camera import CameraSettings
from edge.camera.apart import Apart
from edge.clock import Clock
from edge.errors import CameraError

OLDEST_S = 5.0


class Device(Apart):
    """A V4L2 camera. The driver's timestamps are CLOCK_MONOTONIC: the moment the picture was taken.

    See V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC in the kernel's media documentation; a timestamp that is not
    in the last seconds of that clock is not one of these, and the moment of arrival counts instead.
    """

    @staticmethod
    def answers(settings: CameraSettings) -> bool:
        return _path(settings).exists()

    def __init__(self, settings: CameraSettings, clock: Clock) -> None:
        path = _path(settings)
        if not path.exists():
            raise CameraError(f"{path}: no such device (`sortline cameras` lists what is attached)")
        if not os.access(path, os.R_OK | os.W_OK):
            raise CameraError(f"{path}: may not be opened by this user (it belongs to the group {path.group()})")
        wanted = {
            "fourcc": cv2.VideoWriter.fourcc(*settings.fourcc) if settings.fourcc else None,
            "width": settings.width,
            "height": settings.height,
            "fps": settings.fps,
            # V4L2_CID_EXPOSURE_ABSOLUTE counts in 100 microseconds.
            "exposure": None if settings.exposure_ms is None else settings.exposure_ms * 10,
            "gain": settings.gain,
        }
        super().__init__(settings, clock, {"kind": "device", "source": str(path), "wanted": wanted})

    def _captured_at(self, arrival: float, own: float) -> float:
        if not math.isnan(own) and 0 <= time.monotonic() - own < OLDEST_S:
            self.timestamps = "driver"
            return own
        self.timestamps = "arrival"
        return super()._captured_at(arrival, own)


def _path(settings: CameraSettings) -> Path:
    text = str(settings.source).strip()
    return Path(f"/dev/video{text}" if text.isdigit() else text)

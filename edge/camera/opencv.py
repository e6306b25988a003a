"""OpenCV's readers: USB and V4L2 devices, RTSP and HTTP streams, video files and animated GIFs."""

import threading

import cv2
import numpy as np

from edge.camera import CameraSettings, Shot, kind_of, redacted
from edge.clock import Clock
from edge.errors import CameraError

# Their own lines about a missing file or a lost packet would land on the user's screen beside ours.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class Opencv:
    """A device, stream or file behind cv2.VideoCapture."""

    def __init__(self, settings: CameraSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._kind = kind_of(settings.source)
        self._name = redacted(settings.source)
        self.live = self._kind in {"device", "stream"}
        self._lock = threading.Lock()
        self._closed = False
        self._count = 0
        self._last_at = -1.0
        self._capture = self._open()

    def read(self) -> Shot | None:
        """The next picture; see `Source.read`."""
        with self._lock:
            if self._closed:
                raise CameraError(f"{self._name}: was closed")
            ok, pixels = self._capture.read()
            if not ok and not self.live:
                if self._count == 0:
                    raise CameraError(f"{self._name}: holds no picture that can be decoded")
                return None
            if not ok:
                raise CameraError(f"{self._name}: gave no picture within {self._settings.read_timeout_s:g} s")
            at = self._clock.now() - self._settings.delay_ms / 1e3 if self.live else self._file_time()
            self._count += 1
            return Shot(_three_channels(pixels), at)

    def close(self) -> None:
        """Releases the capture; while another thread is inside `read`, that thread does it on its way out."""
        self._closed = True
        if self._lock.acquire(blocking=False):
            try:
                self._capture.release()
            finally:
                self._lock.release()

    def describe(self) -> str:
        with self._lock:
            width, height, fps = (
                self._capture.get(prop)
                for prop in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS)
            )
            return f"OpenCV {self._capture.getBackendName()}, {width:.0f}x{height:.0f}, {fps:.3g} fps"

    def _open(self) -> cv2.VideoCapture:
        settings = self._settings
        if self._kind == "device":
            text = str(settings.source)
            capture = cv2.VideoCapture(int(text) if text.isdigit() else text, cv2.CAP_V4L2)
            for prop, value in (
                (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*settings.fourcc) if settings.fourcc else None),
                (cv2.CAP_PROP_FRAME_WIDTH, settings.width),
                (cv2.CAP_PROP_FRAME_HEIGHT, settings.height),
                (cv2.CAP_PROP_FPS, settings.fps),
                (cv2.CAP_PROP_EXPOSURE, settings.exposure),
                (cv2.CAP_PROP_GAIN, settings.gain),
            ):
                if value is not None and capture.isOpened():
                    capture.set(prop, value)
        else:
            parameters = [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
                round(settings.open_timeout_s * 1e3),
                cv2.CAP_PROP_READ_TIMEOUT_MSEC,
                round(settings.read_timeout_s * 1e3),
            ]
            capture = cv2.VideoCapture(str(settings.source), cv2.CAP_FFMPEG, parameters)
        if not capture.isOpened():
            capture.release()
            raise CameraError(f"{self._name}: cannot be opened")
        return capture

    def _file_time(self) -> float:
        fps = self._settings.fps or self._capture.get(cv2.CAP_PROP_FPS) or 25.0
        at = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
        if self._settings.fps or not at > self._last_at:
            at = 0.0 if self._last_at < 0 else self._last_at + 1 / fps
        self._last_at = at
        return at


def _three_channels(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    return pixels

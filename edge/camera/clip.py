"""Video files and animated GIFs, through FFMPEG in OpenCV: every picture, at the file's own times."""

import math
import os
import threading
from pathlib import Path

import cv2
import numpy as np

from edge.camera import LEAST_PX, CameraSettings, Shot, is_address, redacted
from edge.camera.health import too_small
from edge.clock import Clock
from edge.errors import CameraError

USUAL_FPS = 25.0
"""For a file that says nothing of its rate."""

# A file that is cut, or whose header promises too much, misses more than this share at its end.
MISSING = 0.05


class Clip:
    """A recorded source. Its first picture is decoded while opening, so a wrong file is refused there.

    Times are the file's own (a GIF's pictures have no common interval); with settings.fps they are
    evenly spaced instead. A file that ends before its header says so raises CameraError after its
    last good picture.
    """

    live = False
    timestamps = "file"

    def __init__(self, settings: CameraSettings, clock: Clock) -> None:
        if is_address(settings.source):
            there = "there are rtsp://, rtsps://, http:// and https://, and files by their path"
            raise CameraError(f"{redacted(settings.source)}: is no kind of address that is read ({there})")
        self._path = Path(str(settings.source))
        _refuse_what_is_no_file(self._path)
        _quieten()
        self._reading = threading.Lock()
        self._closed = False
        # FFMPEG would take "a:b.mp4" for a protocol; an absolute path is a path.
        self._capture = cv2.VideoCapture(str(self._path.absolute()), cv2.CAP_FFMPEG)
        self._next = self._capture.read()[1] if self._capture.isOpened() else None
        if self._next is None:
            self._capture.release()
            raise CameraError(f"{self._path}: is not a video file that can be decoded, or it is damaged")
        if min(self._next.shape[:2]) < LEAST_PX:
            self._capture.release()
            raise CameraError(f"{self._path}: its pictures are {too_small(self._next)}")
        self.backend = f"OpenCV {self._capture.getBackendName()}"
        self._forced_fps = settings.fps
        fps = settings.fps or self._capture.get(cv2.CAP_PROP_FPS)
        self._fps = fps if 0 < fps <= 1000 else USUAL_FPS
        self._promised = max(self._capture.get(cv2.CAP_PROP_FRAME_COUNT), 0.0)
        self._size = f"{self._next.shape[1]}x{self._next.shape[0]}"
        self._count = 0
        self._first_s = math.nan
        self._last_s = -math.inf

    def read(self) -> Shot | None:
        """The next picture; None at the end; CameraError when the file ends before its time."""
        with self._reading:
            if self._closed:
                self._capture.release()
                raise CameraError(f"{self._path}: was closed")
            pixels, self._next = self._next, None
            if pixels is None:
                pixels = self._capture.read()[1]
            if pixels is None:
                self._check_complete()
                return None
            return Shot(_bgr(pixels), self._time())

    def close(self) -> None:
        """Releases the file; while another thread is inside `read`, that thread's next call does it."""
        self._closed = True
        if self._reading.acquire(blocking=False):
            try:
                self._capture.release()
            finally:
                self._reading.release()

    def describe(self) -> str:
        return f"{self.backend}, {self._size}, {self._fps:.3g} fps"

    def _time(self) -> float:
        """Seconds from the first picture to the one just read."""
        at = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
        if math.isnan(self._first_s):
            self._first_s = at
        at -= self._first_s
        # Raw streams have no timestamps, and those of damaged ones run backwards.
        if self._forced_fps or (self._count and at <= self._last_s):
            at = self._last_s + 1 / self._fps if self._count else 0.0
        self._count += 1
        self._last_s = at
        return at

    def _check_complete(self) -> None:
        """Rates may vary within a file, so both its count and its length must fall short."""
        enough = (1 - MISSING) * self._promised - 1
        if not self._forced_fps and self._count < enough and self._last_s * self._fps < enough:
            raise CameraError(
                f"{self._path}: is cut or damaged: {self._count} of about {self._promised:.0f} pictures were there"
            )
        if _is_cut_gif(self._path):
            raise CameraError(f"{self._path}: is cut or damaged: it has no end after its {self._count} pictures")


def _refuse_what_is_no_file(path: Path) -> None:
    if not path.exists():
        raise CameraError(f"{path}: no such file")
    if not path.is_file():
        raise CameraError(f"{path}: is not a file")
    if not os.access(path, os.R_OK):
        raise CameraError(f"{path}: may not be read by this user")
    if path.stat().st_size == 0:
        raise CameraError(f"{path}: is empty (0 bytes)")


def _is_cut_gif(path: Path) -> bool:
    """A GIF does not say how many pictures it has, but ends with a trailer (GIF89a specification, section 27)."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GIF8":
                return False
            file.seek(-min(path.stat().st_size, 1 << 12), os.SEEK_END)
            return not file.read().rstrip(b"\0").endswith(b";")
    except OSError:
        return False  # it is gone since; what was read was whole


def _bgr(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR) if pixels.ndim == 2 else pixels


def _quieten() -> None:
    """Keeps OpenCV's and FFMPEG's own lines about a file off the screen, where our sentence stands.

    FFMPEG's level can be set through the environment only, and it is read once, by the first capture.
    """
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET

"""What a camera's pictures say about the camera: frozen, dark, of another size or rate than before."""

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np

from edge.camera import LEAST_PX, CameraSettings
from edge.errors import CameraError

STEP = 16
"""Every 16th row and column is enough to see that two pictures differ, or how bright one is."""

DARK_S = 1.0
RATE_S = 3.0
RATE_TOLERANCE = 0.2
SHAPE_TOLERANCE = 0.01


class CameraFrozen(CameraError):
    """The camera sends one and the same picture again and again."""

    incident = "camera_frozen"


class CameraChanged(CameraError):
    """The camera's pictures have another shape than those that the line was set up with."""

    incident = "camera_changed"


@dataclass(frozen=True, slots=True)
class Sign:
    """Something that a picture shows about the camera; an Incident without its place and time.

    usable says that the pictures are used all the same and the line's millimetres hold: people should know of it,
    and the camera is well.
    """

    name: str
    cause: str
    action: str
    recovered: bool = False
    usable: bool = False


class Size:
    """Keeps all pictures of a line at the size of its first one, on which its calibration rests.

    Another size of the same shape shows the same piece of belt (the camera or its stream's profile was
    changed) and is scaled; another shape shows a different piece and is refused with CameraChanged.
    """

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None
        self._scaled_from: tuple[int, int] | None = None

    def fit(self, pixels: np.ndarray) -> tuple[np.ndarray, list[Sign]]:
        """The picture, uint8 [H, W, 3] with the H and W of the first one, and what there is to tell of it."""
        height, width = _checked(pixels).shape[:2]
        if self._size is None:
            self._size = (width, height)
        if (width, height) == self._size:
            return pixels, self._told(None)
        was = f"{self._size[0]}x{self._size[1]}"
        if abs(width * self._size[1] / (height * self._size[0]) - 1) > SHAPE_TOLERANCE:
            raise CameraChanged(
                f"its pictures are {width}x{height} now, the line was set up with {was}: another shape shows "
                "another piece of belt; set the camera back, or set up the line again"
            )
        signs = self._told((width, height))
        how = cv2.INTER_AREA if width > self._size[0] else cv2.INTER_LINEAR
        return cv2.resize(pixels, self._size, interpolation=how), signs

    def _told(self, scaled_from: tuple[int, int] | None) -> list[Sign]:
        if scaled_from == self._scaled_from:
            return []
        self._scaled_from = scaled_from
        assert self._size is not None
        was = f"{self._size[0]}x{self._size[1]}"
        if scaled_from is None:
            return [Sign("camera_changed", f"its pictures are {was} again", "they are used as they come", True)]
        now = f"{scaled_from[0]}x{scaled_from[1]}"
        return [
            Sign(
                "camera_changed",
                f"its pictures are {now} now, not {was}",
                f"they are scaled to {was}, so the line's millimetres still hold",
                usable=True,
            )
        ]


class Health:
    """Looks at every picture of a live camera. `now` is a moment on the line's clock."""

    def __init__(self, settings: CameraSettings) -> None:
        self._frozen_s = settings.frozen_s
        self._dark_level = settings.dark_level
        self._last: np.ndarray | None = None
        self._sample: np.ndarray | None = None
        self._moved_at = 0.0
        self.frozen = False
        self._dark_since: float | None = None
        self._dark = False
        self._arrivals: deque[float] = deque()
        self._usual_fps: float | None = None
        self._odd_rate = False
        self._measured = False

    def reopened(self) -> None:
        """The source was opened (again): its rate is measured (again)."""
        self._arrivals.clear()
        self._measured = False

    def look(self, pixels: np.ndarray, at: float, now: float, repeated: bool) -> list[Sign]:
        """What this picture shows; raises CameraFrozen once when a freeze is noticed.

        repeated says that its driver's timestamp is not later than that of the picture before.
        """
        sample = pixels[::STEP, ::STEP].copy()
        self._look_frozen(pixels, sample, now, repeated)
        return self._look_dark(float(sample.mean()), now) + self._look_rate(at)

    def _look_frozen(self, pixels: np.ndarray, sample: np.ndarray, now: float, repeated: bool) -> None:
        """Real sensors are never twice the same: noise tells a still belt from a frozen camera."""
        if not self._frozen_s:
            return
        same = repeated or (
            self._sample is not None
            and self._last is not None
            and np.array_equal(sample, self._sample)
            and np.array_equal(pixels, self._last)
        )
        self._sample, self._last = sample, pixels
        if not same:
            self._moved_at, self.frozen = now, False
        elif not self.frozen and now - self._moved_at >= self._frozen_s:
            self.frozen = True
            raise CameraFrozen(f"its picture has not changed in a single pixel for {self._frozen_s:g} s")

    def _look_dark(self, level: float, now: float) -> list[Sign]:
        if level >= self._dark_level * (1.5 if self._dark else 1.0):
            self._dark_since = None
            if self._dark:
                self._dark = False
                return [Sign("camera_dark", f"it sees light again (mean level {level:.0f})", "pictures are used", True)]
        elif self._dark_since is None:
            self._dark_since = now
        elif not self._dark and now - self._dark_since >= DARK_S:
            self._dark = True
            cause = f"its pictures are black (mean level {level:.1f} of 255): lens covered, or light out"
            return [Sign("camera_dark", cause, "items cannot be seen until there is light")]
        return []

    def _look_rate(self, at: float) -> list[Sign]:
        """Once after each opening: the rate of its first seconds against the one that was usual."""
        if self._measured:
            return []
        self._arrivals.append(at)
        span = at - self._arrivals[0]
        if span < RATE_S:
            return []
        self._measured = True
        fps = (len(self._arrivals) - 1) / span
        self._arrivals.clear()
        if self._usual_fps is None:
            self._usual_fps = fps
        odd = abs(fps / self._usual_fps - 1) > RATE_TOLERANCE
        if odd == self._odd_rate:
            return []
        self._odd_rate = odd
        cause = f"it gives {fps:.1f} pictures a second, {'not' if odd else 'again'} {self._usual_fps:.1f}"
        return [Sign("camera_changed", cause, "their own times are used, so positions hold", not odd, usable=True)]


def too_small(pixels: np.ndarray) -> str:
    """What there is to say of a picture with too short a side."""
    return f"{pixels.shape[1]}x{pixels.shape[0]}; at least {LEAST_PX}x{LEAST_PX} pixels are needed"


def _checked(pixels: np.ndarray) -> np.ndarray:
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        what = f"{pixels.dtype} {list(pixels.shape)}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise CameraError(f"it gave a picture of {what}; a source gives uint8 [height, width, 3], BGR")
    if min(pixels.shape[:2]) < LEAST_PX:
        raise CameraError(f"it gave a picture of {too_small(pixels)}")
    return pixels

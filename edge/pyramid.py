"""Pyramid: one picture at full size, halved and halved again, with a plane for each colour.

OpenCV halves single planes about ten times as fast as pixels of three colours, and everything that the
Finder computes is by colour; so colours are put apart first and never put together again.
"""

from collections.abc import Sequence

import cv2
import numpy as np

STRIP_PX = 400_000  # pixels that are put apart at a time: their planes still lie in the cache when they are halved

Planes = Sequence[np.ndarray]  # blue, green and red, each uint8 [h, w]


class Pyramid:
    """The levels of one picture after another, in buffers that are made once.

    Level 0 is the picture itself, level n has 2**n times fewer pixels along each side: exactly what
    INTER_AREA makes of it in n halvings. width and height are multiples of 2**halvings.
    """

    def __init__(self, width: int, height: int, halvings: int) -> None:
        self._picture = np.empty((0, 0, 3), np.uint8)
        self._levels = [
            [np.empty((height >> level, width >> level), np.uint8) for _ in range(3)]
            for level in range(1, halvings + 1)
        ]
        self._whole = [np.empty((height, width), np.uint8) for _ in range(3)] if halvings == 0 else []
        rows = max(STRIP_PX // width // 2 * 2, 2)
        self._strips = [(top, min(top + rows, height)) for top in range(0, height, rows)] if halvings else []
        self._strip = [np.empty((min(rows, height), width), np.uint8) for _ in range(3)] if halvings else []

    def load(self, picture: np.ndarray) -> Planes:
        """Takes the next picture, uint8 [h, w, 3], and answers its last level. It must not change until the next."""
        self._picture = picture
        if not self._levels:
            cv2.split(picture, self._whole)
            return self._whole
        first = self._levels[0]
        for top, bottom in self._strips:
            strip = [plane[: bottom - top] for plane in self._strip]
            cv2.split(picture[top:bottom], strip)
            for plane, half in zip(strip, first, strict=True):
                _halve(plane, half[top // 2 : bottom // 2])
        for finer, coarser in zip(self._levels, self._levels[1:], strict=False):
            for plane, half in zip(finer, coarser, strict=True):
                _halve(plane, half)
        return self._levels[-1]

    def part(self, level: int, top: int, bottom: int, left: int, right: int) -> Planes:
        """A window of one level, in that level's pixels."""
        window = np.s_[top:bottom, left:right]
        if level:
            return [plane[window] for plane in self._levels[level - 1]]
        if not self._levels:
            return [plane[window] for plane in self._whole]
        return cv2.split(self._picture[window])


def _halve(plane: np.ndarray, half: np.ndarray) -> None:
    cv2.resize(plane, half.shape[::-1], dst=half, interpolation=cv2.INTER_AREA)

"""Pyramid: one picture at full size, halved and halved again, and the last of it with a plane for each colour.

Everything that the Finder computes is by colour. OpenCV halves single planes faster than pixels of three colours,
but putting the colours of a whole picture apart costs more than that saves: they are put apart where they are needed.
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

Planes = Sequence[np.ndarray]  # blue, green and red, each uint8 [h, w]


class Pyramid:
    """The levels of one picture after another, in buffers that are made once.

    Level 0 is the picture itself, level n has 2**n times fewer pixels along each side: exactly what
    INTER_AREA makes of it in n halvings. width and height are multiples of 2**halvings.
    """

    def __init__(self, width: int, height: int, halvings: int) -> None:
        halves = [np.empty((height >> level, width >> level, 3), np.uint8) for level in range(1, halvings + 1)]
        self._levels = [np.empty((0, 0, 3), np.uint8), *halves]
        self._planes = [np.empty((height >> halvings, width >> halvings), np.uint8) for _ in range(3)]

    def load(self, picture: np.ndarray) -> Planes:
        """Takes the next picture, uint8 [h, w, 3], and answers its last level. It must not change until the next."""
        self._levels[0] = picture
        for finer, coarser in pairwise(self._levels):
            cv2.resize(finer, coarser.shape[1::-1], dst=coarser, interpolation=cv2.INTER_AREA)
        cv2.split(self._levels[-1], self._planes)
        return self._planes

    def part(self, level: int, top: int, bottom: int, left: int, right: int) -> Planes:
        """A window of one level, in that level's pixels."""
        return cv2.split(self._levels[level][top:bottom, left:right])

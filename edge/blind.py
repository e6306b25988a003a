"""Stretches of belt that went by while too few pictures were taken: nobody knows what lies on them."""

import math
from collections import deque

ENOUGH = 3  # pictures in which a thing must be seen to be known as an item
KEPT = 64


class BlindStretches:
    """Learns from each picture's position which stretches of belt were seen too seldom.

    Places are the belt positions at which what lies there passes the middle of the picture, as
    Item.item_mm is; half_mm is half of the stretch that one picture shows.
    """

    def __init__(self) -> None:
        self._pictures: deque[float] = deque(maxlen=ENOUGH + 1)
        self._stretches: deque[tuple[float, float]] = deque(maxlen=KEPT)
        self._farthest: list[float] = []  # where the belt stood in the pictures that show its most upstream part
        self._half_mm = 0.0
        self._anew = False

    def counted_anew(self) -> None:
        """Nobody knows any more where things lie that were seen before: what the next picture shows is known."""
        self._anew = True

    def saw(self, position_mm: float, half_mm: float) -> None:
        """A picture was looked at that was taken where the belt stood at a position."""
        if self._anew:
            self._anew = False
            for known in (self._pictures, self._stretches, self._farthest):
                known.clear()
            self._stretches.append((-math.inf, position_mm - half_mm))
        self._pictures.append(position_mm)
        self._farthest, self._half_mm = sorted([*self._farthest, position_mm])[-ENOUGH:], half_mm
        if len(self._pictures) <= ENOUGH:
            return
        # What lies between is in none but the pictures between the first and the newest of these.
        start, end = self._pictures[0] + half_mm, position_mm - half_mm
        if start < end:
            if self._stretches and start <= self._stretches[-1][1]:
                start, end = self._stretches[-1][0], max(end, self._stretches[-1][1])
                self._stretches.pop()
            self._stretches.append((start, end))

    def ended(self) -> None:
        """There will be no further picture, as at the end of a clip: nothing more is waited for."""
        self._farthest.clear()

    def upstream(self, to_mm: float) -> bool:
        """Whether the belt up to a place reaches further upstream than was seen well enough so far."""
        return bool(self._farthest) and to_mm > self._farthest[0] + self._half_mm

    def meet(self, from_mm: float, to_mm: float) -> bool:
        """Whether any of the belt from one place to another was not seen well enough."""
        return any(start < to_mm and from_mm < end for start, end in self._stretches)

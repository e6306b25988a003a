"""Sizes: what single items of each class measure on this line, so that two which look like one are told."""

from collections import deque
from math import ceil

REMEMBERED = 64  # items of each class
FEW = 2  # of them, before there is something to compare with;
TWICE = 1.75  # what covers this many times what the middle one of a few does is two,
ENOUGH = 8  # and from so many on their spread tells more
LARGER = 1.6  # what covers this many times what the smaller single items of its class do is not one of them
SMALLER, MIDDLE = 0.2, 0.5  # the quantiles that are looked at: items that are two lie above both
GAP = 1.4  # between two neighbouring areas one of so many times ends the single items of a class,
FEWEST = 0.1  # if at least this share of what was learnt lies below: less may be scraps
SPREADS = 4.0  # classes whose items differ much in size are allowed so many of their standard deviations
NORMAL = 0.842  # of which the two quantiles of a normal distribution are so many apart


class Sizes:
    """Learns, by class, the areas of the items that were decided, and says which are too large to be one.

    Two items that touch can look like one that the outline cannot divide, and the model may know them for
    one of its classes. But then they cover more of the belt than one item of that class does. What lies
    above a gap, and above lower quantiles, is not looked at: so such pairs among what was learnt do not pass
    for the usual size, even where most were pairs.
    """

    def __init__(self) -> None:
        self._areas: dict[str, deque[float]] = {}

    def fits(self, label: str, area_mm2: float) -> bool:
        """Whether an item of that area can be a single one of a class; True while too few were seen."""
        areas = _single(sorted(self._areas.get(label, ())))
        if len(areas) < FEW:
            return True
        if len(areas) < ENOUGH:
            return area_mm2 <= TWICE * areas[(len(areas) - 1) // 2]
        smaller, middle = (areas[int(share * (len(areas) - 1))] for share in (SMALLER, MIDDLE))
        spread = (middle - smaller) / NORMAL
        return area_mm2 <= max(LARGER * smaller, middle + SPREADS * spread)

    def learn(self, label: str, area_mm2: float) -> None:
        """Takes in an item of a class."""
        self._areas.setdefault(label, deque(maxlen=REMEMBERED)).append(area_mm2)


def _single(areas: list[float]) -> list[float]:
    """Of the areas of a class, smallest first, those up to the first gap."""
    least = max(FEW, ceil(FEWEST * len(areas)))
    end = next((n for n in range(least, len(areas)) if areas[n] > GAP * areas[n - 1]), len(areas))
    return areas[:end]

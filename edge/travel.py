"""The belt's own axes in a picture: along is the way items travel, across is at right angles to it."""

from dataclasses import dataclass
from math import acos, pi, sqrt

from edge.config import Direction
from edge.records import Box

LEAST_SIGHT_PX = 16


@dataclass(frozen=True, slots=True)
class Travel:
    """Turns boxes in a picture of width x height pixels into stretches along and across the belt.

    Along starts with 0 at the edge where items come in and grows the way they travel; across starts
    with 0 at the picture's top (belts that run right or left) or left edge (down or up).
    """

    direction: Direction
    width: int
    height: int

    @property
    def sideways(self) -> bool:
        """Whether the belt runs along the picture's rows."""
        return self.direction in {"right", "left"}

    @property
    def length(self) -> int:
        """The picture's extent along the belt, in pixels."""
        return self.width if self.sideways else self.height

    @property
    def breadth(self) -> int:
        """The picture's extent across the belt, in pixels."""
        return self.height if self.sideways else self.width

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the picture lies along and across the belt, in pixels."""
        along, across = (x, y) if self.sideways else (y, x)
        return (self.length - along if self.direction in {"left", "up"} else along), across

    def vector(self, distance: float) -> tuple[float, float]:
        """What a distance along the belt is in the picture, x and y."""
        signed = -distance if self.direction in {"left", "up"} else distance
        return (signed, 0.0) if self.sideways else (0.0, signed)

    def along(self, box: Box) -> tuple[int, int]:
        """The rear and the front end of a box along the belt, in pixels."""
        start, size = (box.x, box.width) if self.sideways else (box.y, box.height)
        if self.direction in {"left", "up"}:
            start = self.length - start - size
        return start, start + size

    def across(self, box: Box) -> tuple[int, int]:
        """The two sides of a box across the belt, in pixels."""
        return (box.y, box.y + box.height) if self.sideways else (box.x, box.x + box.width)

    def box(self, along: tuple[float, float], across: tuple[float, float]) -> Box:
        """The box that covers the two stretches, cut at the picture's edges and never empty."""
        first, last = along
        if self.direction in {"left", "up"}:
            first, last = self.length - last, self.length - first
        horizontal, vertical = ((first, last), across) if self.sideways else (across, (first, last))
        left, right = _inside(horizontal, self.width)
        top, bottom = _inside(vertical, self.height)
        return Box(left, top, right - left, bottom - top)


def _inside(stretch: tuple[float, float], size: int) -> tuple[int, int]:
    start = min(max(round(stretch[0]), 0), size - 1)
    return start, min(max(round(stretch[1]), start + 1), size)


def share_of_disc(chord: float, depth: float) -> float:
    """How much of a disc is seen when an edge cuts it, 0 to 1, from the part's size along and off that edge.

    A disc stands in for items of any shape: a part deeper than half its length was cut beyond the middle.
    """
    radius = chord / 2 if depth >= chord / 2 else (chord**2 / 4 + depth**2) / (2 * depth)
    off = min(depth - radius, radius)
    hidden = radius**2 * acos(off / radius) - off * sqrt(radius**2 - off**2)
    return 1 - hidden / (pi * radius**2)


def sight(roi: tuple[int, int, int, int] | None, width: int, height: int) -> Box:
    """The part of a picture of width x height pixels that is looked at: a region of interest, or all of it."""
    x, y, w, h = roi or (0, 0, width, height)
    x, y = min(max(x, 0), max(width - LEAST_SIGHT_PX, 0)), min(max(y, 0), max(height - LEAST_SIGHT_PX, 0))
    return Box(x, y, min(w, width - x), min(h, height - y))

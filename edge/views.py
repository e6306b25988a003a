"""Viewer: which looks at which items are worth classifying."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge.config import BeltSettings, ItemsSettings
from edge.model import cut
from edge.records import Box, Frame, Item, View
from edge.travel import Travel, share_of_disc, sight

if TYPE_CHECKING:
    from edge.items import Tracked

MOST_CUT = 0.9  # what a side edge cuts is never taken for more complete than this
REMEMBERED = 256  # items, of which no more than a few are ever in view
EDGE_PX = 4  # a box that comes this close to the end of the sight may be cut by it


@dataclass(slots=True)
class _Looks:
    """What was taken of one item so far."""

    count: int = 0
    at_px: float = -math.inf
    done: bool = False


class Viewer:
    """Chooses up to max_views looks at each item, evenly spread over its way through the picture.

    Only items that lie in the sight with their whole length and touch no other are looked at; an item
    that a side edge cuts never gets better and is taken with a lower completeness. margin is the
    model card's crop_margin.
    """

    def __init__(self, settings: ItemsSettings, belt: BeltSettings, margin: float) -> None:
        self._settings = settings
        self._belt = belt
        self._margin = margin
        self._looks: dict[int, _Looks] = {}

    def views(self, frame: Frame, tracked: "Tracked") -> list[View]:
        """The views that this frame adds; each crop is a copy, independent of the frame."""
        height, width = frame.pixels.shape[:2]
        travel = Travel(self._belt.direction, width, height)
        chosen = []
        for item in tracked.items:
            looks = self._looks.setdefault(item.id, _Looks())
            last = self._is_last(item, looks, travel, tracked.moved_px)
            if last is not None:
                chosen.append(self._view(frame, item, last))
        # An item that a belt carries back into the picture is not looked at all over again.
        for oldest in sorted(self._looks)[:-REMEMBERED]:
            del self._looks[oldest]
        return chosen

    def _is_last(self, item: Item, looks: _Looks, travel: Travel, step_px: float) -> bool | None:
        """None when this look is not wanted; otherwise whether no better one is to be expected."""
        if self._settings.mode == "frame":
            return True
        entry, end = travel.along(sight(self._settings.roi, travel.width, travel.height))
        rear, front = travel.along(item.box)
        whole = rear >= entry + EDGE_PX and front <= end - EDGE_PX
        if looks.done or not whole or item.touching:
            return None
        spacing = max(end - entry - (front - rear), 0) / self._settings.max_views
        if front - looks.at_px < spacing:
            return None
        looks.at_px = front
        looks.count += 1
        steps = max(math.ceil(spacing / step_px), 1) if step_px > 0.1 else 0
        looks.done = looks.count >= self._settings.max_views or front + steps * step_px > end - EDGE_PX
        return looks.done

    def _view(self, frame: Frame, item: Item, last: bool) -> View:
        crop = cut(frame.pixels, item.box, self._margin).copy()
        return View(
            item_id=item.id,
            frame_seq=frame.seq,
            captured_at=frame.captured_at,
            position_mm=frame.position_mm,
            box=item.box,
            crop=crop,
            sharpness=_gradient_energy(crop),
            completeness=1.0 if item.whole else self._completeness(item.box),
            last=last,
        )

    def _completeness(self, box: Box) -> float:
        along, across = (
            (box.width, box.height) if self._belt.direction in {"right", "left"} else (box.height, box.width)
        )
        return min(share_of_disc(along, across), MOST_CUT)


def _gradient_energy(crop: np.ndarray) -> float:
    """The mean squared Laplacian of a crop: high where edges are crisp (Pech-Pacheco et al., 2000)."""
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    return float(cv2.norm(cv2.Laplacian(grey, cv2.CV_16S), cv2.NORM_L2SQR)) / grey.size

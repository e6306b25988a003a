"""The eye: finder, tracker and viewer of one camera, as one thing that looks at a frame."""

import math
from collections.abc import Callable
from dataclasses import replace

from edge.belt import Place
from edge.config import BeltSettings, ItemsSettings
from edge.finder import Finder
from edge.items import Tracked, Tracker, Viewer
from edge.records import Frame, View


class Eye:
    """Finds the items of each frame, follows them, and picks the views that are worth classifying.

    crop_margin is the model card's, place, error_mm and where are the Tracker's. Frames must come in the order in which
    they were captured.
    """

    def __init__(
        self,
        items: ItemsSettings,
        belt: BeltSettings,
        crop_margin: float,
        place: Callable[[Frame, float | None], Frame] | None = None,
        error_mm: Callable[[float, float], float] | None = None,
        where: Callable[[float], Place] | None = None,
    ) -> None:
        self._finder = Finder(items, belt)
        self._tracker = Tracker(items, belt, place, error_mm, where)
        self._viewer = Viewer(items, belt, crop_margin)

    def look(self, frame: Frame) -> tuple[Tracked, list[View]]:
        """Every item in view with its identity, and the good new views of them."""
        tracked = self._tracker.update(frame, self._finder.look(frame))
        if too_long_mm := self._finder.too_long_mm:
            tracked = replace(tracked, too_long_mm=too_long_mm)
        return tracked, self._viewer.views(frame, tracked)

    def learn(self) -> None:
        """Takes in what the last frame showed of the empty belt: once its views are under way, before the next."""
        self._finder.learn(self._tracker.boxes)

    def observed_speed_mm_s(self, since: float = -math.inf) -> tuple[float, float] | None:
        """The belt's speed as the pictures show it, and its error, in mm/s; None where no items showed it since."""
        return self._tracker.observed_speed_mm_s if self._tracker.shown_at >= since else None

"""Items keep one identity while they travel, and nothing else is ever an item."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.config import BeltSettings, ItemsSettings
from edge.items import Finder, Tracked, Tracker, Viewer
from edge.records import Frame, Item, View


class Watch:
    """Finder, Tracker and Viewer as the line wires them, and what they said of a sequence of pictures."""

    def __init__(self, items: ItemsSettings | None = None, **belt: object) -> None:
        settings = items or ItemsSettings()
        self.belt = BeltSettings.model_validate({"pixels_per_mm": 1.6, "speed_mm_s": 250, **belt})
        self.finder, self.tracker = Finder(settings, self.belt), Tracker(settings, self.belt)
        self.viewer = Viewer(settings, self.belt, margin=0.1)
        self.seen: dict[int, list[Item]] = {}
        self.views: dict[int, list[View]] = {}
        self.born: list[int] = []
        self.left: list[int] = []
        self.vanished: list[int] = []

    def look(self, frame: Frame) -> Tracked:
        tracked = self.tracker.update(frame, self.finder.find(frame))
        for item in tracked.items:
            self.seen.setdefault(item.id, []).append(item)
        for view in self.viewer.views(frame, tracked):
            self.views.setdefault(view.item_id, []).append(view)
        self.born += tracked.born
        self.left += tracked.left
        self.vanished += tracked.vanished
        return tracked

    def watch_clip(self, path: Path, fps: float) -> None:
        clip = cv2.VideoCapture(str(path))
        seq = 0
        while True:
            more, pixels = clip.read()
            if not more:
                break
            self.look(Frame(seq, seq / fps, seq / fps * self.belt.speed_mm_s, pixels))
            seq += 1
        clip.release()
        assert seq > 0


@pytest.mark.shared
@pytest.mark.parametrize(("speed", "scale"), [(250, 1.6), (60, 1.6), (1000, 1.6), (250, 0.8), (250, 4.0)])
def test_one_bolt_is_one_item_even_where_the_configured_speed_and_scale_are_wrong(
    shared_data: Path, speed: float, scale: float
) -> None:
    watch = Watch(speed_mm_s=speed, pixels_per_mm=scale)
    watch.watch_clip(shared_data / "belt" / "bolt.gif", fps=16.7)
    assert (watch.born, watch.left, watch.vanished) == ([1], [1], [])
    views = watch.views[1]
    assert 2 <= len(views) <= 5
    assert [view.last for view in views] == [False] * (len(views) - 1) + [True]
    assert all(view.box.x > 0 and view.box.x + view.box.width < 480 for view in views)


@pytest.mark.shared
def test_the_bolts_belt_speed_is_seen_whatever_was_configured(shared_data: Path) -> None:
    watch = Watch(speed_mm_s=60)
    watch.watch_clip(shared_data / "belt" / "bolt.gif", fps=16.7)
    speed = watch.tracker.observed_speed_mm_s
    assert speed is not None
    # 22.8 pixels a frame, read off the bolt's head by hand.
    assert speed[0] == pytest.approx(22.8 * 16.7 / 1.6, abs=8)


@pytest.mark.shared
def test_a_hand_that_places_and_takes_bottles_is_no_item_and_nothing_piles_up(shared_data: Path) -> None:
    watch = Watch()
    watch.watch_clip(shared_data / "belt" / "bottles.mp4", fps=29.8)
    assert watch.born == []


def test_in_frame_mode_every_picture_is_an_item_that_is_seen_once() -> None:
    watch = Watch(ItemsSettings(mode="frame"))
    for seq in range(3):
        tracked = watch.look(Frame(seq, seq / 10, seq * 25.0, np.full((48, 64, 3), seq, np.uint8)))
        assert tracked.born == tracked.left == (seq + 1,)
        assert tracked.items[0].item_mm == seq * 25.0
    assert [view.last for views in watch.views.values() for view in views] == [True] * 3

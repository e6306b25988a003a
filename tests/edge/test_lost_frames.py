"""Pictures lost in bulk: which item is which is told by where the belt is, or it is said that nobody can tell."""

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.belt import PictureBelt
from edge.config import BeltSettings, ItemsSettings
from edge.finder import Found
from edge.gauge import PictureGauge
from edge.items import Tracker
from edge.records import Box, Frame
from edge.simulator.settings import SimulatorSettings
from edge.simulator.world import World

WIDTH, HEIGHT, SCALE, FPS = 1280, 720, 1.6, 60
PIXELS = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (HEIGHT, WIDTH, 3))
TALL_PX = 40


class Sorter:
    """A tracker over a true belt, shown the outlines of what lies on it as the finder would measure them."""

    def __init__(self, pictures_tell: bool = False, **belt: object) -> None:
        self.world = World(SimulatorSettings.from_mapping({"min_gap_mm": 12.5, **belt}))
        speed = self.world.settings.speed_mm_s
        settings = BeltSettings(direction="right", pixels_per_mm=SCALE, speed_mm_s=speed)
        self.place: Callable[[float], float] = self.world.belt_mm
        if pictures_tell:
            belt_seen = PictureBelt(speed, 0.0, lambda: None)
            self.place = belt_seen.position_mm
            gauge = PictureGauge(belt_seen, ItemsSettings(), settings)
            self.tracker = Tracker(ItemsSettings(), settings, gauge.by_items, belt_seen.error_mm)
        else:
            self.tracker = Tracker(ItemsSettings(), settings)
        self.rng = np.random.default_rng(1)
        self.frames, self.at = 0, 0.0
        self.true: dict[int, set[int]] = defaultdict(set)  # of each id that is not in doubt, the items it was
        self.doubtful: set[int] = set()

    def look(self, pictures: int) -> None:
        """So many pictures, each one interval after the last."""
        for _ in range(pictures):
            found, owners = self._found()
            frame = Frame(self.frames, self.at, self.place(self.at), PIXELS)
            tracked = self.tracker.update(frame, found)
            self.doubtful |= set(tracked.doubtful)
            for item in tracked.items:
                if item.box in owners and item.id not in self.doubtful:
                    self.true[item.id].add(owners[item.box])
            self.frames, self.at = self.frames + 1, self.at + 1 / FPS

    def blink(self, seconds: float) -> None:
        """No picture for so long."""
        self.at += seconds

    @property
    def mixed_up(self) -> dict[int, set[int]]:
        return {number: owners for number, owners in self.true.items() if len(owners) > 1}

    def _found(self) -> tuple[list[Found], dict[Box, int]]:
        found, owners = [], {}
        for number, item in enumerate(self.world.in_view(self.at)):
            x, y = self.world.centre_px(item, self.at)
            rear, front = x + np.array((-1, 1)) * item.along_mm * SCALE / 2 + self.rng.normal(0, 0.3, 2)
            left, right = max(round(rear), 0), min(round(front), WIDTH)
            if right - left < 12:
                continue
            box = Box(left, round(y - TALL_PX / 2), right - left, TALL_PX)
            entry, end = rear <= 1, front >= WIDTH - 1
            area = float(0.8 * box.area)
            found.append(Found(box, area, box.centre, cut_entry=entry, cut_exit=end, blob=number))
            owners[box] = item.id
        return found, owners


@given(
    seed=st.integers(0, 1000),
    looks=st.lists(st.tuples(st.integers(1, 20), st.floats(0.03, 1.2)), min_size=3, max_size=6),
    belt=st.sampled_from(
        [
            {"speed_mm_s": 1250, "rate": 20},
            {"speed_mm_s": 3000, "rate": 30},
            {"speed_mm_s": 1250, "rate": 20, "rows": 2},
        ]
    ),
)
@settings(max_examples=8, deadline=None)
def test_no_item_takes_over_anothers_identity_however_many_pictures_are_lost(
    seed: int, looks: list[tuple[int, float]], belt: dict[str, object]
) -> None:
    sorter = Sorter(seed=seed, **belt)
    sorter.look(30)
    for pictures, blind_s in looks:
        sorter.blink(blind_s)
        sorter.look(pictures)
    assert sorter.mixed_up == {}
    assert not sorter.doubtful, "a belt whose place is known leaves no doubt"


@pytest.mark.parametrize("blind_s", [0.4, 0.6, 1.2])
def test_when_all_that_was_seen_has_left_what_is_seen_next_is_new(blind_s: float) -> None:
    sorter = Sorter(speed_mm_s=1250, rate=20, seed=1)
    for _ in range(3):
        sorter.look(40)
        sorter.blink(blind_s)
    sorter.look(20)
    assert len(sorter.true) > 30
    assert sorter.mixed_up == {}


def test_a_belt_that_only_pictures_tell_and_that_stops_unseen_confuses_nobody() -> None:
    sorter = Sorter(pictures_tell=True, speed_mm_s=1000, rate=12, motion="stop_and_go", period_s=3, seed=1)
    blind = np.random.default_rng(1)
    for _ in range(10):
        sorter.look(20)
        sorter.blink(blind.uniform(0.2, 0.8))
    sorter.look(20)
    assert len(sorter.true) > 10
    assert sorter.mixed_up == {}

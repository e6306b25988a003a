"""Items keep one identity while they travel, and nothing else is ever an item."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.config import BeltSettings, Direction, ItemsSettings
from edge.decide import weight_of
from edge.items import Finder, Tracked, Tracker, Viewer
from edge.records import Box, Frame, Item, View
from edge.simulator.scene import Scene
from edge.simulator.settings import SimulatorSettings
from edge.simulator.world import World
from tests.edge.painted_belt import FPS, WIDTH, PaintedBelt, Painter, block, disc, still

# What PaintedBelt shows: 1 pixel a millimetre, 12 pixels a frame at 60 frames a second.
PAINTED = {"pixels_per_mm": 1.0, "speed_mm_s": 720.0}


class Watch:
    """Finder, Tracker and Viewer as the line wires them, and what they said of a sequence of pictures."""

    def __init__(self, items: ItemsSettings | None = None, **belt: object) -> None:
        settings = items or ItemsSettings()
        self.belt = BeltSettings.model_validate({**PAINTED, **belt})
        self.finder, self.tracker = Finder(settings, self.belt), Tracker(settings, self.belt)
        self.viewer = Viewer(settings, self.belt, margin=0.1)
        self.seen: dict[int, list[Item]] = {}
        self.views: dict[int, list[View]] = {}
        self.born: list[int] = []
        self.left: list[int] = []
        self.vanished: list[int] = []
        self.wrong_way = False

    def look(self, frame: Frame) -> Tracked:
        tracked = self.tracker.update(frame, self.finder.find(frame, self.tracker.boxes))
        for item in tracked.items:
            self.seen.setdefault(item.id, []).append(item)
        for view in self.viewer.views(frame, tracked):
            self.views.setdefault(view.item_id, []).append(view)
        self.born += tracked.born
        self.left += tracked.left
        self.vanished += tracked.vanished
        self.wrong_way |= tracked.wrong_way
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

    def watch_belt(
        self, belt: PaintedBelt, *items: Painter, frames: int, shift: Callable[[int], float] | None = None
    ) -> None:
        for seq in range(frames):
            self.look(belt.frame(seq, *items, shift=shift(seq) if shift else None))


# Real clips.


@pytest.mark.shared
@pytest.mark.parametrize(("speed", "scale"), [(250, 1.6), (60, 1.6), (1000, 1.6), (250, 0.8), (250, 4.0)])
def test_one_bolt_is_one_item_even_where_the_configured_speed_and_scale_are_wrong(
    shared_data: Path, speed: float, scale: float
) -> None:
    watch = Watch(speed_mm_s=speed, pixels_per_mm=scale)
    watch.watch_clip(shared_data / "belt" / "bolt.gif", fps=16.7)
    assert (watch.born, watch.left, watch.vanished) == ([1], [1], [])
    # Its place on the belt stays the same, whatever a millimetre is taken for.
    places = [item.item_mm for item in watch.seen[1]]
    assert max(places) - min(places) <= 0.03 * speed
    views = watch.views[1]
    assert 2 <= len(views) <= 5
    assert [view.last for view in views] == [False] * (len(views) - 1) + [True]
    assert all(view.box.x > 0 and view.box.x + view.box.width < 480 for view in views)


@pytest.mark.shared
def test_the_bolts_belt_speed_is_seen_whatever_was_configured(shared_data: Path) -> None:
    watch = Watch(speed_mm_s=60, pixels_per_mm=1.6)
    watch.watch_clip(shared_data / "belt" / "bolt.gif", fps=16.7)
    speed = watch.tracker.observed_speed_mm_s
    assert speed is not None
    # 22.8 pixels a frame, read off the bolt's head by hand.
    assert speed[0] == pytest.approx(22.8 * 16.7 / 1.6, abs=8)


@pytest.mark.shared
def test_a_hand_that_places_and_takes_bottles_is_no_item(shared_data: Path) -> None:
    watch = Watch(speed_mm_s=250, pixels_per_mm=1.6)
    watch.watch_clip(shared_data / "belt" / "bottles.mp4", fps=29.8)
    assert watch.born == []
    assert watch.tracker.boxes == []
    assert not watch.wrong_way


# The simulated belt, whose truth is known.


def watch_simulated(
    sim: dict[str, object],
    seconds: float,
    seen: Callable[[int], bool] = lambda _: True,
    position: str = "true",
    **belt: object,
) -> tuple[Watch, dict[int, Counter[int]], dict[int, list[float]]]:
    """Plays a simulated belt: the watch, which true items each id showed, and how far each item_mm was off."""
    settings = SimulatorSettings.model_validate({"width": 640, "height": 360, "pixels_per_mm": 1.0, **sim})
    world = World(settings)
    scene = Scene(world)
    scale = {"pixels_per_mm": settings.pixels_per_mm, "direction": settings.direction}
    watch = Watch(**{**scale, "speed_mm_s": settings.speed_mm_s, **belt})
    shown: dict[int, Counter[int]] = {}
    off: dict[int, list[float]] = {}
    for seq in range(round(seconds * settings.fps)):
        if not seen(seq):
            continue
        at = seq / settings.fps
        mm = world.belt_mm(at) if position == "true" else at * watch.belt.speed_mm_s
        tracked = watch.look(Frame(seq, at, mm, scene.draw(at)))
        truth = scene.all_boxes(at)
        for item in tracked.items:
            true, box = max(truth, key=lambda pair: pair[1].overlap(item.box), default=(None, None))
            known = true is not None and box is not None and box.overlap(item.box) > 0
            shown.setdefault(item.id, Counter())[true.id if known and true else -1] += 1
            if known and true:
                off.setdefault(item.id, []).append(item.item_mm - true.item_mm)
    crossed = {true.id for at in (seconds / 2,) for true, _ in scene.boxes(at)}
    assert crossed <= {true for counts in shown.values() for true in counts}
    return watch, shown, off


def assert_each_true_item_is_one_item(watch: Watch, shown: dict[int, Counter[int]], least: int) -> None:
    owners = [counts.most_common(1)[0][0] for counts in shown.values()]
    assert len(watch.left) >= least
    assert -1 not in owners
    assert len(set(owners)) == len(owners)
    assert all(counts.most_common(1)[0][1] >= 0.95 * counts.total() for counts in shown.values())
    # Nothing between the first and the last is skipped: every item that came was seen.
    assert set(owners) == set(range(min(owners), max(owners) + 1))


@pytest.mark.parametrize("direction", ["right", "left", "down", "up"])
def test_every_item_on_a_steady_belt_has_one_identity_and_one_place(direction: Direction) -> None:
    sim: dict[str, object] = {"speed_mm_s": 1000, "rate": 10, "direction": direction, "seed": 3}
    watch, shown, off = watch_simulated(sim, 3.0)
    assert_each_true_item_is_one_item(watch, shown, least=10)
    assert watch.vanished == []
    assert len(set(watch.left)) == len(watch.left)
    last = [abs(errors[-1]) for errors in off.values()]
    assert float(np.median(last)) <= 2.0
    assert max(last) <= 8.0
    # While it travels an item's place does not wander.
    assert max(max(errors[3:]) - min(errors[3:]) for errors in off.values() if len(errors) > 5) <= 8.0


def test_two_rows_of_items_at_thirty_a_second_keep_their_identities() -> None:
    sim: dict[str, object] = {"speed_mm_s": 2000, "rate": 30, "rows": 2, "exposure_ms": 0.3, "seed": 2}
    watch, shown, _ = watch_simulated(sim, 3.0)
    assert_each_true_item_is_one_item(watch, shown, least=50)


@pytest.mark.parametrize("configured", [500.0, 2000.0])
def test_identities_hold_while_the_configured_speed_is_half_or_twice_the_belts(configured: float) -> None:
    sim: dict[str, object] = {"speed_mm_s": 1000, "rate": 8, "seed": 4}
    watch, shown, _ = watch_simulated(sim, 3.0, position="configured", speed_mm_s=configured)
    assert_each_true_item_is_one_item(watch, shown, least=8)
    speed = watch.tracker.observed_speed_mm_s
    assert speed is not None
    assert abs(speed[0] - 1000) <= speed[1] <= 50


def test_identities_survive_up_to_ten_lost_frames() -> None:
    sim: dict[str, object] = {"speed_mm_s": 1000, "rate": 8, "seed": 5}
    watch, shown, _ = watch_simulated(sim, 4.0, seen=lambda seq: seq % 37 >= 10 and seq % 5 != 0)
    assert_each_true_item_is_one_item(watch, shown, least=15)


@pytest.mark.parametrize("position", ["true", "configured"])
@pytest.mark.parametrize("motion", ["stop_and_go", "reverse"])
def test_a_belt_that_stops_or_turns_back_with_items_in_view_keeps_them(motion: str, position: str) -> None:
    sim: dict[str, object] = {"speed_mm_s": 800, "rate": 6, "motion": motion, "period_s": 3.0, "seed": 6}
    watch, shown, _ = watch_simulated(sim, 6.0, position=position)
    assert_each_true_item_is_one_item(watch, shown, least=8)
    assert watch.vanished == []


def test_a_hand_in_the_picture_is_no_item_and_takes_none_away() -> None:
    sim: dict[str, object] = {"speed_mm_s": 500, "rate": 3, "hand": 20, "seed": 7}
    watch, shown, _ = watch_simulated(sim, 5.0)
    assert_each_true_item_is_one_item(watch, shown, least=8)


def test_drifting_and_flickering_light_makes_no_items_and_hides_none() -> None:
    sim: dict[str, object] = {"speed_mm_s": 1000, "rate": 8, "light_drift": 0.3, "flicker": 0.15, "seed": 8}
    watch, shown, _ = watch_simulated(sim, 4.0)
    assert_each_true_item_is_one_item(watch, shown, least=15)


# A painted belt: one thing at a time.


def test_an_item_is_reported_while_it_is_still_upstream_of_the_middle_and_leaves_once() -> None:
    watch = Watch()
    watch.watch_belt(PaintedBelt(), disc(-40, 180), frames=70)
    assert (watch.born, watch.left, watch.vanished) == ([1], [1], [])
    assert watch.seen[1][0].box.centre[0] < WIDTH / 3
    assert all(item.item_mm == pytest.approx(40 + WIDTH / 2, abs=2) for item in watch.seen[1])


def test_items_that_lie_in_the_picture_at_the_start_are_reported_too() -> None:
    watch = Watch()
    watch.watch_belt(PaintedBelt(), disc(100, 80), disc(300, 180), frames=40)
    assert watch.born == [1, 2]
    assert watch.left == [1]


def test_an_item_that_stands_for_half_a_minute_with_the_belt_does_not_melt_away() -> None:
    belt, watch = PaintedBelt(), Watch()

    def shift(seq: int) -> float:
        return 12.0 * (min(seq, 25) + max(seq - 25 - 300, 0))

    for seq in range(25 + 300 + 40):
        frame = belt.frame(seq, disc(-40, 180), shift=shift(seq))
        # A tenth of the frames, ten times as far apart: 300 of them are half a minute.
        watch.look(Frame(seq, shift(seq) / 720 + max(min(seq - 25, 300), 0) * 0.1, shift(seq), frame.pixels))
    assert (watch.born, watch.left, watch.vanished) == ([1], [1], [])
    assert len(watch.seen[1]) > 300


def test_an_item_that_is_taken_away_has_vanished_and_not_left() -> None:
    belt, watch = PaintedBelt(), Watch()
    for seq in range(80):
        watch.look(belt.frame(seq, *([disc(-40, 180)] if seq < 25 else [])))
    assert (watch.born, watch.left, watch.vanished) == ([1], [], [1])


def test_a_belt_slower_than_a_pixel_a_frame_is_followed_to_its_end() -> None:
    belt, watch = PaintedBelt(px_per_frame=0.4), Watch(speed_mm_s=24)
    watch.watch_belt(belt, disc(520, 180), disc(-40, 90), frames=400)
    assert watch.born == [1, 2]
    assert (watch.left, watch.vanished) == ([1], [])
    for number, start in ((1, 520), (2, -40)):
        places = [item.item_mm for item in watch.seen[number]]
        assert max(places) - min(places) <= 4
        assert places[-1] == pytest.approx(WIDTH / 2 - start, abs=3)
    speed = watch.tracker.observed_speed_mm_s
    assert speed is not None
    assert abs(speed[0] - 24) <= speed[1] <= 10


def test_what_moves_against_the_belt_or_across_it_is_no_item() -> None:
    belt, watch = PaintedBelt(), Watch()

    def against(picture: np.ndarray, moved: float) -> None:
        disc(500 - 2 * moved, 120)(picture, moved)

    def across(picture: np.ndarray, moved: float) -> None:
        disc(300, round(40 + moved / 2))(picture, 0.0)

    for seq in range(45):
        watch.look(belt.frame(seq, against, across, disc(-60, 300)))
    assert watch.born == [1]
    assert all(item.box.centre[1] > 250 for item in watch.seen[1])


def test_what_lies_still_while_the_belt_runs_is_no_item() -> None:
    watch = Watch()
    watch.watch_belt(PaintedBelt(), still(disc(320, 90)), disc(-40, 250), frames=60)
    assert watch.born == [1]


def test_an_items_place_across_the_belt_and_its_length_are_in_millimetres() -> None:
    watch = Watch(pixels_per_mm=2.0, speed_mm_s=360)
    watch.watch_belt(PaintedBelt(), block(-100, 240, 60, 40), frames=50)
    item = watch.seen[1][-1]
    assert item.length_mm == pytest.approx(30, abs=1.5)
    assert item.across_mm == pytest.approx((260 - 180) / 2, abs=1)


def test_views_are_whole_spread_over_the_crossing_and_the_last_one_says_so() -> None:
    watch = Watch(ItemsSettings(max_views=4))
    watch.watch_belt(PaintedBelt(), disc(-40, 180), frames=70)
    views = watch.views[1]
    assert [view.last for view in views] == [False, False, False, True]
    middles = [view.box.centre[0] for view in views]
    assert all(b - a >= 0.8 * (WIDTH - 41) / 4 for a, b in pairwise(middles))
    assert all(view.crop.shape == (49, 49, 3) or abs(view.crop.shape[0] - 49) <= 4 for view in views)
    assert all(view.sharpness > 0 and view.completeness == 1 for view in views)
    assert all(not np.shares_memory(view.crop, views[0].crop) for view in views[1:])


def test_a_fast_item_gets_its_last_view_before_the_exit_cuts_it() -> None:
    watch = Watch(speed_mm_s=4800)
    watch.watch_belt(PaintedBelt(px_per_frame=80), disc(-400, 180), disc(-300, 80), disc(-40, 280), frames=22)
    assert watch.born == watch.left == [1, 2, 3]
    assert all(views[-1].last and len(views) >= 2 for views in watch.views.values())


def test_an_item_that_a_side_edge_cuts_is_looked_at_as_incomplete() -> None:
    watch = Watch()
    watch.watch_belt(PaintedBelt(), disc(-40, 2), frames=60)
    assert watch.born == [1]
    assert len(watch.views[1]) == 5
    # A little more than half of the disc is inside.
    assert all(view.completeness == pytest.approx(0.56, abs=0.12) for view in watch.views[1])
    assert not any(item.whole for item in watch.seen[1])


def test_items_that_touch_are_two_are_said_to_touch_and_get_no_views() -> None:
    watch = Watch()
    watch.watch_belt(PaintedBelt(), disc(-40, 150), disc(-79, 150, 20, (200, 120, 40)), frames=70)
    assert watch.born == [1, 2]
    assert watch.left == [1, 2]
    assert all(item.touching for items in watch.seen.values() for item in items if item.whole)
    assert watch.views == {}


def test_an_item_that_another_rolls_up_to_keeps_its_identity_and_its_place() -> None:
    belt, watch = PaintedBelt(px_per_frame=6), Watch(speed_mm_s=360)

    def rolling(picture: np.ndarray, moved: float) -> None:
        # Once the belt has run for half a second it rolls forward until it lies against the other.
        disc(20 + min(max(moved - 180, 0) * 0.4, 41), 180, 20, (200, 120, 40))(picture, moved)

    watch.watch_belt(belt, disc(100, 180), rolling, frames=75)
    assert watch.born == [1, 2]
    assert watch.vanished == []
    assert any(item.touching for item in watch.seen[1])
    places = [item.item_mm for item in watch.seen[1]]
    assert max(places) - min(places) <= 4


@pytest.mark.parametrize(("x", "looks"), [(-20, 0), (0, 0), (300, 1), (599, 0), (620, 0)])
def test_an_item_that_an_end_of_the_picture_cuts_is_not_looked_at(x: int, looks: int) -> None:
    viewer = Viewer(ItemsSettings(), BeltSettings.model_validate(PAINTED), margin=0.1)
    box = Box(max(x, 0), 160, min(x + 41, WIDTH) - max(x, 0), 41)
    item = Item(1, 0, 0.0, 0.0, box, 100.0, 41.0)
    frame = PaintedBelt().frame(0, disc(x + 20, 180), shift=0.0)
    assert len(viewer.views(frame, Tracked((item,), moved_px=12.0))) == looks


@pytest.mark.parametrize("smeared", [{0, 1}, {3, 4}], ids=["at first", "at last"])
def test_a_smeared_view_counts_less_than_a_sharp_one_whichever_comes_first(smeared: set[int]) -> None:
    viewer, belt, weights = Viewer(ItemsSettings(), BeltSettings.model_validate(PAINTED), margin=0.1), PaintedBelt(), []
    for n in range(5):
        frame, box = belt.frame(n, disc(60 + 120 * n, 180), shift=0.0), Box(40 + 120 * n, 160, 41, 41)
        if n in smeared:
            frame = replace(frame, pixels=cv2.blur(frame.pixels, (15, 1)))
        item = Item(1, n, frame.captured_at, frame.position_mm, box, 100.0, 41.0)
        weights += [weight_of(view) for view in viewer.views(frame, Tracked((item,), moved_px=120.0))]
    assert len(weights) == 5
    assert max(weights[n] for n in smeared) < min(weights[n] for n in range(5) if n not in smeared) / 3


def test_views_stay_inside_the_region_of_interest() -> None:
    watch = Watch(ItemsSettings(roi=(120, 60, 400, 240)))
    watch.watch_belt(PaintedBelt(), disc(-40, 180), disc(-40, 30), frames=70)
    assert watch.born == watch.left == [1]
    boxes = [view.box for view in watch.views[1]]
    assert all(box.x >= 120 and box.x + box.width <= 520 for box in boxes)
    assert watch.views[1][-1].last


def test_in_frame_mode_every_picture_is_an_item_that_is_seen_once() -> None:
    watch = Watch(ItemsSettings(mode="frame"))
    for seq in range(3):
        tracked = watch.look(Frame(seq, seq / 10, seq * 25.0, np.full((48, 64, 3), seq, np.uint8)))
        assert tracked.born == tracked.left == (seq + 1,)
        assert tracked.items[0].item_mm == seq * 25.0
    assert [view.last for views in watch.views.values() for view in views] == [True] * 3


def test_the_observed_speed_follows_a_belt_that_slows_down_and_says_how_sure_it_is() -> None:
    belt, watch = PaintedBelt(), Watch()
    items = [disc(-40 - 90 * n, 180) for n in range(20)]
    assert watch.tracker.observed_speed_mm_s is None
    moved = 0.0
    for seq in range(220):
        speed = 12.0 if seq < 60 else max(12.0 - 0.2 * (seq - 60), 4.0)
        moved += speed
        pixels = belt.frame(seq, *items, shift=moved).pixels
        watch.look(Frame(seq, seq / FPS, 12.0 * seq, pixels))
        observed = watch.tracker.observed_speed_mm_s
        if seq in {59, 80, 219}:
            assert observed is not None
            assert abs(observed[0] - speed * FPS) <= observed[1]
    assert observed is not None
    assert observed[1] < 15
    assert watch.vanished == []

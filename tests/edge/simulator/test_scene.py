import itertools
import time

import cv2
import numpy as np
import pytest

from edge.records import Box
from edge.simulator.scene import Scene
from edge.simulator.settings import SimulatorSettings
from edge.simulator.world import World

QUIET = {"noise": 0.0, "light": 0.0, "exposure_ms": 0.0, "rate": 6.0}
DIRECTIONS = ("right", "left", "down", "up")


def a_scene(**keys) -> Scene:
    return Scene(World(SimulatorSettings(**{**QUIET, **keys})))


def changed(scene: Scene, at: float) -> np.ndarray:
    """Where the picture differs from that of the same belt without items."""
    bare = scene.world.settings.model_copy(update={"rate": 1e-3, "min_gap_mm": 10_000.0})
    empty = Scene(World(bare))
    assert empty.boxes(at) == []
    difference = cv2.absdiff(scene.draw(at), empty.draw(at)).max(axis=2)
    return (difference > 30).astype(np.uint8)


def grown(box: Box, by: int) -> tuple[slice, slice]:
    return np.s_[max(box.y - by, 0) : box.y + box.height + by, max(box.x - by, 0) : box.x + box.width + by]


@pytest.mark.parametrize("exposure_ms", [0.0, 2.5, 4.0])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_true_boxes_are_where_the_items_are_drawn_and_nothing_else_is(direction, exposure_ms):
    scene = a_scene(direction=direction, exposure_ms=exposure_ms, width=640, height=640)
    mask, boxes = changed(scene, 10.0), scene.boxes(10.0)
    assert len(boxes) >= 3
    for item, box in boxes:
        # What differs clearly lies in the box, apart from a soft shadow beside it, and fills it.
        _, _, w, h = cv2.boundingRect(mask[grown(box, 2)])
        assert max(w, h) >= 0.75 * max(box.width, box.height), item.label
        centre = scene.world.centre_px(item, 10.0)
        assert box.centre == pytest.approx(centre, abs=1.01)
    for _, box in scene.all_boxes(10.0):
        mask[grown(box, 14)] = 0
    assert not mask.any()


@pytest.mark.parametrize(("direction", "dx", "dy"), [("right", 1, 0), ("left", -1, 0), ("down", 0, 1), ("up", 0, -1)])
def test_items_and_belt_travel_together_the_way_they_are_told(direction, dx, dy):
    scene = a_scene(direction=direction)
    # 500 mm/s at 1.6 pixels a millimetre: 40 pixels in 50 ms.
    before, after = scene.draw(10.0), scene.draw(10.05)
    rows, columns = 200 + np.arange(300), 300 + np.arange(600)
    still = before[np.ix_(rows, columns)]
    moved = after[np.ix_(rows + 40 * dy, columns + 40 * dx)]
    assert np.mean(cv2.absdiff(still, moved)) < 0.2
    assert np.mean(cv2.absdiff(still, after[np.ix_(rows, columns)])) > 1.0


def test_a_picture_depends_on_its_moment_alone():
    one, other = (Scene(World(SimulatorSettings())) for _ in range(2))
    for frame in range(60):
        one.draw(4.0 + frame / 60)
    assert np.array_equal(one.draw(6.0), other.draw(6.0))
    assert not np.array_equal(one.draw(6.0), other.draw(6.001))


def test_a_picture_belongs_to_who_asked_for_it():
    scene = a_scene()
    first = scene.draw(5.0)
    kept = first.copy()
    scene.draw(5.1)[:] = 0
    assert np.array_equal(first, kept)
    assert (first.dtype, first.shape) == (np.uint8, (720, 1280, 3))


def test_the_belt_has_no_visible_end_where_its_pattern_repeats():
    scene = a_scene(rate=0.05, min_gap_mm=5000.0)
    around = scene.draw(0.0)[100:620].astype(np.int16)
    for at in (2.2, 2.5, 2.7):
        frame = scene.draw(at)[100:620].astype(np.int16)
        steps = np.abs(np.diff(frame, axis=1)).mean(axis=(0, 2))
        assert steps.max() < 2.5 * np.abs(np.diff(around, axis=1)).mean() + 3


def test_a_fast_belt_is_smeared_along_its_travel_only():
    def detail(exposure_ms: float) -> tuple[float, float]:
        frame = a_scene(exposure_ms=exposure_ms, speed_mm_s=2000.0).draw(1.0)[100:600, 100:1100].astype(np.float32)
        return float(np.abs(np.diff(frame, axis=1)).mean()), float(np.abs(np.diff(frame, axis=0)).mean())

    sharp, smeared = detail(0.0), detail(4.0)
    assert smeared[0] < 0.4 * sharp[0]
    assert smeared[1] > smeared[0]


def test_noise_has_the_spread_that_was_asked_for():
    clean, noisy = a_scene(rate=0.1).draw(0.0), a_scene(rate=0.1, noise=6.0).draw(0.0)
    difference = noisy[100:600].astype(np.float32) - clean[100:600]
    assert difference.std() == pytest.approx(6.0, rel=0.05)
    assert difference.mean() == pytest.approx(0.0, abs=0.1)


def test_uneven_light_wanders_and_flickers_as_told():
    def mean_at(at: float, **keys: float) -> float:
        return float(a_scene(rate=0.03, min_gap_mm=9000.0, **keys).draw(at).mean())

    steady = mean_at(0.0)
    assert mean_at(5.0, light_drift=0.3) == pytest.approx(1.3 * steady, rel=0.03)
    assert mean_at(1 / 28, flicker=0.2) == pytest.approx(1.2 * steady, rel=0.03)
    assert mean_at(0.0, brightness=0.5) == pytest.approx(0.5 * steady, rel=0.03)
    lit = a_scene(rate=0.1, light=0.5).draw(0.0).mean(axis=2)
    blocks = cv2.resize(lit[40:680], (8, 4), interpolation=cv2.INTER_AREA)
    assert blocks.min() < 0.75 * blocks.max()


def test_touching_items_meet_in_the_picture():
    scene = a_scene(touching=1.0, foreign=0.0, rate=4.0, light=0.0)
    pairs = apart = 0
    for at in (10.0, 13.0, 16.0, 19.0):
        mask = cv2.dilate(changed(scene, at), np.ones((3, 3), np.uint8))
        count, labels = cv2.connectedComponents(mask)
        found = [(item, int(np.bincount(labels[grown(box, 0)].ravel(), minlength=count)[1:].argmax()) + 1)
                 for item, box in scene.boxes(at)]  # fmt: skip
        for (one, one_is), (other, other_is) in itertools.pairwise(found):
            gap = abs(other.item_mm - one.item_mm) - (one.along_mm + other.along_mm) / 2
            if gap < 0:
                pairs += 1
                apart += one_is != other_is
    assert pairs >= 6
    assert apart <= pairs // 6


def test_a_hand_passes_through_the_picture_and_leaves():
    small = {"width": 640, "height": 360}
    with_hand, without = a_scene(hand=12.0, **small), a_scene(**small)
    seen = [float((cv2.absdiff(with_hand.draw(t / 4), without.draw(t / 4)).max(axis=2) > 20).mean()) for t in range(80)]
    assert max(seen) > 0.05
    assert seen.count(0.0) > 40
    assert 3 <= sum(before == 0.0 < after for before, after in itertools.pairwise(seen)) <= 5


@pytest.mark.parametrize("label", ["bolt", "gear", "nut", "screw", "washer", "foreign"])
def test_no_two_specimens_of_a_class_are_alike_and_each_is_the_same_twice(label):
    from edge.simulator.parts import draw

    pictures = [draw(label, number, 80.0).paint for number in range(6)]
    assert all(np.array_equal(draw(label, n, 80.0).paint, picture) for n, picture in enumerate(pictures))
    for n, one in enumerate(pictures):
        for other in pictures[n + 1 :]:
            assert one.shape != other.shape or np.abs(one.astype(int) - other).mean() > 1


def test_a_frame_costs_little():
    # Generous: it catches drawing items anew in each frame, not a slow machine.
    scene = Scene(World(SimulatorSettings()))
    for frame in range(300):
        scene.draw(frame / 60)
    began = time.process_time()
    for frame in range(300, 400):
        scene.draw(frame / 60)
    assert (time.process_time() - began) / 100 < 0.030

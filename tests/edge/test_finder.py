"""The Finder sees what lies on the belt, where it lies, and nothing else."""

from itertools import accumulate
from typing import Any

import numpy as np
import pytest

from edge.config import BeltSettings, Direction, ItemsSettings
from edge.finder import Finder, Found
from edge.outline import Outline, outlines
from edge.records import Box, Frame
from edge.simulator.scene import Scene
from edge.simulator.settings import SimulatorSettings
from edge.simulator.world import World
from edge.travel import Travel
from tests.edge.painted_belt import PaintedBelt, Painter, block, disc, off_by, soft_shadow, still


def finder(items: ItemsSettings | None = None, direction: Direction = "right") -> Finder:
    return Finder(items or ItemsSettings(), BeltSettings(pixels_per_mm=1.0, speed_mm_s=720.0, direction=direction))


def watch(find: Finder, belt: PaintedBelt, *items: Painter, frames: int = 30) -> list[list[Found]]:
    return [find.find(belt.frame(seq, *items)) for seq in range(frames)]


@pytest.mark.parametrize(
    "colour",
    [(30, 60, 210), (235, 235, 235), (35, 36, 34), (150, 90, 60), (80, 95, 135)],
    ids=["red", "white", "black", "blue", "as bright as the belt"],
)
def test_an_item_of_any_colour_is_found_within_a_pixel_of_its_centre(colour: tuple[int, int, int]) -> None:
    seen = watch(finder(), PaintedBelt(), disc(-30, 180, colour=colour), frames=50)
    whole = [(seq, one) for seq, found in enumerate(seen) for one in found if not (one.cut_entry or one.cut_exit)]
    assert len(whole) >= 45
    assert all(len(found) <= 1 for found in seen)
    offs = [off_by(one.box, -30 + 12 * seq + 0.5, 180.5) for seq, one in whole]
    assert float(np.median(offs)) <= 1.0
    assert max(offs) <= 2.0


def test_an_empty_belt_shows_nothing_at_all() -> None:
    assert not any(watch(finder(), PaintedBelt(noise=6.0), frames=40))


def test_items_in_the_very_first_picture_are_found_in_it() -> None:
    found = finder().find(PaintedBelt().frame(0, disc(120, 90), disc(400, 250)))
    assert sorted(round(one.box.centre[0] / 10) for one in found) == [12, 40]


def test_the_ends_of_the_picture_cut_an_item_and_the_finder_says_which() -> None:
    belt, find = PaintedBelt(px_per_frame=10), finder()
    seen = {seq: find.find(belt.frame(seq, disc(-25, 180))) for seq in range(70)}
    for seq, found in seen.items():
        centre = -25 + 10 * seq
        for one in found:
            assert one.cut_entry or centre >= 20 - 2
            assert one.cut_exit or centre <= 640 - 20 + 2
            assert not one.cut_side
    assert any(one.cut_entry for one in seen[3])
    assert any(one.cut_exit for one in seen[66])


def test_a_side_edge_that_cuts_an_item_is_told_from_the_ends() -> None:
    seen = watch(finder(), PaintedBelt(), disc(0, 5))
    assert all(len(found) == 1 for found in seen[5:])
    assert all(one.cut_side and not one.cut_entry for found in seen[5:] for one in found)


def test_a_soft_shadow_beside_an_item_does_not_enlarge_its_box() -> None:
    belt, find = PaintedBelt(), finder()
    for seq in range(30):
        found = find.find(belt.frame(seq, soft_shadow(50, 160, 60, 50, depth=0.4), block(40, 150, 50, 40)))
    assert len(found) == 1
    box = found[0].box
    assert abs(box.width - 50) <= 4
    assert abs(box.height - 40) <= 4


def test_a_shadow_alone_is_nothing() -> None:
    seen = watch(finder(), PaintedBelt(), soft_shadow(0, 120, 80, 70, depth=0.4, soft_px=8.0), frames=40)
    assert not any(seen)


def test_light_that_drifts_and_flickers_is_nothing() -> None:
    belt, find = PaintedBelt(), finder()
    for seq in range(120):
        belt.light = (1 + 0.3 * np.sin(seq / 20)) * (1 + 0.15 * np.sin(seq * 0.7))
        assert find.find(belt.frame(seq)) == []


def test_a_thin_scratch_and_a_faint_stain_that_travel_are_nothing() -> None:
    marks = block(0, 100, 90, 1, (160, 165, 160)), block(100, 200, 60, 40, (100, 110, 95))
    assert not any(watch(finder(), PaintedBelt(), *marks, frames=40))


def test_a_seam_across_the_whole_belt_is_nothing() -> None:
    assert not any(watch(finder(), PaintedBelt(), block(-60, 0, 14, 360, (40, 42, 38)), frames=40))


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_what_is_smaller_or_larger_than_an_item_may_be_is_left_out(scale: float) -> None:
    belt = BeltSettings(pixels_per_mm=scale, speed_mm_s=720.0 / scale)
    find = Finder(ItemsSettings(min_mm=30 / scale, max_mm=45 / scale), belt)
    seen = watch(find, PaintedBelt(), disc(80, 60, 10), disc(80, 130, 20), disc(80, 260, 75), frames=25)
    assert {round(one.box.centre[1]) for found in seen[12:] for one in found} <= {129, 130, 131}
    assert all(len(found) == 1 for found in seen[12:])


def test_what_is_a_little_longer_than_an_item_may_be_is_several_that_touch() -> None:
    seen = watch(finder(ItemsSettings(max_mm=60)), PaintedBelt(), block(0, 100, 90, 30), frames=25)
    assert all([one.touching for one in found] == [True] for found in seen[10:])


def test_only_the_region_of_interest_is_looked_at_and_boxes_are_in_the_whole_pictures_pixels() -> None:
    find = finder(ItemsSettings(roi=(100, 100, 400, 160)))
    belt = PaintedBelt()
    for seq in range(20):
        found = find.find(belt.frame(seq, disc(60, 50), disc(60, 180)))
    assert len(found) == 1
    assert off_by(found[0].box, 60 + 12 * 19 + 0.5, 180.5) <= 1.5
    far = find.find(belt.frame(20, disc(-140, 180)))
    assert len(far) == 1
    assert far[0].cut_entry


def test_what_lies_still_for_long_becomes_surroundings_but_a_known_item_never_does() -> None:
    belt, find, keeping = PaintedBelt(), finder(), finder()
    thing = still(disc(300, 180))
    for seq in range(60 * 6):
        frame = belt.frame(seq, *([thing] if seq > 30 else []))
        forgotten, kept = find.find(frame), keeping.find(frame, [Box(280, 160, 41, 41)] if seq > 30 else [])
        if seq == 60:
            assert len(forgotten) == len(kept) == 1
    assert (len(forgotten), len(kept)) == (0, 1)


def test_two_items_side_by_side_that_do_not_meet_are_two_that_do_not_touch() -> None:
    seen = watch(finder(), PaintedBelt(), disc(40, 150, 20), disc(40, 197, 20))
    assert all([one.touching for one in found] == [False, False] for found in seen[6:])


def test_two_items_that_meet_are_divided_and_said_to_touch() -> None:
    seen = watch(finder(), PaintedBelt(), disc(40, 150, 20), disc(79, 150, 20, (200, 120, 40)), frames=40)
    for seq, found in enumerate(seen[8:], start=8):
        assert [one.touching for one in found] == [True, True]
        centres = sorted(one.box.centre[0] for one in found)
        assert centres == pytest.approx([40 + 12 * seq, 79 + 12 * seq], abs=4)


def test_an_item_as_dark_as_a_shadow_is_seen_beside_a_bright_one_that_it_touches() -> None:
    # A red cap of another class, and a dark washer whose rim the light leaves open in some pictures.
    settings = SimulatorSettings(
        speed_mm_s=500, seed=61, rate=6.2, min_gap_mm=15, touching=0.2, rows=2, light_drift=0.2, flicker=0.1
    )
    belt = BeltSettings(pixels_per_mm=1.6, speed_mm_s=500)
    scene, find = Scene(World(settings)), Finder(ItemsSettings(max_mm=60), belt)
    looked = seen = 0
    for seq in range(90):
        found = find.find(Frame(seq, seq / 30, seq / 30 * 500, scene.draw(seq / 30)))
        box = next((box for item, box in scene.boxes(seq / 30) if item.id == 1), None)
        if box:
            looked += 1
            seen += any(one.box.overlap(box) > 0.5 * box.area and one.touching for one in found)
    assert looked > 20
    assert seen >= 0.95 * looked


@pytest.mark.parametrize("every", [(1,), (1, 3, 1, 2)], ids=["every picture", "pictures left out"])
def test_on_a_fast_belt_too_what_looks_the_same_is_not_measured_at_every_picture(
    every: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def counted(*window: Any) -> list[Outline]:
        calls.append(seq)
        return outlines(*window)

    monkeypatch.setattr("edge.finder.outlines", counted)
    belt, find = PaintedBelt(px_per_frame=45), finder()
    items = [disc(start, y) for start in range(-4000, 600, 240) for y in (80, 180, 280)]
    pictures = [seq for seq in range(80) if seq % sum(every) in accumulate((0, *every[:-1]))]
    found = 0
    for seq in pictures:
        whole = [one for one in find.find(belt.frame(seq, *items)) if not (one.cut_entry or one.cut_exit)]
        found += len(whole)
        for one in whole:
            assert (
                min(off_by(one.box, start + 45 * seq + 0.5, one.box.centre[1]) for start in range(-4000, 600, 240)) <= 2
            )
    assert found > 5 * len(pictures)
    # What comes in and goes out is measured at each, the rest at every FRESH-th picture.
    assert len(calls) < found / 2


def test_a_new_picture_size_starts_anew() -> None:
    find = finder()
    find.find(PaintedBelt().frame(0))
    small = np.full((120, 200, 3), 90, np.uint8)
    small[40:80, 60:100] = 200
    found = find.find(Frame(1, 0.1, 0.0, small))
    assert len(found) == 1
    assert found[0].box.overlap(Box(60, 40, 40, 40)) == 1600


def test_in_frame_mode_the_whole_picture_is_the_one_thing_found() -> None:
    found = finder(ItemsSettings(mode="frame")).find(Frame(0, 0.0, 0.0, np.zeros((48, 64, 3), np.uint8)))
    assert [one.box for one in found] == [Box(0, 0, 64, 48)]


@pytest.mark.parametrize("direction", ["right", "left", "down", "up"])
def test_every_drawn_part_is_found_where_it_lies_whichever_way_the_belt_runs(direction: Direction) -> None:
    settings = SimulatorSettings(speed_mm_s=800, rate=8, seed=5, direction=direction, min_gap_mm=20)
    scene, looked, seen, offs = Scene(World(settings)), 0, 0, []
    belt = BeltSettings(pixels_per_mm=settings.pixels_per_mm, speed_mm_s=800, direction=direction)
    find = Finder(ItemsSettings(), belt)
    for seq in range(90):
        found = find.find(Frame(seq, seq / 30, 0.0, scene.draw(seq / 30)))
        for _, box in scene.boxes(seq / 30) if seq > 30 else []:
            looked += 1
            mine = [one for one in found if one.box.overlap(box) > 0.4 * box.area]
            seen += len(mine) == 1
            offs += [off_by(one.box, *box.centre) for one in mine]
    assert looked > 150
    assert seen >= 0.98 * looked
    assert float(np.median(offs)) <= 2.0
    assert float(np.percentile(offs, 99)) <= 8.0


@pytest.mark.parametrize("direction", ["right", "left", "down", "up"])
def test_a_distance_along_the_belt_is_the_same_in_the_picture_whichever_way_the_belt_runs(direction: Direction) -> None:
    travel = Travel(direction, 640, 360)
    dx, dy = travel.vector(30.0)
    (before, side), (after, other) = travel.point(100, 80), travel.point(100 + dx, 80 + dy)
    assert (after - before, other - side) == (30.0, 0.0)

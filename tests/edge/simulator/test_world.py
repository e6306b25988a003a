import itertools
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clock import VirtualClock
from edge.errors import ConfigError
from edge.records import Box
from edge.simulator.settings import SimulatorSettings
from edge.simulator.world import Lane, World

LANES = (
    Lane("threaded", ("bolt", "screw", "nut"), 500.0),
    Lane("gears", ("gear",), 700.0),
    Lane("rest", default=True),
)


def a_world(start: float = 0.0, **keys) -> World:
    world = World(SimulatorSettings(**{"rate": 5.0, **keys}), start)
    world.lay_out(LANES)
    return world


def items_until(world: World, seconds: float) -> list:
    """Every item that is in view at some time up to a moment, in order."""
    seen = {}
    for tenth in range(int(seconds * 10)):
        seen.update({item.id: item for item in world.in_view(world.start + tenth / 10)})
    return [seen[number] for number in sorted(seen)]


def arrives(world: World, item, distance_mm: float) -> float:
    """The moment at which an item is in front of a diverter."""
    return world.start + world.motion.reaches(item.item_mm + distance_mm)


def sort_everything(world: World, seconds: float) -> None:
    """Pushes each item into its lane at the ideal moment, in the order of the moments."""
    distance = {lane.name: lane.distance_mm for lane in LANES}
    pushes = []
    for item in items_until(world, seconds):
        lane = world.expected_lane(item.label)
        if distance[lane] is not None:
            pushes.append((arrives(world, item, distance[lane]), lane, item.id))
    for at, lane, number in sorted(pushes):
        world.push(lane, at, 0.002, number)


def test_the_same_seed_gives_the_same_items_however_they_are_asked_for():
    often, rarely = a_world(rows=3, rate=12.0), a_world(rows=3, rate=12.0, fps=10)
    for tick in range(2000):
        often.in_view(tick / 100)
    assert often.in_view(20.0) == rarely.in_view(20.0)
    assert a_world(seed=2).in_view(5.0) != a_world(seed=3).in_view(5.0)


def test_the_belt_starts_at_the_given_moment_with_nothing_in_the_picture():
    world = a_world(start=1000.0)
    assert world.belt_mm(1000.0) == 0.0
    assert world.belt_mm(1002.0) == pytest.approx(1000.0)
    assert world.in_view(1000.0) == []
    assert world.in_view(1003.0)


@pytest.mark.parametrize("rows", [1, 3])
def test_items_never_overlap_and_keep_their_rate(rows):
    world = a_world(rows=rows, rate=8.0, min_gap_mm=6.0)
    items = items_until(world, 300)
    assert len(items) == pytest.approx(8.0 * 300, rel=0.1)
    by_row: dict[int, list] = {}
    band_mm = 720 / 1.6 * 0.94 / rows
    for item in items:
        by_row.setdefault(int((item.across_mm + band_mm * rows / 2) // band_mm), []).append(item)
    assert len(by_row) == rows
    for row in by_row.values():
        for one, after in itertools.pairwise(row):
            gap_mm = after.item_mm - one.item_mm - (after.along_mm + one.along_mm) / 2
            assert gap_mm >= 6.0 - 1e-6


def test_touching_items_lie_against_each_other_and_the_rate_stays():
    world = a_world(rate=5.0, touching=0.5)
    items = items_until(world, 300)
    gaps = [
        after.item_mm - one.item_mm - (after.along_mm + one.along_mm) / 2 for one, after in itertools.pairwise(items)
    ]
    assert sum(gap < 0 for gap in gaps) / len(gaps) == pytest.approx(0.5 / 1.5, abs=0.05)
    assert len(items) == pytest.approx(5.0 * 300, rel=0.1)


def test_a_push_at_the_right_moment_takes_the_right_item():
    world = a_world()
    item = next(i for i in items_until(world, 10) if i.label == "gear")
    assert world.push("gears", arrives(world, item, 700.0), 0.002, meant=item.id) == item.id
    ending = next(e for e in world.truth(60.0).endings if e.item.id == item.id)
    assert (ending.expected, ending.actual) == ("gears", "gears")
    assert world.truth(60.0).wrong_pushes == 0


@pytest.mark.parametrize("off_mm", [-11.0, 11.0])
def test_a_push_that_is_off_by_more_than_the_reach_takes_nothing(off_mm):
    world = a_world(min_gap_mm=40.0, rate=3.0)
    item = items_until(world, 10)[0]
    at = world.motion.reaches(item.item_mm + 500.0 + off_mm)
    assert world.push("threaded", at, 0.0) is None
    truth = world.truth(60.0)
    assert truth.pushes == truth.wrong_pushes == 1
    assert truth.pushes_seen[0].hits == ()


def test_a_push_says_how_far_off_it_was():
    world = a_world()
    item = items_until(world, 10)[0]
    world.push("threaded", world.motion.reaches(item.item_mm + 500.0 + 4.0), 0.002)
    assert world.truth(60.0).pushes_seen[0].off_mm == pytest.approx(4.0, abs=1e-3)


def test_a_blade_that_stays_out_takes_along_what_comes():
    world = a_world(rate=8.0)
    one, after = items_until(world, 10)[:2]
    at = arrives(world, one, 500.0)
    stays = (after.item_mm - one.item_mm) / 500.0
    assert world.push("threaded", at, stays, meant=one.id) == one.id
    truth = world.truth(60.0)
    assert truth.pushes_seen[0].hits == (one.id, after.id)
    assert truth.wrong_pushes == 1


def test_an_item_that_was_pushed_off_cannot_be_hit_again():
    world = a_world(rate=3.0, min_gap_mm=40.0)
    item = items_until(world, 10)[0]
    assert world.push("threaded", arrives(world, item, 500.0), 0.002) == item.id
    assert world.push("gears", arrives(world, item, 700.0), 0.002) is None
    ending = next(e for e in world.truth(60.0).endings if e.item.id == item.id)
    assert ending.actual == "threaded"


def test_what_was_pushed_off_does_not_come_back_into_the_picture_with_a_belt_that_runs_backwards():
    world = a_world(motion="reverse", speed_mm_s=2000, rate=10.0)
    moments = [tenth / 10 for tenth in range(100)]
    back = next(at for at, later in itertools.pairwise(moments) if world.belt_mm(later) < world.belt_mm(at))
    seen_twice = {item.id for item in world.in_view(back)}
    again = max(at for at in moments if back < at < back + 4 and seen_twice & {i.id for i in world.in_view(at)})
    item = next(item for item in world.in_view(again) if item.id in seen_twice)
    pushed_at = (back + again) / 2  # wherever it is then: it is the world that is looked at, not the aim
    lane = world._lanes["threaded"]
    world.lay_out([Lane("threaded", lane.classes, world.belt_mm(pushed_at) - item.item_mm), *LANES[1:]])
    assert world.push("threaded", pushed_at, 0.002) == item.id
    assert item not in world.in_view(again)
    assert item in world.in_view(back)  # it was there


def test_what_has_run_off_the_belts_end_does_not_come_back_into_the_picture_either():
    world = a_world(motion="reverse", speed_mm_s=2000, rate=10.0)
    moments = [tenth / 10 for tenth in range(100)]
    turns = next(at for at, later in itertools.pairwise(moments) if world.belt_mm(later) < world.belt_mm(at))
    furthest = world.motion.peak_mm(turns + 1)
    end_mm = 700.0 + 20.0 / 2
    backwards = [at for at in moments if turns < at < turns + 3]
    seen = [item for at in backwards for item in world.in_view(at)]
    assert seen
    assert all(furthest - item.item_mm < end_mm for item in seen)
    assert any(furthest - item.item_mm > 450.0 for item in seen)  # some come back from behind the picture


def test_pushes_at_the_ideal_moments_sort_everything():
    world = a_world()
    sort_everything(world, 60)
    truth = world.truth(60.0)
    assert truth.items > 250
    assert (truth.misplaced, truth.sort_accuracy, truth.wrong_pushes) == (0, 1.0, 0)
    assert all(truth.purity(lane.name) == truth.yield_(lane.name) == 1.0 for lane in LANES)


@pytest.mark.parametrize("name", ["ramps", "stop_and_go", "reverse"])
def test_a_belt_that_stops_or_reverses_is_sorted_by_its_position(name):
    world = a_world(motion=name)
    sort_everything(world, 60)
    truth = world.truth(60.0)
    assert truth.items > 80
    assert truth.misplaced == truth.wrong_pushes == 0


def test_without_pushes_everything_ends_in_the_default_lane():
    truth = (world := a_world()).truth(60.0)
    assert {actual for _, _, actual in truth.outcomes} == {"rest"}
    wrong = sum(n for (label, _, _), n in truth.outcomes.items() if label not in {"washer", "foreign"})
    assert truth.misplaced == wrong
    assert truth.purity("gears") is None
    assert truth.yield_("gears") == 0.0
    assert world.expected_lane("foreign") == "rest"


@settings(max_examples=40, deadline=None)
@given(pushes=st.lists(st.tuples(st.floats(0, 40), st.sampled_from(["threaded", "gears"])), max_size=60))
def test_every_item_that_passed_ends_in_exactly_one_lane(pushes):
    world = a_world(rate=8.0)
    for at, lane in sorted(pushes):
        world.push(lane, at, 0.05)
    truth = world.truth(40.0)
    passed = [item for item in items_until(world, 40) if item.item_mm + 700.0 + 10.0 < world.belt_mm(40.0)]
    assert [ending.item for ending in truth.endings] == passed
    pushed = [number for push in truth.pushes_seen for number in push.hits]
    assert len(pushed) == len(set(pushed))
    assert truth.items == len(passed)
    assert sum(e.actual != "rest" for e in truth.endings) == len(set(pushed) & {item.id for item in passed})


def test_what_is_settled_is_counted_all_the_same():
    often, once = a_world(), a_world()
    sort_everything(often, 40)
    sort_everything(once, 40)
    for second in range(30):
        often.settle(float(second))
    assert often.truth(40.0).outcomes == once.truth(40.0).outcomes
    assert often.truth(40.0).endings == once.truth(40.0).endings
    assert often.in_view(39.0) == once.in_view(39.0)


def test_only_items_that_crossed_the_picture_while_the_camera_watched_count():
    world = a_world()
    everything = items_until(world, 60)
    for frame in range(600, 1200):
        world.watch(frame / 60)
    counted = [ending.item for ending in world.truth(60.0).endings]
    first_mm, last_mm, half_mm = world.belt_mm(10.0), world.belt_mm(1199 / 60), world.settings.field_mm / 2
    assert counted == [
        item
        for item in everything
        if item.item_mm - item.along_mm / 2 - half_mm >= first_mm
        and item.item_mm + item.along_mm / 2 + half_mm <= last_mm
    ]
    assert counted


def test_a_box_in_the_picture_is_told_from_its_neighbours():
    world = a_world()
    for item in world.in_view(8.0):
        x, y = world.centre_px(item, 8.0)
        assert world.identify(8.0, Box(round(x) - 15, round(y) - 15, 30, 30)) == item.id
    assert world.identify(0.0, Box(600, 300, 50, 50)) is None


def test_the_encoder_counts_the_belt_both_ways():
    world, clock = a_world(motion="reverse", period_s=2.0), VirtualClock()
    encoder = world.encoder(clock, counts_per_mm=4.0)
    counts = []
    for tick in range(400):
        clock.advance(tick / 100)
        counts.append(encoder.read())
        assert abs(counts[-1] - 4.0 * world.belt_mm(clock.now())) <= 1.0
    steps = [b - a for a, b in itertools.pairwise(counts)]
    assert min(steps) < 0 < max(steps)


def test_a_real_belt_that_is_faster_than_said_is_so_by_the_error():
    assert a_world(speed_error=0.1).belt_mm(10.0) == pytest.approx(5500.0)


def test_a_push_of_a_lane_without_a_diverter_is_an_error():
    with pytest.raises(ConfigError, match="'rest' has no diverter"):
        a_world().push("rest", 1.0)


def test_lanes_without_a_default_are_an_error():
    with pytest.raises(ConfigError, match="exactly one lane"):
        a_world().lay_out(LANES[:2])


def test_threads_that_push_at_once_never_share_an_item():
    world = a_world(rate=8.0)
    moments = [arrives(world, item, 500.0) for item in items_until(world, 30)]
    hits: list[int | None] = []

    def push_all() -> None:
        for at in moments:
            hits.append(world.push("threaded", at, 0.0))

    threads = [threading.Thread(target=push_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [number for push in world.truth(60.0).pushes_seen for number in push.hits]
    assert len(taken) == len(set(taken)) >= len(moments)
    assert len(hits) == 4 * len(moments)

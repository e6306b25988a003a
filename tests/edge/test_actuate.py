"""The hand: every item acted on at its own millimetre, never late, and ended exactly once."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.actuate import DECIDE_AHEAD_S, Hand
from edge.belt import ConstantBelt
from edge.clock import MonotonicClock, VirtualClock
from edge.config import LineConfig
from edge.ledger import Ledger, Life
from edge.outputs.callback import Callback
from edge.records import Actuation, Box, Decision, Incident, Item, Scope
from tests.edge import own_parts
from tests.edge.own_parts import Blade, Slow

SPEED = 500.0
SLOW_SPEED = 50.0  # a machine that is busy for a moment carries nothing past its place


def config(also: dict[str, object] | None = None, **gate: object) -> LineConfig:
    """A diverter with the keys of `gate`, and one behind it with those of `also`."""
    return LineConfig.parse(
        {
            "model": {"path": "t.onnx"},
            "camera": {"source": 0},
            "belt": {"pixels_per_mm": 1, "speed_mm_s": SPEED},
            "lanes": [
                {"name": "good", "classes": ["bolt"], "output": "gate", "distance_mm": 400},
                *([{"name": "fine", "classes": ["nut"], "output": "arm", "distance_mm": 430}] if also else []),
                {"name": "rest", "default": True},
            ],
            "outputs": {
                "gate": {"type": "tests.edge.own_parts:Blade", "pulse_ms": 10, **gate},
                **({"arm": {"type": "tests.edge.own_parts:Blade", **also}} if also else {}),
            },
        }
    )


class Bench:
    """A hand with its ledger on a virtual clock; every undecided item that comes due is sent to `lane`."""

    def __init__(self, lane: str = "good", also: dict[str, object] | None = None, **gate: object) -> None:
        self.config = config(also, **gate)
        self.clock = VirtualClock()
        self.belt = ConstantBelt(SPEED, 0.0)
        self.ledger = Ledger()
        self.lock = self.ledger.lock
        blades = {name: Blade(name, one) for name, one in self.config.outputs.items()}
        self.blade = blades["gate"]
        self.lane = lane
        self.pushes: list[tuple[Actuation, float]] = []
        self.incidents: list[Incident] = []
        self.ends: dict[int, str] = {}
        self.decided_at: dict[int, float] = {}
        self.hand = Hand(
            self.config, blades, self.ledger, self.belt, self.clock, self,  # type: ignore[arg-type]
            resolve=self.resolve, on_fired=lambda a, at: self.pushes.append((a, at)),
        )  # fmt: skip

    # The herald's part: it only remembers.
    def ended(self, life: Life, outcome: str) -> None:
        self.ends[life.item.id] = outcome

    def fired(self, actuation: Actuation, fired_at: float) -> None:
        pass

    def trouble(self) -> None:
        pass

    def tell(
        self, name: str, scope: Scope, cause: str, action: str, item_id: int | None = None, *, recovered: bool = False
    ) -> None:
        self.incidents.append(Incident(name, scope, self.clock.now(), 0.0, cause, action, item_id, recovered))

    def bear(self, item_id: int, item_mm: float, length_mm: float = 20.0) -> Life:
        with self.lock:
            life = self.ledger.bear(Item(item_id, 0, 0.0, 0.0, Box(0, 0, 9, 9), item_mm, length_mm))
            self.hand.plan(life)
        return life

    def resolve(self, life: Life) -> None:
        item, now = life.item, self.clock.now()
        self.decided_at[item.id] = now
        decision = Decision(
            item.id, self.lane, "bolt", 1.0, {"bolt": 1.0}, "classified", 0, 0.0, now, None, 0.0, item.box
        )
        self.ledger.decide(life, decision)
        self.hand.follow(life)


def test_an_item_is_pushed_when_the_belt_has_carried_it_to_its_diverter() -> None:
    bench = Bench()
    bench.bear(1, item_mm=100)
    bench.hand.run_until(10)
    ((push, fired_at),) = bench.pushes
    assert push.item_id == 1
    assert push.fire_mm == 500
    assert fired_at == pytest.approx(500 / SPEED)
    assert bench.ends == {1: "fired"}


def test_the_command_leaves_ahead_by_the_outputs_lead() -> None:
    bench = Bench(lead_ms=40)
    bench.bear(1, item_mm=100)
    bench.hand.run_until(10)
    assert bench.pushes[0][1] == pytest.approx(1.0 - 0.040)


def test_an_undecided_item_is_decided_just_before_its_point_of_no_return() -> None:
    bench = Bench(lead_ms=40)
    bench.bear(1, item_mm=100)
    bench.hand.run_until(10)
    assert bench.decided_at[1] == pytest.approx(1.0 - 0.040 - DECIDE_AHEAD_S)


def test_an_item_for_the_default_lane_passes_the_end_of_the_belt_unpushed() -> None:
    bench = Bench(lane="rest")
    bench.bear(1, item_mm=100)
    bench.hand.run_until(10)
    assert bench.pushes == []
    assert bench.ends == {1: "passed"}


def test_items_are_pushed_by_identity_not_in_the_order_of_their_birth() -> None:
    bench = Bench()
    bench.bear(1, item_mm=300)
    bench.bear(2, item_mm=100)
    bench.hand.run_until(10)
    assert [push.item_id for push, _ in bench.pushes] == [2, 1]


def test_what_comes_due_too_late_is_missed_and_never_pushed() -> None:
    bench = Bench()
    bench.bear(1, item_mm=100)
    bench.clock.advance((500 + bench.hand.geometry.tolerance_mm + 1) / SPEED)
    bench.hand.run_until(10)
    assert bench.pushes == []
    assert bench.ends == {1: "missed"}
    assert [one.name for one in bench.incidents] == ["missed_deadline"]


def test_a_neighbour_in_the_diverters_reach_keeps_the_diverter_still() -> None:
    bench = Bench()
    first, second = bench.bear(1, item_mm=100), bench.bear(2, item_mm=115)
    assert bench.hand.neighbour(first.item, "good") is second.item
    bench.lane = "good"
    with bench.lock:
        bench.resolve(first)
    bench.lane = "rest"
    bench.hand.run_until(10)
    assert bench.pushes == []
    assert bench.ends == {1: "missed", 2: "passed"}
    assert [one.name for one in bench.incidents] == ["diverter_blocked"]


def test_an_item_that_nobody_can_tell_from_another_any_more_is_not_pushed() -> None:
    bench = Bench()
    life = bench.bear(1, item_mm=100)
    bench.hand.run_until(0.995)
    assert life.decision is not None
    life.doubtful = True
    bench.hand.run_until(10)
    assert bench.pushes == []
    assert bench.ends == {1: "missed"}
    assert [one.name for one in bench.incidents] == ["item_ambiguous"]


def test_what_may_follow_unseen_when_the_pictures_stop_keeps_the_diverter_still() -> None:
    bench = Bench()
    for position in (0, 10, 20):
        bench.hand.blind.saw(position, half_mm=150)
    bench.bear(1, item_mm=100)
    bench.bear(2, item_mm=145)  # its end had just come in
    bench.hand.run_until(10)
    assert bench.ends == {1: "fired", 2: "missed"}
    assert [(one.name, one.item_id) for one in bench.incidents] == [("diverter_blocked", 2)]


def test_neighbours_bound_for_the_same_lane_do_not_block_each_other() -> None:
    bench = Bench()
    first, second = bench.bear(1, item_mm=100), bench.bear(2, item_mm=115)
    with bench.lock:
        bench.resolve(first)
        bench.resolve(second)
    bench.hand.run_until(10)
    assert bench.ends == {1: "fired", 2: "fired"}


def test_a_jammed_output_is_an_incident_and_its_item_is_missed() -> None:
    bench = Bench(fails=True)
    bench.bear(1, item_mm=100)
    bench.hand.run_until(10)
    assert bench.ends == {1: "missed"}
    assert "the blade is jammed" in bench.incidents[0].cause


def test_an_output_that_is_reached_again_is_well_though_nothing_has_been_pushed_since() -> None:
    bench = Bench(fails=True)
    gone = "the blade is jammed"
    bench.bear(1, 0.0)
    bench.hand.run_until(1.0)
    assert bench.hand.trouble() == f"outputs.gate: {gone}"
    bench.blade.report("output_unreachable", gone, "tried again")
    bench.blade.report("diverter_out", f"{gone}: it is out", "tried again")
    assert bench.hand.trouble() == f"outputs.gate: {gone}: it is out", "what is said once more is said once"
    bench.blade.report("diverter_out", "it is back", "pushes are made again", recovered=True)
    assert bench.hand.trouble() == f"outputs.gate: {gone}"
    bench.blade.report("output_unreachable", "is reached again", "pushes are made again", recovered=True)
    assert bench.hand.trouble() is None


def test_a_diverter_is_not_pushed_again_within_its_repeat_time() -> None:
    bench = Bench(repeat_ms=200)
    bench.bear(1, item_mm=100)
    bench.bear(2, item_mm=150)
    bench.bear(3, item_mm=250)
    bench.hand.run_until(10)
    assert bench.ends == {1: "fired", 2: "missed", 3: "fired"}
    assert bench.incidents[0].name == "diverter_busy"


def test_a_paused_line_lets_everything_pass() -> None:
    bench = Bench()
    bench.hand.permit.paused = True
    bench.bear(1, item_mm=100)
    bench.hand.run_until(10)
    assert bench.ends == {1: "passed"}


def test_outputs_that_are_not_armed_never_move_until_they_are() -> None:
    bench = Bench()
    bench.hand.permit.armed = False
    bench.bear(1, item_mm=100)
    bench.hand.run_until(10)
    assert (bench.ends, bench.blade.pushes) == ({1: "passed"}, [])
    bench.hand.permit.armed = True
    bench.bear(2, item_mm=bench.clock.now() * SPEED + 100)
    bench.hand.run_until(20)
    assert bench.ends == {1: "passed", 2: "fired"}


def test_a_push_that_waits_while_the_permit_is_taken_back_is_not_made() -> None:
    bench = Bench()
    hand_over = bench.hand._hand_over

    def slowly(actuation: Actuation) -> None:
        bench.hand.permit.armed = False  # somebody reaches into the belt just now
        hand_over(actuation)

    bench.hand._hand_over = slowly  # type: ignore[method-assign]
    bench.bear(1, item_mm=100)
    bench.hand.run_until(10)
    assert (bench.ends, bench.blade.pushes) == ({1: "passed"}, [])


def test_a_shift_that_shows_while_a_push_waits_holds_that_push_back() -> None:
    bench = Bench()
    hand_over = bench.hand._hand_over

    def slowly(actuation: Actuation) -> None:
        bench.hand.confirm.held = "lane good: items come out later than they should"
        hand_over(actuation)

    bench.hand._hand_over = slowly  # type: ignore[method-assign]
    bench.bear(1, item_mm=100)
    bench.hand.run_until(10)
    assert (bench.ends, bench.blade.pushes) == ({1: "passed"}, [])


def test_two_lanes_diverters_act_on_their_own_each_with_its_own_lead_pulse_and_repeat_time() -> None:
    bench = Bench(also={"lead_ms": 30, "pulse_ms": 20, "repeat_ms": 0}, repeat_ms=300, fails=True)
    for item_id, item_mm in ((1, 100), (2, 160), (3, 220), (4, 280)):
        life = bench.bear(item_id, item_mm)
        bench.lane = "good" if item_id % 2 else "fine"
        with bench.lock:
            bench.resolve(life)
    bench.hand.run_until(10)
    # One diverter is jammed, and then must rest; the other one pushes both of its own all the same.
    assert bench.ends == {1: "missed", 2: "fired", 3: "missed", 4: "fired"}
    assert [one.name for one in bench.incidents] == ["output_failed", "diverter_busy"]
    places = {push.item_id: (push.output, push.pulse_s, at + 0.030) for push, at in bench.pushes}
    assert places == {
        2: ("arm", 0.020, pytest.approx((160 + 430) / SPEED)),
        4: ("arm", 0.020, pytest.approx((280 + 430) / SPEED)),
    }


def test_one_late_act_makes_no_later_one_late() -> None:
    bench = Bench()
    bench.hand.act_late(iter([0.0, 0.008, *[0.0] * 200]))
    for item_id in range(20):
        bench.bear(item_id, item_mm=100 + 50 * item_id)
    bench.hand.run_until(10)
    late = [at - push.fire_mm / SPEED for push, at in bench.pushes]
    assert sum(one > 1e-6 for one in late) == 1
    assert set(bench.ends.values()) == {"fired"}


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.floats(0, 200), min_size=1, max_size=30),
    jumps=st.lists(st.floats(0.001, 0.6), min_size=1, max_size=40),
    lanes=st.lists(st.sampled_from(["good", "rest"]), min_size=1, max_size=30),
)
def test_every_item_born_ends_exactly_once_however_the_time_jumps(
    gaps: list[float], jumps: list[float], lanes: list[str]
) -> None:
    bench = Bench()
    places = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    order = iter(range(10_000))
    for jump in jumps:
        if places and (n := next(order)) is not None:
            bench.bear(n, places.pop(0))
        bench.lane = lanes[len(places) % len(lanes)]
        # A machine that was busy elsewhere: the clock has moved on before anything could be done.
        bench.clock.advance(bench.clock.now() + jump)
        bench.hand.run_until(bench.clock.now())
        assert bench.ledger.balanced()
    bench.hand.run_until(1000)
    assert len(bench.ledger) == 0
    assert bench.ledger.balanced()
    for push, fired_at in bench.pushes:
        assert bench.belt.position_mm(fired_at) - push.fire_mm <= bench.hand.geometry.tolerance_mm + 1e-6


def test_a_slow_output_delays_no_other_and_the_hand_stops_in_time() -> None:
    clock = MonotonicClock()
    line = LineConfig.parse(
        {
            "model": {"path": "t.onnx"},
            "camera": {"source": 0},
            "belt": {"pixels_per_mm": 1, "speed_mm_s": SPEED},
            "lanes": [
                {"name": "slow", "classes": ["nut"], "output": "slow", "distance_mm": 100},
                {"name": "good", "classes": ["bolt"], "output": "gate", "distance_mm": 110},
                {"name": "rest", "default": True},
            ],
            "outputs": {
                "slow": {"type": "tests.edge.own_parts:Slow"},
                "gate": {"type": "tests.edge.own_parts:Blade"},
            },
        }
    )
    slow, blade = Slow("slow", line.outputs["slow"]), Blade("gate", line.outputs["gate"])
    ledger, fired, now = Ledger(), threading.Event(), clock.now()
    bench = Bench()
    hand = Hand(
        line, {"slow": slow, "gate": blade}, ledger, ConstantBelt(SPEED, now), clock, bench,  # type: ignore[arg-type]
        resolve=lambda life: None, on_fired=lambda a, at: fired.set() if a.output == "gate" else None,
    )  # fmt: skip
    hand.start()
    try:
        with ledger.lock:
            for item_id, lane in ((1, "slow"), (2, "good")):
                life = ledger.bear(Item(item_id, 0, now, 0.0, Box(0, 0, 9, 9), 20.0 + 200 * item_id, 10.0))
                decision = Decision(item_id, lane, "x", 1.0, {}, "classified", 0, now, now, None, 0.0, Box(0, 0, 9, 9))
                ledger.decide(life, decision)
                hand.follow(life)
        assert slow.entered.wait(5)
        assert fired.wait(5), "the blade must not wait for the slow output"
    finally:
        slow.go_on.set()
        hand.stop()
    assert ledger.outcomes["fired"] == 2


class Counting(MonotonicClock):
    """Counts how often somebody goes to sleep."""

    def __init__(self) -> None:
        self.waits = 0

    def wait(self, condition: threading.Condition, until: float) -> None:
        self.waits += 1
        super().wait(condition, until)


@contextmanager
def acting(clock: MonotonicClock) -> Iterator[tuple[Hand, Bench]]:
    """A hand with its threads on a belt that begins to run now."""
    bench = Bench()
    bench.clock, bench.belt = clock, ConstantBelt(SPEED, clock.now())  # type: ignore[assignment]
    bench.hand = Hand(
        bench.config, {"gate": bench.blade}, bench.ledger, bench.belt, clock, bench,  # type: ignore[arg-type]
        resolve=bench.resolve, on_fired=lambda a, at: bench.pushes.append((a, at)),
    )  # fmt: skip
    bench.hand.start()
    try:
        yield bench.hand, bench
    finally:
        bench.hand.stop()


def test_a_push_is_told_how_long_its_item_stays_within_reach() -> None:
    with acting(MonotonicClock()) as (hand, bench):
        bench.bear(1, item_mm=-350)
        wait_for(lambda: bench.ends)
        most_s = hand.geometry.tolerance_mm / SPEED
    (push,) = bench.blade.pushes
    assert 0 < push.within_s <= most_s + 1e-6


def test_the_hand_sleeps_until_something_is_due_instead_of_looking_again_and_again() -> None:
    with acting(clock := Counting()) as (_, bench):
        for item_id in range(3):
            bench.bear(item_id, item_mm=-250 + 60 * item_id)
        wait_for(lambda: len(bench.ends) == 3)
    # Each item is decided, handed over and pushed, and each of these may be waited for in a few goes.
    assert clock.waits <= 3 * 10


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="only Linux tells how a thread is scheduled")
def test_the_hand_and_the_outputs_ask_for_real_time_priority_and_a_sentence_says_where_it_is_not_granted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with acting(MonotonicClock()) as (_, bench):
        bench.bear(1, item_mm=-350)
        wait_for(lambda: bench.ends)
        threads = [one for one in threading.enumerate() if one.name in {"sortline-hand", "sortline-output-gate"}]
        kinds = {one.name: os.sched_getscheduler(one.native_id or 0) for one in threads}
    assert len(kinds) == 2
    if "real-time priority was not granted" in caplog.text:
        assert set(kinds.values()) == {os.SCHED_OTHER}
        assert "grant it with the capability CAP_SYS_NICE" in caplog.text
    else:
        assert set(kinds.values()) == {os.SCHED_FIFO}


def test_where_the_system_grants_no_real_time_priority_a_sentence_says_so_and_the_hand_acts_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refused)
    with acting(MonotonicClock()) as (_, bench):
        bench.bear(1, item_mm=-350)
        wait_for(lambda: bench.ends)
    assert caplog.text.count("real-time priority was not granted (Operation not permitted)") == 1


class Hung:
    """A running hand whose only output calls a function that does not come back until it is let go."""

    def __init__(self) -> None:
        own_parts.let_go.clear()
        self.config = config(type="callback", function="tests.edge.own_parts:hang")
        self.clock, self.ledger, self.told = MonotonicClock(), Ledger(), Bench()
        self.fired: list[int] = []
        self.began = self.clock.now()
        output = Callback("gate", self.config.outputs["gate"])
        belt = ConstantBelt(SLOW_SPEED, self.began)
        self.hand = Hand(
            self.config, {"gate": output}, self.ledger, belt, self.clock, self.told,  # type: ignore[arg-type]
            resolve=lambda life: None, on_fired=lambda push, at: self.fired.append(push.item_id),
        )  # fmt: skip
        self.hand.start()

    def send(self, item_id: int, in_s: float) -> None:
        """An item that comes to the diverter after so many seconds."""
        now = self.clock.now()
        item_mm = (now + in_s - self.began) * SLOW_SPEED - 400
        with self.ledger.lock:
            life = self.ledger.bear(Item(item_id, 0, now, 0.0, Box(0, 0, 9, 9), item_mm, 10.0))
            decision = Decision(item_id, "good", "x", 1.0, {}, "classified", 0, now, now, None, 0.0, Box(0, 0, 9, 9))
            self.ledger.decide(life, decision)
            self.hand.follow(life)


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


@pytest.fixture
def hung() -> Iterator[Hung]:
    hung = Hung()
    yield hung
    own_parts.let_go.set()
    hung.hand.stop()


def test_an_output_that_hangs_is_named_while_the_line_runs_and_its_items_are_missed(hung: Hung) -> None:
    hung.send(1, 0.1)
    hung.send(2, 0.3)
    hung.send(3, 2.5)
    wait_for(lambda: hung.told.ends.keys() == {1, 2, 3})
    assert set(hung.told.ends.values()) == {"missed"}
    assert hung.ledger.balanced()
    named = [(one.name, one.item_id) for one in hung.told.incidents]
    assert named == [("missed_deadline", 2), ("output_stuck", 1), ("output_stuck", 3)]
    assert "outputs.gate: tests.edge.own_parts:hang has not come back for" in hung.told.incidents[1].cause
    assert "tests.edge.own_parts:hang has not come back" in (hung.hand.trouble() or "")


def test_an_output_that_comes_back_makes_no_late_push_and_is_used_again(hung: Hung) -> None:
    hung.send(1, 0.1)
    hung.send(2, 0.3)
    wait_for(hung.hand.trouble)
    own_parts.let_go.set()
    wait_for(lambda: hung.told.incidents[-1].recovered)
    assert hung.told.incidents[-1].name == "output_stuck"
    assert "has come back after" in hung.told.incidents[-1].cause
    assert hung.hand.trouble() is None
    hung.send(3, 0.5)
    wait_for(lambda: 3 in hung.told.ends)
    assert hung.fired == [3]
    assert hung.told.ends == {1: "missed", 2: "missed", 3: "fired"}


def test_a_stop_during_a_hang_names_the_hang(hung: Hung) -> None:
    hung.send(1, 0.1)
    wait_for(lambda: hung.hand._hangs.item("gate") == 1)
    hung.hand.stop()
    assert hung.told.ends == {1: "missed"}
    assert [one.name for one in hung.told.incidents] == ["output_stuck"]

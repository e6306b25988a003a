"""Confirmed exits: what was pushed is seen to come out, or does not count; a line that lost count stops pushing."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.actuate import Hand
from edge.belt import ConstantBelt
from edge.clock import Clock, VirtualClock
from edge.config import LineConfig
from edge.confirm import LATE_S, PROVEN, SHIFTED
from edge.errors import OutputError
from edge.eyes import Edge, EyeSettings
from edge.ledger import Ledger, Life
from edge.line import Line
from edge.outputs import Output
from edge.records import Actuation, Box, Decision, Incident, Item, Scope
from edge.replay import replay
from tests.edge.discs import disc_line, write_discs
from tests.edge.own_parts import Blade
from tests.edge.squares import SPEED_MM_S
from tests.edge.tiny_model import write_model

SPEED = 500.0
PITCH = 120.0
LENGTH = 40.0
# From the diverter at 400 mm to the beam at 500 mm, where the front edge comes half a length earlier.
EXIT_MM = 500 - LENGTH / 2


class Belt(ConstantBelt):
    """A belt that may be unknown, as one whose encoder is silent."""

    lost = False

    def known(self) -> bool:
        return not self.lost


class Gate(Output):
    """Calls back in the midst of its push."""

    def fire(self, actuation: Actuation) -> None:
        self.meanwhile(actuation)

    def meanwhile(self, actuation: Actuation) -> None:
        """To be replaced."""


class Bench:
    """A hand on a virtual clock with a photo-eye behind its one gate; exits are told by hand."""

    def __init__(self) -> None:
        config = LineConfig.parse(
            {
                "model": {"path": "t.onnx"},
                "camera": {"source": 0},
                "belt": {"pixels_per_mm": 1, "speed_mm_s": SPEED},
                "lanes": [
                    {
                        "name": "good",
                        "classes": ["bolt"],
                        "output": "gate",
                        "distance_mm": 400,
                        "confirm": {"type": "http", "distance_mm": 500, "window_mm": 20},
                    },
                    {"name": "rest", "default": True},
                ],
                "outputs": {"gate": {"type": "tests.edge.test_confirm:Gate", "pulse_ms": 10}},
            }
        )
        self.clock, self.belt, self.ledger = VirtualClock(), Belt(SPEED, 0.0), Ledger()
        self.gate = Gate("gate", config.outputs["gate"])
        self.watching_since = 0.0
        self.lanes: dict[int, str] = {}
        self.pushes: list[int] = []
        self.incidents: list[Incident] = []
        self.ends: dict[int, str] = {}
        self.doubtful: set[int] = set()  # on their way to the gate when a shift showed
        self.at_shift: Callable[[], None] = lambda: None
        self.hand = Hand(
            config, {"gate": self.gate}, self.ledger, self.belt, self.clock, self,  # type: ignore[arg-type]
            resolve=self.resolve, on_fired=lambda a, at: self.pushes.append(a.item_id),
            watching_since=lambda lane: self.watching_since,
        )  # fmt: skip

    # The herald's part: it only remembers.
    def ended(self, life: Life, outcome: str) -> None:
        self.ends[life.item.id] = outcome

    def trouble(self) -> None:
        pass

    def fired(self, actuation: Actuation, fired_at: float) -> None:
        pass

    def tell(
        self, name: str, scope: Scope, cause: str, action: str, item_id: int | None = None, *, recovered: bool = False
    ) -> None:
        self.incidents.append(Incident(name, scope, self.clock.now(), 0.0, cause, action, item_id, recovered))
        if name == "exit_shift" and not recovered:
            self.doubtful |= {life.item.id for life in self.ledger if life.todo in {"decide", "fire"}}
            self.at_shift()

    @property
    def told(self) -> list[str]:
        return [one.name for one in self.incidents]

    def bear(self, item_id: int, item_mm: float, lane: str = "good") -> None:
        with self.ledger.lock:
            self.lanes[item_id] = lane
            life = self.ledger.bear(Item(item_id, 0, 0.0, 0.0, Box(0, 0, 9, 9), item_mm, LENGTH))
            self.hand.plan(life)

    def resolve(self, life: Life) -> None:
        item, now = life.item, self.clock.now()
        lane = self.lanes[item.id]
        decision = Decision(item.id, lane, "x", 1.0, {}, "classified", 0, 0.0, now, None, 0.0, item.box)
        self.ledger.decide(life, decision)
        self.hand.follow(life)

    def run(self, until_mm: float) -> None:
        self.hand.run_until(until_mm / SPEED)
        assert self.ledger.balanced()

    def out(self, at_mm: float, error_s: float = 0.0) -> None:
        """Something breaks the beam when the belt stands there."""
        self.run(at_mm)
        self.hand.exit_seen("good", Edge(at_mm / SPEED, error_s))
        assert self.ledger.balanced()


def test_a_push_is_confirmed_when_its_item_comes_out_and_not_before() -> None:
    bench = Bench()
    bench.bear(1, 100)
    bench.run(100 + EXIT_MM - 1)
    assert bench.pushes == [1]
    assert (bench.ends, len(bench.ledger)) == ({}, 1)
    bench.out(100 + EXIT_MM + 15)
    assert bench.ends == {1: "confirmed"}
    assert bench.told == []


def test_a_push_whose_item_does_not_come_out_counts_as_missed_and_is_told() -> None:
    bench = Bench()
    bench.bear(1, 100)
    bench.run(100 + EXIT_MM + 20)
    assert bench.ends == {}, "the eye's word may still be on its way"
    bench.run(100 + EXIT_MM + 20 + LATE_S * SPEED + 1)
    assert bench.ends == {1: "missed"}
    assert bench.told == ["exit_not_seen"]
    assert bench.incidents[0].item_id == 1


def test_an_exit_told_late_confirms_by_its_moment_not_by_when_it_was_told() -> None:
    bench = Bench()
    bench.bear(1, 100)
    bench.run(100 + EXIT_MM + 20 + LATE_S * SPEED - 1)
    bench.hand.exit_seen("good", Edge((100 + EXIT_MM) / SPEED))
    assert bench.ends == {1: "confirmed"}


@pytest.mark.parametrize("off_mm", [-25, 25])
def test_an_exit_in_the_wrong_place_confirms_nothing(off_mm: float) -> None:
    bench = Bench()
    bench.bear(1, 100)
    bench.out(100 + EXIT_MM + off_mm)
    bench.run(2000)
    assert bench.ends == {1: "missed"}
    assert sorted(bench.told) == ["exit_not_seen", "exit_unexpected"]


def test_an_exit_whose_moment_is_badly_known_is_given_that_much_more_room() -> None:
    bench = Bench()
    bench.bear(1, 100)
    bench.out(100 + EXIT_MM + 25, error_s=0.02)
    assert bench.ends == {1: "confirmed"}


def test_an_exit_seen_while_the_output_is_still_busy_with_the_push_is_confirmed_when_it_is_done() -> None:
    bench = Bench()
    ends: list[dict[int, str]] = []

    def comes_out_at_once(actuation: Actuation) -> None:
        bench.hand.exit_seen("good", Edge((actuation.fire_mm + 100 - LENGTH / 2) / SPEED))
        ends.append(dict(bench.ends))

    bench.gate.meanwhile = comes_out_at_once  # type: ignore[method-assign]
    bench.bear(1, 100)
    bench.run(510)
    assert ends == [{}]
    assert bench.ends == {1: "confirmed"}


def test_an_output_that_fails_leaves_nothing_to_confirm() -> None:
    bench = Bench()

    def jams(actuation: Actuation) -> None:
        raise OutputError("jammed")

    bench.gate.meanwhile = jams  # type: ignore[method-assign]
    bench.bear(1, 100)
    bench.run(2000)
    assert bench.ends == {1: "missed"}
    assert bench.told == ["output_failed"]


def test_where_the_eye_was_silent_a_push_is_fired_neither_confirmed_nor_missed() -> None:
    bench = Bench()
    bench.bear(1, 100)
    bench.run(505)
    bench.watching_since = 510 / SPEED  # it was away when the push was made
    bench.run(2000)
    assert bench.ends == {1: "fired"}
    assert bench.told == []


def test_while_nobody_knows_where_the_belt_is_no_exit_is_missed() -> None:
    bench = Bench()
    bench.bear(1, 100)
    bench.run(505)
    bench.belt.lost = True
    bench.run(2000)
    assert bench.ends == {1: "fired"}


def test_an_item_with_a_hole_comes_out_once() -> None:
    bench = Bench()
    bench.bear(1, 100)
    bench.out(100 + EXIT_MM)
    bench.out(100 + EXIT_MM + 25)
    assert bench.ends == {1: "confirmed"}
    assert bench.told == []


def test_something_that_nobody_pushed_is_told() -> None:
    bench = Bench()
    bench.out(1000)
    assert bench.told == ["exit_unexpected"]
    assert "out of nothing" in bench.incidents[0].cause


def test_what_awaits_its_exit_when_the_line_stops_has_been_fired() -> None:
    bench = Bench()
    bench.bear(1, 100)
    bench.bear(2, 300)
    bench.run(510)
    bench.hand.stop()
    assert bench.ends == {1: "fired"}
    assert len(bench.ledger) == 1, "the other one was not pushed"
    assert bench.ledger.balanced()


def test_what_has_been_pushed_off_the_belt_blocks_no_diverter() -> None:
    bench = Bench()
    bench.bear(1, 100)
    bench.run(505)
    other = Item(2, 0, 0.0, 0.0, Box(0, 0, 9, 9), 105.0, LENGTH)
    with bench.ledger.lock:
        assert bench.hand.neighbour(other, "good") is None


class Stream:
    """Item after item, PITCH apart: those whose number is in `good` are pushed; what comes out is said by hand."""

    def __init__(self, bench: Bench, good: set[int]) -> None:
        self.bench, self.good, self.next = bench, good, 0

    def feed(self, count: int, shift_mm: float = 0.0) -> list[int]:
        """Feeds items and lets the belt run empty; the numbers of those that were pushed. A shift ends the feed."""
        before, told = len(self.bench.pushes), self.bench.told.count("exit_shift")
        events = [(n * PITCH, "born", n) for n in range(self.next, self.next + count)]
        events += [(place + EXIT_MM + shift_mm, "out", n) for place, _, n in events if n % 12 in self.good]
        for place, what, n in sorted(events):
            self.bench.run(place)
            if what == "out" and n in self.bench.pushes:
                self.bench.out(place)
            elif what == "born" and self.bench.told.count("exit_shift") == told:
                self.bench.bear(n, place, "good" if n % 12 in self.good else "rest")
        self.next += count + 12
        self.bench.run(self.next * PITCH)
        return self.bench.pushes[before:]


@pytest.mark.parametrize("shift_mm", [PITCH, -PITCH / 2 + 10, 60])
@pytest.mark.parametrize("good", [{0, 3, 7, 9}, {0, 1, 5, 8}, set(range(0, 12, 2))])
def test_exits_that_come_out_one_item_off_again_and_again_stop_all_pushing(shift_mm: float, good: set[int]) -> None:
    bench = Bench()
    stream = Stream(bench, good)
    pushed = stream.feed(60, shift_mm)
    # Two or three items are on their way between a push and its verdict.
    assert SHIFTED <= len(pushed) <= 2 * SHIFTED + 4
    assert bench.told.count("exit_shift") >= 1
    shift = next(one for one in bench.incidents if one.name == "exit_shift")
    assert "until the" in shift.action


def test_pushing_goes_on_by_itself_once_when_the_doubtful_items_have_left_the_belt() -> None:
    bench = Bench()
    stream = Stream(bench, {0, 3, 7, 9})
    stream.feed(60, PITCH)
    shift, resumed = (one for one in bench.incidents if one.name == "exit_shift")
    assert not shift.recovered
    assert resumed.recovered
    assert bench.hand.confirm.held is None
    confirmed = bench.ledger.outcomes["confirmed"]
    pushed = stream.feed(36)
    assert len(pushed) == 12
    assert bench.ledger.outcomes["confirmed"] == confirmed + 12


def test_no_item_that_was_on_the_belt_when_the_shift_showed_is_pushed() -> None:
    bench = Bench()
    Stream(bench, {0, 3, 7, 9}).feed(60, PITCH)
    assert bench.doubtful
    assert not bench.doubtful & set(bench.pushes)
    assert all(bench.ends[one] == "passed" for one in bench.doubtful)


def test_a_second_shift_before_the_line_has_proven_itself_waits_for_a_person_and_an_empty_belt() -> None:
    bench = Bench()
    stream = Stream(bench, {0, 3, 7, 9})
    stream.feed(60, PITCH)
    assert bench.hand.confirm.held is None
    stream.feed(60, PITCH)
    assert "lost count" in (bench.hand.confirm.held or "")
    assert "lost count" in (bench.hand.trouble() or "")
    assert "a person" in next(one.action for one in reversed(bench.incidents) if one.name == "exit_shift")
    assert stream.feed(30) == []
    bench.hand.clear("camera_lost")
    assert bench.hand.confirm.held, "another incident's end is not this one's"
    bench.bear(10_000, stream.next * PITCH, "good")
    bench.hand.clear("exit_shift")
    assert bench.hand.confirm.held is None, "what has come since was never in doubt"


def test_a_person_who_clears_too_early_does_not_get_a_doubtful_item_pushed() -> None:
    bench = Bench()
    stream = Stream(bench, {0, 3, 7, 9})
    stream.feed(60, PITCH)
    bench.at_shift = lambda: bench.hand.clear("exit_shift")
    stream.feed(60, PITCH)
    assert bench.doubtful
    assert not bench.doubtful & set(bench.pushes)
    assert [one.recovered for one in bench.incidents if one.name == "exit_shift"][2:4] == [False, True]


def test_after_enough_confirmed_exits_a_shift_may_end_by_itself_again() -> None:
    bench = Bench()
    stream = Stream(bench, {0, 3, 7, 9})
    stream.feed(60, PITCH)
    stream.feed(3 * PROVEN + 12)
    stream.feed(60, PITCH)
    assert bench.hand.confirm.held is None
    assert [one.recovered for one in bench.incidents if one.name == "exit_shift"] == [False, True] * 2


def test_a_few_lost_and_a_few_strange_exits_are_no_shift() -> None:
    bench = Bench()
    for n in range(200):
        bench.bear(n, n * 400)
        if n % 25:
            bench.out(n * 400 + EXIT_MM)
        if n % 40 == 20:
            bench.out(n * 400 + EXIT_MM + 150)
    bench.run(100_000)
    assert bench.told.count("exit_not_seen") == 8
    assert bench.told.count("exit_unexpected") == 5
    assert "exit_shift" not in bench.told


def test_exits_off_their_place_now_to_one_side_and_now_to_the_other_are_no_shift() -> None:
    bench = Bench()
    for n in range(40):
        bench.bear(n, n * 400)
        bench.out(n * 400 + EXIT_MM + (30 if n % 2 else -30))
    bench.run(20_000)
    assert bench.told.count("exit_unexpected") == 40
    assert "exit_shift" not in bench.told


@settings(max_examples=80, deadline=None)
@given(
    items=st.lists(
        st.tuples(
            st.floats(0, 250),  # the gap to the one before
            st.sampled_from(["good", "good", "rest"]),
            st.one_of(st.none(), st.floats(-300, 300)),  # how far off its place it comes out, if it does
        ),
        min_size=1,
        max_size=40,
    ),
    strays=st.lists(st.floats(0, 12_000), max_size=10),
    silences=st.lists(st.floats(0, 12_000), max_size=4),
    clears=st.lists(st.floats(0, 12_000), max_size=4),
)
def test_whatever_comes_out_every_item_ends_once_and_none_is_confirmed_without_an_exit(
    items: list[tuple[float, str, float | None]], strays: list[float], silences: list[float], clears: list[float]
) -> None:
    bench = Bench()
    place, exits = 0.0, 0
    events: list[tuple[float, int, int]] = []
    offs: dict[int, float] = {}
    for n, (gap, lane, off) in enumerate(items):
        place += gap
        events.append((place, 0, n))
        bench.lanes[n] = lane
        if off is not None and lane == "good":
            events.append((max(place + EXIT_MM + off, 0), 1, n))
            offs[n] = off
    places = {n: at for at, kind, n in events if kind == 0}
    events += [(at, 2, 0) for at in strays] + [(at, 3, 0) for at in silences] + [(at, 4, 0) for at in clears]
    for at, kind, n in sorted(events):
        bench.run(at)
        if kind == 0:
            bench.bear(n, places[n], bench.lanes[n])
        elif kind in {1, 2}:
            exits += 1
            bench.out(at)
        elif kind == 3:
            bench.watching_since = bench.clock.now()
        else:
            bench.hand.clear("exit_shift")
    bench.run(place + 30_000)
    assert len(bench.ledger) == 0
    outcomes = bench.ledger.outcomes
    assert outcomes["confirmed"] <= exits
    assert outcomes["confirmed"] + bench.told.count("exit_unexpected") <= exits
    assert outcomes["confirmed"] + outcomes["fired"] + bench.told.count("exit_not_seen") == len(bench.pushes)
    assert all(bench.ends[n] in {"confirmed", "fired", "missed"} for n in bench.pushes)
    assert not bench.doubtful & set(bench.pushes)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "colours.onnx", sharpness=200.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("discs"))


@pytest.mark.parametrize("motion", ["steady", "stop_and_go", "reverse"])
def test_on_the_simulated_belt_every_push_is_confirmed_however_it_moves(model: Path, folder: Path, motion: str) -> None:
    config = disc_line(
        model, folder, f"&fps=60&motion={motion}&period_s=3", {"type": "simulated", "position_mm": -150, "poll_ms": 2},
        {"type": "simulated", "poll_ms": 2, "window_mm": 10},
        belt={"encoder": {"type": "simulated", "counts_per_mm": 20, "poll_ms": 5}},
    )  # fmt: skip
    line = Line(config, clock=VirtualClock())
    line.play(seconds=12)
    line.stop()
    truth = line.watch.truth()
    assert truth is not None
    assert truth["pushes"] == line.ledger.outcomes["confirmed"] >= 6
    assert line.ledger.outcomes["fired"] == line.ledger.outcomes["missed"] == 0
    assert truth["wrong_pushes"] == 0
    assert not line.herald.incidents


def test_without_items_to_push_the_simulated_exits_stay_quiet_and_a_missed_one_is_told(
    model: Path, folder: Path
) -> None:
    config = disc_line(
        model, folder, "&fps=60", {"type": "simulated", "position_mm": -150, "poll_ms": 2},
        {"type": "simulated", "poll_ms": 2, "window_mm": 10},
    )  # fmt: skip
    line = Line(config, clock=VirtualClock())
    push, pushes = line._fired, []

    def misses_the_third(actuation: Actuation, fired_at: float) -> None:
        pushes.append(actuation.item_id)
        if len(pushes) != 3:
            push(actuation, fired_at)

    line.hand._on_fired = misses_the_third
    line.play(seconds=8)
    line.stop()
    assert line.ledger.outcomes["missed"] == 1
    assert line.ledger.outcomes["confirmed"] == len(pushes) - 1
    assert line.herald.incidents == Counter(exit_not_seen=1)
    assert next(iter(line.herald.recent)).item_id == pushes[2]


class ExitSettings(EyeSettings):
    off_mm: float = 0.0


class Exit:
    """A user's photo-eye behind the gate of the squares' belt: what was pushed comes out there, off_mm off its
    place until somebody has mended it."""

    Settings = ExitSettings
    gate: Blade | None = None
    mended = False

    def __init__(self, settings: ExitSettings, clock: Clock) -> None:
        self._settings, self._clock, self._start = settings, clock, clock.now()

    def read(self) -> bool:
        belt_mm = (self._clock.now() - self._start) * SPEED_MM_S
        off_mm = 0.0 if Exit.mended else self._settings.off_mm
        pushes = Exit.gate.pushes if Exit.gate else []
        # The gate is at 260 mm and the beam at 360 mm; a square reaches 20 mm to either side of its middle.
        return any(-20 <= belt_mm - push.fire_mm - 100 - off_mm <= 20 for push in pushes)


def squares_line(model: Path, colours: str, off_mm: float) -> Line:
    confirm = {"type": "tests.edge.test_confirm:Exit", "distance_mm": 360, "window_mm": 20, "off_mm": off_mm}
    config = LineConfig.parse(
        {
            "model": {"path": str(model)},
            "camera": {"source": "squares", "type": "tests.edge.squares:Squares", "colours": colours},
            "belt": {"pixels_per_mm": 1.0, "speed_mm_s": SPEED_MM_S},
            "lanes": [
                {"name": "reds", "classes": ["red"], "output": "gate", "distance_mm": 260, "confirm": confirm},
                {"name": "rest", "default": True},
            ],
            "outputs": {"gate": {"type": "tests.edge.own_parts:Blade", "pulse_ms": 10}},
            "web": {"enabled": False},
        }
    )
    line = Line(config, clock=VirtualClock())
    Exit.gate, Exit.mended = line.outputs["gate"], False  # type: ignore[assignment]
    return line


COLOURS = "red blue green red blue red green blue red red green blue " * 5


def test_items_that_the_pictures_found_are_confirmed_too(model: Path) -> None:
    line = squares_line(model, COLOURS, off_mm=0)
    line.play()
    line.stop()
    assert line.ledger.outcomes == Counter(confirmed=25, passed=35, fired=0, missed=0, lost=0)
    assert not line.herald.incidents


def test_a_line_whose_exits_come_one_item_late_stops_pushing_says_so_and_goes_on_when_it_is_mended(model: Path) -> None:
    line = squares_line(model, COLOURS, off_mm=120)
    incident = line.herald.incident

    def mend(one: Incident) -> None:
        incident(one)
        if one.name == "exit_shift" and not one.recovered:
            assert "lost count" in line.health()["outputs"]["text"]
            Exit.mended = True

    line.herald.incident = mend  # type: ignore[method-assign]
    line.play()
    line.stop()
    assert line.herald.incidents["exit_shift"] == 1
    assert line.health()["outputs"]["ok"]
    outcomes = line.ledger.outcomes
    assert outcomes["confirmed"] >= 8
    assert outcomes["missed"] >= SHIFTED
    assert outcomes["passed"] > 35, "some reds were let pass meanwhile"
    assert line.ledger.balanced()
    assert outcomes.total() == 60


def test_a_shift_that_comes_back_waits_for_a_person_who_clears_its_incident(model: Path) -> None:
    line = squares_line(model, COLOURS, off_mm=120)
    incident, shifts = line.herald.incident, []

    def clear(one: Incident) -> None:
        incident(one)
        if one.name == "exit_shift" and not one.recovered:
            shifts.append(one)

    line.herald.incident = clear  # type: ignore[method-assign]
    line.play()
    line.stop()
    assert len(shifts) == 2
    assert "a person" in shifts[1].action
    assert not line.health()["outputs"]["ok"]
    line._on_command({"command": "clear_incident", "number": 7, "name": "exit_shift"})
    assert line.health()["outputs"]["ok"]
    assert line.ledger.balanced()


class Untouchable(Exit):
    """A real one, which a replay has no business with."""

    def __init__(self, settings: ExitSettings, clock: Clock) -> None:
        raise AssertionError("a replay must not reach out for photo-eyes")


def test_a_replay_reads_no_photo_eye(model: Path) -> None:
    confirm = {"type": "tests.edge.test_confirm:Untouchable", "distance_mm": 660}
    config = LineConfig.parse(
        {
            "model": {"path": str(model)},
            "camera": {"source": 0},
            "belt": {"pixels_per_mm": 1.6, "speed_mm_s": 500},
            "lanes": [
                {"name": "reds", "classes": ["red"], "output": "gate", "distance_mm": 560, "confirm": confirm},
                {"name": "rest", "default": True},
            ],
            "outputs": {"gate": {"type": "log"}},
            "web": {"enabled": False},
        }
    )
    assert len(replay(config, "sim:?seed=3&seconds=2").pairs) > 3

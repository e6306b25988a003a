"""Photo-eyes: one edge for every item, at its moment, and a sentence when one cannot be read."""

import asyncio
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clock import Clock, MonotonicClock, VirtualClock
from edge.config import LineConfig
from edge.errors import ConfigError, OutputError
from edge.eyes import Edge, EyeSettings
from edge.eyes.watching import PhotoEye, PhotoEyes
from edge.parts import eye_class
from edge.simulator.settings import SimulatorSettings
from edge.simulator.world import Lane, World

POLL_S = 0.002


class Contact:
    """A user's own eye: broken whenever `state` of the present moment says so."""

    def __init__(self, clock: Clock, state: Callable[[float], bool]) -> None:
        self._clock, self._state = clock, state

    def read(self) -> bool:
        return self._state(self._clock.now())


class Watched:
    """A photo-eye on a virtual clock, and everything that it said."""

    def __init__(self, state: Callable[[float], bool], **keys: Any) -> None:
        self.clock = VirtualClock()
        self.edges: list[Edge] = []
        self.told: list[tuple[str, bool]] = []
        own = EyeSettings(type="own", poll_ms=POLL_S * 1e3, **keys)
        self.eye = PhotoEye(
            "trigger", Contact(self.clock, state), own, self.clock, self.tell, "nothing is seen", self.edges.append
        )
        self.eye.start(threaded=False)

    def tell(self, name: str, scope: str, cause: str, action: str, *, recovered: bool = False) -> None:
        self.told.append((name, recovered))

    def run(self, until: float) -> "Watched":
        while self.clock.now() < until - POLL_S / 2:
            self.clock.advance(self.clock.now() + POLL_S)
            self.eye.poll()
        return self

    @property
    def broken_at(self) -> list[float]:
        return [edge.at for edge in self.edges if edge.broken]


def test_an_item_is_one_edge_half_way_between_the_last_free_answer_and_the_first_broken_one() -> None:
    watched = Watched(lambda at: 0.1005 <= at < 0.15).run(0.3)
    assert watched.broken_at == [pytest.approx(0.101)]
    assert watched.edges[0].error_s == pytest.approx(POLL_S / 2)
    assert [edge.broken for edge in watched.edges] == [True, False]
    assert watched.edges[1].at == pytest.approx(0.149, abs=0.002), "free since then, though it took a while to be sure"


def test_a_contact_that_bounces_at_both_ends_is_one_edge_at_its_first_touch() -> None:
    def bouncing(at: float) -> bool:
        if 0.100 <= at < 0.108 or 0.150 <= at < 0.158:
            return round(at / POLL_S) % 2 == 0
        return 0.108 <= at < 0.150

    assert len(Watched(bouncing).run(0.3).broken_at) == 1
    assert Watched(bouncing).run(0.3).broken_at[0] == pytest.approx(0.1, abs=POLL_S)
    assert len(Watched(bouncing, debounce_ms=0).run(0.3).broken_at) > 4, "else the test above proves nothing"


def test_a_hole_shorter_than_the_debounce_time_is_not_a_second_item() -> None:
    def washer(at: float) -> bool:
        return 0.1 <= at < 0.2 and not 0.14 <= at < 0.16

    assert len(Watched(washer, debounce_ms=30).run(0.4).broken_at) == 1
    assert len(Watched(washer, debounce_ms=10).run(0.4).broken_at) == 2


def test_what_stands_in_the_beam_at_the_start_has_no_edge_because_nobody_knows_its_place() -> None:
    watched = Watched(lambda at: at < 0.1 or 0.2 <= at < 0.25).run(0.4)
    assert watched.broken_at == [pytest.approx(0.2, abs=POLL_S)]


def test_an_inverted_eye_is_on_while_its_beam_is_free() -> None:
    watched = Watched(lambda at: not 0.1 <= at < 0.15, inverted=True).run(0.3)
    assert watched.broken_at == [pytest.approx(0.1, abs=POLL_S)]


def cut_wire(begin: float, end: float, state: Callable[[float], bool]) -> Callable[[float], bool]:
    def read(at: float) -> bool:
        if begin <= at < end:
            raise OSError("the wire is cut")
        return state(at)

    return read


def test_a_silent_eye_is_told_once_with_its_recovery_and_what_came_meanwhile_has_no_edge() -> None:
    watched = Watched(cut_wire(0.2, 1.0, lambda at: 0.9 <= at < 1.1 or 1.5 <= at < 1.6))
    watched.run(0.19)
    assert watched.eye.watching_since == pytest.approx(POLL_S)
    watched.run(0.4)
    assert watched.eye.trouble() is None
    assert watched.eye.watching_since == math.inf, "something may have passed meanwhile"
    watched.run(0.9)
    assert watched.told == [("eye_silent", False)]
    assert watched.eye.watching_since == math.inf
    assert "has not answered" in (watched.eye.trouble() or "")
    watched.run(2.0)
    assert watched.told == [("eye_silent", False), ("eye_silent", True)]
    assert watched.eye.watching_since == pytest.approx(1.0, abs=POLL_S)
    assert watched.eye.trouble() is None
    assert watched.broken_at == [pytest.approx(1.5, abs=POLL_S)]


def test_an_edge_after_a_few_lost_answers_says_how_badly_its_moment_is_known() -> None:
    watched = Watched(cut_wire(0.1, 0.2, lambda at: 0.15 <= at < 0.3)).run(0.5)
    assert watched.told == []
    assert watched.eye.watching_since == pytest.approx(0.2, abs=POLL_S)
    (edge,) = [edge for edge in watched.edges if edge.broken]
    assert edge.error_s == pytest.approx(0.05, abs=POLL_S)
    assert abs(edge.at - 0.15) <= edge.error_s


@settings(max_examples=100, deadline=None)
@given(
    stretches=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=15),
    debounce=st.integers(0, 20),
)
def test_every_break_after_a_free_beam_is_exactly_one_edge(stretches: list[tuple[int, int]], debounce: int) -> None:
    """Stretches of free and broken beam, in polls; a free stretch as short as the debounce time does not count."""
    states = [False]
    for free, broken in stretches:
        states += [False] * free + [True] * broken
    states += [False] * 60

    def state(at: float) -> bool:
        return states[min(round(at / POLL_S) - 1, len(states) - 1)]

    watched = Watched(state, debounce_ms=debounce * POLL_S * 1e3).run(len(states) * POLL_S)
    assert len(watched.broken_at) == 1 + sum(free >= debounce for free, _ in stretches[1:])
    assert [edge.broken for edge in watched.edges] == [True, False] * len(watched.broken_at)


def opened(settings: dict[str, Any], clock: Clock | None = None) -> Any:
    own = eye_class(settings["type"])
    return own(getattr(own, "Settings", EyeSettings).model_validate(settings), clock or MonotonicClock())


class Row:
    """The photo-eyes of a line on the machine's clock, with threads, and what they said."""

    def __init__(self, stumbles: bool = False, **tables: dict[str, Any]) -> None:
        self.stumbles = stumbles
        self.edges: list[tuple[str, Edge]] = []
        self.told: list[tuple[str, str, bool]] = []
        self.heard = threading.Condition()
        parsed = {name: eye_class(t["type"]).Settings.model_validate(t) for name, t in tables.items()}
        self.eyes = PhotoEyes(parsed, MonotonicClock(), self.tell, self.edge)

    def tell(self, name: str, scope: str, cause: str, action: str, *, recovered: bool = False) -> None:
        with self.heard:
            self.told.append((name, cause, recovered))
            self.heard.notify_all()

    def edge(self, name: str, edge: Edge) -> None:
        with self.heard:
            self.edges.append((name, edge))
            self.heard.notify_all()
        if self.stumbles and len(self.edges) == 1:
            raise ZeroDivisionError("nobody thought of this")

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.heard:
            assert self.heard.wait_for(condition, 10), (self.edges, self.told)

    def watch(self, name: str) -> None:
        """Waits until an eye has answered for the first time."""
        until = time.monotonic() + 10
        while self.eyes.watching_since(name) == math.inf and time.monotonic() < until:
            time.sleep(0.002)

    def __enter__(self) -> "Row":
        self.eyes.start(threaded=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.eyes.stop()


beam: dict[str, Any] = {"broken": False, "hang": False, "raises": None, "listens": None}
hanging = threading.Event()


def read_beam() -> bool:
    """A user's own function."""
    if beam["hang"]:
        hanging.wait(10)
    if raised := beam["raises"]:
        beam["raises"] = None
        raise raised
    return beam["broken"]


@pytest.fixture(autouse=True)
def free_beam() -> Iterator[None]:
    beam.update(broken=False, hang=False, raises=None, listens=None)
    hanging.clear()
    yield
    hanging.set()


def test_a_function_of_the_users_own_is_polled_in_a_thread_that_stop_joins() -> None:
    with Row(trigger={"type": "callable", "function": "tests.edge.test_eyes:read_beam"}) as row:
        row.watch("trigger")
        before = time.monotonic()
        beam["broken"] = True
        row.wait_for(lambda: len(row.edges) == 1)
        after = time.monotonic()
        beam["broken"] = False
        row.wait_for(lambda: len(row.edges) == 2)
    (name, edge), (_, free) = row.edges
    assert name == "trigger"
    assert before - edge.error_s <= edge.at <= after
    assert (edge.broken, free.broken) == (True, False)
    assert not [t for t in threading.enumerate() if t.name.startswith("sortline-eye")]


def test_a_function_that_hangs_is_trouble_and_does_not_keep_the_line_from_stopping() -> None:
    with Row(trigger={"type": "callable", "function": "tests.edge.test_eyes:read_beam"}) as row:
        beam["hang"] = True
        until = time.monotonic() + 10
        while row.eyes.trouble() is None and time.monotonic() < until:
            time.sleep(0.02)
        assert "photo-eye trigger has not answered" in (row.eyes.trouble() or "")
        start = time.monotonic()
        row.eyes.stop()
        assert time.monotonic() - start < 2
    hanging.set()


@pytest.mark.parametrize("raised", [SystemExit(1), asyncio.CancelledError()])
def test_an_eye_that_raises_what_is_no_exception_is_asked_again(raised: BaseException) -> None:
    beam["raises"] = raised
    with Row(trigger={"type": "callable", "function": "tests.edge.test_eyes:read_beam"}) as row:
        row.watch("trigger")
        beam["broken"] = True
        row.wait_for(lambda: len(row.edges) == 1)


@pytest.mark.parametrize("raised", [OSError("the port is gone"), SystemExit(1)])
def test_an_eye_that_does_not_let_go_keeps_no_other_in_hand(
    raised: BaseException, monkeypatch: Any, caplog: Any
) -> None:
    closed: list[str] = []

    def close(self: Any) -> None:
        closed.append("")
        if len(closed) == 1:
            raise raised

    monkeypatch.setattr("edge.eyes.callable.Callable.close", close, raising=False)
    eye = {"type": "callable", "function": "tests.edge.test_eyes:read_beam"}
    with Row(trigger=eye, gate=eye):
        pass
    assert len(closed) == 2
    assert f"close() failed ({type(raised).__name__}: {raised})" in caplog.text


class Told:
    """A user's own eye that tells what a test lets it tell."""

    Settings = EyeSettings

    def __init__(self, settings: EyeSettings, clock: Clock) -> None: ...

    def listen(self, tell: Callable[[bool, float], None]) -> None:
        beam["tell"] = tell
        tell(False, time.monotonic())


@pytest.mark.parametrize("ahead_s", [1.7e9, 1.0, -8.0, math.nan, math.inf])
def test_an_edge_of_another_clock_s_moment_is_told_of_and_is_none(ahead_s: float) -> None:
    """time.time() for the line's clock: the item would lie a million kilometres on, and hide all that follow."""
    with Row(good={"type": "tests.edge.test_eyes:Told"}) as row:
        tell = beam["tell"]
        tell(True, time.monotonic() + ahead_s)
        tell(False, time.monotonic())
        assert row.edges == []
        assert [name for name, _, _ in row.told] == ["photo_eye_failed"]
        assert "moments are those of the line's clock" in row.told[0][1]
        tell(True, time.monotonic())
    assert [edge.broken for _, edge in row.edges] == [True]


class Deaf:
    """A user's own eye that is told of changes, and begins to listen as beam["listens"] says."""

    Settings = EyeSettings

    def __init__(self, settings: EyeSettings, clock: Clock) -> None: ...

    def listen(self, tell: Callable[[bool, float], None]) -> None:
        if isinstance(beam["listens"], BaseException):
            raise beam["listens"]
        hanging.wait(20)


@pytest.mark.parametrize(
    ("listens", "says"),
    [
        ("for ever", r"listen\(tell\) has not come back for 0\.2 s: it has to return at once"),
        (OSError("no such port"), r"listen\(tell\) failed \(OSError: no such port\)"),
        (SystemExit(3), r"listen\(tell\) failed \(SystemExit: 3\)"),
    ],
)
def test_an_eye_that_cannot_begin_to_listen_is_one_sentence(
    listens: object, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.eyes.watching.LISTEN_S", 0.2, raising=False)
    beam["listens"] = listens
    row = Row(good={"type": "tests.edge.test_eyes:Deaf"})
    with pytest.raises(ConfigError, match=f"^the photo-eye of lane 'good': {says}"), row:
        pass
    row.eyes.stop()
    hanging.set()


def test_what_an_edge_leads_to_cannot_end_the_eyes_thread() -> None:
    with Row(stumbles=True, trigger={"type": "callable", "function": "tests.edge.test_eyes:read_beam"}) as row:
        row.watch("trigger")
        for changes in (1, 3):
            beam["broken"] = True
            row.wait_for(lambda changes=changes: len(row.edges) == changes)  # type: ignore[misc]
            beam["broken"] = False
            row.wait_for(lambda changes=changes: len(row.edges) == changes + 1)  # type: ignore[misc]
    assert [name for name, _, _ in row.told] == ["photo_eye_failed"]
    assert "ZeroDivisionError: nobody thought of this" in row.told[0][1]


@pytest.mark.parametrize(("kind", "code"), [("coil", 1), ("discrete", 2), ("holding", 3), ("input", 4)])
def test_an_input_of_a_plc_is_read_over_modbus(kind: str, code: int) -> None:
    pytest.importorskip("pymodbus", reason="pymodbus is not installed")
    from tests.edge.plc import Plc, serving

    with serving(Plc()) as plc:
        where = {"address": 5} if code < 3 else {"address": 0, "bit": 5}
        eye = opened({"type": "modbus", "host": "127.0.0.1", "port": plc.port, "kind": kind, **where})
        try:
            states = []
            for word in (0, 1 << 5, 0xFFFF & ~(1 << 5)):
                plc.words[code] = word
                states.append(eye.read())
            assert states == [False, True, False]
        finally:
            eye.close()


def test_a_plc_that_goes_and_comes_back_is_an_incident_and_its_recovery() -> None:
    pytest.importorskip("pymodbus", reason="pymodbus is not installed")
    from tests.edge.plc import DISCRETE, Plc, serving

    plc = Plc()
    with serving(plc):
        row = Row(good={"type": "modbus", "host": "127.0.0.1", "port": plc.port, "address": 0, "poll_ms": 2})
        with row:
            plc.wait_for_reads(3)
            plc.words[DISCRETE] = 1
            row.wait_for(lambda: len(row.edges) == 1)
    assert row.edges[0][0] == "good"
    row = Row(good={"type": "modbus", "host": "127.0.0.1", "port": plc.port, "address": 0, "poll_ms": 2})
    with row:
        row.wait_for(lambda: len(row.told) == 1)
        assert row.told[0][0] == "eye_silent"
        assert f"127.0.0.1:{plc.port}" in row.told[0][1]
        with serving(plc):
            row.wait_for(lambda: row.told[-1][2])
            plc.words[DISCRETE] = 0
            plc.wait_for_reads(10)
            plc.words[DISCRETE] = 1
            row.wait_for(lambda: [edge.broken for _, edge in row.edges][-1:] == [True])


def test_an_address_that_the_plc_does_not_have_is_an_error_that_names_it() -> None:
    pytest.importorskip("pymodbus", reason="pymodbus is not installed")
    from tests.edge.plc import Plc, serving

    with serving(Plc()) as plc:
        eye = opened({"type": "modbus", "host": "127.0.0.1", "port": plc.port, "address": 4711})
        with pytest.raises(OutputError, match=rf"127\.0\.0\.1:{plc.port}: address 4711"):
            eye.read()
        eye.close()


@pytest.mark.parametrize(
    ("keys", "low_is_broken"),
    [
        ({}, True),
        ({"inverted": True}, False),
        ({"pull": "down"}, False),
        ({"pull": "none"}, False),
        ({"pull": "none", "inverted": True}, True),
    ],
)
def test_a_pin_tells_of_its_changes_by_itself(pins: Any, keys: dict[str, Any], low_is_broken: bool) -> None:
    pin = pins.pin(17)
    if keys.get("pull") == "none":
        pin.pull = "floating"
        pin.drive_low() if not low_is_broken else pin.drive_high()
    row = Row(trigger={"type": "gpio", "pin": 17, "debounce_ms": 0, **keys})
    breaks, frees = (pin.drive_low, pin.drive_high) if low_is_broken else (pin.drive_high, pin.drive_low)
    frees()
    with row:
        for _ in range(3):
            before = time.monotonic()
            breaks()
            assert row.edges[-1][1].broken
            assert before <= row.edges[-1][1].at <= time.monotonic()
            frees()
    assert sum(edge.broken for _, edge in row.edges) == 3


def test_a_bouncing_pin_is_one_edge(pins: Any) -> None:
    pin = pins.pin(17)
    with Row(trigger={"type": "gpio", "pin": 17, "debounce_ms": 5000}) as row:
        for _ in range(10):
            pin.drive_low()
            pin.drive_high()
    assert len(row.edges) == 1


def test_a_pin_is_let_go_when_the_line_stops(pins: Any) -> None:
    for _ in range(2):
        with Row(trigger={"type": "gpio", "pin": 17}):
            pass


def test_a_pin_that_is_not_there_is_a_sentence(pins: Any) -> None:
    with pytest.raises(ConfigError, match=r"items\.trigger: pin = 'GPIO99'"):
        Row(trigger={"type": "gpio", "pin": "GPIO99"})


def test_without_its_driver_gpiozero_does_not_go_on_with_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    gpiozero = pytest.importorskip("gpiozero", reason="gpiozero is not installed")
    monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    monkeypatch.setitem(sys.modules, "lgpio", None)
    with pytest.raises(ConfigError, match=r"pin = 17: Falling back from lgpio"):
        opened({"type": "gpio", "pin": 17})


@pytest.mark.parametrize(
    ("library", "table", "says"),
    [
        ("gpiozero", {"type": "gpio", "pin": 17}, r'items.trigger: type = "gpio" needs gpiozero: pip install'),
        (
            "pymodbus.client",
            {"type": "modbus", "host": "x", "address": 1},
            r'type = "modbus" needs pymodbus: pip install',
        ),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, library: str, table: dict[str, Any], says: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=says):
        Row(trigger=table)


def test_an_eye_that_cannot_be_opened_closes_those_that_were(pins: Any) -> None:
    good = {"type": "gpio", "pin": 17}
    with pytest.raises(ConfigError, match="lane 'b': function = 'nowhere:f': cannot be imported"):
        Row(a=good, b={"type": "callable", "function": "nowhere:f"})
    with Row(a=good):
        pass


def test_a_post_is_one_edge_at_its_moment_and_two_within_the_debounce_time_are_one() -> None:
    with Row(trigger={"type": "http", "debounce_ms": 50}) as row:
        now = time.monotonic()
        for late_s in (2.0, 1.98, 1.0):
            row.eyes.told("trigger", now - late_s)
        row.eyes.told("trigger", now + 100)
    broken = [edge.at for _, edge in row.edges if edge.broken]
    assert broken[:2] == [now - 2.0, now - 1.0]
    assert now <= broken[2] <= time.monotonic(), "nothing is told of the future"
    assert [edge.broken for _, edge in row.edges] == [True, False] * 3, "no beam stays broken until the next post"
    assert [edge.at for _, edge in row.edges[:2]] == [now - 2.0] * 2


def test_a_post_for_another_eye_or_from_long_ago_is_refused_in_a_sentence() -> None:
    with Row(good={"type": "http"}, bad={"type": "callable", "function": "tests.edge.test_eyes:read_beam"}) as row:
        for name in ("nobody", "bad"):
            with pytest.raises(ConfigError, match=f"there is no photo-eye {name!r} of type"):
                row.eyes.told(name, time.monotonic())
        with pytest.raises(ConfigError, match=r"photo-eye 'good' was told 60\.0 s late"):
            row.eyes.told("good", time.monotonic() - 60)
    assert not row.edges


def test_a_beam_across_the_simulated_belt_sees_each_item_where_it_is_and_lanes_only_what_was_pushed() -> None:
    world = World(SimulatorSettings(speed_mm_s=500, rate=4, seed=3, foreign=0))
    world.lay_out([Lane("good", ("nut",), 300.0), Lane("rest", default=True)])
    first, second = (item for item in world.in_view(2.0, 5000) if item.id in {0, 1})
    for item in (first, second):
        for beam_mm in (-200.0, 0.0, 250.0):
            front = (item.item_mm + beam_mm - item.along_mm / 2) / 500
            rear = (item.item_mm + beam_mm + item.along_mm / 2) / 500
            moments = (front - 1e-3, front + 1e-3, rear - 1e-3, rear + 1e-3)
            assert [world.breaks_beam(at, beam_mm) for at in moments] == [False, True, True, False]
    world.push("good", (first.item_mm + 300) / 500)
    for item, branch in ((first, True), (second, False)):
        at = (item.item_mm + 400) / 500
        assert world.breaks_beam(at, 400, "good") is branch
        assert world.breaks_beam(at, 400) is not branch, "what was pushed is not on the belt any more"
        assert world.breaks_beam((item.item_mm + 200) / 500, 200), "but it was, ahead of the diverter"


def line_table(**changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "model": {"path": "t.onnx"},
        "camera": {"source": 0},
        "belt": {"pixels_per_mm": 1, "speed_mm_s": 500},
        "items": {"mode": "trigger", "trigger": {"type": "http", "position_mm": -200, "length_mm": 40}},
        "lanes": [
            {
                "name": "good",
                "classes": ["bolt"],
                "output": "gate",
                "distance_mm": 400,
                "confirm": {"type": "http", "distance_mm": 500},
            },
            {"name": "rest", "default": True},
        ],
        "outputs": {"gate": {"type": "log"}},
    }
    for path, value in changes.items():
        *tables, key = path.split("__")
        table: Any = content
        for part in tables:
            table = table[int(part) if part.isdigit() else part]
        if value is None:
            del table[key]
        else:
            table[key] = value
    return content


def test_the_photo_eyes_of_a_line_have_their_places_and_names() -> None:
    config = LineConfig.parse(line_table())
    assert {name: (eye.type, eye.beam_mm) for name, eye in config.photo_eyes.items()} == {
        "trigger": ("http", -200),
        "good": ("http", 500),
    }


def test_a_kinds_own_keys_stand_beside_the_tables_keys_and_its_defaults_hold() -> None:
    modbus = {"type": "modbus", "host": "plc", "address": 3, "position_mm": 5, "length_mm": 40}
    trigger: Any = LineConfig.parse(line_table(items__trigger=modbus)).items.trigger
    assert (trigger.host, trigger.address, trigger.kind, trigger.position_mm, trigger.poll_ms) == (
        "plc",
        3,
        "discrete",
        5,
        5,
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"items__trigger": None}, 'items.trigger is missing: items.mode = "trigger" needs'),
        ({"items__mode": "motion"}, 'items.trigger is not used with items.mode = "motion": set items.mode'),
        ({"items__trigger__type": None}, "items.trigger.type is missing (there are: callable, gpio, http"),
        ({"items__trigger__type": "psychic"}, "items.trigger.type = 'psychic': is not a photo-eye type"),
        ({"items__trigger__length_mm": None}, "items.trigger.length_mm is missing"),
        ({"items__trigger__lenght_mm": 4}, "(did you mean length_mm? it has: type, poll_ms"),
        ({"items__trigger__inverted": True}, "items.trigger.inverted = true: input should be false"),
        ({"items__trigger__position_mm": 400}, "items.trigger.position_mm = 400 is not ahead of lanes[0].distance_mm"),
        ({"belt__position": "pictures"}, 'belt.position = "pictures" needs items.mode = "motion"'),
        ({"lanes__0__confirm__distance_mm": 400}, "confirm.distance_mm = 400 is not behind the lane's diverter"),
        ({"lanes__0__confirm__function": "f"}, "lanes[0].confirm.function is not a key of [lanes[0].confirm]"),
        ({"lanes__1__confirm": {"type": "http", "distance_mm": 9}}, "lanes[1].confirm needs a lane with an output"),
        ({"lanes__0__name": "trigger"}, "is what the photo-eye of [items.trigger] is called"),
        ({"web": {"enabled": False}}, 'lanes[0].confirm.type = "http" needs the web side: set web.enabled = true'),
        ({"items__trigger": {"type": "callable", "function": "f", "position_mm": 1, "length_mm": 1}},
         "items.trigger.function = 'f': must be written package.module:function"),
        ({"items__trigger": {"type": "modbus", "position_mm": 1, "length_mm": 1, "address": 1}},
         "items.trigger.host is missing"),
        ({"items__trigger": {"type": "plant7:Eye", "position_mm": 1, "length_mm": 1}},
         "items.trigger.type = 'plant7:Eye': cannot be imported"),
    ],
)  # fmt: skip
def test_a_wrong_photo_eye_gets_a_sentence(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LineConfig.parse(line_table(**changes))
    assert says in str(caught.value)

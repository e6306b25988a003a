"""Encoders: a wheel tells where the belt is; when it is silent, nothing is pushed."""

import asyncio
import math
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.clock import MonotonicClock, VirtualClock
from edge.config import LineConfig
from edge.encoders import EncoderSettings
from edge.encoders.belt import REPEATED_S, SILENT_POLLS, EncoderBelt
from edge.errors import ConfigError, OutputError
from edge.line import Line
from tests.edge.tiny_model import write_model

SMALL = "width=800&height=240"  # a fifth of the pixels to draw and to look at


class Wheel:
    """A user's own encoder: what it reads is set by hand."""

    def __init__(self) -> None:
        self.counts = 1000
        self.unplugged = False
        self.slow: Callable[[], None] = lambda: None

    def read(self) -> int:
        if self.unplugged:
            raise OSError("no such device")
        counts = self.counts
        self.slow()
        return counts


class Trial:
    def __init__(self, counts_per_mm: float = 10.0) -> None:
        self.clock, self.wheel = VirtualClock(), Wheel()
        self.changes = self.anew = 0
        self.troubles: list[tuple[str, bool, str]] = []
        settings = EncoderSettings(type="own", counts_per_mm=counts_per_mm, poll_ms=5)
        self.belt = EncoderBelt(
            self.wheel, settings, self.clock, self._changed, lambda *said: self.troubles.append(said),
            self._counted_anew, fastest_mm_s=2500, tolerance_mm=5,
        )  # fmt: skip

    def _changed(self) -> None:
        self.changes += 1

    def _counted_anew(self) -> None:
        self.anew += 1

    @property
    def told(self) -> list[tuple[str, bool]]:
        return [(name, recovered) for name, recovered, _ in self.troubles]

    def run_slowly(self, seconds: float, mm_s: float, took_s: float) -> None:
        """As run, but each answer takes so long after the counts were taken."""
        first, start = self.wheel.counts, self.clock.now()
        self.wheel.slow = lambda: self.clock.advance(self.clock.now() + took_s)
        while self.clock.now() < start + seconds:
            self.clock.advance(self.clock.now() + 0.005)
            self.wheel.counts = first + round((self.clock.now() - start) * mm_s * 10)
            self.belt.poll()
        self.wheel.slow = lambda: None
        self.wheel.counts = first + round((self.clock.now() - start) * mm_s * 10)

    def run(self, seconds: float, mm_s: float, counts_per_mm: float = 10.0) -> None:
        start, first = self.clock.now(), self.wheel.counts
        for step in range(1, round(seconds / 0.005) + 1):
            self.clock.advance(start + step * 0.005)
            self.wheel.counts = first + round(step * 0.005 * mm_s * counts_per_mm)
            self.belt.poll()


def test_the_belt_is_where_its_wheel_has_turned_to_and_starts_at_zero() -> None:
    trial = Trial()
    trial.belt.poll()
    assert trial.belt.position_mm(0.0) == 0
    trial.run(1.0, 500)
    assert trial.belt.position_mm(1.0) == pytest.approx(500, abs=0.2)
    assert trial.belt.when(600, now=1.0) == pytest.approx(1.2, abs=0.005)


def test_a_wheel_that_counts_backwards_has_negative_counts_per_mm() -> None:
    trial = Trial(counts_per_mm=-10)
    trial.belt.poll()
    trial.run(1.0, 500, counts_per_mm=-10)
    assert trial.belt.position_mm(1.0) == pytest.approx(500, abs=0.2)


def test_a_steady_belt_asks_for_no_new_plans_and_a_stop_does() -> None:
    trial = Trial()
    trial.run(1.0, 500)
    settled = trial.changes
    trial.run(1.0, 500)
    assert trial.changes - settled <= 4
    settled = trial.changes
    trial.run(0.2, 0)
    assert trial.changes > settled


def test_a_silent_encoder_is_told_once_and_its_recovery_too() -> None:
    trial = Trial()
    trial.run(0.1, 500)
    assert trial.belt.known()
    trial.wheel.unplugged = True
    for _ in range(SILENT_POLLS * 3):
        trial.belt.poll()
    assert not trial.belt.known()
    trial.wheel.unplugged = False
    trial.belt.poll()
    assert trial.belt.known()
    assert trial.told == [("encoder_silent", False), ("encoder_silent", True)]
    assert "no such device" in trial.troubles[0][2]


@pytest.mark.parametrize("raised", [SystemExit(1), asyncio.CancelledError()])
def test_an_encoder_that_raises_what_is_no_exception_is_silent_and_asked_again(
    raised: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial()
    trial.run(0.1, 500)

    def read() -> int:
        raise raised

    with monkeypatch.context() as patch:
        patch.setattr(trial.wheel, "read", read)
        for _ in range(SILENT_POLLS):
            trial.belt.poll()
    assert not trial.belt.known()
    trial.belt.poll()
    assert trial.told == [("encoder_silent", False), ("encoder_silent", True)]


@pytest.mark.parametrize(("took_s", "mm_s", "counts"), [(0.04, 500, False), (0.012, 500, True), (0.012, 1500, False)])
def test_an_answer_that_took_so_long_that_the_belt_ran_out_of_its_diverters_reach_is_none(
    took_s: float, mm_s: float, counts: bool
) -> None:
    """An item is seen by quick answers and pushed by slow ones: as far as they differ, so far beside it."""
    trial = Trial()
    trial.run(1.0, mm_s)
    trial.run_slowly(1.0, mm_s, took_s)
    assert trial.belt.known() is counts
    assert trial.told == ([] if counts else [("encoder_silent", False)])
    if not counts:
        assert f"took {took_s * 1e3:.0f} ms" in trial.troubles[0][2]
    trial.run(0.2, mm_s)
    assert trial.belt.known()
    at = trial.clock.now()
    assert trial.belt.position_mm(at) == pytest.approx((trial.wheel.counts - 1000) / 10, abs=mm_s * 0.006)
    told = [] if counts else [("encoder_silent", False), ("encoder_silent", True)]
    assert trial.told == told, "and it has not jumped"


@pytest.mark.parametrize(("fastest_s", "slowest_s"), [(0.0, 0.04), (0.06, 0.06)])
def test_an_encoder_that_falls_silent_again_and_again_is_told_twice_and_is_well_once_it_no_longer_does(
    fastest_s: float, slowest_s: float
) -> None:
    """A slow PLC: at 500 mm/s 111 and 923 incidents a minute, before; what lies between two answers stays a guess."""
    trial, chance = Trial(), random.Random(5)
    trial.run(0.1, 500)
    sure = []
    while trial.clock.now() < 15:
        trial.run_slowly(0.005, 500, chance.uniform(fastest_s, slowest_s))
        sure.append(trial.belt.place(trial.clock.now() - 0.01).sure)
    assert trial.told == [("encoder_silent", False), ("encoder_silent", True), ("encoder_silent", False)]
    assert "; belt.encoder.poll_ms = 5 allows for 50" in str(trial.belt.trouble())
    assert not all(sure)
    trial.run(REPEATED_S + 5, 500)  # it takes a while before quick answers are the usual ones
    assert trial.told[3:] == [("encoder_silent", True)]
    assert trial.belt.trouble() is None


def test_answers_that_all_take_as_long_are_believed() -> None:
    """Every place is off by the same way then, those that items were seen at too."""
    trial = Trial()
    trial.run_slowly(1.0, 1500, 0.02)
    assert trial.belt.known()
    assert trial.troubles == []


def test_an_encoder_that_hangs_is_not_believed_meanwhile_and_told_when_it_comes_back() -> None:
    trial = Trial()
    trial.run(0.1, 500)
    trial.clock.advance(trial.clock.now() + 0.04)
    assert trial.belt.known()
    trial.clock.advance(trial.clock.now() + 0.02)
    assert not trial.belt.known()
    assert trial.troubles == []
    trial.belt.poll()
    assert trial.belt.known()
    assert trial.troubles == [
        (
            "encoder_silent",
            False,
            "the encoder did not answer for 60 ms; belt.encoder.poll_ms = 5 allows for 50",
        ),
        ("encoder_silent", True, "the encoder answers again"),
    ]


@pytest.mark.parametrize("said", [None, "12", math.nan, math.inf, 10**400], ids=lambda said: str(said)[:4])
def test_what_is_no_finite_number_is_no_answer_and_pushes_nothing_aside(
    said: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial()
    trial.run(0.1, 500)
    read = trial.wheel.read
    with monkeypatch.context() as patch:
        patch.setattr(trial.wheel, "read", lambda: said)
        trial.belt.poll()
        assert trial.belt.position_mm(trial.clock.now()) == pytest.approx(47.5, abs=0.2), "one of them is passed over"
        for _ in range(SILENT_POLLS):
            trial.belt.poll()
        assert not trial.belt.known()
        assert "the encoder does not answer" in trial.troubles[0][2]
    assert trial.wheel.read == read
    trial.belt.poll()
    assert trial.belt.known()
    assert trial.told == [("encoder_silent", False), ("encoder_silent", True)]


@pytest.mark.parametrize("said", [0, -(10**30), 10**300, 1e308, 1000 + 10 * 600], ids=lambda said: f"{said:.0e}")
@pytest.mark.parametrize("times", [1, 60])
def test_a_jump_that_no_belt_could_make_moves_nothing_and_is_told_once(
    said: float, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told 60 times it is 0.3 s of belt: by its mean speed alone the smallest of these jumps would be one in time."""
    trial = Trial()
    trial.belt.poll()
    trial.run(0.5, 500)
    with monkeypatch.context() as patch:
        patch.setattr(trial.wheel, "read", lambda: said)
        for _ in range(times):
            trial.clock.advance(trial.clock.now() + 0.005)
            trial.belt.poll()
            assert trial.belt.position_mm(trial.clock.now()) == pytest.approx(500 * trial.clock.now(), abs=1)
        assert trial.belt.known() == (times == 1), "as after any silence"
        assert (trial.belt.trouble() is None) == (times == 1)
        assert "max_speed_mm_s" in trial.troubles[0][2]
    trial.wheel.counts += round(times * 0.005 * 500 * 10)
    trial.run(1.5, 500)
    assert trial.belt.position_mm(trial.clock.now()) == pytest.approx(500 * trial.clock.now(), abs=1)
    assert trial.told == [("encoder_jump", False), ("encoder_jump", True)]
    assert trial.anew == 0


def test_a_counter_that_starts_again_at_0_is_taken_anew_once_it_goes_on_evenly() -> None:
    trial = Trial()
    trial.belt.poll()
    trial.run(0.5, 500)
    trial.wheel.counts = 0
    trial.run(0.45, 500)
    assert not trial.belt.known()
    assert trial.anew == 0
    was = trial.clock.now()
    trial.run(0.55, 500)
    assert trial.anew == 1
    assert trial.belt.known()
    assert trial.belt.position_mm(trial.clock.now()) == pytest.approx(750, abs=5), "as if it had gone on meanwhile"
    assert not trial.belt.place(0.3).sure, "what was known then is of no use now"
    assert not trial.belt.place(was).sure
    assert trial.belt.place(trial.clock.now()).sure
    trial.run(1, 500)
    assert trial.told == [("encoder_jump", False), ("encoder_reset", False), ("encoder_jump", True)]


def test_a_belt_that_runs_at_twice_its_speed_or_stops_and_reverses_is_believed() -> None:
    trial = Trial()
    trial.belt.poll()
    for mm_s in (500, 1000, 0, -500, 500):
        trial.run(0.3, mm_s)
    assert trial.belt.position_mm(trial.clock.now()) == pytest.approx(450, abs=1)
    assert trial.troubles == []


def test_what_a_belt_ran_while_its_encoder_was_silent_is_believed_and_a_return_to_0_is_not() -> None:
    trial = Trial()
    trial.belt.poll()
    trial.run(1.0, 500)
    trial.clock.advance(3.0)
    trial.wheel.counts += 10 * 1000
    trial.belt.poll()
    assert trial.belt.position_mm(3.0) == pytest.approx(1500, abs=1)
    trial.clock.advance(6.0)
    trial.wheel.counts = 0
    trial.belt.poll()
    assert "encoder_jump" in dict(trial.told)
    assert not trial.belt.known()


def test_an_encoder_that_hangs_is_told_while_it_does_by_who_looks_after_it() -> None:
    trial = Trial()
    trial.clock.advance(0.5)
    trial.belt.look_after()
    assert trial.troubles == [], "the first answer may take a moment"
    trial.clock.advance(1.1)
    trial.belt.look_after()
    trial.belt.look_after()
    assert trial.told == [("encoder_silent", False)]
    assert trial.belt.trouble() == "it has not answered yet"
    trial.belt.poll()
    assert trial.told == [("encoder_silent", False), ("encoder_silent", True)]
    assert trial.belt.trouble() is None
    trial.clock.advance(1.2)
    trial.belt.look_after()
    assert trial.troubles[-1] == ("encoder_silent", False, "the encoder has not answered for 0.1 s")


def test_an_answer_that_comes_after_the_stop_is_nothing_to_tell_of() -> None:
    trial = Trial()
    trial.run(0.1, 0)

    def stopped_meanwhile() -> None:
        trial.belt.stop()
        trial.clock.advance(trial.clock.now() + 1)

    trial.wheel.slow = stopped_meanwhile
    trial.belt.poll()
    assert trial.troubles == []


def test_counts_of_numpy_are_subtracted_without_wrapping(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial()
    for step, said in enumerate((np.uint16(10), np.uint16(0))):
        trial.clock.advance(0.005 * step)
        monkeypatch.setattr(trial.wheel, "read", lambda said=said: said)
        trial.belt.poll()
    assert trial.belt.position_mm(0.005) == pytest.approx(-1)


def test_where_the_belt_was_while_its_encoder_said_nothing_is_a_guess() -> None:
    trial = Trial()
    assert not trial.belt.place(0.0).sure, "before the first answer"
    trial.clock.advance(0.1)
    trial.run(0.1, 500)
    early, told, newest = (trial.belt.place(at) for at in (0.05, 0.15, 0.21))
    assert (early.sure, told.sure, newest.sure) == (False, True, True)
    assert (early.final, told.final, newest.final) == (True, True, False)
    trial.clock.advance(0.4)
    assert not trial.belt.place(0.3).sure, "the last answer is too old"
    trial.run(0.1, 500)
    within, after = trial.belt.place(0.3), trial.belt.place(0.45)
    assert (within.sure, after.sure) == (False, True)
    assert within.final


def config(folder: Path, encoder: dict[str, object] | None, source: str) -> LineConfig:
    belt: dict[str, object] = {"pixels_per_mm": 1.6, "speed_mm_s": 500}
    return LineConfig.parse(
        {
            "model": {"path": str(write_model(folder / "m.onnx", ["bolt", "gear", "nut", "screw", "washer"]))},
            "camera": {"source": source},
            "belt": belt if encoder is None else {**belt, "encoder": encoder},
            "decide": {"min_confidence": 0.0},
            "lanes": [
                {
                    "name": "all",
                    "classes": ["bolt", "gear", "nut", "screw", "washer"],
                    "output": "g",
                    "distance_mm": 560,
                },
                {"name": "rest", "default": True},
            ],
            "outputs": {"g": {"type": "log", "pulse_ms": 5}},
            "web": {"enabled": False},
        }
    )


@pytest.mark.parametrize("motion", ["stop_and_go", "ramps"])
def test_on_a_belt_that_stops_and_goes_the_encoder_keeps_every_push_on_its_item(tmp_path: Path, motion: str) -> None:
    encoder = {"type": "simulated", "counts_per_mm": 20, "poll_ms": 5}
    source = f"sim:?speed_mm_s=500&rate=6&seed=5&fps=30&{SMALL}&motion={motion}&period_s=3"
    line = Line(config(tmp_path, encoder, source), clock=VirtualClock())
    line.play(seconds=10)
    line.stop()
    truth = line.watch.truth()
    assert truth is not None
    assert truth["pushes"] >= 20
    assert truth["wrong_pushes"] == 0
    assert line.ledger.balanced()


def test_without_its_encoder_the_same_belt_is_pushed_wrongly(tmp_path: Path) -> None:
    source = f"sim:?speed_mm_s=500&rate=6&seed=5&fps=30&{SMALL}&motion=stop_and_go&period_s=3"
    line = Line(config(tmp_path, None, source), clock=VirtualClock())
    line.play(seconds=10)
    line.stop()
    truth = line.watch.truth()
    assert truth is not None
    assert truth["wrong_pushes"] > 0, "else the test above proves nothing"


def test_with_a_silent_encoder_nothing_is_pushed(tmp_path: Path) -> None:
    encoder = {"type": "simulated", "counts_per_mm": 20, "poll_ms": 5}
    line = Line(config(tmp_path, encoder, f"sim:?speed_mm_s=500&rate=6&seed=5&fps=30&{SMALL}"), clock=VirtualClock())
    wheel = line.encoder

    def unplugged() -> int:
        raise OSError("no such device")

    read = wheel.read  # type: ignore[union-attr]
    wheel.read = lambda: unplugged() if line.clock.now() > 3 else read()  # type: ignore[union-attr, method-assign]
    line.play(seconds=6)
    line.stop()
    assert line.herald.incidents["encoder_silent"] == 1
    assert line.herald.incidents["belt_unknown"] > 0
    assert line.ledger.outcomes["fired"] > 0
    assert line.ledger.balanced()


@pytest.mark.parametrize("from_s", [0.0, 2.0])
def test_what_was_seen_while_the_encoder_said_nothing_is_pushed_at_its_place_or_not_at_all(
    tmp_path: Path, from_s: float
) -> None:
    """The belt stops, stands and starts meanwhile: where the pictures of that time were taken is only a guess."""
    encoder = {"type": "simulated", "counts_per_mm": 20, "poll_ms": 5}
    source = f"sim:?speed_mm_s=500&rate=6&seed=5&fps=30&{SMALL}&motion=stop_and_go&period_s=2.5"
    line = Line(config(tmp_path, encoder, source), clock=VirtualClock())
    wheel = line.encoder
    read = wheel.read  # type: ignore[union-attr]

    def loose() -> int:
        if from_s <= line.clock.now() % 5 < from_s + 0.7:
            raise OSError("a loose contact")
        return read()

    wheel.read = loose  # type: ignore[union-attr, method-assign]
    line.play(seconds=20)
    line.stop()
    truth = line.world.truth(line.clock.now())
    off_mm = [abs(push.off_mm) for push in truth.pushes_seen if push.off_mm is not None]
    assert truth.pushes >= 20
    assert truth.wrong_pushes == 0
    assert max(off_mm) < 3
    assert line.ledger.balanced()


@pytest.mark.parametrize("fault", ["once 0", "300 mm further on"])
def test_an_encoder_whose_counts_jump_never_leads_to_a_wrong_push(tmp_path: Path, fault: str) -> None:
    encoder = {"type": "simulated", "counts_per_mm": 20, "poll_ms": 5}
    source = f"sim:?speed_mm_s=500&rate=6&seed=5&fps=30&{SMALL}&motion=stop_and_go&period_s=2.5"
    line = Line(config(tmp_path, encoder, source), clock=VirtualClock())
    wheel, herald = line.encoder, line.herald
    assert wheel is not None
    assert herald is not None
    read, faulty = wheel.read, {"from": 4.0, "offset": 0}

    def jumps() -> int:
        counts = read()
        if faulty["from"] <= line.clock.now() < 12:  # a belt that stands in the end is waited for beyond that
            if fault == "once 0":
                faulty["from"] += 0.7
                return 0
            faulty["from"] += 5
            faulty["offset"] += 20 * 300
        return counts + int(faulty["offset"])

    wheel.read = jumps  # type: ignore[method-assign]
    line.play(seconds=12)
    line.stop()
    truth = line.watch.truth()
    assert truth is not None
    assert truth["wrong_pushes"] == 0
    assert truth["pushes"] >= 10
    assert herald.incidents["encoder_jump"] > 0
    assert herald.incidents["encoder_reset"] == (0 if fault == "once 0" else 2)
    assert (herald.incidents["item_unplaced"] > 0) == (fault != "once 0")
    assert line.ledger.balanced()


@pytest.mark.parametrize(
    ("counts_per_mm", "motion", "told"), [(20, "stop_and_go", 0), (20, "ramps", 0), (30, "steady", 1)]
)
def test_an_encoder_with_a_wrong_scale_is_told_and_a_belt_that_stops_is_none(
    tmp_path: Path, counts_per_mm: float, motion: str, told: int
) -> None:
    encoder = {"type": "simulated", "counts_per_mm": 20, "poll_ms": 5}
    source = f"sim:?speed_mm_s=500&rate=2&seed=5&fps=30&{SMALL}&motion={motion}&period_s=5"
    line = Line(config(tmp_path, encoder, source), clock=VirtualClock())
    wheel = line.encoder
    read = wheel.read  # type: ignore[union-attr]
    wheel.read = lambda: read() * counts_per_mm // 20  # type: ignore[union-attr, method-assign]
    line.play(seconds=8)
    line.stop()
    assert line.herald is not None
    assert line.herald.incidents["belt_speed_mismatch"] == told


@pytest.fixture
def plc() -> Iterator[tuple[int, list[int]]]:
    """A real Modbus TCP server with a 32-bit counter in holding registers 10 and 11; (port, counter)."""
    server = pytest.importorskip("pymodbus.server", reason="pymodbus is not installed")
    from pymodbus.simulator import DataType, SimData, SimDevice

    counter = [0]

    async def count(_: int, __: int, ___: int, ____: int, registers: list[int], _____: object) -> None:
        registers[10:12] = [counter[0] >> 16 & 0xFFFF, counter[0] & 0xFFFF]

    context = SimDevice(id=1, simdata=[SimData(0, values=[0] * 20, datatype=DataType.REGISTERS)], action=count)
    loop, ready, port = asyncio.new_event_loop(), threading.Event(), [0]
    running: list[object] = []

    async def serve() -> None:
        tcp = server.ModbusTcpServer(context, address=("127.0.0.1", 0))
        running.append(tcp)
        await tcp.serve_forever(background=True)
        port[0] = tcp.transport.sockets[0].getsockname()[1]
        ready.set()
        while running:
            await asyncio.sleep(0.02)
        await tcp.shutdown()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="plc")
    thread.start()
    try:
        assert ready.wait(10)
        yield port[0], counter
    finally:
        running.clear()
        thread.join(10)
        loop.close()


def test_a_counter_in_a_plc_is_read_over_modbus_and_unrolled_when_it_wraps(plc: tuple[int, list[int]]) -> None:
    from edge.encoders.modbus import Modbus, ModbusSettings

    port, counter = plc
    settings = ModbusSettings(type="modbus", counts_per_mm=10, host="127.0.0.1", port=port, register_at=10)
    wheel = Modbus(settings, MonotonicClock())
    try:
        counter[0] = 0xFFFFFFF0
        first = wheel.read()
        counter[0] = 0x10
        assert wheel.read() - first == 32
        counter[0] = 0x0
        assert wheel.read() - first == 16, "and backwards"
    finally:
        wheel.close()


@pytest.mark.parametrize("answer", ["03 02 1234", "03 00", "03 06 123456789abc", "01 01 01"])
def test_an_answer_of_more_or_fewer_registers_than_were_asked_for_is_none(answer: str) -> None:
    """Whole frames all of them: half a counter is another place of the belt."""
    pytest.importorskip("pymodbus", reason="pymodbus is not installed")
    from edge.encoders.modbus import Modbus, ModbusSettings

    data = bytes.fromhex(answer)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line:
                asked = line.recv(12)
                line.sendall(asked[:4] + (len(data) + 1).to_bytes(2) + asked[6:7] + data)
                line.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        settings = ModbusSettings(
            type="modbus", counts_per_mm=10, host="127.0.0.1", port=port, register_at=10, timeout_ms=5000
        )
        wheel = Modbus(settings, MonotonicClock())
        try:
            with pytest.raises(OutputError, match=rf"127\.0\.0\.1:{port}: address 10: it gave \d values"):
                wheel.read()
        finally:
            wheel.close()
            thread.join(10)


def test_a_plc_that_is_not_there_is_an_error_that_names_it_in_time() -> None:
    pytest.importorskip("pymodbus", reason="pymodbus is not installed")
    from edge.encoders.modbus import Modbus, ModbusSettings
    from edge.errors import OutputError

    wheel = Modbus(
        ModbusSettings(type="modbus", counts_per_mm=10, host="127.0.0.1", port=1, register_at=0), MonotonicClock()
    )
    start = time.monotonic()
    with pytest.raises(OutputError, match=r"127\.0\.0\.1:1"):
        wheel.read()
    assert time.monotonic() - start < 5
    wheel.close()


@pytest.mark.parametrize(
    ("encoder", "says"),
    [
        ({"type": "wheel", "counts_per_mm": 1}, "is not an encoder type"),
        ({"counts_per_mm": 1}, "belt.encoder.type is missing"),
        ({"type": "simulated", "counts_per_mm": 0}, "must not be 0"),
        ({"type": "simulated", "counts_per_m": 3}, "did you mean counts_per_mm?"),
        ({"type": "modbus", "counts_per_mm": 1, "register_at": 3}, "belt.encoder.host is missing"),
    ],
)
def test_a_wrong_encoder_table_gets_a_sentence(tmp_path: Path, encoder: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, encoder, "sim:")
    assert says in str(caught.value)

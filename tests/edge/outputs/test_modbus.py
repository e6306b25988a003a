"""The modbus output against a real server: each push is one write, in time or not at all, and the blade comes back."""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge.check import check_line
from edge.clock import VirtualClock
from edge.config import LineConfig
from edge.errors import ConfigError, OutputError, OutputRefused
from edge.line import CLOSE_S, Line
from edge.outputs import Output
from edge.pulse import LOOK_S
from tests.edge.outputs import pushes
from tests.edge.outputs.pushes import DECISION, Ear, content_of, opened, problems, push, refusals
from tests.edge.tiny_model import write_model

pytest.importorskip("pymodbus", reason="pymodbus is not installed")

from pymodbus.constants import ExcCodes

from tests.edge.plc import COIL, HOLDING, Plc, serving

PATIENT_MS = 5000  # an answer within it is in time on any machine
OUT, REST = (5, 1), (5, 0)
wait_until = partial(pushes.wait_until, within_s=10)


def table(plc: Plc, **keys: Any) -> dict[str, Any]:
    here = {"type": "modbus", "host": "127.0.0.1", "port": plc.port, "address": 5, "timeout_ms": PATIENT_MS}
    return {**here, "pulse_ms": 20, **keys}


@contextmanager
def gate(plc: Plc, **keys: Any) -> Iterator[Output]:
    output = opened(table(plc, **keys))
    try:
        yield output
    finally:
        output.close()


@pytest.mark.parametrize(
    ("keys", "writes"),
    [
        ({}, [(5, 1), (5, 0)]),
        ({"out_value": 0, "rest_value": 1}, [(5, 0), (5, 1)]),
        ({"kind": "holding", "address": 0, "out_value": 65535, "rest_value": 7}, [(0, 65535), (0, 7)]),
    ],
)
def test_a_push_sets_it_out_and_back_after_the_pulse(keys: dict[str, Any], writes: list[tuple[int, int]]) -> None:
    plc = Plc()
    plc.words[HOLDING if "kind" in keys else COIL] = writes[1][1] << (0 if "kind" in keys else 5)
    with serving(plc), gate(plc, **keys) as output:
        for pushes in (1, 2):
            output.fire(push(0.03))
            assert plc.writes[-1] == writes[0], "it is out when fire returns"
            assert plc.wait_for_writes(2 * pushes) == writes * pushes
            assert plc.written_at[-1] - plc.written_at[-2] >= 0.03


def test_a_push_while_it_is_out_is_written_too_and_its_pulse_counts_from_there() -> None:
    with serving(Plc()) as plc, gate(plc) as output:
        for pulse_s in (30.0, 0.4, 0.5):
            output.fire(push(pulse_s))
        assert plc.wait_for_writes(4) == [OUT, OUT, OUT, REST]
        assert 0.5 <= plc.written_at[3] - plc.written_at[2] < 20


def test_a_pulse_that_the_plc_ends_is_one_write() -> None:
    with serving(Plc()) as plc:
        with gate(plc, reset_by="plc") as output:
            output.fire(push(0.001))
            output.fire(push(0.001))
        assert plc.writes == [OUT, OUT]


def test_a_decision_is_a_push_where_it_is_told_of_decisions() -> None:
    with serving(Plc()) as plc, gate(plc, on="decision") as output:
        output.fire(push())
        assert plc.writes == []
        output.decided(DECISION)
        assert plc.wait_for_writes(2) == [OUT, REST]


def test_a_write_leaves_at_once_and_a_dead_line_is_noticed() -> None:
    with serving(Plc()) as plc, gate(plc) as output:
        connection = output._device._client.socket  # type: ignore[attr-defined]
        for level, option in ((socket.IPPROTO_TCP, socket.TCP_NODELAY), (socket.SOL_SOCKET, socket.SO_KEEPALIVE)):
            assert connection.getsockopt(level, option)


@contextmanager
def listened_to(plc: Plc, **keys: Any) -> Iterator[tuple[Output, Ear]]:
    with gate(plc, **keys) as output:
        yield output, Ear(output)


def fails(value: int) -> ExcCodes | None:
    """Of a device that sets its outputs out, and does not bring them back."""
    return None if value else ExcCodes.DEVICE_FAILURE


def test_a_blade_that_cannot_be_brought_back_is_told_of_and_brought_back_when_it_can_be() -> None:
    plc = Plc()
    with serving(plc):
        output = opened(table(plc))
        ear = Ear(output)
        plc.refuse = fails
        output.fire(push(0.001))
        cause = ear.wait_for("diverter_out")
        assert cause.startswith(f"127.0.0.1:{plc.port}: address 5: it failed (Modbus exception 4): its diverter")
    try:
        assert "cannot be reached" in ear.wait_for("output_unreachable")
        plc.refuse = lambda value: None
        with serving(plc):
            assert plc.wait_for_writes(2) == [OUT, REST]
            for name in ("output_unreachable", "diverter_out"):
                ear.wait_for(name, recovered=True)
            # While it is there: that it goes once more at the end of the block is told, too.
            assert [name for name, _, recovered in ear.told if not recovered] == ["diverter_out", "output_unreachable"]
    finally:
        output.close()


def test_a_plc_that_is_lost_while_the_blade_is_out_leaves_it_out_and_that_is_told_too() -> None:
    plc = Plc()
    with serving(plc):
        output = opened(table(plc))
        ear = Ear(output)
        output.fire(push(2 * LOOK_S))
    try:
        assert "cannot be reached: its diverter was told to push" in ear.wait_for("diverter_out")
        with serving(plc):
            ear.wait_for("diverter_out", recovered=True)
        assert plc.writes == [OUT, REST]
    finally:
        output.close()


def test_a_plc_that_was_away_between_two_pushes_costs_neither() -> None:
    plc = Plc()
    with serving(plc):
        output = opened(table(plc))
        output.fire(push(0.001))
        plc.wait_for_writes(2)
    try:
        with serving(plc):
            output.fire(push(0.001, within_s=10))
            assert plc.wait_for_writes(4) == [OUT, REST] * 2
    finally:
        output.close()


def test_a_push_that_finds_no_connection_in_its_time_is_never_made() -> None:
    plc = Plc()
    with serving(plc):
        output = opened(table(plc))
        ear = Ear(output)
    try:
        ear.wait_for("output_unreachable")
        for within_s in (0.0, 0.05):
            begun = time.monotonic()
            with pytest.raises(OutputError, match=rf"127\.0\.0\.1:{plc.port}: .*cannot be reached"):
                output.fire(push(within_s=within_s))
            assert time.monotonic() - begun < PATIENT_MS / 1e3 / 2
        with serving(plc):
            ear.wait_for("output_unreachable", recovered=True)
            output.fire(push(0.001))
            assert plc.wait_for_writes(2) == [OUT, REST], "one push, and none of those before"
    finally:
        output.close()


def test_a_push_without_an_answer_fails_in_time_and_the_blade_ends_at_rest_stays_there() -> None:
    with serving(Plc()) as plc, listened_to(plc, timeout_ms=400) as (output, ear):
        plc.holds = lambda value: True
        begun = time.monotonic()
        with pytest.raises(OutputError, match=r"address 5: did not answer within \d+ ms"):
            output.fire(push(30.0))
        assert 0.4 <= time.monotonic() - begun < 4
        assert "nobody knows it back at rest" in ear.wait_for("diverter_out")
        plc.holds = lambda value: False
        ear.wait_for("diverter_out", recovered=True)
        # The push may be made yet, on the connection that was given up; then it is taken back.
        wait_until(lambda: OUT in plc.writes and plc.writes[-1] == REST)
        assert plc.words[COIL] == 0


def test_behind_a_push_without_an_answer_its_end_follows_on_the_same_connection() -> None:
    """Whole frames, which a device that comes to itself finds in this order: never a push without its end."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line, line.makefile("rb") as frames:
                asked = frames.read(12)
                line.sendall(asked[:4] + b"\0\4\1\1\1\0")  # the coil is at rest
                with suppress(ConnectionResetError):
                    while frame := frames.read(12):
                        heard.append(frame)

        thread = threading.Thread(target=serve)
        thread.start()
        output = opened(
            {"type": "modbus", "host": "127.0.0.1", "port": server.getsockname()[1], "address": 5, "timeout_ms": 400}
        )
        with pytest.raises(OutputError, match="did not answer"):
            output.fire(push())
        thread.join(10)
        with pytest.raises(OutputError, match="its diverter is still out"):
            output.close()
    assert [frame[7:] for frame in heard] == [b"\5\0\5\xff\0", b"\5\0\5\0\0"]


def test_what_a_stuck_plc_makes_up_for_afterwards_is_taken_back() -> None:
    with serving(Plc()) as plc, gate(plc, timeout_ms=400) as output:
        plc.holds = lambda value: True
        with pytest.raises(OutputError, match="did not answer"):
            output.fire(push(30.0))
        plc.holds = lambda value: False
        # What waited on the connection that was given up is done before or after what came on the next one.
        wait_until(lambda: OUT in plc.writes and plc.writes[-1] == REST)
        plc.words[COIL] = 1 << 5  # the push comes after all, behind what has brought it back
        so_far = len(plc.writes)
        assert plc.wait_for_writes(so_far + 1)[so_far] == REST
        assert plc.words[COIL] == 0


def test_a_push_that_has_to_wait_for_another_answer_too_long_is_never_made() -> None:
    with serving(Plc()) as plc, gate(plc) as output:
        plc.holds = lambda value: value == 0
        output.fire(push(0.001))
        with plc.asked:
            assert plc.asked.wait_for(lambda: plc.held == 1, 10)
        with pytest.raises(OutputError, match="still waited for an answer to something else"):
            begun = time.monotonic()
            output.fire(push(within_s=0.02))
        assert time.monotonic() - begun < PATIENT_MS / 1e3 / 2
        plc.holds = lambda value: False
        assert plc.wait_for_writes(2) == [OUT, REST]


def test_a_push_that_the_plc_refuses_moves_nothing_and_needs_no_bringing_back() -> None:
    with serving(Plc()) as plc, listened_to(plc) as (output, ear):
        plc.refuse = lambda value: ExcCodes.ILLEGAL_ADDRESS
        with pytest.raises(OutputRefused, match=r"address 5: it has no such address \(Modbus exception 2\)"):
            output.fire(push(0.001))
        plc.refuse = lambda value: None
        output.fire(push(0.001))
        assert plc.wait_for_writes(2) == [OUT, REST]
        assert ear.told == []


def test_closing_brings_the_blade_back_and_may_be_done_twice() -> None:
    with serving(Plc()) as plc:
        output = opened(table(plc))
        output.fire(push(30.0))
        for _ in range(2):
            output.close()
            assert plc.writes == [OUT, REST]
        with pytest.raises(OutputError, match="is closed"):
            output.fire(push())


def test_closing_cuts_no_pulse_short_that_it_can_wait_for() -> None:
    with serving(Plc()) as plc:
        output = opened(table(plc))
        output.fire(push(0.15))
        output.close()
        assert plc.writes == [OUT, REST]
        assert plc.written_at[1] - plc.written_at[0] >= 0.15


def fire(output: Output, failed: list[str]) -> None:
    try:
        output.fire(push(0.001))
    except OutputError as error:
        failed.append(str(error))


@pytest.mark.parametrize("stuck_at", ["the push", "rest"])
def test_closing_beside_a_plc_that_hangs_comes_back_and_says_that_the_blade_is_out(stuck_at: str) -> None:
    with serving(Plc()) as plc:
        output = opened(table(plc))
        plc.holds = lambda value: stuck_at == "the push" or value == 0
        failed: list[str] = []
        firing = threading.Thread(target=lambda: fire(output, failed))
        firing.start()
        with plc.asked:
            assert plc.asked.wait_for(lambda: plc.held == 1, 10)
        begun = time.monotonic()
        with pytest.raises(OutputError, match="its diverter is still out"):
            output.close()
        assert time.monotonic() - begun < CLOSE_S
        output.close()
        firing.join(10)
        assert failed == (
            [f"127.0.0.1:{plc.port}: address 5: the connection was lost"] if stuck_at == "the push" else []
        )
        plc.holds = lambda value: False


def test_a_plc_that_does_not_answer_keeps_the_line_from_starting_unless_it_may() -> None:
    plc = Plc()
    with serving(plc):
        pass
    with pytest.raises(OutputError, match=rf"^outputs\.gate: 127\.0\.0\.1:{plc.port}: .*cannot be reached"):
        opened(table(plc))
    with listened_to(plc, must_answer=False) as (output, ear):
        ear.wait_for("output_unreachable")
        with serving(plc):
            ear.wait_for("output_unreachable", recovered=True)
            output.fire(push(0.001))
            assert plc.wait_for_writes(2) == [OUT, REST]


def test_a_blade_that_a_killed_program_left_out_is_brought_back_before_anything_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    plc = Plc()
    plc.words[COIL] = 1 << 5
    with serving(plc):
        with gate(plc):
            assert plc.wait_for_writes(1) == [REST]
        assert plc.writes == [REST]
    assert "outputs.gate: not at rest though nothing is pushed" in caplog.text


def test_before_a_line_begins_with_it_nothing_is_written() -> None:
    plc = Plc()
    plc.words[COIL] = 1 << 5
    with serving(plc):
        pass
    output = opened(table(plc, must_answer=False, alive_ms=5), begun=False)
    try:
        with serving(plc):
            until = time.monotonic() + 10 * 0.005
            while time.monotonic() < until:
                assert "is 1 (out)" in output.check()
    finally:
        output.close()
    assert plc.writes == []


def test_a_plc_that_falls_asleep_is_told_to_rest_again_and_again() -> None:
    with serving(Plc()) as plc, gate(plc, alive_ms=5) as output:
        assert plc.wait_for_writes(30)[:30] == [REST] * 30
        assert plc.written_at[29] - plc.written_at[0] < 29 * LOOK_S / 2
        output.fire(push(2 * LOOK_S))
        so_far = plc.writes.index(OUT)
        plc.wait_for_writes(so_far + 2)
        assert plc.written_at[so_far + 1] - plc.written_at[so_far] >= 2 * LOOK_S, "but not while it is out"


def line_config(tmp_path: Path, plc: Plc, **gate: Any) -> LineConfig:
    return LineConfig.parse(
        {
            "model": {"path": str(write_model(tmp_path / "colours.onnx", sharpness=200.0))},
            "camera": {
                "source": "squares", "type": "tests.edge.squares:Squares", "colours": "red green red blue red red",
            },
            "belt": {"pixels_per_mm": 1.0, "speed_mm_s": 300},
            "lanes": [
                {"name": "reds", "classes": ["red"], "output": "gate", "distance_mm": 260},
                {"name": "rest", "default": True},
            ],
            "outputs": {"gate": table(plc, **gate)},
            "web": {"enabled": False},
        }
    )  # fmt: skip


def test_each_item_that_a_line_fires_is_one_push_of_the_coil_and_nothing_else_is(tmp_path: Path) -> None:
    with serving(Plc()) as plc:
        line = Line(line_config(tmp_path, plc), clock=VirtualClock())
        try:
            line.play()
        finally:
            line.stop()
        assert line.ledger.outcomes["fired"] == plc.writes.count(OUT) == 4
        assert set(plc.writes) == {OUT, REST}
        assert plc.writes[-1] == REST


def test_a_blade_that_does_not_come_back_is_an_incident_of_the_line_and_its_outputs_are_unwell(tmp_path: Path) -> None:
    with serving(Plc()) as plc:
        line = Line(line_config(tmp_path, plc), clock=VirtualClock())
        try:
            plc.refuse = fails
            line.outputs["gate"].fire(push(0.001))
            wait_until(lambda: line.herald.incidents["diverter_out"] == 1)  # type: ignore[union-attr]
            health = line.health()["outputs"]
            assert not health["ok"]
            assert health["text"].startswith(f"outputs.gate: 127.0.0.1:{plc.port}: address 5: it failed")
            plc.refuse = lambda value: None
            wait_until(lambda: line.health()["outputs"]["ok"])
        finally:
            line.stop()


def test_check_says_what_it_found_and_pushes_nothing(tmp_path: Path) -> None:
    def row(config: LineConfig) -> tuple[bool, str]:
        return {one.part: (one.ok, one.text) for one in check_line(config)}["outputs.gate"]

    with serving(Plc()) as plc:
        config = line_config(tmp_path, plc)
        ok, text = row(config)
        assert ok
        assert text.startswith(f"modbus: coil 5 of 127.0.0.1:{plc.port} is 0 (at rest), answered in ")
        plc.words[COIL] = 1 << 5
        ok, text = row(config)
        assert "is 1 (out), answered in" in text, "a line that runs may be at a push just now"
        ok, text = row(line_config(tmp_path, plc, address=16))
        assert (ok, text) == (
            False,
            f"127.0.0.1:{plc.port}: address 16: it has no such address (Modbus exception 2)",
        )
        assert plc.writes == []
    for must_answer in (True, False):
        ok, text = row(line_config(tmp_path, plc, must_answer=must_answer, timeout_ms=100))
        assert not ok
        assert f"127.0.0.1:{plc.port}: " in text


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"host": None}, "outputs.gate.host is missing"),
        ({"host": ""}, "outputs.gate.host = '': string should have at least 1 character"),
        ({"address": None}, "outputs.gate.address is missing"),
        ({"address": 65536}, "outputs.gate.address = 65536: input should be less than or equal to 65535"),
        ({"address": -1}, "outputs.gate.address = -1: input should be greater than or equal to 0"),
        ({"address": "5"}, "outputs.gate.address = '5': must be a number, without quotes"),
        ({"kind": "discrete"}, "outputs.gate.kind = 'discrete': input should be 'coil' or 'holding'"),
        ({"out_value": 2}, "outputs.gate.out_value must be 0 or 1: a coil has no other"),
        ({"kind": "holding", "out_value": 65536}, "outputs.gate.out_value = 65536: input should be less than or equal"),
        ({"kind": "holding", "rest_value": -1}, "outputs.gate.rest_value = -1: input should be greater than or equal"),
        ({"rest_value": 1}, "outputs.gate.out_value must not be the same as rest_value, which is 1"),
        ({"reset_by": "nobody"}, "outputs.gate.reset_by = 'nobody': input should be 'line' or 'plc'"),
        ({"host": "plc..plant"}, "outputs.gate.host = 'plc..plant': must be a name or an address and no more"),
        ({"host": "tcp://plc"}, "outputs.gate.host = 'tcp://plc': must be a name or an address and no more"),
        ({"host": "10.0.0.9:502"}, "outputs.gate.host = '10.0.0.9:502': must be a name or an address and no more"),
        ({"timeout_ms": 0}, "outputs.gate.timeout_ms = 0: input should be greater than 0"),
        ({"adress": 5}, "outputs.gate.adress is not a key of [outputs.gate] (did you mean address? it has: "),
    ],
)
def test_a_wrong_key_is_one_sentence(keys: dict[str, Any], says: str) -> None:
    said = problems(gate={"type": "modbus", "host": "plc", "address": 5, **keys})
    assert len(said) == 1
    assert said[0].startswith(says)


def test_two_outputs_on_one_coil_are_refused_with_both_their_keys() -> None:
    here = {"type": "modbus", "host": "plc", "address": 5}
    assert problems(a=here, b={**here, "host": "PLC", "port": 502}) == [
        "outputs.a.address and outputs.b.address are both coil 5 of plc: each needs one of its own"
    ]
    local = {**here, "host": "127.0.0.1"}
    assert len(problems(a=local, b={**local, "host": "localhost"})) == 1
    assert problems(a=here, b={**here, "address": 6}, c={**here, "kind": "holding"}, d={**here, "unit": 2}) == []


def test_an_error_that_nobody_thought_of_is_told_and_is_over_when_the_output_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(Plc()) as plc, listened_to(plc) as (output, ear):
        set_back, failed = output._set_back, threading.Event()  # type: ignore[attr-defined]

        def once(until: float) -> None:
            if not failed.is_set():
                failed.set()
                raise ZeroDivisionError("nobody thought of this")
            set_back(until)

        monkeypatch.setattr(output, "_set_back", once)
        output.fire(push(0.001))
        assert ear.wait_for("output_unreachable") == "ZeroDivisionError: nobody thought of this"
        ear.wait_for("output_unreachable", recovered=True)
        assert plc.wait_for_writes(2) == [OUT, REST]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (ExcCodes.DEVICE_BUSY, "it is busy (Modbus exception 6)"),
        (ExcCodes.DEVICE_FAILURE, "it failed (Modbus exception 4)"),
    ],
)
def test_a_plc_that_answers_but_refuses_what_keeps_it_awake_is_told_of_at_once_and_once(
    code: ExcCodes, why: str
) -> None:
    with serving(Plc()) as plc, listened_to(plc, alive_ms=5) as (output, ear):
        refused = threading.Semaphore(0)

        def refuse(value: int) -> ExcCodes:
            refused.release()
            return code

        plc.refuse = refuse
        assert ear.wait_for("output_unreachable") == f"127.0.0.1:{plc.port}: address 5: {why}"
        assert all(refused.acquire(timeout=10) for _ in range(5)), "it is told again and again"
        plc.refuse = lambda value: None
        ear.wait_for("output_unreachable", recovered=True)
        output.fire(push(0.001))
        assert [(name, over) for name, _, over in ear.told] == [
            ("output_unreachable", False), ("output_unreachable", True)
        ]  # fmt: skip


def test_a_plc_that_answers_questions_and_no_write_that_keeps_it_awake_is_told_of() -> None:
    with serving(Plc()) as plc, listened_to(plc, alive_ms=5, timeout_ms=400) as (_, ear):
        plc.holds = lambda value: value is not None
        assert "did not answer within" in ear.wait_for("output_unreachable")
        plc.holds = lambda value: False
        ear.wait_for("output_unreachable", recovered=True)


def test_a_connection_that_was_lost_at_what_keeps_it_awake_is_no_incident_where_the_next_one_hears_it() -> None:
    with serving(Plc()) as plc, listened_to(plc, alive_ms=5, timeout_ms=1000) as (_, ear):
        asked = plc.reads
        plc.holds = lambda value: value is not None and plc.reads == asked
        plc.wait_for_reads(1)
        plc.wait_for_writes(len(plc.writes) + 5)
        assert plc.held == 1
        assert ear.told == []


PLACE = {"type": "modbus", "host": "plc"}


@pytest.mark.parametrize(
    ("gate", "part", "says"),
    [
        ({"address": 5}, {"confirm": {"address": 5, "kind": "coil"}}, "coil 5 of plc, which lanes[0].confirm.address"),
        ({"address": 5}, {"trigger": {"address": 5, "kind": "coil", "host": "PLC", "port": 502}}, "items.trigger.addr"),
        (
            {"address": 8, "kind": "holding"}, {"trigger": {"address": 8, "kind": "holding", "bit": 3}},
            "holding 8 of plc, which items.trigger.address reads: an input needs an address of its own",
        ),
        ({"address": 7, "kind": "holding"}, {"encoder": {"register_at": 6}}, "which belt.encoder.register_at reads"),
        ({"address": 6, "kind": "holding"}, {"encoder": {"register_at": 6, "words": 1}}, "which belt.encoder.regist"),
        ({"address": 5}, {"confirm": {"address": 5}}, ""),
        ({"address": 5}, {"confirm": {"address": 6, "kind": "coil"}}, ""),
        ({"address": 5}, {"trigger": {"address": 5, "kind": "coil", "unit": 2}}, ""),
        ({"address": 7, "kind": "holding"}, {"encoder": {"register_at": 6, "words": 1}}, ""),
        ({"address": 6, "kind": "holding"}, {"encoder": {"register_at": 6, "kind": "input"}}, ""),
        ({"address": 5}, {"trigger": {"address": 9, "kind": "coil"}, "confirm": {"address": 9, "kind": "coil"}}, ""),
    ],
)  # fmt: skip
def test_an_output_that_writes_what_an_input_reads_is_refused_with_both_their_keys(
    gate: dict[str, Any], part: dict[str, Any], says: str
) -> None:
    lane = {"name": "good", "classes": ["bolt"], "output": "gate", "distance_mm": 400}
    if "confirm" in part:
        lane["confirm"] = {**PLACE, "distance_mm": 500, **part["confirm"]}
    content = content_of([lane], {"gate": {**PLACE, **gate}})
    if "trigger" in part:
        eye = {**PLACE, "position_mm": -50, "length_mm": 30, **part["trigger"]}
        content["items"] = {"mode": "trigger", "trigger": eye}
    if "encoder" in part:
        content["belt"]["encoder"] = {**PLACE, "counts_per_mm": 1, **part["encoder"]}
    said = refusals(content)
    assert len(said) == bool(says)
    assert all(one.startswith("outputs.gate.address writes ") and says in one for one in said)


def test_without_pymodbus_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymodbus.client", None)
    with pytest.raises(ConfigError, match=r'outputs\.gate\.type = "modbus" needs pymodbus: pip install "sortline'):
        opened({"type": "modbus", "host": "plc", "address": 5})

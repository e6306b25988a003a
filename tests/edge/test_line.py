"""The whole line: camera to diverter, every item decided once and ended once."""

import hashlib
import json
import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.camera import CameraSettings, Shot
from edge.clock import Clock, VirtualClock
from edge.config import LineConfig
from edge.errors import ConfigError, ModelError, SortlineError
from edge.facts import facts_of
from edge.line import Line
from edge.orders import obey
from edge.records import Decision, Frame
from tests.edge import own_parts
from tests.edge.outputs.servers import free_port, http_server
from tests.edge.tiny_model import COLOURS as RGB
from tests.edge.tiny_model import write_model

COLOURS = "red green blue red blue green green red"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "colours.onnx", sharpness=200.0)


def config(model: Path, colours: str = COLOURS, **changes: object) -> LineConfig:
    content: dict[str, object] = {
        "model": {"path": str(model)},
        "camera": {"source": "squares", "type": "tests.edge.squares:Squares", "colours": colours},
        "belt": {"pixels_per_mm": 1.0, "speed_mm_s": 300},
        "lanes": [
            {"name": "reds", "classes": ["red"], "output": "gate", "distance_mm": 260},
            {"name": "greens", "classes": ["green"], "output": "arm", "distance_mm": 330},
            {"name": "rest", "default": True},
        ],
        "outputs": {
            "gate": {"type": "tests.edge.own_parts:Blade"},
            "arm": {"type": "tests.edge.own_parts:Blade"},
        },
        "web": {"enabled": False},
    }
    return LineConfig.parse({**content, **changes})


def played(config: LineConfig, **options: object) -> tuple[Line, list[Decision]]:
    heard: list[Decision] = []
    line = Line(config, on_decision=heard.append, clock=VirtualClock(), **options)  # type: ignore[arg-type]
    try:
        line.play()
    finally:
        line.stop()
    return line, heard


def test_every_item_is_decided_once_and_pushed_into_its_own_lane(model: Path) -> None:
    line, heard = played(config(model))
    assert [d.label for d in sorted(heard, key=lambda d: d.item_id)] == COLOURS.split()
    assert {d.reason for d in heard} == {"classified"}
    pushed = {name: [p.decision.label for p in output.pushes] for name, output in line.outputs.items()}  # type: ignore[attr-defined]
    assert pushed == {"gate": ["red"] * 3, "arm": ["green"] * 3}
    assert line.ledger.outcomes == Counter(fired=6, passed=2, confirmed=0, missed=0, lost=0)
    assert line.ledger.balanced()


def test_pushes_are_made_where_the_item_is(model: Path) -> None:
    line, _ = played(config(model))
    first = line.outputs["gate"].pushes[0]  # type: ignore[attr-defined]
    # Its front edge enters at 0 s and its centre, 20 mm behind, is at the picture's middle (200 mm) at 220 mm.
    assert first.fire_mm == pytest.approx(220 + 260, abs=3)


def test_a_decision_carries_everything_that_a_callback_needs(model: Path) -> None:
    _, heard = played(config(model, "red"))
    decision = heard[0]
    assert (decision.lane, decision.label, decision.reason) == ("reds", "red", "classified")
    assert decision.confidence == pytest.approx(decision.probabilities["red"])
    assert decision.captured_at <= decision.decided_at < (decision.fire_at or 0)
    assert decision.position_mm == pytest.approx(decision.captured_at * 300)
    assert decision.box.width == pytest.approx(40, abs=6)


class Sheets:
    """A camera that takes a picture of each sheet as it lies under it, twice a second."""

    live = False
    Settings = CameraSettings

    def __init__(self, settings: CameraSettings, clock: Clock) -> None:
        self._coming = enumerate(COLOURS.split())

    def read(self) -> Shot | None:
        number, colour = next(self._coming, (0, ""))
        return Shot(np.full((48, 64, 3), RGB[colour][::-1], np.uint8), number / 2) if colour else None

    def close(self) -> None:
        pass

    def describe(self) -> str:
        return "sheets"


def test_in_frame_mode_every_picture_is_an_item_that_is_decided_and_pushed_by_its_own_place(model: Path) -> None:
    camera = {"source": "sheets", "type": "tests.edge.test_line:Sheets"}
    line, heard = played(config(model, camera=camera, items={"mode": "frame"}))
    assert [d.label for d in heard] == COLOURS.split()
    assert [d.position_mm for d in heard] == [150.0 * n for n in range(8)]
    places = {name: [push.fire_mm for push in line.outputs[name].pushes] for name in line.outputs}  # type: ignore[attr-defined]
    assert places == {"gate": [260, 260 + 450, 260 + 1050], "arm": [330 + 150, 330 + 750, 330 + 900]}
    assert line.ledger.outcomes == {"confirmed": 0, "fired": 6, "passed": 2, "missed": 0, "lost": 0}


def test_an_unsure_item_goes_to_the_default_lane_as_unknown(tmp_path: Path) -> None:
    softer = write_model(tmp_path / "soft.onnx", sharpness=15.0)
    line, heard = played(config(softer, "red green", decide={"thresholds": {"red": 0.9999}}))
    assert [(d.lane, d.reason) for d in heard] == [("rest", "unknown"), ("greens", "classified")]
    assert line.ledger.outcomes["passed"] == 1


def test_a_diverter_inside_the_picture_gets_its_decision_at_the_point_of_no_return(model: Path) -> None:
    lanes = [
        {"name": "reds", "classes": ["red"], "output": "gate", "distance_mm": 60},
        {"name": "rest", "default": True},
    ]
    line, heard = played(config(model, "red blue", lanes=lanes))
    assert [(d.label, d.lane, d.reason) for d in heard] == [
        ("red", "reds", "classified"),
        ("blue", "rest", "classified"),
    ]
    assert line.ledger.outcomes["fired"] == 1


def test_a_line_that_starts_disarmed_decides_everything_and_moves_nothing(model: Path) -> None:
    outputs = {
        name: {"type": "tests.edge.own_parts:Blade", "on": on} for name, on in (("gate", "fire"), ("arm", "decision"))
    }
    line, heard = played(config(model, outputs=outputs, line={"start_armed": False}))
    assert [d.label for d in sorted(heard, key=lambda d: d.item_id)] == COLOURS.split()
    assert {d.reason for d in heard} == {"classified"}
    assert [output.pushes for output in line.outputs.values()] == [[], []]  # type: ignore[attr-defined]
    assert [output.heard for output in line.outputs.values()] == [[], []]  # type: ignore[attr-defined]
    assert line.ledger.outcomes["passed"] == 8
    line, _ = played(config(model, outputs=outputs))
    assert len(line.outputs["arm"].heard) == 3  # type: ignore[attr-defined]


def test_what_people_say_of_items_is_journalled_and_counts_for_purity(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "line.db"
    line = Line(config(model, "red red", journal={"path": str(path)}), clock=VirtualClock())
    try:
        line.play()
        for item, label in ((1, "red"), (2, "green")):
            said = {"command": "label", "item_id": item, "lane": "reds", "label": label, "picture": f"{item}.jpg"}
            obey(line, said)
        obey(line, {"command": "label", "item_id": "1"})  # not as it must be: changes nothing
        purity = line.watch.snapshot()["checked"]["lanes"]["reds"]["purity"]
    finally:
        line.stop()
    assert (purity["right"], purity["of"]) == (1, 2)
    with sqlite3.connect(path) as journal:
        rows = journal.execute("SELECT item_id, label, picture FROM labels ORDER BY item_id").fetchall()
    assert rows == [(1, "red", "1.jpg"), (2, "green", "2.jpg")]


def test_a_folder_that_takes_no_pictures_is_an_incident_with_an_end(model: Path, tmp_path: Path) -> None:
    line = Line(config(model, "red", journal={"pictures": str(tmp_path)}), clock=VirtualClock())
    try:
        for reason in (None, "No space left on device", None, None):  # the first: all is well from the start
            obey(line, {"command": "pictures", "refuses": reason})
        obey(line, {"command": "pictures", "refuses": 3})
        told = [(one.name, one.cause, one.recovered) for one in line.herald.recent]  # type: ignore[union-attr]
    finally:
        line.stop()
    assert told == [
        ("pictures_refused", f"{tmp_path}: No space left on device", False),
        ("pictures_refused", f"{tmp_path}: takes pictures", True),
    ]


def test_arming_is_told_with_a_name_and_every_item_carries_its_ledger(model: Path) -> None:
    line = Line(config(model, "red", line={"start_armed": False}), clock=VirtualClock())
    spent: list[dict[str, float]] = []
    ended = line.herald.ended
    line.herald.ended = lambda life, outcome: (spent.append(dict(life.spent_s)), ended(life, outcome))  # type: ignore
    try:
        obey(line, {"command": "arm", "armed": True})
        line.play()
    finally:
        line.stop()
    assert line.herald.recent[0].name == "outputs_disarmed"
    assert line.herald.recent[0].recovered
    assert line.ledger.outcomes["fired"] == 1
    assert set(spent[0]) == {"waiting", "finding", "queueing", "classifying", "voting", "margin", "output"}


def test_a_line_that_starts_disarmed_says_so_once_and_its_arming_reads_as_the_end_of_that(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = Line(config(model, "red", line={"start_armed": False}))
    try:
        line.start()
        obey(line, {"command": "arm", "armed": True})
    finally:
        line.stop()
    told = [one for one in line.herald.recent if one.name == "outputs_disarmed"]
    assert [one.recovered for one in told] == [False, True]
    assert "line.start_armed" in told[0].cause
    assert "outputs_disarmed is over: somebody armed the outputs" in caplog.text


def test_a_jammed_diverter_is_an_incident_and_sorting_goes_on(model: Path) -> None:
    outputs = {
        "gate": {"type": "tests.edge.own_parts:Blade", "fails": True},
        "arm": {"type": "tests.edge.own_parts:Blade"},
    }
    line, heard = played(config(model, outputs=outputs))
    assert len(heard) == 8
    assert line.herald.incidents["output_failed"] == 3
    assert line.ledger.outcomes == Counter(fired=3, missed=3, passed=2, confirmed=0, lost=0)


def test_a_callback_that_raises_is_an_incident_and_sorting_goes_on(model: Path) -> None:
    def breaks(_: Decision) -> None:
        raise RuntimeError("the user's own bug")

    line = Line(config(model), on_decision=breaks, clock=VirtualClock())
    line.play()
    line.stop()
    assert line.herald.incidents["callback_failed"] == 8
    assert line.ledger.outcomes["fired"] == 6


def test_an_output_whose_library_cancels_a_push_fails_at_that_one_and_makes_the_next(model: Path) -> None:
    outputs = {"gate": {"type": "tests.edge.own_parts:Cancelled"}, "arm": {"type": "tests.edge.own_parts:Blade"}}
    # In real time, with threads; on a busy machine they come too late for more than a few millimetres.
    decide = {"reach_mm": 60, "tolerance_mm": 60}
    line = Line(config(model, "red red red", outputs=outputs, decide=decide))
    with line:
        assert line.wait(20)
    assert line.herald.incidents["output_failed"] == 1
    assert line.ledger.outcomes == Counter(fired=2, missed=1, passed=0, confirmed=0, lost=0)


@pytest.mark.parametrize(
    ("clings", "how"),
    [
        ("raises", "failed (RuntimeError: the port is gone)"),
        ("exits", "failed (SystemExit: 5)"),
        ("hangs", "has not come back for 0.5 s"),
    ],
)
def test_an_output_that_does_not_let_go_is_told_of_and_keeps_neither_the_line_from_ending_nor_the_others_in_hand(
    model: Path, tmp_path: Path, clings: str, how: str
) -> None:
    own_parts.let_go.clear()
    outputs = {
        "gate": {"type": "tests.edge.own_parts:Clinging", "clings": clings},
        "arm": {"type": "tests.edge.own_parts:Blade"},
    }
    ended = threading.Event()

    def sort() -> None:
        line, _ = played(config(model, outputs=outputs, journal={"path": str(tmp_path / "line.db")}))
        arm.append(line.outputs["arm"])
        ended.set()

    arm: list[object] = []
    thread = threading.Thread(target=sort)
    thread.start()
    in_time = ended.wait(15)
    own_parts.let_go.set()
    thread.join(20)
    assert in_time
    assert arm[0].closed  # type: ignore[attr-defined]
    with sqlite3.connect(tmp_path / "line.db") as journal:
        told = journal.execute("SELECT cause FROM incidents WHERE name = 'output_failed'").fetchall()
        assert told == [(f"outputs.gate: close() {how}",)]
        assert journal.execute("SELECT count(*) FROM endings").fetchone() == (8,)
    journal.close()


def test_a_broker_that_did_not_hear_all_before_the_end_leaves_no_diverter_out(model: Path) -> None:
    pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt")
    away = {"type": "mqtt", "host": "127.0.0.1", "port": free_port(), "topic": "sorted"}
    blade = {"type": "tests.edge.own_parts:Blade"}
    outputs = {"gate": blade, "arm": blade, "mes": {**away, "on": "decision", "every_item": True}}
    line, _ = played(config(model, outputs=outputs))
    assert line.herald
    told = [one for one in line.herald.recent if "were not published before the line ended" in one.cause]
    assert [one.action for one in told] == ["the line ends"]


def test_an_output_hears_all_that_was_decided_before_it_is_closed(model: Path) -> None:
    gate = {"type": "tests.edge.own_parts:Lingering", "on": "decision"}
    with Line(config(model, outputs={"gate": gate, "arm": {"type": "tests.edge.own_parts:Blade"}})) as line:
        output = line.outputs["gate"]
        assert output.entered.wait(20)  # type: ignore[attr-defined]
    told = output.closed_while_told  # type: ignore[attr-defined]
    assert told
    assert not any(told)


def test_what_is_sent_elsewhere_tells_run_and_model_apart_as_the_decisions_file_does(
    model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "decisions.jsonl"
    with http_server() as server:
        gate = {"type": "webhook", "url": server.url, "timeout_ms": 5000}
        outputs = {"gate": gate, "arm": {"type": "tests.edge.own_parts:Blade"}}
        played(config(model, outputs=outputs), decisions_path=path)
    written = {json.loads(text)["item_id"]: text.encode() for text in path.read_text().splitlines()}
    posted = [body for *_, body in server.calls]
    assert len(posted) == 3
    assert all(body == written[json.loads(body)["item_id"]] for body in posted)


@pytest.mark.parametrize("direction", ["left", "right"])
def test_a_belt_whose_direction_is_set_the_wrong_way_round_is_told_of(model: Path, direction: str) -> None:
    """Nothing is an item that travels against it: without a word the line would be as quiet as an empty belt."""
    line, heard = played(
        config(
            model,
            camera={"source": "sim:?speed_mm_s=500&rate=3&seed=1&seconds=6&width=800&height=240"},
            belt={"pixels_per_mm": 1.6, "speed_mm_s": 500, "direction": direction},
        )
    )
    wrong = direction == "left"
    assert bool(heard) is not wrong
    assert line.herald.incidents["belt_wrong_way"] == wrong


@pytest.mark.parametrize("who", ["callback_stuck", "output_stuck"])
def test_who_does_not_come_back_from_a_decision_is_named_within_seconds_and_so_is_its_return(
    model: Path, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    monkeypatch.setattr("edge.herald.HEARING_S", 0.2)
    own_parts.let_go.clear()
    gate = {"type": "callback", "function": "tests.edge.own_parts:hang", "on": "decision"}
    outputs = {"gate": gate if who == "output_stuck" else {"type": "tests.edge.own_parts:Blade"}}
    called = "outputs.gate: tests.edge.own_parts:hang" if who == "output_stuck" else "on_decision"
    on_decision = own_parts.hang if who == "callback_stuck" else None
    lanes = [{"name": "reds", "classes": ["red"], "output": "gate", "distance_mm": 260}, {"name": "r", "default": True}]
    line = Line(config(model, "red " * 40, outputs=outputs, lanes=lanes), on_decision=on_decision)
    with line:

        def told(recovered: bool) -> list[str]:
            found = [one for one in line.herald.recent if one.name == who and one.recovered is recovered]
            return [one.cause for one in found]

        wait_for(lambda: told(False))
        assert f"{called} has not come back for" in told(False)[0]
        assert not line.health()["outputs"]["ok"]
        assert called in line.health()["outputs"]["text"]
        wait_for(lambda: line.ledger.outcomes.total() > 2)
        own_parts.let_go.set()
        wait_for(lambda: told(True))
        assert f"{called} has come back after" in told(True)[0]
        assert line.health()["outputs"]["ok"]
        assert len(told(False)) == 1


def test_a_function_that_hears_decisions_is_called_once_an_item(model: Path) -> None:
    own_parts.heard.clear()
    gate = {"type": "callback", "function": "tests.edge.own_parts:hear", "on": "decision"}
    played(config(model, outputs={"gate": gate, "arm": {"type": "tests.edge.own_parts:Blade"}}))
    assert [one.label for one in own_parts.heard] == ["red"] * 3


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_decisions_and_journal_are_complete_when_the_line_has_stopped(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    line, _ = played(config(model, journal={"path": str(tmp_path / "line.db")}), decisions_path=path)
    written = [json.loads(text) for text in path.read_text().splitlines()]
    assert sorted(one["item_id"] for one in written) == list(range(1, 9))
    assert set(written[0]) == {
        "item_id", "lane", "label", "confidence", "probabilities", "reason", "frame_seq", "captured_at",
        "decided_at", "fire_at", "position_mm", "box", "strange", "run_started_utc", "model_sha256",
    }  # fmt: skip
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    assert {one["model_sha256"] for one in written} == {sha256}
    with sqlite3.connect(tmp_path / "line.db") as database:
        of_each = "SELECT sha256, count(*) FROM decisions JOIN runs ON runs.id = decisions.run GROUP BY sha256"
        assert database.execute(of_each).fetchall() == [(sha256, 8)]
    assert line.classifier.sha256 == sha256


def test_which_engine_runs_the_model_and_why_is_logged_and_told_to_the_page(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "sortline"):
        line, _ = played(config(model))
    why = line.classifier.choice.why
    assert "measured p50/p99 beside a busy eye: " in why
    assert f"{model}: {why}" in caplog.messages
    about = facts_of(line.config, line.classifier)["model"]
    assert (about["why"], about["sha256"]) == (why, line.classifier.sha256)
    named = line.config.model.model_copy(update={"provider": "cpu"})
    forced, _ = played(line.config.model_copy(update={"model": named}))
    assert forced.classifier.choice.why == "cpu with 1 thread, as the configuration says"


def test_a_clip_at_its_own_rate_ends_by_itself_with_every_item_at_its_end(model: Path) -> None:
    heard: list[Decision] = []
    with Line(config(model, "red green blue"), on_decision=heard.append) as line:
        assert line.wait(60)
    assert Counter(d.label for d in heard) == Counter(["red", "green", "blue"])
    assert line.ledger.balanced()
    assert len(line.ledger) == 0


def test_a_line_stops_from_full_run_in_under_two_seconds_with_nothing_unaccounted(model: Path) -> None:
    line = Line(config(model, "red " * 50))
    line.start()
    deadline = time.monotonic() + 30
    while line.ledger.born < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    start = time.monotonic()
    line.stop()
    assert time.monotonic() - start < 2
    assert line.ledger.born >= 2
    assert line.ledger.balanced()
    line.stop()


def test_a_line_that_was_never_started_stops_too(model: Path) -> None:
    Line(config(model)).stop()


def test_a_picture_that_breaks_the_eye_is_an_incident_and_the_next_is_seen(model: Path) -> None:
    heard: list[Decision] = []
    line = Line(config(model, "red"), on_decision=heard.append)
    look, stumbled = line.eye.look, list[int]()

    def stumbles(frame: Frame) -> object:
        if frame.seq >= 5 and not stumbled:  # a busy machine may pass over any single frame
            stumbled.append(frame.seq)
            raise ZeroDivisionError("a picture that nobody thought of")
        return look(frame)

    line.eye.look = stumbles  # type: ignore[method-assign, assignment]
    with line:
        assert line.wait(60)
    assert [d.label for d in heard] == ["red"]
    assert line.herald.incidents["eye_failed"] == 1


def test_a_classifier_that_fails_leaves_every_item_to_the_default_lane(model: Path) -> None:
    line = Line(config(model, "red green"))

    def broken(crops: object) -> None:
        raise RuntimeError("out of memory")

    line.classifier.classify = broken  # type: ignore[method-assign, assignment]
    with line:
        assert line.wait(60)
    assert line.herald.incidents["model_failed"] >= 1
    assert line.ledger.outcomes["passed"] == 2


def test_a_slow_classifier_makes_items_late_or_overloaded_but_never_wrongly_pushed(model: Path) -> None:
    line = Line(config(model, "red green red green red"))
    quick, gate = line.classifier.classify, threading.Event()

    def slow(crops: object) -> object:
        gate.wait(1.5)
        return quick(crops)  # type: ignore[arg-type]

    line.classifier.classify = slow  # type: ignore[method-assign, assignment]
    with line:
        assert line.wait(60)
        gate.set()
    reasons = line.ledger.reasons
    assert reasons["late"] + reasons["overload"] >= 2
    assert reasons.total() == line.ledger.born == 5
    assert line.ledger.balanced()
    for output in line.outputs.values():
        assert all(p.decision.reason == "classified" for p in output.pushes)  # type: ignore[attr-defined]


@pytest.mark.parametrize("broken", ["missing", "text", "no card", "wrong classes"])
def test_a_model_that_cannot_be_used_is_refused_and_nothing_is_left_running(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "m.onnx"
    says = {
        "missing": "no such model file",
        "text": "is not an ONNX model",
        "no card": "has no model card",
        "wrong classes": r"names 3 classes.*gives \[1, 2\] probabilities",
    }
    if broken == "text":
        path.write_text("this is not a model")
    elif broken == "no card":
        write_model(path, card=False)
    elif broken == "wrong classes":
        write_model(path, scores=2)
    with pytest.raises(ModelError, match=says[broken]):
        Line(config(path))


def test_a_lane_with_an_unknown_class_is_refused_and_its_outputs_are_closed(model: Path) -> None:
    lanes = [
        {"name": "reds", "classes": ["rde"], "output": "gate", "distance_mm": 260},
        {"name": "rest", "default": True},
    ]
    with pytest.raises(ConfigError, match="names 'rde'"):
        Line(config(model, lanes=lanes))


def test_a_source_that_does_not_exist_is_refused_at_the_start(model: Path) -> None:
    line = Line(config(model, camera={"source": "/nowhere/clip.mp4"}))
    with pytest.raises(SortlineError, match=r"/nowhere/clip\.mp4"):
        line.start()
    assert not [t for t in threading.enumerate() if t.name.startswith("sortline-hand")]


def test_what_is_longer_than_items_that_touch_can_be_is_passed_over_and_told_once(model: Path) -> None:
    camera = {"source": "squares", "type": "tests.edge.squares:Squares", "colours": "red red", "spacing_mm": 900.0}
    line, heard = played(config(model, camera={**camera, "side_mm": 130.0}, items={"max_mm": 40}))
    assert heard == []
    assert line.ledger.born == 0
    assert line.herald is not None
    assert line.herald.incidents["item_too_long"] == 2
    told = [one for one in line.herald.recent if one.name == "item_too_long"]
    assert "items.max_mm = 40 allows for items that touch up to 120 mm" in told[0].cause


def test_a_region_of_interest_out_of_the_picture_is_told_as_soon_as_the_picture_s_size_is_known(model: Path) -> None:
    line, _ = played(config(model, items={"roi": [5000, 0, 50, 30]}))
    assert line.herald is not None
    (told,) = [one for one in line.herald.recent if one.name == "roi_outside"]
    assert told.cause.startswith("items.roi = [5000, 0, 50, 30] reaches out of the picture, which has ")


def test_a_picture_too_small_for_the_smallest_item_is_told_for_nothing_is_ever_found_in_it(model: Path) -> None:
    line, _ = played(config(model, items={"min_mm": 500, "max_mm": 900}))
    assert line.herald is not None
    (told,) = [one for one in line.herald.recent if one.name == "picture_too_small"]
    assert told.cause == (
        "the picture of 400x240 pixels has no room for an item: items.min_mm = 500 is 500 pixels at "
        "belt.pixels_per_mm = 1"
    )

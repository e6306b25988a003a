"""What is told of incidents: how often, and in how many lines of the log."""

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from edge.clock import VirtualClock
from edge.config import LineConfig
from edge.errors import ConfigError
from edge.line import Line
from edge.logs import MOST_LINES, MOST_REPEATS, IncidentLog
from edge.records import Incident
from tests.edge.outputs.pushes import DECISION
from tests.edge.tiny_model import write_model


def happened(name: str, n: int, recovered: bool = False) -> Incident:
    return Incident(name, "belt", 0.0, 0.0, f"cause {n}", "sorting goes on", recovered=recovered)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> IncidentLog:
    caplog.set_level(logging.WARNING, "sortline.test")
    return IncidentLog(logging.getLogger("sortline.test"))


def test_every_loss_and_every_recovery_has_a_line_of_its_own_whatever_came_before(
    told: IncidentLog, caplog: pytest.LogCaptureFixture
) -> None:
    for hour in range(50):
        told.add(happened("encoder_silent", hour), hour * 3600.0)
        told.add(happened("encoder_silent", hour, True), hour * 3600.0 + 5)
    assert caplog.messages[-2:] == [
        "encoder_silent: cause 49; sorting goes on", "encoder_silent is over: cause 49; sorting goes on",
    ]  # fmt: skip
    assert len(caplog.messages) == 100


def test_a_recovery_is_told_in_the_midst_of_repeats_and_how_many_were_left_out(
    told: IncidentLog, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(20):
        told.add(happened("output_failed", n), n * 0.1)
    told.add(happened("output_failed", 20, True), 2.0)
    assert caplog.messages[MOST_REPEATS:] == [
        "output_failed: 17 more in 2 s, not told singly; the newest: output_failed: cause 19; sorting goes on",
        "output_failed is over: cause 20; sorting goes on",
    ]


def test_what_comes_and_goes_without_end_gets_so_many_lines_a_minute_and_its_last_state_is_told(
    told: IncidentLog, caplog: pytest.LogCaptureFixture
) -> None:
    lines = []
    for n in range(3001):
        now = n * 0.1
        told.add(happened("encoder_silent", n, n % 2 == 1), now)
        lines += [now] * (len(caplog.messages) - len(lines))
    for at in lines:
        assert sum(at <= one < at + 60 for one in lines) <= MOST_LINES
    before = len(lines)
    told.tell_left_out(300.0 + 59.0)
    told.tell_left_out(300.0 + 61.0)
    assert len(caplog.messages) == before + 1
    assert caplog.messages[-1].endswith("the newest: encoder_silent: cause 3000; sorting goes on")
    left_out = sum(int(line.split()[1]) for line in caplog.messages if "not told singly" in line)
    assert left_out + sum("not told singly" not in line for line in caplog.messages) == 3001


def test_an_incidents_end_is_logged_and_kept_but_counts_as_none_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = write_model(tmp_path / "colours.onnx")
    config = LineConfig.parse(
        {
            "model": {"path": str(model)},
            "camera": {"source": "sim:?seed=3&width=160&height=90"},
            "belt": {"pixels_per_mm": 1.6, "speed_mm_s": 500},
            "lanes": [{"name": "rest", "default": True}],
            "web": {"enabled": False},
            "journal": {"path": str(tmp_path / "line.db")},
        }
    )
    line = Line(config, clock=VirtualClock())
    for recovered in (False, True, False, True):
        line.tell("camera_lost", "camera", "unplugged", "opened again", recovered=recovered)
    line.tell("camera_stalled", "camera", "no picture", "opened again")
    line.stop()
    summary = line.watch.summary()
    assert summary["incidents"] == {"camera_lost": 2, "camera_stalled": 1}
    assert line.watch.snapshot()["incidents"] == summary["incidents"]
    assert summary["rows_lost"] == {"journal": 0}
    assert sum("camera_lost is over" in line for line in caplog.messages) == 2


def test_an_output_may_hear_of_every_lanes_items(tmp_path: Path) -> None:
    hears = {"type": "tests.edge.own_parts:Blade", "on": "decision"}
    content = {
        "model": {"path": str(write_model(tmp_path / "colours.onnx"))},
        "camera": {"source": "sim:?seed=3&width=160&height=90"},
        "belt": {"pixels_per_mm": 1.6, "speed_mm_s": 500},
        "lanes": [
            {"name": "rest", "default": True},
            {"name": "red", "classes": ["red"], "output": "one", "distance_mm": 400},
        ],
        "outputs": {"one": hears, "all": {**hears, "every_item": True}, "none": hears},
        "web": {"enabled": False},
    }
    config = LineConfig.parse(content)
    assert config.notes() == [
        "outputs.none: no lane names it, so it is never used; every_item = true tells it of all lanes' items"
    ]
    line = Line(config, clock=VirtualClock())
    life = cast(Any, SimpleNamespace(crop=np.zeros((8, 8, 3), np.uint8)))
    try:
        assert line.herald
        for number, lane in enumerate(("rest", "red")):
            line.herald.decided(life, replace(DECISION, item_id=number, lane=lane))
        heard = {name: [one.item_id for one in output.heard] for name, output in cast(Any, line.outputs).items()}
        assert heard == {"one": [1], "all": [0, 1], "none": []}
    finally:
        line.stop()
    with pytest.raises(ConfigError, match=r'outputs\.one\.every_item needs on = "decision"'):
        LineConfig.parse({**content, "outputs": {"one": {**hears, "on": "fire", "every_item": True}}})


def test_an_output_that_cannot_be_told_of_decisions_is_not_well_until_it_can_be(tmp_path: Path) -> None:
    model = write_model(tmp_path / "colours.onnx")
    config = LineConfig.parse(
        {
            "model": {"path": str(model)},
            "camera": {"source": "sim:?seed=3&width=160&height=90"},
            "belt": {"pixels_per_mm": 1.6, "speed_mm_s": 500},
            "lanes": [
                {"name": "rest", "default": True},
                {"name": "red", "classes": ["red"], "output": "mes", "distance_mm": 400},
            ],
            "outputs": {"mes": {"type": "tests.edge.own_parts:Deaf", "on": "decision"}},
            "web": {"enabled": False},
        }
    )
    line = Line(config, clock=VirtualClock())
    try:
        assert line.herald
        hear = line.herald._hearing["mes"].put
        hear(replace(DECISION, item_id=7))
        told = line.herald.recent[-1]
        assert (told.name, told.item_id) == ("output_failed", 7)
        assert told.cause == "outputs.mes: nobody listens"
        assert line.health()["outputs"] == {"ok": False, "text": "outputs.mes: nobody listens"}
        line.outputs["mes"].deaf = False  # type: ignore[attr-defined]
        hear(DECISION)
        assert line.health()["outputs"]["ok"]
    finally:
        line.stop()

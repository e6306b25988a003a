"""A line on a virtual clock whose stages take their time: what comes too late there comes too late here."""

from pathlib import Path

import pytest

from edge.bench.live import content
from edge.bench.twin import Report, run_twin
from edge.clock import MonotonicClock, VirtualClock
from edge.config import LineConfig
from edge.line import Line
from edge.play import Pace
from edge.simulator.arrivals import PARTS
from tests.edge.tiny_model import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "parts.onnx", PARTS, size=32)


def config(model: Path) -> LineConfig:
    source = "sim:?speed_mm_s=1000&rate=8&seconds=2.2&fps=30&height=240&foreign=0&item_mm=30"
    whole = content(model, PARTS, source, web=False)
    whole["belt"]["speed_mm_s"] = 1000
    return LineConfig.parse(whole)


def played(model: Path, pace: Pace | None = None) -> Report:
    return run_twin(config(model), VirtualClock(), pace)


def test_stages_that_take_little_change_nothing(model: Path) -> None:
    swift, usual = played(model), played(model, Pace((0.008, 0.009), (0.001,), (0.0002,)))
    assert usual.skipped == swift.skipped == 0
    assert (usual.born, usual.reasons, usual.outcomes) == (swift.born, swift.reasons, swift.outcomes)
    assert usual.balanced
    assert usual.fired_s_within(1.0) == pytest.approx(0.0002, abs=1e-4)


def test_an_eye_that_takes_longer_than_a_frame_looks_at_the_newest_one(model: Path) -> None:
    swift, slow = played(model), played(model, Pace(finding_s=(0.08,)))
    assert swift.frames * 0.35 < slow.frames < swift.frames * 0.5
    assert slow.wrong_pushes == 0
    assert slow.balanced


def test_a_mind_that_takes_too_long_makes_items_late_and_none_is_pushed_wrongly(model: Path) -> None:
    report = played(model, Pace(classifying_s=(0.9,)))
    assert report.late > 0
    assert report.wrong_pushes == 0
    assert report.balanced


def test_a_hand_that_acts_too_late_misses_and_pushes_nothing_wrongly(model: Path) -> None:
    report = played(model, Pace(acting_s=(0.02,)))
    assert report.outcomes["missed"] > 0
    assert report.outcomes["fired"] == report.pushes == 0
    assert report.incidents["missed_deadline"] == report.outcomes["missed"]


def test_a_line_on_the_machines_clock_cannot_be_played(model: Path) -> None:
    line = Line(config(model), clock=MonotonicClock())
    try:
        with pytest.raises(RuntimeError, match="virtual clock"):
            line.play()
    finally:
        line.stop()

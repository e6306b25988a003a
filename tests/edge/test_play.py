"""A line on a virtual clock whose stages take their time: what comes too late there comes too late here."""

from collections import Counter
from pathlib import Path

import pytest

from edge.bench.live import content
from edge.bench.twin import Report, report, run_twin
from edge.clock import MonotonicClock, VirtualClock
from edge.config import LineConfig
from edge.decide import Waiting
from edge.demo import bundled_model
from edge.line import Line
from edge.model import Classifier
from edge.play import Pace
from edge.records import Decision
from edge.simulator.arrivals import PARTS
from edge.simulator.settings import SimulatorSettings
from edge.simulator.world import World
from tests.edge.tiny_model import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "parts.onnx", PARTS, size=32)


def config(model: Path, speed_mm_s: float = 1000, seconds: float = 2.2) -> LineConfig:
    source = f"sim:?speed_mm_s={speed_mm_s:g}&rate=8&seconds={seconds:g}&fps=30&height=240&foreign=0&item_mm=30"
    whole = content(model, PARTS, source, web=False)
    whole["belt"]["speed_mm_s"] = speed_mm_s
    return LineConfig.parse(whole)


def played(model: Path, pace: Pace | None = None) -> Report:
    return run_twin(config(model), VirtualClock(), pace)


def test_stages_that_take_little_change_nothing(model: Path) -> None:
    swift, usual = played(model), played(model, Pace((0.008, 0.009), (0.001,), (0.0002,)))
    assert usual.skipped == swift.skipped == 0
    assert (usual.born, usual.reasons, usual.outcomes) == (swift.born, swift.reasons, swift.outcomes)
    assert usual.balanced
    assert usual.fired_s_within(1.0) == pytest.approx(0.0002, abs=1e-4)


def test_a_belt_that_stands_as_the_pictures_end_is_waited_for(model: Path) -> None:
    whole = content(model, PARTS, "", web=False)
    whole["belt"] |= {"speed_mm_s": 1000, "encoder": {"type": "simulated", "counts_per_mm": 10}}
    belt = "sim:?speed_mm_s=1000&rate=8&fps=30&height=240&foreign=0&item_mm=30&motion=stop_and_go&seconds="
    settings = SimulatorSettings.from_source(f"{belt}9")
    stands = next(at / 10 for at in range(20, 80) if World(settings).speed_mm_s(at / 10) == 0)
    whole["camera"]["source"] = f"{belt}{stands + 0.1:g}"
    report = run_twin(LineConfig.parse(whole, Path("line.toml")), VirtualClock())
    assert report.born > 5
    assert sum(report.outcomes.values()) == report.born
    assert "stopped_with_items" not in report.incidents


def test_a_decision_tells_a_stranger_from_an_item_that_is_not_sure_enough() -> None:
    told: list[Decision] = []
    model = bundled_model()
    source = "sim:?speed_mm_s=500&rate=6&seconds=4&fps=30&height=360&foreign=0.5&seed=2"
    whole = content(model, Classifier(model, "cpu").card.classes, source, web=False)
    line = Line(LineConfig.parse(whole), told.append, clock=VirtualClock())
    line.play()
    line.stop()
    strangers = [one for one in told if one.strange]
    assert strangers
    assert {one.reason for one in strangers} == {"unknown"}
    assert len(strangers) < len(told)


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


def test_what_cannot_keep_up_sorts_the_newest_and_lets_the_rest_pass_and_no_view_grows_older(model: Path) -> None:
    """Eight items a second, of which it can classify five, and would take eight views a call."""
    line = Line(config(model, 500, 5), clock=VirtualClock())
    line.classifier.batch = 8
    ages: list[float] = []
    views: Counter[int] = Counter()
    consider = line.mind.consider

    def measured(batch: list[Waiting]) -> None:
        if line.clock.now() <= 5:  # while there still are newer ones
            ages.extend(line.clock.now() - one.view.captured_at for one in batch)
        views.update(one.view.item_id for one in batch)
        consider(batch)

    line.mind.consider = measured  # type: ignore[method-assign]
    try:
        line.play(pace=Pace(classifying_s=(0.2,)))
    finally:
        line.stop()
    told = report(line)
    half = len(ages) // 2
    assert max(ages[half:]) <= max(ages[:half]) + 0.05
    assert views.total() <= 1.2 * len(views)
    assert told.reasons["overload"] >= told.reasons["late"]
    # All that it could have classified in that time, but for a fifth.
    assert told.reasons["classified"] + told.reasons["unknown"] + told.reasons["overlap"] >= 0.8 * 5 / 8 * told.born
    assert told.outcomes["passed"] == told.born - told.pushes
    assert (told.wrong_pushes, told.balanced) == (0, True)


def test_a_hand_that_acts_too_late_misses_and_pushes_nothing_wrongly(model: Path) -> None:
    report = played(model, Pace(acting_s=(0.02,)))
    assert report.outcomes["missed"] > 0
    assert report.outcomes["fired"] == report.pushes == 0
    assert report.incidents["missed_deadline"] == report.outcomes["missed"]
    assert report.later_than(0.1) == 1.0


def test_a_push_that_was_not_made_counts_among_those_that_came_late(model: Path) -> None:
    report = played(model, Pace(acting_s=(0.003, 0.003, 0.003, 0.02)))
    missed, pushes = report.incidents["missed_deadline"], report.pushes
    assert missed > 0 and pushes > 0
    assert report.later_than(0.002) == 1.0
    assert report.later_than(0.005) == missed / (missed + pushes)


def test_a_line_on_the_machines_clock_cannot_be_played(model: Path) -> None:
    line = Line(config(model), clock=MonotonicClock())
    try:
        with pytest.raises(RuntimeError, match="virtual clock"):
            line.play()
    finally:
        line.stop()

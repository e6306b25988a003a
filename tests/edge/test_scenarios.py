"""The twin's scenarios: a real line with the model that ships, held against what really happened on the belt."""

import pytest

from edge.bench.twin import run_twin
from edge.clock import VirtualClock
from edge.config import LineConfig
from edge.errors import ConfigError
from tests.edge.scenarios import FOLDER, Scenario, scenarios, shortfalls


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda one: one.name)
def test_on_a_virtual_clock_every_item_is_sorted_or_let_pass_safely(scenario: Scenario) -> None:
    assert shortfalls(run_twin(scenario.config, VirtualClock()), scenario.expected) == []


@pytest.mark.parametrize("name", ["stop_and_go", "ten_percent_fast"])
def test_in_real_time_no_push_is_wrong_however_busy_the_machine_is(name: str) -> None:
    report = run_twin(Scenario.load(FOLDER / f"{name}.toml").config)
    assert report.items >= 5
    assert (report.wrong_pushes, report.astray) == (0, 0), report.mistakes
    assert report.balanced
    assert sum(report.outcomes.values()) == report.born


def test_a_virtual_twin_tells_the_same_each_time() -> None:
    config = Scenario.load(FOLDER / "steady.toml").config
    short = str(config.camera.source).replace("seconds=6", "seconds=2")
    config = config.model_copy(update={"camera": config.camera.model_copy(update={"source": short})})
    assert run_twin(config, VirtualClock()) == run_twin(config, VirtualClock())


def test_a_twin_of_a_belt_that_never_ends_is_refused() -> None:
    config = Scenario.load(FOLDER / "steady.toml").config
    endless: LineConfig = config.model_copy(
        update={"camera": config.camera.model_copy(update={"source": "sim:?rate=5"})}
    )
    with pytest.raises(ConfigError, match="seconds="):
        run_twin(endless)

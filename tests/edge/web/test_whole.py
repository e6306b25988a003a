"""The real line beside its web side: what the fake line of the other tests says is what a real one says."""

import json
from typing import Any

import pytest

from edge.clock import VirtualClock
from edge.line import Line
from edge.web.app import create_app
from edge.web.channel import to_json
from edge.web.hub import Hub
from tests.edge.web import fake_line
from tests.edge.web.test_metrics import drawn, samples

SOURCE = "sim:?rate=4&seconds=6&fps=20&width=640&height=360&pixels_per_mm=0.8&speed_mm_s=300"
DEPENDS_ON_DATA = {"classes", "incidents", "things", "rows_lost"}  # keys under which names or numbers of the day stand


def form(value: Any, key: str = "") -> Any:
    """The keys of what JSON holds, through and through, without its values."""
    if key in DEPENDS_ON_DATA:
        return "of the day"
    if isinstance(value, dict):
        return {name: form(one, name) for name, one in value.items()}
    return "a value"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """One that has run: drawn parts past the tiny model, on a clock that takes no time."""
    config = fake_line.config(tmp_path_factory.mktemp("whole"), enabled=False)
    camera = config.camera.model_copy(update={"source": SOURCE})
    belt = config.belt.model_copy(update={"pixels_per_mm": 0.8})
    line = Line(config.model_copy(update={"camera": camera, "belt": belt}), clock=VirtualClock())
    line.play()
    line.stop()
    return line


def test_the_fake_line_of_these_tests_speaks_as_the_real_one_does(line: Line) -> None:
    state, facts = (json.loads(to_json(one)) for one in (line.watch.snapshot(), line.facts()))
    assert form(fake_line.state_at(60.0, 100)) == form(state)
    assert form(fake_line.facts(line.config)) == form(facts)


def test_a_real_line_tells_every_stage_and_all_that_the_grafana_dashboard_draws_of_it(line: Line) -> None:
    hub = Hub()
    hub.set_facts(line.facts())
    hub.set_state(json.loads(to_json(line.watch.snapshot())))
    client = create_app(hub, None, line.config).test_client()
    client.get("/healthz")
    told = samples(client)
    of_the_day = ("sortline_checked_", "sortline_drift", "sortline_shadow_", "sortline_incidents_")
    assert {name for name in drawn() if not name.startswith(of_the_day)} <= {name for name, _ in told}
    for stage in ("waiting", "finding", "queueing", "classifying", "voting", "output"):
        assert told["sortline_stage_duration_seconds_count", (("stage", stage),)] > 0, stage
    assert told["sortline_decision_margin_seconds_count", ()] == told["sortline_items_total", ()] > 10
    assert told["sortline_decision_latency_seconds_count", ()] > 0

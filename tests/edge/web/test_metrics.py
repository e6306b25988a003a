"""/metrics: names, units and numbers that Prometheus' own parser reads."""

import json
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from edge import web
from edge.config import LineConfig
from edge.web.app import create_app
from edge.web.hub import Hub
from edge.web.predict import Predictor
from edge.web.shadow import Shadow
from tests.edge.web import fake_line
from tests.edge.web.conftest import painted

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(client: FlaskClient) -> Samples:
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.mimetype == "text/plain"
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.get_data(as_text=True))
        for sample in family.samples
    }


def test_before_the_line_is_heard_of_only_the_web_side_speaks(client: FlaskClient) -> None:
    found = samples(client)
    assert found["sortline_line_up", ()] == 0
    assert ("sortline_items_total", ()) not in found


def test_the_lines_books_are_told_and_they_balance(client: FlaskClient, hub: Hub) -> None:
    state = fake_line.state_at(60.0, 100)
    hub.set_state(state)
    found = samples(client)
    assert found["sortline_line_up", ()] == 1
    assert found["sortline_items_total", ()] == 103
    assert found["sortline_items_unaccounted", ()] == 0
    ended = sum(value for (name, _), value in found.items() if name == "sortline_items_ended_total")
    assert ended + found["sortline_items_on_belt", ()] == 103
    assert found["sortline_decisions_total", (("reason", "unknown"),)] == state["reasons"]["unknown"]
    lane = found["sortline_lane_items_total", (("class", "green"), ("lane", "right"))]
    assert lane == state["lanes"]["right"]["classes"]["green"]
    assert found["sortline_belt_speed_meters_per_second", ()] == pytest.approx(0.3)
    assert found["sortline_belt_travel_meters_total", ()] == pytest.approx(18.0)
    assert found["sortline_decision_latency_seconds_count", ()] == 100
    assert found["sortline_decision_latency_seconds_bucket", (("le", "0.015"),)] == 60
    assert found["sortline_part_healthy", (("part", "camera"),)] == 1
    assert found["sortline_incidents_total", (("name", "camera_lost"),)] == 1
    assert found["sortline_journal_rows_lost_total", (("file", "journal"),)] == 2
    assert found["sortline_lane_purity_ratio", (("lane", "left"),)] == pytest.approx(0.998)


def test_each_stage_is_a_histogram_whose_buckets_only_grow(client: FlaskClient, hub: Hub) -> None:
    hub.set_state(fake_line.state_at(60.0, 100))
    found = samples(client)
    for stage in ("waiting", "finding", "queueing", "classifying", "voting", "output"):
        buckets = [
            value
            for (name, labels), value in found.items()
            if name == "sortline_stage_duration_seconds_bucket" and ("stage", stage) in labels
        ]
        assert buckets == sorted(buckets)
        assert buckets[-1] == found["sortline_stage_duration_seconds_count", (("stage", stage),)] == 100


def test_requests_are_counted_by_endpoint_and_status_never_by_what_a_stranger_wrote(client: FlaskClient) -> None:
    client.post("/predict", data=painted("red"), content_type="image/jpeg")
    client.post("/predict", data=b"x", content_type="image/jpeg")
    for n in range(20):
        client.get(f"/nothing/{n}")
    client.get("/healthz", headers={"Host": "evil.example"})
    found = samples(client)
    counted = {labels: value for (name, labels), value in found.items() if name == "sortline_http_requests_total"}
    assert counted[("code", "200"), ("endpoint", "predict")] == 1
    assert counted[("code", "422"), ("endpoint", "predict")] == 1
    assert counted[("code", "404"), ("endpoint", "none")] == 20
    assert counted[("code", "421"), ("endpoint", "healthz")] == 1
    assert found["sortline_http_request_duration_seconds_count", (("endpoint", "predict"),)] == 2


def test_every_name_says_its_unit_or_its_kind(client: FlaskClient, hub: Hub) -> None:
    hub.set_state(fake_line.state_at(60.0, 100))
    families = text_string_to_metric_families(client.get("/metrics").get_data(as_text=True))
    for family in families:
        assert family.documentation
        assert not family.name.endswith(("_ms", "_mm", "_milliseconds"))


def drawn() -> set[str]:
    """The names of all metrics that the Grafana dashboard asks for."""
    dashboard = json.loads((Path(web.__file__).parent / "grafana.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [variable["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    return {name for one in asked for name in re.findall(r"\bsortline_\w+", one)}


def test_every_metric_that_the_grafana_dashboard_draws_is_told(
    hub: Hub, predictor: Predictor, line_config: LineConfig
) -> None:
    client = create_app(hub, predictor, line_config, shadow=Shadow(line_config, "cpu")).test_client()
    state = fake_line.state_at(60.0, 100)
    state["checked"]["lanes"]["left"]["purity"] = {"of": 4, "right": 3, "low": 0.3, "high": 0.95}
    state["checked"]["lanes"]["left"]["yield"] = state["checked"]["lanes"]["left"]["purity"]
    hub.set_state(state)
    client.get("/healthz")
    told = samples(client)
    assert len(drawn()) >= 18
    assert told["sortline_checked_purity_ratio", (("lane", "left"),)] == 0.75
    assert drawn() <= {name for name, _ in told}

"""A photo-eye that is told over HTTP: each post is one edge, at the moment it arrived."""

import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from edge.config import LineConfig
from edge.web.app import create_app
from edge.web.hub import Hub
from tests.edge.tiny_model import write_model


@pytest.fixture
def client(tmp_path: Path, hub: Hub) -> FlaskClient:
    path = write_model(tmp_path / "m.onnx")
    config = LineConfig.parse(
        {
            "model": {"path": str(path)},
            "camera": {"source": "sim:"},
            "belt": {"pixels_per_mm": 1.6, "speed_mm_s": 500},
            "items": {"mode": "trigger", "trigger": {"type": "http", "position_mm": -500, "length_mm": 40}},
            "lanes": [{"name": "rest", "default": True}],
        }
    )
    return create_app(hub, None, config).test_client()


def test_a_post_is_handed_to_the_line_with_its_moment(client: FlaskClient, told: list[dict[str, Any]]) -> None:
    before = time.monotonic()
    assert client.post("/eyes/trigger", json={"age_ms": 20}).status_code == 202
    command = next(one["command"] for one in told if one.get("kind") == "command")
    assert command["name"] == "trigger"
    assert before - 0.02 <= command["at"] <= time.monotonic() - 0.02


@pytest.mark.parametrize("body", [{"age_ms": -1}, {"age_ms": "now"}, {"age_ms": True}, {"age": 3}, [], {"age_ms": 1e9}])
def test_a_wrong_body_is_refused(client: FlaskClient, told: list[dict[str, Any]], body: object) -> None:
    assert client.post("/eyes/trigger", json=body).status_code == 400
    assert not told


def test_an_eye_that_is_not_told_over_http_is_not_found(client: FlaskClient) -> None:
    assert client.post("/eyes/reds", json={}).status_code == 404


@pytest.mark.parametrize("body", ["[" * 100_000, "{"])
def test_a_body_that_is_no_json_is_refused(client: FlaskClient, body: str) -> None:
    response = client.post("/eyes/trigger", data=body, content_type="application/json")
    assert (response.status_code, response.get_json()) == (400, {"error": "The body is not JSON"})

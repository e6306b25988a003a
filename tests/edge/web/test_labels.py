"""/labels: what a person says that an item is."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from edge.config import LineConfig
from edge.web.album import Album
from edge.web.app import create_app
from edge.web.hub import Hub
from edge.web.predict import Predictor
from tests.edge.web import fake_line


def decide(hub: Hub, item: int = 4) -> int:
    """Tells the hub of a decided item, as the line does; returns its id."""
    decision, crop = fake_line.decision_at(item, 60.0)
    hub.add_decision({**asdict(decision), "number": 1, "wall": 0.0}, crop)
    return decision.item_id


@pytest.fixture
def album(tmp_path: Path) -> Album:
    return Album(tmp_path, 1_000_000)


@pytest.fixture
def labelling(hub: Hub, predictor: Predictor, line_config: LineConfig, album: Album) -> FlaskClient:
    return create_app(hub, predictor, line_config, album=album).test_client()


def test_a_word_keeps_the_picture_tells_the_line_and_shows_on_the_page(
    labelling: FlaskClient, hub: Hub, told: list[dict[str, Any]], tmp_path: Path
) -> None:
    item = decide(hub)
    response = labelling.post("/labels", json={"item_id": item, "label": "green"})
    assert (response.status_code, response.get_json()) == (202, {"status": "kept"})
    (command,) = [one["command"] for one in told]
    lane = fake_line.decision_at(4, 60.0)[0].lane
    assert {**command, "picture": None} == {
        "command": "label", "item_id": item, "lane": lane, "label": "green", "picture": None,
    }  # fmt: skip
    assert (tmp_path / command["picture"]).read_bytes()[:3] == b"\xff\xd8\xff"
    kept = hub.kept(item)
    assert kept
    assert kept.decision["checked"] == {"label": "green"}


def test_without_a_folder_the_word_counts_all_the_same(
    client: FlaskClient, hub: Hub, told: list[dict[str, Any]]
) -> None:
    item = decide(hub)
    assert client.post("/labels", json={"item_id": item, "label": None}).get_json() == {"status": "counted"}
    assert told[0]["command"]["picture"] is None


def test_a_full_folder_keeps_no_picture_and_the_word_counts_all_the_same(
    hub: Hub, predictor: Predictor, line_config: LineConfig, tmp_path: Path, told: list[dict[str, Any]]
) -> None:
    client = create_app(hub, predictor, line_config, album=Album(tmp_path, 10)).test_client()
    response = client.post("/labels", json={"item_id": decide(hub), "label": "red"})
    assert (response.status_code, response.get_json()) == (202, {"status": "counted"})
    command = told[0]["command"]
    assert (command["label"], command["picture"]) == ("red", None)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400), ([], 400), ({"item_id": 5}, 400), ({"item_id": True, "label": "red"}, 400),
        ({"item_id": "5", "label": "red"}, 400), ({"item_id": 5, "label": "plum"}, 400),
        ({"item_id": 5, "label": ["red"]}, 400), ({"item_id": 5, "label": "red", "lane": "left"}, 400),
        ({"item_id": 99, "label": "red"}, 404),
    ],
)  # fmt: skip
def test_what_is_no_word_on_an_item_of_ours_changes_nothing(
    labelling: FlaskClient, hub: Hub, told: list[dict[str, Any]], body: Any, status: int
) -> None:
    decide(hub)
    assert labelling.post("/labels", json=body).status_code == status
    assert told == []


def test_another_sites_page_can_label_nothing(labelling: FlaskClient, hub: Hub, told: list[dict[str, Any]]) -> None:
    item = decide(hub)
    body, headers = {"item_id": item, "label": "red"}, {"Origin": "https://evil.example"}
    assert labelling.post("/labels", json=body, headers=headers).status_code == 403
    assert told == []

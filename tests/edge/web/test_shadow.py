"""The shadow: a second model that looks on, agrees or not, and never holds anything up."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient

from edge.check import check_line
from edge.config import LineConfig
from edge.web.app import create_app
from edge.web.hub import Hub
from edge.web.predict import Predictor
from edge.web.shadow import WAITING, Shadow
from tests.edge.tiny_model import COLOURS, write_model
from tests.edge.web import fake_line
from tests.edge.web.conftest import PAINT
from tests.edge.web.test_metrics import samples
from tests.edge.web.test_side import wait_for


def config(folder: Path, shadow: Path) -> LineConfig:
    line = fake_line.config(folder)
    return line.model_copy(update={"model": line.model.model_copy(update={"shadow": shadow})})


@pytest.fixture
def shadow(tmp_path: Path) -> Shadow:
    """One that takes green for red, and red for green."""
    swapped = {"red": COLOURS["green"], "green": COLOURS["red"], "blue": COLOURS["blue"]}
    return Shadow(config(tmp_path, write_model(tmp_path / "other.onnx", swapped, name="other")), "cpu")


def show(shadow: Shadow, item: int, colour: str, lane: str, reason: str = "classified") -> None:
    decision = {**asdict(fake_line.decision_at(item, 60.0)[0]), "label": colour, "lane": lane, "reason": reason}
    shadow.saw(decision, np.full((32, 32, 3), PAINT[colour], np.uint8))


def test_what_it_would_have_sent_elsewhere_is_counted_and_named(
    shadow: Shadow, hub: Hub, predictor: Predictor, line_config: LineConfig
) -> None:
    shadow.start()
    try:
        show(shadow, 1, "blue", "left")
        show(shadow, 2, "green", "right")
        show(shadow, 3, "blue", "rest", "overlap")  # that was not the model's doing
        found = wait_for(lambda: (s := shadow.snapshot())["seen"] == 2 and s)
    finally:
        shadow.stop()
    assert (found["same_lane"], found["same_class"], found["skipped"]) == (1, 1, 0)
    assert found["model"]["name"] == "other"
    (differs,) = found["differ"]
    assert (differs["item_id"], differs["label"], differs["shadow_label"]) == (3, "green", "red")
    assert (differs["lane"], differs["shadow_lane"]) == ("right", "left")
    client: FlaskClient = create_app(hub, predictor, line_config, shadow=shadow).test_client()
    assert client.get("/shadow.json").get_json()["seen"] == 2
    told = samples(client)
    assert told["sortline_shadow_items_total", ()] == 2
    assert told["sortline_shadow_same_lane_total", ()] == 1


def test_what_it_has_no_time_for_is_left_out_and_counted(shadow: Shadow) -> None:
    for item in range(WAITING + 3):  # it has not been started: nothing is taken up
        show(shadow, item, "blue", "left")
    assert shadow.snapshot()["skipped"] == 3


def test_a_file_that_cannot_be_loaded_is_said_and_ends_nothing(tmp_path: Path) -> None:
    shadow = Shadow(config(tmp_path, tmp_path / "nowhere.onnx"), "cpu")
    shadow.start()
    try:
        wait_for(lambda: shadow.snapshot()["trouble"])
    finally:
        shadow.stop()
    assert "nowhere" not in shadow.snapshot()["trouble"]


def test_a_shadow_that_lacks_a_class_of_the_lanes_is_noted_by_check_and_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = {"crimson": COLOURS["red"], "green": COLOURS["green"], "blue": COLOURS["blue"]}
    looks_on = config(tmp_path, write_model(tmp_path / "other.onnx", old, name="other"))
    says = "names 'red', which the shadow does not have (it has: crimson, green, blue)"
    looked, noted, *_ = [one for one in check_line(looks_on) if one.part == "shadow"]
    assert (looked.ok, looked.note) == (True, False)
    assert (noted.ok, noted.note) == (True, True)
    assert says in noted.text
    shadow = Shadow(looks_on, "cpu")
    shadow.start()
    try:
        wait_for(lambda: shadow.snapshot()["model"])
    finally:
        shadow.stop()
    assert says in caplog.text


def test_without_one_the_page_is_told_so(client: FlaskClient) -> None:
    assert client.get("/shadow.json").status_code == 404

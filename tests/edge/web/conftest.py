"""The web side's tests stand on two legs: Flask's client for what is answered, a real process for how it is served."""

import urllib.request
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from flask.testing import FlaskClient

from edge.config import LineConfig
from edge.model import Classifier
from edge.web.app import create_app
from edge.web.hub import Hub
from edge.web.predict import Predictor
from edge.web.side import WebSide
from tests.edge.web import fake_line

PAINT = {"red": (40, 40, 220), "green": (60, 190, 40), "blue": (220, 70, 40)}  # BGR


def painted(colour: str, width: int = 64, height: int = 48, suffix: str = ".jpg") -> bytes:
    """A picture file of one colour that the tiny model knows."""
    pixels = np.full((height, width, 3), PAINT[colour], np.uint8)
    return bytes(cv2.imencode(suffix, pixels)[1])


@pytest.fixture(scope="session")
def line_config(tmp_path_factory: pytest.TempPathFactory) -> LineConfig:
    return fake_line.config(tmp_path_factory.mktemp("line"))


@pytest.fixture(scope="session")
def classifier(line_config: LineConfig) -> Classifier:
    return Classifier(line_config.model.path, "cpu")


@pytest.fixture
def predictor(classifier: Classifier, line_config: LineConfig) -> Iterator[Predictor]:
    with Predictor(classifier, line_config) as predictor:
        yield predictor


@pytest.fixture
def told() -> list[dict[str, Any]]:
    """What the web side said to its line."""
    return []


@pytest.fixture
def hub(line_config: LineConfig, told: list[dict[str, Any]]) -> Hub:
    hub = Hub(told.append)
    hub.set_facts(fake_line.facts(line_config))
    return hub


@pytest.fixture
def client(hub: Hub, predictor: Predictor, line_config: LineConfig) -> FlaskClient:
    return create_app(hub, predictor, line_config).test_client()


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebSide]:
    """A real web process on a real port, fed with one state."""
    config = fake_line.config(tmp_path_factory.mktemp("side"))
    side = WebSide(config, fake_line.facts(config), lambda command: None)
    side.start()
    side.state(fake_line.state_at(60.0, 100))
    with urllib.request.urlopen(side.url + "healthz", timeout=20):
        yield side
    side.stop()

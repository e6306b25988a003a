"""The mind: what each view says goes into its item's vote, and an item is decided once."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.clock import VirtualClock
from edge.config import LineConfig
from edge.decide import Waiting
from edge.ledger import Life
from edge.line import Line
from edge.records import Box, Item, View
from tests.edge.tiny_model import COLOURS, write_model

RED, GREEN = (np.full((8, 8, 3), COLOURS[name][::-1], np.uint8) for name in ("red", "green"))
DARK_RED = np.full((8, 8, 3), (70, 70, 160), np.uint8)  # BGR: called red, but with little confidence


class Table:
    """A line that is not played: items are laid before its mind, and views of them."""

    def __init__(self, model: Path, **decide: object) -> None:
        lanes = [
            {"name": "reds", "classes": ["red"], "output": "gate", "distance_mm": 260},
            {"name": "greens", "classes": ["green"], "output": "arm", "distance_mm": 330},
            {"name": "rest", "default": True},
        ]
        content = {
            "model": {"path": str(model), "provider": "cpu"},
            "camera": {"source": "sim:?"},
            "belt": {"pixels_per_mm": 1.0, "speed_mm_s": 300},
            "lanes": lanes,
            "outputs": {name: {"type": "tests.edge.own_parts:Blade"} for name in ("gate", "arm")},
            "decide": decide,
            "web": {"enabled": False},
        }
        self.line = Line(LineConfig.parse(content), clock=VirtualClock())

    def lay(self, item_id: int) -> Life:
        with self.line.ledger.lock:
            life = self.line.ledger.bear(Item(item_id, 0, 0.0, 0.0, Box(0, 0, 8, 8), 100.0 * item_id, 20.0))
            self.line.hand.plan(life)
        return life

    def show(self, crop: np.ndarray, item_id: int = 1, last: bool = False, **good: float) -> None:
        """One view of an item, which is classified at once."""
        view = View(item_id, 0, 0.0, 0.0, Box(0, 0, 8, 8), crop, last=last, **good)
        self.line.mind.queue.offer(Waiting(view, 0.0, 0.0, 0.0), 100.0, 0)
        self.line.mind.think(1, 0.0)


@pytest.fixture
def tables() -> Iterator[list[Table]]:
    made: list[Table] = []
    yield made
    for table in made:
        table.line.stop()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "m.onnx", sharpness=10.0, thresholds={"red": 0.99})


@pytest.mark.parametrize("worse", [{"sharpness": 0.2}, {"completeness": 0.2}])
def test_a_sharp_and_complete_view_outweighs_one_that_is_not(
    tables: list[Table], model: Path, worse: dict[str, float]
) -> None:
    tables.append(table := Table(model, thresholds={"red": 0.5}))
    life = table.lay(1)
    table.show(GREEN, **worse)
    table.show(RED, last=True)
    assert life.decision is not None
    assert life.decision.label == "red"
    # Five parts in six are the better view's.
    assert life.decision.probabilities["red"] == pytest.approx(5 / 6, abs=0.02)


@pytest.mark.parametrize(
    ("decide", "lane"),
    [
        ({}, "rest"),
        ({"thresholds": {"red": 0.5}}, "reds"),
        ({"thresholds": {"red": 0.5}, "min_confidence": 0.99}, "rest"),
    ],
)
def test_a_threshold_of_the_lines_own_stands_in_place_of_the_cards(
    tables: list[Table], model: Path, decide: dict[str, object], lane: str
) -> None:
    tables.append(table := Table(model, **decide))
    life = table.lay(1)
    table.show(DARK_RED, last=True)
    assert life.decision is not None
    assert life.decision.label == "red"
    assert 0.5 < life.decision.confidence < 0.99
    assert life.decision.lane == lane


def test_a_result_that_comes_after_the_decision_is_counted_and_changes_nothing(
    tables: list[Table], model: Path
) -> None:
    tables.append(table := Table(model))
    life = table.lay(1)
    table.show(GREEN)
    with table.line.ledger.lock:
        table.line.mind.resolve(life)  # its point of no return
    decision = life.decision
    assert decision is not None
    assert decision.lane == "greens"
    for last in (False, True):
        table.show(RED, last=last)
    assert life.decision is decision
    assert life.vote.views == 1
    assert table.line.mind.late_results == 2
    assert table.line.ledger.reasons.total() == 1

"""Items that lie against each other: none is pushed into a lane that its own class does not name."""

import pytest

from edge.clock import VirtualClock
from edge.config import LineConfig
from edge.demo import demo_config
from edge.line import Line

BELT = "sim:?speed_mm_s=500&rate=8&touching=0.6&fps=30&width=800&height=240&seconds=7"


def demo(seed: int) -> LineConfig:
    """The demo's line, whose max_mm is that of its longest part, on a belt where most items come in pairs."""
    return demo_config(f"{BELT}&seed={seed}", "127.0.0.1", 0, headless=True, insecure=False)


@pytest.mark.parametrize("seed", [20, 31, 32])
def test_touching_items_go_to_a_lane_that_their_class_names_or_to_the_default_lane(seed: int) -> None:
    line = Line(demo(seed), clock=VirtualClock())
    try:
        line.play()
    finally:
        line.stop()
    truth = line.world.truth(line.clock.now())
    assert truth.items > 30
    assert line.ledger.reasons["overlap"] > 10
    assert line.ledger.reasons["classified"] > 5
    astray = [one for one in truth.endings if one.actual not in {one.expected, "reject"}]
    assert astray == []

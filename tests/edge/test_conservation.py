"""The law of conservation on a whole line: whatever arrives, is delayed, stops or is lost, every item ends once.

The line is the real one with a real model, on a simulated belt and a virtual clock; what its pushes really hit
is the belt's own knowledge.
"""

from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from edge.clock import VirtualClock
from edge.config import LineConfig
from edge.ledger import Ledger
from edge.line import Line
from edge.play import Pace
from edge.records import Box, Decision
from edge.simulator.world import World
from tests.edge.discs import write_discs
from tests.edge.tiny_model import write_model

DISC_MM = 30
PLACED_MM = 3.0  # how exactly a disc's place is found in pictures as coarse as these


class Auditor(VirtualClock):
    """A clock that looks into the line's books whenever it moves."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger: Ledger | None = None
        self.looked = 0

    def advance(self, to: float) -> None:
        super().advance(to)
        if self.ledger is not None:
            self.looked += 1
            assert self.ledger.balanced(), f"the books do not balance at {to:.3f} s"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model of three colours, and discs of these colours to lay on the belt."""
    folder = tmp_path_factory.mktemp("discs")
    return write_model(tmp_path_factory.mktemp("model") / "m.onnx", sharpness=200.0), write_discs(folder)


def config(parts: tuple[Path, Path], belt: dict[str, Any], lead_ms: float, pulse_ms: float) -> LineConfig:
    model, folder = parts
    gap_mm, crowd = belt.pop("min_gap_mm"), belt.pop("crowd")
    twin = {
        **belt,
        "min_gap_mm": gap_mm,
        "rate": crowd * belt["speed_mm_s"] / (DISC_MM + gap_mm),
        "items": folder, "item_mm": DISC_MM, "foreign": 0, "seconds": 2,
        "width": 480, "height": 176, "pixels_per_mm": 1.2,
    }  # fmt: skip
    output = {"type": "log", "pulse_ms": pulse_ms, "lead_ms": lead_ms}
    return LineConfig.parse(
        {
            "model": {"path": str(model), "provider": "cpu"},
            "camera": {"source": f"sim:?{urlencode(twin)}"},
            "belt": {
                "pixels_per_mm": 1.2, "speed_mm_s": belt["speed_mm_s"],
                "encoder": {"type": "simulated", "counts_per_mm": 10},
            },
            "items": {"max_mm": 40},
            "lanes": [
                {"name": "reds", "classes": ["red"], "output": "gate", "distance_mm": 230},
                {"name": "greens", "classes": ["green"], "output": "arm", "distance_mm": 270},
                {"name": "rest", "default": True},
            ],
            "outputs": {"gate": output, "arm": output},
            "web": {"enabled": False},
        }
    )  # fmt: skip


def shown(world: World, decision: Decision) -> int | None:
    """Which disc a decision is of. An edge of the picture may cut its box, so that its centre lies outside."""
    box, more = decision.box, DISC_MM // 2
    around = Box(box.x - more, box.y - more, box.width + 2 * more, box.height + 2 * more)
    return world.identify(decision.captured_at, around)


def times(*seconds: float) -> st.SearchStrategy[list[float]]:
    return st.lists(st.sampled_from(seconds), min_size=1, max_size=7)


UNEVEN = {"speed_mm_s": 600, "motion": "stop_and_go", "period_s": 1.0, "rows": 2, "min_gap_mm": 2, "crowd": 0.8,
          "seed": 4, "fps": 60, "drop": 0.1, "drop_burst": 3}  # fmt: skip
BELTS = st.fixed_dictionaries(
    {
        "speed_mm_s": st.sampled_from([300, 600, 1000]),
        "motion": st.sampled_from(["steady", "ramps", "stop_and_go", "reverse"]),
        "period_s": st.floats(0.6, 2.5),
        "rows": st.sampled_from([1, 2]),
        "min_gap_mm": st.floats(0, 40),
        "crowd": st.floats(0.2, 0.85),
        "seed": st.integers(0, 10**6),
        "fps": st.sampled_from([30, 60]),
        "drop": st.sampled_from([0, 0.01, 0.1, 0.3]),
        "drop_burst": st.sampled_from([1, 3, 15]),
    },
    optional={"freeze_at": st.floats(0.4, 1.5), "freeze_s": st.floats(0.1, 1.0)},
)


@given(
    belt=BELTS,
    lead_ms=st.sampled_from([0, 15, 60]),
    pulse_ms=st.sampled_from([5, 20]),
    finding_s=times(0, 0.002, 0.06),
    classifying_s=times(0.001, 0.01, 0.1, 0.4),
    acting_s=times(0, 0.0005, 0.003, 0.03),
)
@example(UNEVEN, 0, 20, [0], [0.01, 0.1], [0, 0.03])
@settings(max_examples=12, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
def test_every_item_ends_once_and_none_is_pushed_too_late_or_with_another_in_the_diverters_reach(
    parts: tuple[Path, Path],
    belt: dict[str, Any],
    lead_ms: float,
    pulse_ms: float,
    finding_s: list[float],
    classifying_s: list[float],
    acting_s: list[float],
) -> None:
    if belt["motion"] != "steady":
        lead_ms = 0  # nobody can know what a belt will do while a command is on its way
    clock, heard = Auditor(), list[Decision]()
    line = Line(config(parts, dict(belt), lead_ms, pulse_ms), on_decision=heard.append, clock=clock)
    clock.ledger = line.ledger
    try:
        line.play(pace=Pace(finding_s, classifying_s, acting_s))
    finally:
        line.stop()
    ledger, world = line.ledger, line.world
    assert clock.looked > 100
    assert isinstance(world, World)
    assert max(Counter(one.item_id for one in heard).values(), default=1) == 1
    assert ledger.reasons.total() == len(heard)
    assert len(heard) >= sum(ledger.outcomes.values()) - ledger.outcomes["lost"]
    # Pictures may end while the belt stands or runs back: then what lies on it stays on it.
    assert len(ledger) == 0 or belt["motion"] in {"stop_and_go", "reverse"}

    lanes = {shown(world, one): one.lane for one in heard}
    for push in world.truth(clock.now()).pushes_seen:
        if push.at > 2:
            break  # the pictures have ended, and what came after them nobody has seen
        assert push.hits, f"{push} hit nothing"
        assert {lanes.get(item) for item in push.hits} == {push.lane}, f"{push} took another item along"
        assert push.off_mm is not None
        assert push.off_mm <= line.hand.geometry.tolerance_mm + PLACED_MM, f"{push} came too late"

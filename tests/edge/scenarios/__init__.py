"""Scenarios of the twin: one small TOML file each, with what is on the belt and what must come of it.

what = "one sentence"
[twin]      the keys of the simulated belt, besides those of COMMON
[line]      tables of the line's configuration, besides lanes, outputs and the model that ships
[expect]    what `Expected` names
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from edge.bench.twin import Report
from edge.config import LineConfig
from edge.demo import bundled_model

FOLDER = Path(__file__).parent
# A narrow picture costs half of a whole one, and 30 a second half of 60.
BELT = {"speed_mm_s": 500, "rate": 8, "seconds": 4.5, "seed": 1, "foreign": 0}
COMMON: dict[str, Any] = {**BELT, "fps": 30, "height": 360}


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come of a scenario: items is the least number, missed and lost are the greatest.

    incidents are all, and only, those that may be told.
    """

    items: int
    sort_accuracy: float = 1.0
    off_mm: float = 2.5
    fired_ms: float | None = None
    incidents: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=lambda: ["classified"])
    pushes: int = 1
    missed: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One file."""

    name: str
    what: str
    config: LineConfig
    expected: Expected

    @classmethod
    def load(cls, path: Path) -> "Scenario":
        content = tomllib.loads(path.read_text("utf-8"))
        twin = {**COMMON, **content.pop("twin", {})}
        line = content.pop("line", {})
        tables = {
            "model": {"path": str(bundled_model()), "provider": "cpu"},  # each engine rounds in its own way
            "camera": {"source": f"sim:?{urlencode(twin)}"},
            "lanes": [
                {"name": "screws", "classes": ["bolt", "screw"], "output": "gate_1", "distance_mm": 460},
                {"name": "rings", "classes": ["nut", "washer"], "output": "gate_2", "distance_mm": 520},
                {"name": "gears", "classes": ["gear"], "output": "gate_3", "distance_mm": 580},
                {"name": "reject", "default": True},
            ],
            "outputs": {f"gate_{n}": {"type": "log", "pulse_ms": 10} for n in (1, 2, 3)},
            "web": {"enabled": False},
            **line,
            "belt": {"pixels_per_mm": 1.6, "speed_mm_s": twin["speed_mm_s"], **line.get("belt", {})},
        }
        config = LineConfig.parse(tables, path)
        return cls(path.stem, content.pop("what"), config, Expected(**content.pop("expect")))


def scenarios() -> list[Scenario]:
    return [Scenario.load(path) for path in sorted(FOLDER.glob("*.toml"))]


def shortfalls(report: Report, expected: Expected) -> list[str]:
    """Every way in which a twin fell short of what was expected of it; empty when it did not."""
    accuracy, off_mm = report.sort_accuracy or 0.0, report.off_mm_within(1.0) or 0.0
    wrong = {
        f"{report.items} items came to their end, expected {expected.items} at least": report.items < expected.items,
        f"{report.pushes} pushes, expected {expected.pushes} at least": report.pushes < expected.pushes,
        f"{report.wrong_pushes} pushes were wrong": report.wrong_pushes > 0,
        f"{report.astray} items went into a lane that their class does not name": report.astray > 0,
        f"{accuracy:.3f} were sorted right, expected {expected.sort_accuracy}": accuracy < expected.sort_accuracy,
        f"a push was {off_mm:.2f} mm off, expected {expected.off_mm} at most": off_mm > expected.off_mm,
        f"{report.late} items were late": report.late > 0,
        "the books do not balance": not report.balanced,
        f"outcomes {dict(report.outcomes)}": report.outcomes["missed"] > expected.missed
        or report.outcomes["lost"] > expected.lost,
        f"incidents {dict(report.incidents)}, expected {expected.incidents}": set(report.incidents)
        != set(expected.incidents),
        f"reasons {dict(report.reasons)}, expected only {expected.reasons}": not {
            reason for reason, count in report.reasons.items() if count
        }
        <= set(expected.reasons),
    }
    if expected.fired_ms is not None:
        fired = report.fired_s_within(1.0)
        wrong[f"a push was {fired} s beside its moment"] = fired is None or fired * 1e3 > expected.fired_ms
    return [text for text, holds in wrong.items() if holds] + (list(report.mistakes) if any(wrong.values()) else [])

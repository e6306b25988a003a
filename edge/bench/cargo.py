"""What lies on the benchmark's belts: drawn parts, and cut-outs of pictures that the model knows."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.bench.live import content
from edge.bench.scenario import Bench
from edge.demo import bundled_model
from edge.model import Classifier
from edge.simulator.arrivals import CUTOUT_MM, PARTS

MOST_A_SECOND = 30.0
# What a diverter sweeps: its reach, and what passes it while it is out.
REACH_MM, PULSE_MS = 20.0, 10.0
MEAN_MM, SMALLEST_HALF_MM, SLACK_MM, LEAST_GAP_MM = 41.5, 12.0, 6.0, 6.0
# A camera over a fast belt is given enough light for an exposure that smears no more than this.
SMEAR_MM, LONGEST_EXPOSURE_MS = 1.0, 1.0
TO_THE_END_MM = 1200  # from where items come into the picture to the last diverter


@dataclass(frozen=True, slots=True)
class Cargo:
    """What lies on the belt, and the model that tells it apart."""

    name: str
    model: Path
    classes: tuple[str, ...]
    keys: dict[str, Any]

    def sim(self, speed_mm_s: float, seconds: float, **keys: Any) -> dict[str, Any]:
        """The belt's keys: items as close to each other as a diverter can tell them apart, MOST_A_SECOND at most."""
        gap_mm = REACH_MM / 2 + speed_mm_s * PULSE_MS / 1e3 - SMALLEST_HALF_MM + 2
        rate = min(speed_mm_s / (MEAN_MM + max(gap_mm, LEAST_GAP_MM) + SLACK_MM), MOST_A_SECOND)
        belt = {
            "speed_mm_s": speed_mm_s,
            "rate": round(rate, 2),
            "min_gap_mm": round(max(gap_mm, LEAST_GAP_MM), 1),
            "exposure_ms": round(min(SMEAR_MM / speed_mm_s * 1e3, LONGEST_EXPOSURE_MS), 3),
            "seed": 1,
        }
        # The first items need as long again to come to their ends.
        return {**belt, "seconds": round(seconds + TO_THE_END_MM / speed_mm_s, 2), **self.keys, **keys}

    def line(self, sim: dict[str, Any], belt: dict[str, Any] | None = None, **tables: Any) -> dict[str, Any]:
        """A whole line over it as the content of a TOML file."""
        source = "sim:?" + "&".join(f"{key}={value}" for key, value in sim.items())
        whole = content(self.model, self.classes, source, web=tables.pop("web", False))
        whole["belt"] |= {"speed_mm_s": sim["speed_mm_s"]} | (belt or {})
        return whole | tables


def cargoes(bench: Bench) -> Iterator[Cargo]:
    """The drawn parts, with the model that knows them, and the cut-outs that were asked for."""
    known = set(PARTS) <= set(bench.classes)
    model = bench.model if known else bundled_model()
    classes = bench.classes if known else Classifier(model, "cpu").card.classes
    yield Cargo("drawn parts", model, classes, {})
    if bench.items:
        keys = {"items": bench.items, "item_mm": CUTOUT_MM}
        yield Cargo(f"cut-outs of {bench.items.name}", bench.model, bench.classes, keys)

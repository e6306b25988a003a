"""What every scenario is given: the model, how long to measure, and a way to say how far it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edge.bench.findings import Findings

FEW = 0.25  # below this share of the usual time one of a kind stands for all

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Bench:
    """One run of the benchmark.

    effort is the share of the usual measuring time: 1 for figures to rely on, less to see that all of
    it works. classes are the model's. say shows one line of progress.
    against is another model file to measure beside it, as the same network before its quantization.
    floats is the model's network without its pre-processing, as edge.bench.floats takes it.
    items is a folder of class folders with pictures that the model knows.
    """

    model: Path
    classes: tuple[str, ...]
    effort: float
    say: Callable[[str], None]
    against: Path | None = None
    items: Path | None = None
    floats: Path | None = None

    def seconds(self, usual: float) -> float:
        """How long to measure what usually takes so many seconds."""
        return max(usual * self.effort, 0.2)

    def times(self, usual: int) -> int:
        """How often to repeat what is usually repeated so many times."""
        return max(round(usual * self.effort), 1)

    def some(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Which of the usual rows to measure: all of them, or the first to see that it works."""
        return rows if self.effort >= FEW else rows[:1]


Scenario = Callable[[Bench], Findings]

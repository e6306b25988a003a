"""What a scenario found: tables of plain figures, each with its units and how it was measured, and bars."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter, process_time
from typing import Any

WARM_UP_RUNS = 2  # after another engine's turn the caches hold the other engine's weights

Figure = float | int | str | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the key of its figures in a row, its heading, their unit and how many decimals are shown."""

    key: str
    heading: str
    unit: str = ""
    decimals: int = 2


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of figures. how is one sentence that says how they were measured."""

    name: str
    title: str
    how: str
    columns: tuple[Column, ...]
    rows: Sequence[dict[str, Figure]]


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure that has to stay at or below a limit. value is None where it could not be measured."""

    name: str
    what: str
    value: float | None
    at_most: float
    unit: str

    @property
    def holds(self) -> bool | None:
        return None if self.value is None else self.value <= self.at_most


@dataclass(frozen=True, slots=True)
class Findings:
    """All that one scenario found; notes are whole sentences about what its figures do not say."""

    tables: tuple[Table, ...]
    bars: tuple[Bar, ...] = ()
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As it is written to JSON: the tables and bars by name."""
        return {
            "tables": {table.name: _without_name(table) for table in self.tables},
            "bars": {bar.name: {**_without_name(bar), "holds": bar.holds} for bar in self.bars},
            "notes": list(self.notes),
        }


@dataclass(slots=True)
class Runs:
    """Single runs of one thing: the seconds that each took, and the processor time of all threads together."""

    seconds: list[float] = field(default_factory=list)
    cpu_s: float = 0.0

    def add(self, more: "Runs") -> None:
        """Takes in further runs."""
        self.seconds += more.seconds
        self.cpu_s += more.cpu_s

    @property
    def cpu_each_s(self) -> float | None:
        return self.cpu_s / len(self.seconds) if self.seconds else None


def timed_runs(once: Callable[[], object], runs: int) -> Runs:
    """So many calls in a row, after WARM_UP_RUNS that do not count."""
    seconds = []
    for _ in range(WARM_UP_RUNS):
        once()
    cpu = process_time()
    for _ in range(runs):
        start = perf_counter()
        once()
        seconds.append(perf_counter() - start)
    return Runs(seconds, process_time() - cpu)


def percentile(values: Iterable[float], share: float) -> float | None:
    """The value below which `share` (0 to 1) of the values lie; None when there is none."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


def milliseconds(seconds: float | None) -> float | None:
    """Seconds as milliseconds."""
    return None if seconds is None else seconds * 1e3


def ratio(value: float | None, base: float | None) -> float | None:
    """How many times the base a value is; None where one of them is missing."""
    return value / base if value is not None and base else None


def _without_name(thing: Table | Bar) -> dict[str, Any]:
    return {key: value for key, value in asdict(thing).items() if key != "name"}

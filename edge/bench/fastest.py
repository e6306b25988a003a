"""The fastest safe belt: found by bisection in the twin, with the times that this machine's line really takes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from time import sleep
from typing import Any

from edge.bench.cargo import MEAN_MM, PULSE_MS, Cargo
from edge.bench.findings import Column, Figure, Table, milliseconds, percentile
from edge.bench.live import LiveLine, Stretch
from edge.bench.peer import Peer
from edge.bench.scenario import Bench
from edge.bench.twin import Report, run_twin
from edge.clock import VirtualClock
from edge.config import LineConfig
from edge.play import Pace

SPACINGS_MM = (60, 150)
MEASURED_AT_MM_S = 500
SETTLING_S, MEASURED_S = 3.0, 5.0
SLOWEST_MM_S, FASTEST_MM_S = 500.0, 8000.0
FIELD_MM = 800
HALVINGS = 5  # of the interval, in ratios: to within 9 %
ITEMS, FEWEST = 40, 8  # a belt is tried with so many
EVEN = 0.9  # the share of the room between items that is the same for all
WORSE = 0.02  # a faster belt may sort so much less of its items right: a few more or less are chance
HARDLY = 0.1  # what is spared takes so little of its time
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Trial:
    """A belt to try: its speed, and what limits it."""

    speed_mm_s: float
    spacing_mm: float
    pace: Pace
    items: int
    fps: float = 60.0
    exposure_ms: float = 1.0
    pulse_ms: float = PULSE_MS

    def line(self, cargo: Cargo) -> dict[str, Any]:
        """A whole line for it as the content of a TOML file."""
        seconds = (self.items * self.spacing_mm + FIELD_MM) / self.speed_mm_s
        sim = cargo.sim(self.speed_mm_s, seconds, **even(self.spacing_mm, self.speed_mm_s))
        sim |= {"fps": self.fps, "exposure_ms": self.exposure_ms, "foreign": 0}
        whole = cargo.line(sim)
        whole["outputs"] = {name: {**one, "pulse_ms": self.pulse_ms} for name, one in whole["outputs"].items()}
        return whole

    def spared(self) -> "dict[str, Trial]":
        """The same belt, each time with one stage that hardly takes any time."""
        return {
            "finding": replace(self, pace=replace(self.pace, finding_s=_hardly(self.pace.finding_s))),
            "classifying": replace(self, pace=replace(self.pace, classifying_s=_hardly(self.pace.classifying_s))),
            "acting": replace(self, pace=replace(self.pace, acting_s=_hardly(self.pace.acting_s))),
            "the diverter's pulse": replace(self, pulse_ms=HARDLY * self.pulse_ms),
            "exposure (blur)": replace(self, exposure_ms=HARDLY * self.exposure_ms),
            "the camera's frame rate": replace(self, fps=2 * self.fps),
        }


class Trials:
    """Tries belts on a virtual clock; made and called through a Peer."""

    def run(self, content: dict[str, Any], pace: Pace) -> Report:
        """What comes of one belt, when every stage takes its time."""
        return run_twin(LineConfig.parse(content, Path("the benchmark's line")), VirtualClock(), pace)


def measure_fastest(bench: Bench, cargo: Cargo) -> Table:
    """The table `fastest`: a row for each spacing of the items."""
    rows = []
    for spacing_mm in bench.some(SPACINGS_MM):
        bench.say(f"what the line takes with an item every {spacing_mm} mm")
        pace = _pace(bench, cargo, spacing_mm)
        with Peer("the twin", Trials) as twin:
            rows.append(_bisect(bench, cargo, twin, spacing_mm, pace))
    return Table(
        "fastest",
        "max belt speed",
        "By bisection in the twin, on a virtual clock on which finding, classifying and acting take the times that the "
        "real line took just before with the same items in view: the fastest belt on which no item is late, missed, "
        "lost or too close for its diverter, no push is wrong and sorting is as good as on a slow belt; and which "
        "stage, if it took hardly any time, would let the next faster belt be safe too.",
        (
            Column("spacing_mm", "an item every", "mm"),
            Column("safe_m_s", "safe up to", "m/s"),
            Column("unsafe_m_s", "not at", "m/s"),
            Column("rate", "items", "1/s", 1),
            Column("limited_by", "limited by"),
            Column("what", "what happens there"),
            Column("finding_p99_ms", "finding p99", "ms"),
            Column("classifying_p99_ms", "classifying p99", "ms"),
            Column("acting_p99_ms", "acting p99", "ms"),
        ),
        rows,
    )


def even(spacing_mm: float, speed_mm_s: float) -> dict[str, float]:
    """The belt's keys for an item about every spacing_mm."""
    return {"rate": round(speed_mm_s / spacing_mm, 3), "min_gap_mm": round(EVEN * (spacing_mm - MEAN_MM), 1)}


def _pace(bench: Bench, cargo: Cargo, spacing_mm: float) -> Pace:
    """What the real line takes for each frame, view and push, with as many items in view as at any speed."""
    seconds = bench.seconds(MEASURED_S)
    sim = cargo.sim(MEASURED_AT_MM_S, 60.0, **even(spacing_mm, MEASURED_AT_MM_S))
    with Peer("the line", LiveLine, content=cargo.line(sim)) as line:
        sleep(SETTLING_S)
        line.call("begin", timeout_s=10)
        sleep(seconds)
        one: Stretch = line.call("stretch", timeout_s=10)
    return Pace(one.stages_s["finding"], one.stages_s["classifying"], one.push_lateness_s)


def _bisect(bench: Bench, cargo: Cargo, twin: Peer, spacing_mm: float, pace: Pace) -> dict[str, Figure]:
    def tried(trial: Trial, why: str = "") -> Report:
        bench.say(f"an item every {spacing_mm:g} mm, {trial.speed_mm_s / 1e3:.2f} m/s{why}")
        report: Report = twin.call("run", content=trial.line(cargo), pace=trial.pace, timeout_s=TIMEOUT_S)
        return report

    slowest = Trial(SLOWEST_MM_S, spacing_mm, pace, max(bench.times(ITEMS), FEWEST))
    first = tried(slowest)
    least = (first.sort_accuracy or 0.0) - WORSE
    safe, unsafe, failure = SLOWEST_MM_S, FASTEST_MM_S, None
    if shortfall(first, least):
        safe, unsafe, failure = 0.0, SLOWEST_MM_S, first
    for _ in range(bench.times(HALVINGS) if safe else 0):
        middle = sqrt(safe * unsafe)
        report = tried(replace(slowest, speed_mm_s=middle))
        if shortfall(report, least):
            unsafe, failure = middle, report
        else:
            safe = middle
    limits = []
    if failure:
        spared = replace(slowest, speed_mm_s=unsafe).spared()
        limits = [name for name, trial in spared.items() if not shortfall(tried(trial, f", {name} spared"), least)]
    return {
        "spacing_mm": spacing_mm,
        "safe_m_s": safe / 1e3,
        "unsafe_m_s": unsafe / 1e3 if failure else None,
        "rate": safe / spacing_mm,
        "limited_by": " or ".join(limits) or ("several stages together" if failure else None),
        "what": shortfall(failure, least) if failure else None,
        "finding_p99_ms": milliseconds(percentile(pace.finding_s, 0.99)),
        "classifying_p99_ms": milliseconds(percentile(pace.classifying_s, 0.99)),
        "acting_p99_ms": milliseconds(percentile(pace.acting_s, 0.99)),
    }


def shortfall(report: Report, least: float) -> str:
    """Why a belt is not safe, in a few words; empty when it is. least is the accuracy that it must have."""
    counts = {
        "late": report.late,
        "missed": report.outcomes["missed"],
        "lost": report.outcomes["lost"],
        "too close": report.reasons["overlap"],
        "wrong pushes": report.wrong_pushes,
    }
    said = [f"{count} {what}" for what, count in counts.items() if count]
    if (report.sort_accuracy or 0.0) < least:
        said.append(f"{report.sort_accuracy or 0.0:.0%} sorted right")
    return ", ".join(said)


def _hardly(seconds: Sequence[float]) -> tuple[float, ...]:
    return tuple(HARDLY * one for one in seconds)

"""Scenario `soak`: a twin that sorts on and on: does it keep its memory, its threads and its open files?"""

import os
from pathlib import Path
from statistics import mean
from time import sleep
from typing import Any

from edge.bench.cargo import cargoes
from edge.bench.findings import Bar, Column, Figure, Findings, Table
from edge.bench.machine import PROC, anonymous_mb, children
from edge.bench.peer import Peer
from edge.bench.scenario import Bench
from edge.bench.twin import LiveTwin, Report

WINDOWS, WINDOW_S = 10, 60.0
SAMPLES = 12  # a window
SPEED_MM_S, RATE = 1250, 20
GROWTH_BAR_PERCENT = 2.0
SPARE_S = 3600.0  # the belt must not end before the last window does, however long that takes
ANSWER_S = 600.0


class SoakingTwin(LiveTwin):
    """A twin that tells what its processes hold; made and called through a Peer."""

    def sample(self) -> dict[str, float | None]:
        """The memory in MB of the line's process and of the web side's, and the line's threads and open files."""
        web = [anonymous_mb(child) for child in children(os.getpid())]
        return {
            "line_mb": anonymous_mb(os.getpid()),
            "web_mb": None if not web or None in web else sum(one or 0.0 for one in web),
            "threads": _entries(PROC / "self" / "task"),
            "handles": _entries(PROC / "self" / "fd"),
        }

    def counts(self) -> dict[str, int]:
        """Items and frames so far."""
        return {"items": self._line.ledger.born, "frames": self._line.frames}


def measure(bench: Bench) -> Findings:
    """Ten windows of time (of a minute each, at the usual effort), each with a few looks at what is held."""
    cargo = next(cargoes(bench))
    window_s = bench.seconds(WINDOW_S)
    sim = cargo.sim(SPEED_MM_S, WINDOWS * window_s + SPARE_S, rate=RATE)
    rows: list[dict[str, Figure]] = []
    with Peer("the twin", SoakingTwin, content=cargo.line(sim, web=True)) as twin:
        for number in range(1, WINDOWS + 1):
            bench.say(f"window {number} of {WINDOWS}, {window_s:.0f} s each")
            seen: list[dict[str, Any]] = []
            for _ in range(SAMPLES):
                sleep(window_s / SAMPLES)
                seen.append(twin.call("sample", timeout_s=ANSWER_S))
            rows.append(
                {
                    "window": number,
                    **twin.call("counts", timeout_s=ANSWER_S),
                    **{key: _mean(seen, key) for key in seen[0]},
                }
            )
        report: Report = twin.call("so_far", timeout_s=ANSWER_S)
    early, late = rows[1], rows[-1]
    return Findings(
        (_table(rows, window_s),),
        (
            _growth("line_memory", "the line's memory, from the second window to the last", early, late, "line_mb"),
            _growth("web_memory", "the web side's memory, from the second window to the last", early, late, "web_mb"),
            Bar("threads", "threads more in the last window than in the second", _more(early, late, "threads"), 0, ""),
            Bar("handles", "open files more in the last window", _more(early, late, "handles"), 0, ""),
            Bar("wrong", "wrong pushes", report.wrong_pushes, 0, ""),
        ),
        (
            f"{report.items} items came to their end, {report.late} late, {report.outcomes['missed']} missed, "
            f"{report.misplaced} not in their lane.",
            *[mistake for mistake in report.mistakes if "push" in mistake],
        ),
    )


def _table(rows: list[dict[str, Figure]], window_s: float) -> Table:
    return Table(
        "soak",
        "Sorting on and on",
        f"Real time, {RATE} items a second at {SPEED_MM_S / 1e3:g} m/s, with the web side: means over windows of "
        f"{window_s:g} s; memory is what a process has filled itself, without what it shares.",
        (
            Column("window", "window"),
            Column("items", "items"),
            Column("frames", "frames"),
            Column("line_mb", "line", "MB", 1),
            Column("web_mb", "web side", "MB", 1),
            Column("threads", "threads", "", 1),
            Column("handles", "open files", "", 1),
        ),
        rows,
    )


def _growth(name: str, what: str, early: dict[str, Figure], late: dict[str, Figure], key: str) -> Bar:
    before, after = early[key], late[key]
    grown = (after / before - 1) * 100 if isinstance(before, float) and isinstance(after, float) else None
    return Bar(name, f"{what}: growth", grown, GROWTH_BAR_PERCENT, "%")


def _more(early: dict[str, Figure], late: dict[str, Figure], key: str) -> float | None:
    before, after = early[key], late[key]
    return after - before if isinstance(before, float) and isinstance(after, float) else None


def _mean(seen: list[dict[str, Any]], key: str) -> float | None:
    values = [one[key] for one in seen]
    return None if None in values else float(mean(values))


def _entries(folder: Path) -> float | None:
    try:
        return float(sum(1 for _ in folder.iterdir()))
    except OSError:
        return None

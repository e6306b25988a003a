"""A real line on a simulated belt, in a process of its own, measured over one stretch of time after another."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from threading import enumerate as all_threads
from time import perf_counter, process_time
from typing import Any

from edge.bench.machine import children, process_cpu_s, thread_cpu_s
from edge.config import LineConfig
from edge.line import Line
from edge.stats import Distribution

SPEED_MM_S = 500
GATES_MM = (560, 680, 800)
SETTLING_S = 3.0  # by then the first items have crossed the picture
ITEMS_A_SECOND = 10


def belt(fps: float, rate: float = ITEMS_A_SECOND) -> str:
    """The camera source: 1280x720 pictures of drawn parts, `rate` items a second at 0.5 m/s."""
    return f"sim:?speed_mm_s={SPEED_MM_S}&rate={rate:g}&seed=1&fps={fps:g}&width=1280&height=720"


def content(model: Path, classes: Sequence[str], source: str, *, web: bool) -> dict[str, Any]:
    """A whole line as the content of a TOML file: three diverters share the model's classes."""
    lanes: list[dict[str, Any]] = [
        {"name": f"lane_{n}", "classes": list(classes[n :: len(GATES_MM)]), "output": f"gate_{n}", "distance_mm": place}
        for n, place in enumerate(GATES_MM)
    ]
    return {
        "model": {"path": str(model.resolve())},
        "camera": {"source": source},
        "belt": {"direction": "right", "pixels_per_mm": 1.6, "speed_mm_s": SPEED_MM_S},
        "lanes": [*lanes, {"name": "rest", "default": True}],
        "outputs": {lane["output"]: {"type": "log", "pulse_ms": 10} for lane in lanes},
        "web": {"enabled": web, "port": 0},
    }


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a line did in a stretch of time. Lists hold one value in seconds a frame, a view or a push.

    frame_to_decision_s is from a frame's capture to the vote of a view in it. cpu_s is processor time
    by thread; what no Python thread of that name used is under "other".
    """

    seconds: float
    frames: int
    skipped: int
    decided: int
    late: int
    frame_to_decision_s: list[float]
    stages_s: dict[str, list[float]]
    push_lateness_s: list[float]
    cpu_s: dict[str, float]
    web_cpu_s: float

    @classmethod
    def pooled(cls, stretches: "Iterable[Stretch]") -> "Stretch":
        """Several stretches as one."""
        total, *rest = stretches
        for one in rest:
            total = cls(**{f.name: _plus(getattr(total, f.name), getattr(one, f.name)) for f in fields(cls)})
        return total


class LiveLine:
    """Runs a Line; made and called through a Peer."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._line = Line(LineConfig.parse(content, Path("the benchmark's line")))
        try:
            self._line.start()
        except BaseException:
            self._line.stop()
            raise
        self._before = self._now()

    def url(self) -> str | None:
        """Where the web side answers."""
        return self._line.url

    def begin(self) -> None:
        """A new stretch begins now."""
        self._before = self._now()

    def stretch(self) -> Stretch:
        """What happened since `begin`."""
        then, now = self._before, self._now()
        line = self._line
        stages = {name: one.newest(one.count - then.stages[name]) for name, one in self._stages().items()}
        cpu = {name: used - then.cpu_s.get(name, 0.0) for name, used in now.cpu_s.items()}
        return Stretch(
            seconds=now.at - then.at,
            frames=now.frames - then.frames,
            skipped=now.skipped - then.skipped,
            decided=now.decided - then.decided,
            late=now.late - then.late,
            frame_to_decision_s=line.mind.latency.newest(line.mind.latency.count - then.latency),
            stages_s=stages,
            push_lateness_s=line.hand.lateness.newest(line.hand.lateness.count - then.lateness),
            cpu_s=cpu,
            web_cpu_s=now.web_cpu_s - then.web_cpu_s,
        )

    def truth(self) -> dict[str, Any] | None:
        """What the simulated belt knows of the sorting so far."""
        return self._line.watch.truth()

    def close(self) -> None:
        """Stops the line."""
        self._line.stop()

    def _stages(self) -> dict[str, Distribution]:
        return self._line.stages | self._line.mind.stages

    def _now(self) -> "_Counts":
        line, reasons = self._line, self._line.ledger.reasons
        return _Counts(
            at=perf_counter(),
            frames=line.frames,
            skipped=line.grabber.stats().skipped,
            decided=reasons.total(),
            late=reasons["late"] + reasons["overload"],
            latency=line.mind.latency.count,
            lateness=line.hand.lateness.count,
            stages={name: one.count for name, one in self._stages().items()},
            cpu_s=_cpu_by_thread(),
            web_cpu_s=sum(process_cpu_s(one) or 0.0 for one in children(os.getpid())),
        )


@dataclass(frozen=True, slots=True)
class _Counts:
    at: float
    frames: int
    skipped: int
    decided: int
    late: int
    latency: int
    lateness: int
    stages: dict[str, int]
    cpu_s: dict[str, float]
    web_cpu_s: float


def _cpu_by_thread() -> dict[str, float]:
    """Seconds of processor time by thread name; empty where the system does not tell."""
    used = {thread.name: thread_cpu_s(thread.native_id) for thread in all_threads() if thread.native_id}
    named = {name: seconds for name, seconds in used.items() if seconds is not None}
    return {**named, "other": max(process_time() - sum(named.values()), 0.0)}


def _plus(one: Any, other: Any) -> Any:
    """The sum of two figures, lists or tables of them."""
    if isinstance(one, dict):
        both = one.keys() & other.keys()
        return {**one, **other, **{key: _plus(one[key], other[key]) for key in both}}
    return one + other

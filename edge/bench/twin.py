"""A line on a simulated belt and what really became of its items: the twin of a line that is not built yet.

The line is the real one, with its real model; only the belt, the camera over it and the diverters are
simulated. On the machine's clock it runs in real time with all of its threads, on a VirtualClock as fast
as the machine can: the same code, the clock is passed in.
"""

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge.bench.findings import percentile
from edge.bench.machine import Meanwhile
from edge.bench.privileges import give_up_priority
from edge.clock import Clock, MonotonicClock, VirtualClock
from edge.config import LineConfig
from edge.errors import ConfigError, SortlineError
from edge.line import Line
from edge.memory import set_memory_aside
from edge.play import Pace
from edge.priority import ask_for_real_time, session_precedence
from edge.simulator.world import Ending, World

SPARE_S = 60.0  # how much longer than its belt a twin may take before it counts as hung
PLACED_OVER_S = 4.0  # the line's own belt is held against the true one over its last seconds,
PLACINGS = 200  # at so many moments
TOLD = 8  # mistakes that are told singly


@dataclass(frozen=True, slots=True)
class Report:
    """What the line says it did, and what the simulated belt knows of it.

    items are those that crossed the whole picture and have come to their end. wrong_pushes hit nothing,
    several items, or another one than was meant; astray counts the items that a diverter took into a lane
    which their class does not name. late counts the decisions `late` and `overload`. off_mm holds, for
    every push that hit, how far the belt was past the ideal place for the item (negative: early), and
    fired_s how long after the moment at which the belt's true position asked for it a push was made; it is
    empty where the line is not told the true position (belt.position = "pictures", or a wrong speed).
    host is the share of the machine that the host of a virtual machine kept meanwhile, None where nobody says.
    """

    seconds: float
    frames: int
    skipped: int
    born: int
    balanced: bool
    reasons: Mapping[str, int]
    outcomes: Mapping[str, int]
    incidents: Mapping[str, int]
    items: int
    misplaced: int
    astray: int
    pushes: int
    wrong_pushes: int
    off_mm: tuple[float, ...] = field(repr=False)
    fired_s: tuple[float, ...] = field(repr=False)
    mistakes: tuple[str, ...] = ()
    host: float | None = None

    @property
    def sort_accuracy(self) -> float | None:
        """The share of the items that ended in the lane of their class; None when there were none."""
        return 1 - self.misplaced / self.items if self.items else None

    @property
    def late(self) -> int:
        return self.reasons["late"] + self.reasons["overload"]

    def later_than(self, seconds: float) -> float | None:
        """The share of the pushes, early or late by more than so long or not made since they came too late.

        None where there were none.
        """
        missed = self.incidents.get("missed_deadline", 0)
        off, asked = sum(abs(one) > seconds for one in self.fired_s) + missed, len(self.fired_s) + missed
        return off / asked if asked else None

    def off_mm_within(self, share: float) -> float | None:
        """The distance in mm, early or late, within which `share` (0 to 1) of the pushes stay."""
        return percentile(map(abs, self.off_mm), share)

    def fired_s_within(self, share: float) -> float | None:
        """The time in seconds, early or late, within which `share` (0 to 1) of the pushes stay."""
        return percentile(map(abs, self.fired_s), share)


def run_twin(config: LineConfig, clock: Clock | None = None, pace: Pace | None = None) -> Report:
    """Runs a line until its simulated belt has ended and every item has come to its end.

    The camera's source must be `sim:` with seconds=. clock is the machine's own, or a VirtualClock, on
    which pace says how long the line's stages take. Raises ConfigError for a belt that never ends,
    SortlineError when the line does not.
    """
    if "seconds=" not in str(config.camera.source):
        raise ConfigError(f"camera.source = {str(config.camera.source)!r}: a twin needs a belt that ends: seconds=10")
    line = Line(config, clock=clock or MonotonicClock())
    try:
        if isinstance(line.clock, VirtualClock):
            line.play(pace=pace)
        else:
            line.start()
            _wait(line)
        return report(line)
    finally:
        line.stop()


def report(line: Line) -> Report:
    """What became of the items of a line on a simulated belt so far."""
    world: World = line.world
    now = line.clock.now()
    truth = world.truth(now)
    with line.ledger.lock:
        ledger = line.ledger
        born, balanced = ledger.born, ledger.balanced()
        reasons, outcomes = dict(ledger.reasons), dict(ledger.outcomes)
    mistakes = [f"{p.lane}'s push for item {p.meant} hit {list(p.hits)}" for p in truth.pushes_seen if p.wrong]
    mistakes += [_told(ending) for ending in truth.endings if ending.expected != ending.actual]
    return Report(
        seconds=now - world.start,
        frames=line.frames,
        skipped=line.grabber.stats().skipped,
        born=born,
        balanced=balanced,
        reasons=reasons,
        outcomes=outcomes,
        incidents=dict(line.herald.incidents) if line.herald else {},
        items=truth.items,
        misplaced=truth.misplaced,
        astray=truth.astray,
        pushes=truth.pushes,
        wrong_pushes=truth.wrong_pushes,
        off_mm=tuple(push.off_mm for push in truth.pushes_seen if push.off_mm is not None),
        fired_s=tuple(_fired_s(line, world, now)),
        mistakes=tuple(mistakes[:TOLD]),
    )


def _wait(line: Line) -> None:
    seconds = line.world.settings.seconds if line.world else 0.0
    if not line.wait(seconds + SPARE_S):
        raise SortlineError(f"the twin did not end within {SPARE_S:.0f} s after its belt")


def _told(ending: Ending) -> str:
    return f"{ending.item.label} {ending.item.id} ended in {ending.actual}, not in {ending.expected}"


def _fired_s(line: Line, world: World, now: float) -> list[float]:
    """How long after its moment each push was made, by the true belt; empty where the line is not told of it."""
    belt = line.config.belt
    if belt.by_pictures or (belt.encoder is None and world.settings.speed_error):
        return []
    # An encoder counts in steps, so the two belts' zero points are compared at many moments.
    moments = [now - PLACED_OVER_S * n / PLACINGS for n in range(1, PLACINGS + 1)]
    places = {at: line.belt.place(at) for at in moments if at >= world.start}
    apart_mm = [place.position_mm - world.belt_mm(at) for at, place in places.items() if place.sure]
    if not apart_mm:
        return []
    zero_mm = sum(apart_mm) / len(apart_mm)
    return [
        push.at - world.start - world.motion.reaches(push.asked_mm - zero_mm)
        for push in world.truth(now).pushes_seen
        if push.asked_mm is not None
    ]


class LiveTwin:
    """A twin in real time in a process of its own, as the daemon runs; made and called through a Peer.

    With real_time=False the process first gives up what it may ask of the system: no thread of it can
    have real-time priority or precedence, as when an ordinary user starts it.
    """

    def __init__(self, content: dict[str, Any], real_time: bool = True) -> None:
        if not real_time:
            give_up_priority()
        self._parts = ExitStack()
        try:
            self._parts.enter_context(session_precedence())
            self._line = Line(LineConfig.parse(content, Path("the benchmark's line")))
            self._parts.callback(self._line.stop)
            set_memory_aside()
            self._meanwhile = Meanwhile()
            self._line.start()
        except BaseException:
            self._parts.close()
            raise

    def granted(self) -> bool:
        """Whether the system grants this process real-time priority."""
        refused: list[str | None] = []
        asks = threading.Thread(target=lambda: refused.append(ask_for_real_time()))
        asks.start()
        asks.join()
        return refused == [None]

    def url(self) -> str | None:
        """Where the web side answers."""
        return self._line.url

    def report(self) -> Report:
        """What became of the items, once the belt has ended."""
        _wait(self._line)
        taken = self._meanwhile.taken()
        return replace(report(self._line), host=taken.host if taken else None)

    def so_far(self) -> Report:
        """What became of the items that have come to their end already."""
        return report(self._line)

    def close(self) -> None:
        """Stops the line."""
        self._parts.close()

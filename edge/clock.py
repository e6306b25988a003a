"""The one clock of a line: the machine's monotonic one, or a virtual one that only moves when told."""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Seconds that never run backwards. Everything on a line that needs the time is given one."""

    def now(self) -> float:
        """Seconds since a fixed, unspecified moment."""
        ...

    def wait(self, condition: threading.Condition, until: float) -> None:
        """Sleeps on a condition that the caller holds, until it is notified or the moment comes."""
        ...


class MonotonicClock:
    """The machine's own clock (CLOCK_MONOTONIC): no daylight saving, no time server moves it."""

    def now(self) -> float:
        return time.monotonic()

    def wait(self, condition: threading.Condition, until: float) -> None:
        condition.wait(min(max(until - time.monotonic(), 0.0), threading.TIMEOUT_MAX))


class VirtualClock:
    """A clock that stands still until `advance` moves it: a minute of belt in a second of test.

    A line on a virtual clock runs in one thread (`Line.play`), so nothing ever waits for it.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def advance(self, to: float) -> None:
        """Moves to the given moment; a moment that has passed already leaves the clock as it is."""
        self._now = max(self._now, to)

    def wait(self, condition: threading.Condition, until: float) -> None:
        raise RuntimeError("a virtual clock has no waiting threads; drive the line with Line.play")

"""Player: a line on a virtual clock, in one thread: everything happens in its order, each thing at its own moment.

Looking at a frame, classifying a view and acting take no virtual time, unless a `Pace` says how long
they take on some machine: then the eye takes the newest frame when it is free, views wait for the mind,
and pushes come late, as they would there.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import inf
from typing import Protocol

from edge.actuate import Hand
from edge.clock import VirtualClock
from edge.decide import Waiting
from edge.mind import Mind
from edge.records import Frame

AT_ONCE = 8  # views that are classified together where that takes no time


@dataclass(frozen=True, slots=True)
class Pace:
    """How long each stage takes, in seconds: values measured one after the other, used again from the first on.

    finding_s is for a frame, classifying_s for a view, acting_s how long after its moment the hand acts.
    An empty one takes no time.
    """

    finding_s: Sequence[float] = ()
    classifying_s: Sequence[float] = ()
    acting_s: Sequence[float] = ()


class Polled(Protocol):
    """What is asked again and again: an encoder, a photo-eye."""

    @property
    def period_s(self) -> float: ...

    def poll(self) -> None: ...


class Player:
    """Lets the virtual time of one line pass. see is called with each frame that the eye has time for."""

    def __init__(
        self,
        clock: VirtualClock,
        mind: Mind,
        hand: Hand,
        polled: Iterable[Polled],
        see: Callable[[Frame], None],
        pace: Pace | None = None,
    ) -> None:
        pace = pace or Pace()
        self._clock, self._mind, self._hand, self._see = clock, mind, hand, see
        self._due = dict.fromkeys(polled, clock.now())
        self._finding, self._classifying = _times(pace.finding_s), _times(pace.classifying_s)
        hand.act_late(_times(pace.acting_s))
        self._batch = mind.batch if pace.classifying_s else AT_ONCE
        self._newest: Frame | None = None
        self._seen: Frame | None = None
        self._seen_at = self._thought_at = inf
        self._views: list[Waiting] = []
        self.skipped = 0

    @property
    def busy(self) -> bool:
        """Whether a frame or a view is still being worked on."""
        return bool(self._newest or self._seen or self._views or len(self._mind.queue))

    def arrive(self, frame: Frame) -> None:
        """A frame has been captured now; one that the eye had no time for is skipped."""
        self.skipped += self._newest is not None
        self._newest = frame
        self.run_until(self._clock.now())

    def run_until(self, moment: float) -> None:
        """Lets time pass up to a moment: polls, looks, classifies and acts, each at its own moment."""
        while True:
            self._begin()
            polled = min(self._due, key=self._due.__getitem__, default=None)
            polled_at = self._due[polled] if polled is not None else inf
            next_at = min(self._seen_at, self._thought_at, polled_at)
            if next_at > moment:
                break
            self._hand.run_until(next_at)
            if next_at == self._seen_at:
                self._look()
            elif next_at == self._thought_at:
                self._think()
            elif polled is not None:
                polled.poll()
                self._due[polled] += polled.period_s
        self._hand.run_until(moment)

    def _begin(self) -> None:
        """The eye takes the newest frame when it is free, and the mind the views that are most needed."""
        if self._seen is None and self._newest is not None:
            self._seen, self._newest = self._newest, None
            self._seen_at = self._clock.now() + next(self._finding)
        if not self._views and (views := self._mind.take(self._batch, 0.0)):
            self._views = views
            self._thought_at = self._clock.now() + sum(next(self._classifying) for _ in views)

    def _look(self) -> None:
        frame, self._seen, self._seen_at = self._seen, None, inf
        if frame is not None:
            self._see(frame)

    def _think(self) -> None:
        views, self._views, self._thought_at = self._views, [], inf
        self._mind.consider(views)


def _times(seconds: Sequence[float]) -> Iterator[float]:
    return cycle(seconds or (0.0,))

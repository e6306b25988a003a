"""Turns: the last moments before each push, in which no output may keep the interpreter past another's moment."""

import threading
from collections.abc import Iterable

from edge.clock import Clock
from edge.priority import IN_HAND_S, sleep_in_hand

GIVE_WAY_S = 0.0002  # a push that is overdue at another output is given way to for so long at a time


class Turns:
    """How the threads of the outputs sleep until their pushes are due. Each has its own name.

    in_hand says that they have real-time priority: then the last moments are slept with the interpreter in
    hand. Without it, a thread that the system sets aside meanwhile would hold up all the others.
    """

    def __init__(self, names: Iterable[str], clock: Clock) -> None:
        self.in_hand = False
        self._clock = clock
        self._asleep = {name: threading.Condition() for name in names}
        self._moments: dict[str, float] = {}

    def wait(self, name: str, until: float) -> None:
        """Sleeps until an output's moment, or not as long: the moment may have changed, then it is given anew.

        Whoever sleeps with the interpreter in hand lets no other Python thread run. So where another output's
        push comes first, its thread gets the interpreter until then.
        """
        self._moments[name] = until
        now = self._clock.now()
        if self.in_hand and until - now <= IN_HAND_S:
            first = min(self._moments.copy().values())  # copied at once: the other threads come and go
            if first >= until:
                sleep_in_hand(until)
                return
            until = min(until, max(first, now + GIVE_WAY_S))
        elif self.in_hand:
            until -= IN_HAND_S
        with self._asleep[name]:
            self._clock.wait(self._asleep[name], until)

    def over(self, name: str) -> None:
        """An output's push is made now, or is not any more."""
        self._moments.pop(name, None)

"""Pushes that do not come back: an output may call the user's own function, and that may never return."""

from collections.abc import Mapping

from edge.clock import Clock
from edge.outputs import Output

# An output that pushes is given so long to come back,
PATIENCE_S = 1.0
# and more when its push takes longer: so many times its lead and its pulse.
PATIENCE_PUSHES = 4.0


class Hangs:
    """Which output is at which item's push, since when, and which of them is stuck there.

    Everything but `sentences` is called with the ledger's lock held.
    """

    def __init__(self, outputs: Mapping[str, Output], clock: Clock) -> None:
        self._outputs, self._clock = outputs, clock
        self._under_way: dict[str, tuple[int, float]] = {}
        self._stuck: set[str] = set()

    def begin(self, name: str, item_id: int) -> None:
        """An output's thread begins with an item's push."""
        self._under_way[name] = item_id, self._clock.now()

    def come_back(self, name: str) -> str | None:
        """An output's thread is done with its push: how long that took, in words, when it was stuck."""
        _, since = self._under_way.pop(name)
        if name not in self._stuck:
            return None
        self._stuck.remove(name)
        return f"{self._called(name)} has come back after {self._clock.now() - since:.1f} s"

    def item(self, name: str) -> int | None:
        """The item whose push an output is at; None when it is at none."""
        return self._under_way[name][0] if name in self._under_way else None

    def given_up_at(self, name: str) -> float:
        """The moment at which an output counts as stuck at the push that it is at."""
        settings = self._outputs[name].settings
        patience_s = max(PATIENCE_S, PATIENCE_PUSHES * (settings.lead_ms + settings.pulse_ms) / 1e3)
        return self._under_way[name][1] + patience_s

    def is_stuck(self, name: str) -> bool:
        return name in self._stuck

    def give_up(self, name: str) -> None:
        """From now on an output is stuck, until it comes back."""
        self._stuck.add(name)

    def sentence(self, name: str) -> str:
        """How long an output has been at its push."""
        under_way = self._under_way.get(name)
        since = under_way[1] if under_way else self._clock.now()
        return f"{self._called(name)} has not come back for {self._clock.now() - since:.1f} s"

    def sentences(self) -> list[str]:
        """What to say of each output that is stuck; any thread may ask."""
        return [self.sentence(name) for name in sorted(set(self._stuck))]

    def _called(self, name: str) -> str:
        return f"outputs.{name}: {self._outputs[name].called}"

"""Confirmed exits: a photo-eye behind a lane's diverter says whether what was pushed really came out there.

A pushed item is expected at the beam when the belt stands at item_mm + distance_mm - length_mm / 2: its
front edge is half a length ahead of its centre. What the eye says ends the item:

    confirmed   an exit within window_mm of that place
    missed      no exit: the incident `exit_not_seen`. The push was made, but what became of the item nobody
                knows, so it counts as one that did not reach its lane
    fired       the eye did not answer, or nobody knew where the belt was: there was no eye there

An exit that belongs to no push is the incident `exit_unexpected`. Expected and seen exits that part company
again and again in the same way mean that the line has lost count: that it pushes each item's neighbour. Then
(`exit_shift`) nothing is pushed any more, until the belt has run empty of every item that was on it, for
those are the ones whose place is in doubt. If that happens again before so many exits were confirmed that
the line has proven itself, it also takes a person to clear the incident.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from edge.belt import Belt
from edge.clock import Clock
from edge.config import LineConfig
from edge.eyes import ConfirmSettings, Edge
from edge.herald import Tell
from edge.ledger import Ledger, Life
from edge.records import Outcome

# So many missing and so many unexpected exits, displaced the same way, are a shift
SHIFTED = 3
# when they are among so many of a lane's newest exits.
REMEMBERED = 20
# So many confirmed exits after a shift, and the line has proven itself.
PROVEN = 20
# An eye's word may come so long after its moment; until then an exit is not given up.
LATE_S = 0.1
# An exit comes late when the expected one before it is so many times nearer than the one after it.
CLEARLY = 1.5

SHIFT = "exit_shift"

Sign = Literal["seen", "missing", "late", "early", "either"]


@dataclass(slots=True)
class _Exit:
    """What has come out of one lane of late, or should have."""

    settings: ConfirmSettings
    signs: deque[Sign] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    expected_mm: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    last_mm: float = -math.inf  # where the newest exit was,
    last_length_mm: float = 0.0  # and how long the item

    def place_mm(self, life: Life) -> float:
        """Where the belt stands when the item's front edge comes to the beam."""
        return life.item.item_mm + self.settings.distance_mm - life.item.length_mm / 2


class Confirm:
    """What the photo-eyes behind the diverters say of the hand's pushes.

    held says in words why nothing is pushed; None while pushes are made. watching_since(lane) is the moment
    from which on a lane's eye has answered without a gap, infinity while it does not. Everything is called
    with the ledger's lock held.
    """

    def __init__(
        self,
        config: LineConfig,
        ledger: Ledger,
        belt: Belt,
        clock: Clock,
        tell: Tell,
        watching_since: Callable[[str], float],
    ) -> None:
        self._ledger, self._belt, self._clock, self._tell = ledger, belt, clock, tell
        self._watching_since = watching_since
        self._exits = {lane.name: _Exit(lane.confirm) for lane in config.lanes if lane.confirm}
        self.held: str | None = None
        self._in_doubt: set[int] = set()
        self._seen_since_shift = PROVEN
        self._waits_for_person = False

    def watches(self, life: Life) -> bool:
        """Whether an eye stands behind the diverter that pushed an item."""
        return life.decision is not None and life.decision.lane in self._exits

    def due_at(self, life: Life) -> float:
        """The moment at which a pushed item's exit is given up."""
        one = self._exit_of(life)
        return self._belt.when(one.place_mm(life) + one.settings.window_mm, self._clock.now()) + LATE_S

    def saw(self, lane: str, edge: Edge) -> Life | None:
        """A lane's beam was broken: the pushed item that it was, None when it was nothing that was expected."""
        one, at_mm = self._exits[lane], self._belt.position_mm(edge.at)
        error_mm = edge.error_s * abs(self._belt.speed_mm_s(edge.at))
        coming = [life for life in self._ledger if self._is_bound_for(life, lane)]
        pushed = [life for life in coming if life.todo in {"await", "confirm"} and not life.exit_seen]
        nearest = min(pushed, key=lambda life: abs(one.place_mm(life) - at_mm), default=None)
        if nearest and abs(one.place_mm(nearest) - at_mm) <= one.settings.window_mm + error_mm:
            one.last_mm, one.last_length_mm = at_mm, nearest.item.length_mm
            one.expected_mm.append(one.place_mm(nearest))
            self._seen_since_shift += 1
            one.signs.append("seen")
            return nearest
        same = one.last_mm - one.settings.window_mm <= at_mm < one.last_mm + one.last_length_mm
        if same or self._belt.speed_mm_s(edge.at) < 0:
            return None  # the item that came last: it has a hole, the contact bounced, or the belt turned back
        one.last_mm, one.last_length_mm = at_mm, 0.0
        self._unexpected(lane, one, at_mm, [one.place_mm(life) for life in coming])
        return None

    def overdue(self, life: Life) -> Outcome:
        """What became of a pushed item that no exit was seen of."""
        assert life.decision is not None
        lane, one = life.decision.lane, self._exit_of(life)
        if not self._belt.known() or self._watching_since(lane) > life.pushed_at:
            return "fired"
        one.expected_mm.append(one.place_mm(life))
        cause = f"item {life.item.id} was pushed into lane {lane} and did not come out there"
        self._tell("exit_not_seen", "item", cause, "not counted as sorted", life.item.id)
        one.signs.append("missing")
        self._look_for_a_shift(lane, one)
        return "missed"

    def ended(self, item_id: int) -> None:
        """An item has come to its end: one less on the belt."""
        if item_id in self._in_doubt:
            self._in_doubt.remove(item_id)
            self._go_on_if_empty()

    def clear(self) -> None:
        """A person has seen to a shift: pushes are made again as soon as the belt has run empty."""
        self._waits_for_person = False
        self._go_on_if_empty()

    def _exit_of(self, life: Life) -> _Exit:
        assert life.decision is not None
        return self._exits[life.decision.lane]

    def _is_bound_for(self, life: Life, lane: str) -> bool:
        return life.decision is not None and life.decision.lane == lane and life.todo in {"fire", "await", "confirm"}

    def _unexpected(self, lane: str, one: _Exit, at_mm: float, coming_mm: list[float]) -> None:
        places = [*one.expected_mm, *coming_mm]
        before = min((at_mm - place for place in places if place <= at_mm), default=None)
        after = min((place - at_mm for place in places if place > at_mm), default=None)
        near = [
            f"{mm:.0f} mm {side} one that was expected" for mm, side in ((before, "after"), (after, "before")) if mm
        ]
        cause = (
            f"something came out of lane {lane} that was not pushed into it, {' and '.join(near) or 'out of nothing'}"
        )
        self._tell("exit_unexpected", "output", cause, "counted, no item is known to it")
        if before is not None and (after is None or before * CLEARLY < after):
            one.signs.append("late")
        elif after is not None and (before is None or after * CLEARLY < before):
            one.signs.append("early")
        else:
            one.signs.append("either")
        self._look_for_a_shift(lane, one)

    def _look_for_a_shift(self, lane: str, one: _Exit) -> None:
        signs = one.signs
        late, early, either = signs.count("late"), signs.count("early"), signs.count("either")
        displaced = max(late, early) + either
        if self.held or min(late, early) > 0 or min(displaced, signs.count("missing")) < SHIFTED:
            return
        self._waits_for_person = self._seen_since_shift < PROVEN
        self._seen_since_shift = 0
        self._in_doubt = {life.item.id for life in self._ledger}
        way = "later than" if late else "earlier than" if early else "beside"
        self.held = f"lane {lane}: items come out {way} they should, as if the line had lost count by one"
        action = f"nothing is pushed until the {len(self._in_doubt)} items on the belt have passed"
        if self._waits_for_person:
            action += ", and a person clears this: it has happened before"
        self._tell(SHIFT, "output", self.held, action)
        self._go_on_if_empty()

    def _go_on_if_empty(self) -> None:
        if self.held and not self._in_doubt and not self._waits_for_person:
            self.held = None
            for one in self._exits.values():
                one.signs.clear()
            cause = "the belt has run empty of the items whose place was in doubt"
            self._tell(SHIFT, "output", cause, "pushes are made again", recovered=True)

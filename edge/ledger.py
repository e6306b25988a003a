"""The book of items: each is born once, has at most one decision, and ends exactly once.

`born = confirmed + fired + passed + missed + lost + on the belt` holds at every moment.
"""

import math
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from edge.decide import Vote
from edge.records import OUTCOMES, REASONS, Decision, Item, Outcome

Todo = Literal["decide", "fire", "pass", "await", "confirm"]


@dataclass(slots=True, eq=False)
class Life:
    """One item on its way. Only the line, under its lock, writes to it.

    todo is what happens to it next and due_at when, on the line's clock: to be decided at its point
    of no return, to be fired at its diverter, to pass the end of the belt, to await its output's word, or
    to be confirmed by a photo-eye behind its diverter. It is born bound for the default lane: an undecided
    item is never fired. pushed_at is when its push was handed to the output, exit_seen whether that eye has
    seen it already. doubtful says that nobody can tell it from its neighbours any more, adrift that nobody knows any
    more how far the belt has carried it: it is not pushed.
    """

    item: Item
    vote: Vote = field(default_factory=Vote)
    decision: Decision | None = None
    todo: Todo = "decide"
    due_at: float = math.inf
    pushed_at: float = math.inf
    exit_seen: bool = False
    doubtful: bool = False
    adrift: bool = False
    in_sight: bool = True
    classifying: int = 0
    crop: np.ndarray | None = None
    spent_s: dict[str, float] = field(default_factory=dict)

    def spend(self, stage: str, seconds: float) -> None:
        """Enters time spent at a stage into the item's deadline ledger."""
        self.spent_s[stage] = self.spent_s.get(stage, 0.0) + seconds


class Ledger:
    """All items by id while they are on the belt, and the counts of those that ended.

    Several threads share it: whoever reads or writes holds `lock`.
    """

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.born = 0
        self.outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.reasons: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self.lanes: dict[str, Counter[str]] = {}
        self._lives: dict[int, Life] = {}

    def bear(self, item: Item) -> Life:
        """A new item: on the belt from now until `end`."""
        if item.id in self._lives:
            raise ValueError(f"item {item.id} is on the belt already")
        self.born += 1
        life = self._lives[item.id] = Life(item)
        return life

    def get(self, item_id: int) -> Life | None:
        """The item, or None when it has ended or never was."""
        return self._lives.get(item_id)

    def decide(self, life: Life, decision: Decision) -> None:
        """Enters an item's one decision."""
        if life.decision is not None:
            raise ValueError(f"item {life.item.id} is decided already")
        life.decision = decision
        self.reasons[decision.reason] += 1
        self.lanes.setdefault(decision.lane, Counter())[decision.label or "?"] += 1

    def end(self, life: Life, outcome: Outcome) -> None:
        """Ends an item. A second end is an error: the law of conservation would break."""
        if self._lives.pop(life.item.id, None) is None:
            raise ValueError(f"item {life.item.id} has ended already")
        self.outcomes[outcome] += 1

    def __iter__(self) -> Iterator[Life]:
        return iter(list(self._lives.values()))

    def __len__(self) -> int:
        return len(self._lives)

    def balanced(self) -> bool:
        """The law of conservation: every item born has ended once or is on the belt."""
        return self.born == sum(self.outcomes.values()) + len(self._lives)

"""Views of one item -> one decision: the vote, the thresholds, the lane; and the queue of views that wait."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge.clock import Clock
from edge.config import LaneSettings, LineConfig
from edge.model import ModelCard
from edge.records import Prediction, Reason, View


class Vote:
    """The weighted mean of an item's predictions.

    Views of one item are not independent looks: multiplying their probabilities, as naive Bayes
    would, makes the vote surer with each view of the same ambiguous thing. A linear opinion pool
    (Stone, "The opinion pool", Annals of Mathematical Statistics 32, 1961) of calibrated predictions
    is never surer than its surest member.
    """

    def __init__(self) -> None:
        self.views = 0
        self._sum: np.ndarray | None = None
        self._weight = 0.0
        self._known = self._strange = 0.0

    def add(self, prediction: Prediction, weight: float, known: bool | None = None) -> None:
        """Adds one view; weight is 0 or more, and only its ratio to the other views' counts.

        known is what the prediction says of itself unless given.
        """
        weight = max(weight, 1e-3)
        row = weight * np.asarray(prediction.probabilities)
        self._sum = row if self._sum is None else self._sum + row
        self._weight += weight
        self._known += weight * (prediction.known if known is None else known)
        self._strange += weight * prediction.strange
        self.views += 1

    @property
    def strange(self) -> bool:
        """Whether most views were unlike anything trained on."""
        return self.views > 0 and self._strange >= self._weight / 2

    def result(self) -> tuple[int, float, np.ndarray, bool]:
        """Index of the winning class, its probability, all probabilities, whether most views were known."""
        if self._sum is None:
            raise ValueError("a vote without views has no result")
        probabilities = self._sum / self._weight
        best = int(probabilities.argmax())
        return best, float(probabilities[best]), probabilities, self._known >= self._weight / 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the vote says: a lane, a reason, and the numbers behind it."""

    lane: LaneSettings
    label: str | None
    confidence: float
    probabilities: dict[str, float]
    reason: Reason


class Decider:
    """Thresholds and lanes: turns a vote into a Verdict. Everything that is not sure goes to the default lane."""

    def __init__(self, config: LineConfig, card: ModelCard) -> None:
        self._config, self._classes = config, card.classes
        floor, own = config.decide.min_confidence, config.decide.thresholds
        self._thresholds = {name: max(floor, own.get(name, card.thresholds.get(name, 0.0))) for name in card.classes}

    def threshold_of(self, label: str) -> float:
        """The least confidence at which a class is sorted, by the line's thresholds where they replace the card's."""
        return self._thresholds[label]

    def knows(self, prediction: Prediction) -> bool:
        """Whether one view is sure enough of itself."""
        return prediction.reaches(self._thresholds[prediction.label])

    def lane_of(self, prediction: Prediction) -> LaneSettings:
        """Where a single view alone would send its item."""
        return self._config.lane_of(prediction.label) if self.knows(prediction) else self._config.default_lane

    def judge(self, vote: Vote, forced: Reason | None = None) -> Verdict:
        """forced names the reason for which an item goes to the default lane whatever its vote says."""
        default = self._config.default_lane
        if vote.views == 0:
            return Verdict(default, None, 0.0, {}, forced or "unknown")
        best, confidence, values, known = vote.result()
        label = self._classes[best]
        probabilities = dict(zip(self._classes, map(float, values), strict=True))
        if forced:
            return Verdict(default, label, confidence, probabilities, forced)
        if not known or confidence < self._thresholds[label]:
            return Verdict(default, label, confidence, probabilities, "unknown")
        return Verdict(self._config.lane_of(label), label, confidence, probabilities, "classified")


@dataclass(slots=True)
class Waiting:
    """A view in the queue, with what is needed to say later how long it waited."""

    view: View
    arrived: float  # perf_counter when its frame was taken up
    age_s: float  # how old the frame was then
    offered: float  # perf_counter when it was offered


class ViewQueue:
    """What waits to be classified: at most one view an item, at most `most` items.

    A newer view replaces the item's older one (counted as replaced). Items that have had the fewest
    views come first, among them the newest view, and of one picture's the item farthest along the belt.
    When full, the one that would come last gives way. So what is classified is fresh, and the age of a processed
    frame does not grow, however slow the classifier is: what has waited for long comes to its point of no
    return as `overload`. Were the oldest taken first, then each item would have its turn just too late.

    newest_first is for pictures that are an item each: the newest one is taken alone.
    """

    def __init__(self, clock: Clock, most: int = 64, newest_first: bool = False) -> None:
        self._clock, self._most, self._newest_first = clock, most, newest_first
        self._waiting: dict[int, Waiting] = {}
        self._had: dict[int, int] = {}
        self._place: dict[int, float] = {}
        self._ready = threading.Condition()
        self._closed = False
        self.replaced = 0

    def offer(self, waiting: Waiting, item_mm: float, views_had: int) -> None:
        item_id = waiting.view.item_id
        with self._ready:
            if self._closed:
                return
            if old := self._waiting.get(item_id):
                self.replaced += 1
                # The look that is replaced may have been announced as the last one; that stays true.
                if old.view.last and not waiting.view.last:
                    return
            elif len(self._waiting) >= self._most:
                self.replaced += 1
                self._drop(max(self._waiting, key=self._rank))
            self._waiting[item_id] = waiting
            self._had[item_id], self._place[item_id] = views_had, item_mm
            self._ready.notify()

    def take(self, most: int, timeout_s: float) -> list[Waiting]:
        """Up to `most` views, the most needed first; empty after timeout_s or when closed."""
        with self._ready:
            if not self._waiting and not self._closed:
                self._ready.wait(timeout_s)
            order = sorted(self._waiting, key=self._rank)[: 1 if self._newest_first else most]
            return [self._drop(item_id) for item_id in order]

    def forget(self, item_id: int) -> None:
        """An item is decided or gone: its view is of no more use."""
        with self._ready:
            if item_id in self._waiting:
                self._drop(item_id)

    def holds(self, item_id: int) -> bool:
        return item_id in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def close(self) -> None:
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def _rank(self, item_id: int) -> tuple[int, float, float]:
        """The smaller, the sooner it is classified."""
        captured_at = self._waiting[item_id].view.captured_at
        return (0 if self._newest_first else self._had[item_id]), -captured_at, self._place[item_id]

    def _drop(self, item_id: int) -> Waiting:
        del self._had[item_id], self._place[item_id]
        return self._waiting.pop(item_id)


def weight_of(view: View) -> float:
    """How much a view counts in the vote, 0 or more: sharp and complete views count most."""
    return view.sharpness * view.completeness


def rounded(probabilities: Mapping[str, float]) -> dict[str, float]:
    """Probabilities as they are written down: six digits."""
    return {name: round(value, 6) for name, value in probabilities.items()}

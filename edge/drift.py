"""Drift: whether the newest items still look to the model as the first ones of the run did.

For each thing that is watched the newest WINDOW items are held against the first WINDOW by the population
stability index, the sum over bins of (new - old) ln(new / old) of the two shares (Siddiqi, "Credit Risk
Scorecards", 2006, where 0.1 is a small and 0.25 a large change). With so few items the index is not 0 where
nothing has changed: then it is distributed as chi-square over bins - 1 degrees of freedom times (1/n + 1/m)
(Yurdakul and Naranjo, "Statistical properties of the population stability index", 2020). So a change is told
only where it is large and would come about by chance less than once in a thousand times.
"""

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np

from edge.records import Decision

WINDOW = 400
LARGE = 0.25
CALM = 0.1  # below it a change that was told is over
BINS = 8
CHANCE = 3.0902  # the standard normal distribution's 99.9 % point


@dataclass(frozen=True, slots=True)
class Change:
    """How far one thing has moved: its index, what chance alone could give, and its mean before and now."""

    psi: float
    chance: float
    before: float
    now: float

    @property
    def large(self) -> bool:
        return self.psi > max(LARGE, self.chance)


class Drift:
    """Watches confidence, brightness, the share of unknown items and the mix of classes. Thread-safe.

    on_change is called with (name, change, recovered) once when a thing has drifted and once when it
    is back; look is called now and then by whoever has time, `saw` for every decision.
    """

    def __init__(
        self, classes: Sequence[str], on_change: Callable[[str, Change, bool], None], window: int = WINDOW
    ) -> None:
        self._class_at = {name: n for n, name in enumerate(classes)}
        self._on_change, self._window = on_change, window
        self._first: list[tuple[float, float, float, int]] = []
        self._newest: deque[tuple[float, float, float, int]] = deque(maxlen=window)
        self._lock = threading.Lock()
        self._seen = self._looked_at = 0
        self._drifted: set[str] = set()
        self.changes: dict[str, Change] = {}

    def saw(self, decision: Decision, crop: np.ndarray | None) -> None:
        """Takes note of one decision and the crop behind it, uint8 [h, w, 3]; only of what the model judged."""
        if decision.label is None or crop is None or decision.reason not in {"classified", "unknown"}:
            return
        # Confidences crowd at 1: their logit spreads them out.
        sure = min(max(decision.confidence, 1e-6), 1 - 1e-6)
        brightness = sum(cv2.mean(crop[::4, ::4])[:3]) / 3
        unknown = float(decision.reason == "unknown")
        one = (math.log(sure / (1 - sure)), brightness, unknown, self._class_at.get(decision.label, -1))
        with self._lock:
            self._seen += 1
            if len(self._first) < self._window:
                self._first.append(one)
            else:
                self._newest.append(one)

    def look(self) -> dict[str, Any]:
        """What is known now, as JSON can hold it; calls on_change for what has newly drifted or come back."""
        with self._lock:
            ready = len(self._first) == self._window and len(self._newest) == self._window
            due = ready and self._seen - self._looked_at >= self._window // 20
            first = np.array(self._first) if due else np.empty(0)
            newest = np.array(list(islice(self._newest, self._window))) if due else np.empty(0)
            if due:
                self._looked_at = self._seen
            have = min(self._seen, 2 * self._window)
        if due:
            self._compare(first, newest)
        return {
            "window": self._window,
            "have": have,
            "things": {
                name: {
                    "psi": round(one.psi, 4), "chance": round(one.chance, 4), "before": round(one.before, 4),
                    "now": round(one.now, 4), "drifted": name in self._drifted,
                }
                for name, one in self.changes.items()
            },
        }  # fmt: skip

    def _compare(self, first: np.ndarray, newest: np.ndarray) -> None:
        sureness = 1 / (1 + np.exp(-first[:, 0])), 1 / (1 + np.exp(-newest[:, 0]))
        self.changes = {
            "confidence": _change(*_by_quantile(first[:, 0], newest[:, 0]), *(float(s.mean()) for s in sureness)),
            "brightness": _change(*_by_quantile(first[:, 1], newest[:, 1]), first[:, 1].mean(), newest[:, 1].mean()),
            "unknown": _change(*_by_value(first[:, 2], newest[:, 2]), first[:, 2].mean(), newest[:, 2].mean()),
            "classes": _change(*_by_value(first[:, 3], newest[:, 3]), 0.0, 0.0),
        }
        for name, one in self.changes.items():
            if one.large and name not in self._drifted:
                self._drifted.add(name)
                self._on_change(name, one, False)
            elif name in self._drifted and one.psi < max(CALM, one.chance / 2):
                self._drifted.discard(name)
                self._on_change(name, one, True)


def _by_quantile(first: np.ndarray, newest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts in bins that hold equal shares of the first values."""
    inner = np.unique(np.quantile(first, np.linspace(0, 1, BINS + 1)[1:-1]))
    count = len(inner) + 1
    places = (np.bincount(np.searchsorted(inner, values, "right"), minlength=count) for values in (first, newest))
    return next(places), next(places)


def _by_value(first: np.ndarray, newest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts of each value that occurs."""
    _, place = np.unique(np.concatenate([first, newest]), return_inverse=True)
    count = int(place.max()) + 1
    return np.bincount(place[: len(first)], minlength=count), np.bincount(place[len(first) :], minlength=count)


def _change(first: np.ndarray, newest: np.ndarray, before: float, now: float) -> Change:
    """The index of two rows of counts. Half an item is added to each bin, so that none is empty."""
    n, m, bins = first.sum(), newest.sum(), len(first)
    old, new = (first + 0.5) / (n + 0.5 * bins), (newest + 0.5) / (m + 0.5 * bins)
    psi = float(((new - old) * np.log(new / old)).sum())
    freedom = max(bins - 1, 1)
    # Wilson and Hilferty, "The distribution of chi-square", 1931.
    point = freedom * (1 - 2 / (9 * freedom) + CHANCE * math.sqrt(2 / (9 * freedom))) ** 3
    return Change(psi, float(point * (1 / n + 1 / m)), float(before), float(now))

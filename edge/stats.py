"""Distributions with bounded memory: fixed buckets for the metrics, recent values for percentiles."""

import bisect
import threading
from array import array
from typing import Any

import numpy as np

BUCKETS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Distribution:
    """Durations in seconds: a histogram over all of them, percentiles over the newest `keep`. Thread-safe."""

    def __init__(self, keep: int = 16_384) -> None:
        self._counts = [0] * (len(BUCKETS_S) + 1)
        # As large from the start as it ever gets, so that a line that runs for long takes no more than it did at first.
        self._recent = array("d", bytes(keep * array("d").itemsize))
        self._keep = keep
        self._lock = threading.Lock()
        self.count, self.sum_s, self.max_s = 0, 0.0, 0.0

    def add(self, seconds: float) -> None:
        with self._lock:
            self._counts[bisect.bisect_left(BUCKETS_S, seconds)] += 1
            self._recent[self.count % self._keep] = seconds
            self.count += 1
            self.sum_s += seconds
            self.max_s = max(self.max_s, seconds)

    def percentile(self, share: float) -> float:
        """The value in seconds below which `share` (0 to 1) of the recent ones lie; 0 when there is none."""
        with self._lock:
            recent = np.array(self._recent[: min(self.count, self._keep)])
        if not recent.size:
            return 0.0
        # Sorting all of them here would hold up every other thread for milliseconds, several times a second.
        place = min(int(share * recent.size), recent.size - 1)
        return float(np.partition(recent, place)[place])

    def newest(self, count: int) -> list[float]:
        """The last `count` values in seconds, the oldest first; fewer when no more are kept."""
        with self._lock:
            count = min(count, self.count, self._keep)
            return [self._recent[n % self._keep] for n in range(self.count - count, self.count)]

    def milliseconds(self) -> dict[str, float]:
        """p50, p99 and max in milliseconds."""
        return {
            "p50": round(self.percentile(0.50) * 1e3, 3),
            "p99": round(self.percentile(0.99) * 1e3, 3),
            "max": round(self.max_s * 1e3, 3),
        }

    def buckets(self) -> dict[str, Any]:
        """Count, sum and cumulative buckets, as a Prometheus histogram has them."""
        with self._lock:
            total, cumulative = 0, []
            for upper, count in zip(BUCKETS_S, self._counts, strict=False):
                total += count
                cumulative.append([upper, total])
            return {"count": self.count, "sum_s": self.sum_s, "buckets": cumulative}

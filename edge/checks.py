"""What people have checked: items whose true class somebody has said, and what follows for purity and yield.

On a real belt nobody knows the truth but the people beside it. Each item that a person confirms or corrects
on the page counts once; what is said of a lane is said of these items only.
"""

import threading
from collections import OrderedDict
from typing import Any

from edge.config import LineConfig

KEPT = 20_000
Z = 1.96  # a 95 % interval


class Checks:
    """The newest KEPT checked items: the lane that each was sent to and the lane of its true class. Thread-safe."""

    def __init__(self, config: LineConfig) -> None:
        self._config = config
        self._lanes = tuple(lane.name for lane in config.lanes)
        self._lock = threading.Lock()
        self._items: OrderedDict[int, tuple[str, str]] = OrderedDict()

    def add(self, item_id: int, lane: str, label: str | None) -> None:
        """An item went to a lane and is of class label, or of none that the model knows. The last word counts."""
        meant = self._config.default_lane.name if label is None else self._config.lane_of(label).name
        with self._lock:
            self._items.pop(item_id, None)
            self._items[item_id] = (lane, meant)
            if len(self._items) > KEPT:
                self._items.popitem(last=False)

    def snapshot(self) -> dict[str, Any]:
        """By lane: `purity` and `yield`, each {"of", "right", "low", "high"}; shares are None where none was checked.

        low and high are Wilson's interval, which holds for few items and for shares near 1 too (E. B. Wilson,
        "Probable inference", Journal of the American Statistical Association, 1927).
        """
        with self._lock:
            pairs = list(self._items.values())
        lanes = {}
        for name in self._lanes:
            right = sum(lane == meant == name for lane, meant in pairs)
            lanes[name] = {
                "purity": _share(right, sum(lane == name for lane, _ in pairs)),
                "yield": _share(right, sum(meant == name for _, meant in pairs)),
            }
        return {"items": len(pairs), "lanes": lanes}


def _share(right: int, of: int) -> dict[str, float | int | None]:
    if not of:
        return {"of": 0, "right": 0, "low": None, "high": None}
    share, spread = right / of, Z * Z / of
    middle = (share + spread / 2) / (1 + spread)
    half = Z * ((share * (1 - share) / of + spread / (4 * of)) ** 0.5) / (1 + spread)
    return {"of": of, "right": right, "low": round(max(middle - half, 0.0), 4), "high": round(min(middle + half, 1), 4)}

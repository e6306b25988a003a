"""Drift: told where the newest items really differ from the first, and not where chance alone moves them."""

import numpy as np

from edge.drift import WINDOW, Change, Drift
from edge.records import Box, Decision


class World:
    """Decisions and crops of a belt whose light and goods can change."""

    def __init__(self, seed: int) -> None:
        self.told: list[tuple[str, bool]] = []
        self.drift = Drift(("bolt", "nut"), self._tell)
        self._rng = np.random.default_rng(seed)
        self._items = 0

    def _tell(self, name: str, change: Change, recovered: bool) -> None:
        self.told.append((name, recovered))

    def run(
        self, items: int, light: float = 100.0, sure: float = 4.0, nuts: float = 0.5, unknown: float = 0.02
    ) -> None:
        for _ in range(items):
            self._items += 1
            confidence = float(1 / (1 + np.exp(-self._rng.normal(sure, 1.5))))
            label = "nut" if self._rng.random() < nuts else "bolt"
            reason = "unknown" if self._rng.random() < unknown else "classified"
            crop = np.full((16, 16, 3), np.clip(self._rng.normal(light, 8), 0, 255), np.uint8)
            box = Box(0, 0, 16, 16)
            decision = Decision(self._items, "a", label, confidence, {}, reason, 0, 0.0, 0.0, None, 0.0, box)  # type: ignore[arg-type]
            self.drift.saw(decision, crop)
            self.drift.look()


def test_a_belt_that_does_not_change_is_never_told_of() -> None:
    for seed in range(5):
        world = World(seed)
        world.run(8 * WINDOW)
        assert world.told == []
        found = world.drift.look()
        assert (found["have"], set(found["things"])) == (
            2 * WINDOW, {"confidence", "brightness", "unknown", "classes"},
        )  # fmt: skip


def test_a_lamp_that_fades_is_told_once_and_again_when_it_is_back() -> None:
    world = World(1)
    world.run(2 * WINDOW)
    world.run(2 * WINDOW, light=70)
    assert world.told == [("brightness", False)]
    assert world.drift.look()["things"]["brightness"]["drifted"]
    assert world.drift.look()["things"]["brightness"]["now"] < 75
    world.run(2 * WINDOW)
    assert world.told == [("brightness", False), ("brightness", True)]


def test_doubt_strangers_and_other_goods_are_each_told_by_their_name() -> None:
    for name, change in {"confidence": {"sure": 1.0}, "unknown": {"unknown": 0.5}, "classes": {"nuts": 0.05}}.items():
        world = World(2)
        world.run(2 * WINDOW)
        world.run(WINDOW, **change)
        assert world.told == [(name, False)]


def test_before_there_are_enough_items_nothing_is_compared() -> None:
    world = World(3)
    world.run(2 * WINDOW - 1, light=10)
    found = world.drift.look()
    assert (found["have"], found["things"]) == (2 * WINDOW - 1, {})


def test_what_the_model_did_not_judge_does_not_count() -> None:
    world = World(4)
    box = Box(0, 0, 1, 1)
    world.drift.saw(Decision(1, "a", None, 0.0, {}, "late", 0, 0.0, 0.0, None, 0.0, box), None)
    world.drift.saw(
        Decision(2, "a", "nut", 0.5, {}, "overlap", 0, 0.0, 0.0, None, 0.0, box), np.zeros((4, 4, 3), np.uint8)
    )
    assert world.drift.look()["have"] == 0

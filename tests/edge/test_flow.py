import sys
import threading
from typing import Literal

import numpy as np
import pytest

from edge.config import BeltSettings
from edge.flow import SETTLED, BeltFlow, Sightings, Step


def test_the_speed_may_be_asked_for_while_pictures_go_on_coming():
    flow = BeltFlow(BeltSettings(pixels_per_mm=1.0, speed_mm_s=480))
    for _ in range(SETTLED):  # so that it is known whenever the eye's thread gets its first turn
        flow.learn(8.0, 1 / 60, 8.0)
    stop = threading.Event()

    def see() -> None:
        while not stop.is_set():
            flow.learn(8.0, 1 / 60, 8.0)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    eye = threading.Thread(target=see)
    eye.start()
    try:
        speeds = [speed[0] for _ in range(2000) if (speed := flow.speed_mm_s)]
    finally:
        stop.set()
        eye.join()
        sys.setswitchinterval(interval)
    assert len(speeds) == 2000
    assert speeds == pytest.approx([480.0] * len(speeds))


SIGHT_PX = 800.0


def step_of(seen: list[float], now: list[float], promised_px: float, error_px: float = 0.0) -> Step:
    """The step between two pictures of items in one row, at places along a belt that has shown its speed before."""
    flow = BeltFlow(BeltSettings(pixels_per_mm=1.0, speed_mm_s=600))
    for _ in range(20):
        flow.learn(10.0, 1 / 60, 10.0)
    before, after = np.array(seen), np.array(now)
    sightings = Sightings(
        proposals=after - before[:, None],
        weights=np.ones(len(before)),
        stays=np.stack([-before, SIGHT_PX - before], axis=1),
        known=np.stack([after - SIGHT_PX, after], axis=1),
        least_px=20.0,
    )
    return flow.step(sightings, promised_px / 600, promised_px, error_px)


def test_where_all_must_have_left_new_items_that_lie_alike_are_not_taken_for_them() -> None:
    step = step_of([100, 200, 300], [140, 240, 340], promised_px=760)
    assert step == Step(760, seen=False)


def test_a_belt_that_stands_while_its_position_runs_on_is_seen_to_stand() -> None:
    assert step_of([100, 200, 300], [100, 200, 300], promised_px=10) == Step(0, seen=True)


def test_a_place_that_is_known_decides_between_steps_that_explain_as_much() -> None:
    step = step_of([100, 200, 300], [250, 350, 450, 550], promised_px=152)
    assert step == Step(150, seen=True)


def test_two_steps_that_explain_what_is_seen_about_as_well_are_ambiguous_while_the_place_is_not_known() -> None:
    step = step_of([100], [350, 450], promised_px=300, error_px=100)
    assert step == Step(300, seen=False, ambiguous=True)


@pytest.mark.parametrize(("position", "ratio"), [("speed", 1.05), ("pictures", 1.0)])
def test_the_scale_is_learnt_by_a_position_that_does_not_come_from_the_pictures_themselves(
    position: Literal["speed", "pictures"], ratio: float
) -> None:
    flow = BeltFlow(BeltSettings(pixels_per_mm=1.0, speed_mm_s=600, position=position))
    for _ in range(1000):
        flow.learn(10.5, 1 / 60, 10.0)
    assert flow.ratio == pytest.approx(ratio, abs=0.005)

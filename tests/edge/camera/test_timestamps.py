import random

import pytest

from edge.camera.timestamps import SteadyTimes


def arrivals(delays: list[float], interval: float = 0.04, start: float = 1000.0) -> list[tuple[float, float]]:
    """Pictures taken every interval, each arriving after its delay: (own time, arrival); own time began at 0."""
    return [(number * interval, start + number * interval + delay) for number, delay in enumerate(delays)]


def test_jitter_of_the_network_is_taken_out() -> None:
    chance = random.Random(1)
    delays = [0.02, *(0.02 + chance.expovariate(1 / 0.01) for _ in range(500))]
    times = SteadyTimes()
    for own, arrival in arrivals(delays):
        at = times.arrived(own, arrival)
        assert at <= arrival
        assert at == pytest.approx(1000.02 + own, abs=0.002)


def test_a_burst_that_waited_is_as_old_as_it_is() -> None:
    times = SteadyTimes()
    delays = [0.02] * 50 + [1.0 - 0.04 * number for number in range(25)] + [0.02] * 50
    for own, arrival in arrivals(delays):
        assert times.arrived(own, arrival) == pytest.approx(1000.02 + own, abs=1e-9)


def test_two_clocks_may_drift_apart() -> None:
    times = SteadyTimes()
    for number in range(30_000):  # 20 minutes; the camera's clock is 200 ppm slow
        arrival = number * 0.04
        at = times.arrived(arrival * (1 - 200e-6), arrival)
        assert 0 <= arrival - at < 0.001


def test_a_jump_of_the_cameras_clock_is_followed_within_seconds() -> None:
    for jump in (-500.0, 0.5, 500.0):
        times = SteadyTimes()
        for number in range(500):
            arrival = number * 0.04
            at = times.arrived(arrival + (jump if number >= 250 else 0.0), arrival)
        assert at == pytest.approx(arrival, abs=1e-3)


def test_the_order_is_kept_whatever_comes() -> None:
    chance = random.Random(2)
    times, last = SteadyTimes(), float("-inf")
    for number in range(2000):
        at = times.arrived(chance.uniform(0, 100), number * 0.01)
        assert at > last
        last = at

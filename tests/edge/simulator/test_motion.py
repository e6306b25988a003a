from math import pi

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.simulator.motion import Motion, Piece, motion

NAMES = ("steady", "ramps", "stop_and_go", "reverse")
moments = st.floats(0, 1000)


def test_a_steady_belt_is_where_speed_times_time_says():
    belt = motion("steady", 500.0, 4.0)
    for t in (0.0, 0.001, 3.999, 4.0, 1234.5):
        assert belt.position_mm(t) == pytest.approx(500.0 * t, abs=1e-9)
        assert belt.speed_mm_s(t) == 500.0


def test_a_ramp_is_integrated_exactly():
    belt = Motion([Piece(2.0, 0.0, 600.0), Piece(1.0, 600.0, 600.0)])
    assert belt.position_mm(1.0) == pytest.approx(150.0)
    assert belt.position_mm(2.0) == pytest.approx(600.0)
    assert belt.position_mm(2.5) == pytest.approx(900.0)
    assert belt.position_mm(3.0 + 1.0) == pytest.approx(1200.0 + 150.0)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(t=moments)
def test_position_is_the_integral_of_the_speed(name, t):
    belt = motion(name, 800.0, pi)
    step = 1e-4
    moved = belt.position_mm(t + step) - belt.position_mm(t)
    # Between two moments the speed changes by less than the steepest ramp gives.
    steepest = 800.0 * 1.5 / (0.1 * pi)
    assert moved == pytest.approx(belt.speed_mm_s(t) * step, abs=steepest * step * step + 1e-7)


@pytest.mark.parametrize("name", NAMES[:3])
@settings(deadline=None)
@given(t=moments, later=st.floats(0, 10))
def test_a_belt_that_does_not_reverse_never_moves_back(name, t, later):
    belt = motion(name, 800.0, 2.0)
    assert belt.position_mm(t + later) >= belt.position_mm(t) - 1e-6


@settings(deadline=None)
@given(since=moments, length=st.floats(0, 9))
def test_the_span_of_a_reversing_belt_holds_every_position_in_it(since, length):
    belt = motion("reverse", 800.0, 2.0)
    low, high = belt.span_mm(since, since + length)
    between = [belt.position_mm(since + length * k / 50) for k in range(51)]
    assert low <= min(between) + 1e-6
    assert high >= max(between) - 1e-6
    assert high - low <= max(between) - min(between) + 800.0 * 3 * length / 50 + 1e-6


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(place=st.floats(1, 50_000))
def test_the_belt_stands_at_a_position_when_it_is_said_to_reach_it(name, place):
    belt = motion(name, 800.0, 2.0)
    t = belt.reaches(place)
    assert belt.position_mm(t) == pytest.approx(place, abs=1e-5)
    assert belt.peak_mm(t - 1e-6) <= place + 1e-3


def test_a_belt_that_never_gets_ahead_is_refused():
    with pytest.raises(ValueError, match="forward"):
        Motion([Piece(1.0, 100.0, 100.0), Piece(1.0, -100.0, -100.0)])

"""Where the belt is, and when it will be somewhere."""

import math

import pytest

from edge.belt import ConstantBelt, PictureBelt, SampledBelt


def test_a_constant_belt_is_where_its_speed_says_and_comes_when_it_says() -> None:
    belt = ConstantBelt(500, started_at=10)
    assert belt.position_mm(12) == 1000
    assert belt.when(1000, now=11) == 12
    assert belt.when(1000, now=13) == 12, "a place that is behind was reached in the past"


def test_a_sampled_belt_is_interpolated_between_samples_and_predicted_beyond() -> None:
    belt = SampledBelt(window_s=0.1)
    for step in range(11):
        belt.sample(step * 0.1, step * 50.0)
    assert belt.position_mm(0.25) == pytest.approx(125)
    assert belt.position_mm(1.2) == pytest.approx(600)
    assert belt.when(750, now=1.0) == pytest.approx(1.5)


def test_a_standing_belt_never_arrives_and_a_reversing_one_neither() -> None:
    belt = SampledBelt(window_s=0.1)
    for step in range(11):
        belt.sample(step * 0.1, 100.0)
    assert belt.when(150, now=1.0) == math.inf
    assert belt.when(100, now=1.0) == 1.0
    belt.sample(1.1, 90.0)
    belt.sample(1.2, 80.0)
    assert belt.speed_mm_s(1.2) == pytest.approx(-100)
    assert belt.when(150, now=1.2) == math.inf


def test_a_sample_out_of_order_is_ignored() -> None:
    belt = SampledBelt()
    belt.sample(1.0, 10.0)
    belt.sample(0.5, 99.0)
    assert belt.position_mm(1.0) == 10.0


def test_the_pictures_correct_a_wrong_speed_and_say_when_plans_must_change() -> None:
    changes: list[int] = []
    belt = PictureBelt(speed_mm_s=550, started_at=0.0, on_change=lambda: changes.append(1))
    for frame in range(1, 61):
        belt.moved(frame / 60, 500 / 60)
    assert belt.speed_mm_s(1.0) == pytest.approx(500, rel=0.001)
    assert belt.when(600, now=1.0) == pytest.approx(1.2, abs=0.001)
    assert changes
    settled = len(changes)
    for frame in range(61, 121):
        belt.moved(frame / 60, None)
    assert belt.position_mm(2.0) == pytest.approx(1000, abs=0.5), "where nothing travels it goes on as before"
    assert len(changes) == settled


def test_a_belt_that_the_pictures_tell_says_how_far_off_it_may_be() -> None:
    belt = PictureBelt(speed_mm_s=500, started_at=0.0, on_change=lambda: None)
    assert belt.error_mm(0.0, 0.1) > 10, "so far its speed is only configured"
    for frame in range(1, 61):
        belt.moved(frame / 60, 500 / 60, error_mm=0.1)
    assert 2 < belt.error_mm(0.0, 1.0) < 5
    assert belt.error_mm(0.9, 1.0) < 1 < belt.error_mm(0.9, 1.2), "it grows while nothing is seen"
    assert belt.error_mm(0.9, 1.2) < belt.error_mm(0.9, 1.4)


def test_a_belt_that_was_seen_to_stop_is_not_trusted_for_long_without_pictures() -> None:
    steady, lively = (PictureBelt(speed_mm_s=500, started_at=0.0, on_change=lambda: None) for _ in range(2))
    for frame in range(1, 121):
        steady.moved(frame / 60, 500 / 60)
        lively.moved(frame / 60, 0.0 if 30 < frame < 60 else 500 / 60)
    assert steady.error_mm(1.9, 2.2) < 10 < lively.error_mm(1.9, 2.2)
    for frame in range(121, 140):
        lively.moved(frame / 60, None)
    assert lively.error_mm(1.9, 140 / 60) > 10, "a picture that shows nothing is none"
    lively.moved(140 / 60, 500 / 60)
    assert lively.error_mm(139.5 / 60, 140 / 60) < 1, "what is seen from now on is known again"

"""The last moments before a push: slept with the interpreter in hand, but never past another output's moment."""

import time

import pytest

from edge.clock import MonotonicClock
from edge.priority import IN_HAND_S
from edge.turns import Turns


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The moments until which the interpreter was kept."""
    moments: list[float] = []

    def sleep(until: float) -> None:
        moments.append(until)
        time.sleep(max(until - time.monotonic(), 0.0))

    monkeypatch.setattr("edge.turns.sleep_in_hand", sleep)
    return moments


def turns(in_hand: bool = True) -> Turns:
    made = Turns(("gate", "arm"), MonotonicClock())
    made.in_hand = in_hand
    return made


def waited(turns: Turns, seconds: float, other_s: float | None = None) -> float:
    """Waits for a push of the gate that is due in so many seconds, the arm's in other_s; returns when it was due."""
    now = time.monotonic()
    if other_s is not None:
        turns._moments["arm"] = now + other_s
    turns.wait("gate", now + seconds)
    while time.monotonic() < now + seconds:
        turns.wait("gate", now + seconds)
    return now + seconds


def test_the_last_moments_are_slept_with_the_interpreter_in_hand(held: list[float]) -> None:
    due = waited(turns(), IN_HAND_S / 2)
    assert held == [due]


def test_without_real_time_priority_they_are_not(held: list[float]) -> None:
    waited(turns(in_hand=False), IN_HAND_S / 2)
    assert held == []


def test_the_interpreter_is_not_kept_past_another_outputs_moment(held: list[float]) -> None:
    waited(turns(), IN_HAND_S / 2, other_s=IN_HAND_S / 4)
    assert held == []


def test_an_output_that_comes_later_is_no_reason_to_give_way(held: list[float]) -> None:
    due = waited(turns(), IN_HAND_S / 2, other_s=IN_HAND_S)
    assert held == [due]


def test_a_push_that_is_over_holds_nobody_up(held: list[float]) -> None:
    both = turns()
    both._moments["arm"] = time.monotonic()
    both.over("arm")
    due = waited(both, IN_HAND_S / 2)
    assert held == [due]

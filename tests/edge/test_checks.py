"""What people have checked, and what follows for purity and yield."""

from pathlib import Path

import pytest

from edge.checks import Checks
from tests.edge.web import fake_line


@pytest.fixture
def checks(tmp_path: Path) -> Checks:
    return Checks(fake_line.config(tmp_path))


def test_nothing_is_said_of_what_nobody_has_checked(checks: Checks) -> None:
    found = checks.snapshot()
    assert found["items"] == 0
    assert found["lanes"]["left"]["purity"] == {"of": 0, "right": 0, "low": None, "high": None}


def test_purity_is_of_what_a_lane_got_and_yield_of_what_it_should_have_got(checks: Checks) -> None:
    checks.add(1, "left", "red")
    checks.add(2, "left", "green")  # belongs right
    checks.add(3, "rest", "blue")  # belongs left
    checks.add(4, "rest", None)  # none of the model's classes: rest is where it belongs
    lanes = checks.snapshot()["lanes"]
    assert (lanes["left"]["purity"]["right"], lanes["left"]["purity"]["of"]) == (1, 2)
    assert (lanes["left"]["yield"]["right"], lanes["left"]["yield"]["of"]) == (1, 2)
    assert (lanes["right"]["yield"]["right"], lanes["right"]["yield"]["of"]) == (0, 1)
    assert (lanes["rest"]["purity"]["right"], lanes["rest"]["purity"]["of"]) == (1, 2)


def test_the_last_word_on_an_item_counts(checks: Checks) -> None:
    checks.add(1, "left", "green")
    checks.add(1, "left", "red")
    found = checks.snapshot()
    assert found["items"] == 1
    assert found["lanes"]["left"]["purity"]["right"] == 1


def test_few_checks_leave_much_open(checks: Checks) -> None:
    """Wilson's 95 % interval for 10 of 10 reaches from 72 to 100 %, as his tables have it."""
    for item in range(10):
        checks.add(item, "left", "red")
    purity = checks.snapshot()["lanes"]["left"]["purity"]
    assert purity["low"] == pytest.approx(0.722, abs=0.001)
    assert purity["high"] == 1.0

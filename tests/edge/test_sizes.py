"""What two items that look like one are told by: they cover more of the belt than one of their class."""

import numpy as np
import pytest

from edge.sizes import ENOUGH, FEW, Sizes


def learnt(areas: list[float]) -> Sizes:
    sizes = Sizes()
    for area in areas:
        sizes.learn("nut", area)
    return sizes


def test_what_is_of_a_class_of_which_too_few_were_seen_is_taken_for_one() -> None:
    assert learnt([]).fits("nut", 1e6)
    assert learnt([600.0] * (FEW - 1)).fits("nut", 1e6)
    assert learnt([600.0] * 50).fits("washer", 1e6)


@pytest.mark.parametrize("seed", range(10))
def test_single_items_fit_and_two_that_touch_do_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = learnt((600 * rng.normal(1, 0.06, 40)).tolist())
    assert all(sizes.fits("nut", 600 * rng.normal(1, 0.06)) for _ in range(100))
    assert not any(sizes.fits("nut", 1200 * rng.normal(1, 0.06)) for _ in range(100))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("count", range(FEW, ENOUGH))
def test_two_that_touch_are_told_when_but_a_few_of_their_class_were_seen(count: int, seed: int) -> None:
    rng = np.random.default_rng([count, seed])
    sizes = learnt((600 * rng.normal(1, 0.04, count)).tolist())
    assert all(sizes.fits("nut", 600 * rng.normal(1, 0.06)) for _ in range(50))
    assert not any(sizes.fits("nut", 1200 * rng.normal(1, 0.02)) for _ in range(50))


@pytest.mark.parametrize("seed", range(10))
def test_pairs_among_what_was_learnt_do_not_pass_for_the_usual_size(seed: int) -> None:
    rng = np.random.default_rng(seed)
    areas = [600 * rng.normal(1, 0.05) * (2 if n % 4 == 0 else 1) for n in range(40)]
    assert not learnt(areas).fits("nut", 1150)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("count", [5, 11, 40])
def test_pairs_do_not_pass_for_the_usual_size_even_where_most_were_pairs(count: int, seed: int) -> None:
    rng = np.random.default_rng([count, seed])
    # Three in five are pairs, with another one of their class or with something larger.
    areas = [600 * rng.normal(1, 0.05) * ((2 + rng.random()) if n % 5 < 3 else 1) for n in range(count)]
    assert not learnt(areas).fits("nut", 600 * (1.9 + rng.random()))
    assert learnt(areas).fits("nut", 600 * rng.normal(1, 0.05))


@pytest.mark.parametrize("seed", range(10))
def test_scraps_among_what_was_learnt_do_not_make_everything_too_large(seed: int) -> None:
    rng = np.random.default_rng(seed)
    areas = [100.0, 110.0, *(600 * rng.normal(1, 0.05, 40)).tolist()]
    assert learnt(areas).fits("nut", 650)


@pytest.mark.parametrize("seed", range(10))
def test_a_class_whose_items_differ_much_in_size_keeps_nearly_all_of_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    areas = np.clip(rng.normal(1, 0.25, 300), 0.3, None) * 5000
    sizes = learnt(areas[:64].tolist())
    assert np.mean([sizes.fits("nut", float(area)) for area in areas]) >= 0.97

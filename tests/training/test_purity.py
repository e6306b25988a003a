"""The purity contract: it promises when it can be shown, holds as often as it says, and says when it cannot."""

import numpy as np
import pytest

from training.purity import chance_of_so_few, fewest_pictures, lowest_threshold, purity_contract

CLASSES = ("good", "bad", "ugly")
BEFORE = {"good": 0.8, "bad": 0.7, "ugly": 0.6}


def scores(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidence and rightness, [n], of a classifier that is less often right the less sure it is; 1.2 % are wrong."""
    confidence = 0.5 + 0.5 * rng.beta(6, 0.8, n)
    return confidence, rng.random(n) > 0.5 * (1 - confidence) ** 1.4


def test_the_fewest_pictures_are_those_of_the_rule_of_three() -> None:
    assert fewest_pictures(0.995, 0.95) == 598
    assert fewest_pictures(0.99, 0.95) == 299
    assert chance_of_so_few(0, 598, 0.005) <= 0.05 < chance_of_so_few(0, 597, 0.005)


def test_the_chance_of_so_few_mistakes_is_the_binomial_one() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.binomial(1000, 0.01, 200_000)
    for wrong in (0, 3, 10, 20):
        assert chance_of_so_few(wrong, 1000, 0.01) == pytest.approx((drawn <= wrong).mean(), abs=0.004)
    assert chance_of_so_few(50, 50, 0.3) == pytest.approx(1)


def test_one_picture_too_few_promises_nothing_and_one_mistake_too_many_neither() -> None:
    assert lowest_threshold(np.full(597, 0.9), np.ones(597, bool), 0.995, 0.95) is None
    assert lowest_threshold(np.full(598, 0.9), np.ones(598, bool), 0.995, 0.95) == 0.5
    one_wrong = np.arange(598) != 5
    assert lowest_threshold(np.full(598, 0.9), one_wrong, 0.995, 0.95) is None


def test_the_threshold_is_the_lowest_that_can_be_shown() -> None:
    rng = np.random.default_rng(3)
    confidence, right = scores(rng, 20_000)
    threshold = lowest_threshold(confidence, right, 0.995, 0.95)
    assert threshold is not None
    assert threshold > 0.5  # at 0.5 more than five in a thousand are wrong
    assert right[confidence >= threshold].mean() >= 0.995
    looser = lowest_threshold(confidence, right, 0.99, 0.95)
    assert looser is not None
    assert looser < threshold
    assert right[confidence >= threshold - 0.15].mean() < 0.995, "much lower it would not hold"


def test_over_200_resamplings_the_contract_is_broken_no_oftener_than_it_says() -> None:
    """The truth is a pool of 400,000 pictures; a contract is broken where the pool is less pure above its threshold."""
    rng = np.random.default_rng(7)
    confidence, right = scores(rng, 400_000)
    order = np.argsort(-confidence)
    purity_above = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    promised = broken = 0
    for number in range(200):
        chosen = rng.integers(0, len(confidence), 8000)
        threshold = lowest_threshold(confidence[chosen], right[chosen], 0.995, 0.95, seed=number)
        if threshold is None:
            continue
        promised += 1
        let_through = int((confidence >= threshold).sum())
        broken += bool(purity_above[let_through - 1] < 0.995)
    assert promised >= 100, "a contract that is hardly ever given shows nothing"
    # 5 % of 200, and twice the sampling error of that.
    assert broken <= 200 * 0.05 + 2 * (200 * 0.05 * 0.95) ** 0.5


def test_a_rule_that_looks_for_the_lowest_passing_threshold_would_break_it_oftener() -> None:
    """That the test above can fail: without the fixed order, twenty looks spend the chance twenty times."""
    rng = np.random.default_rng(7)
    confidence, right = scores(rng, 400_000)
    broken = 0
    for _ in range(200):
        chosen = rng.integers(0, len(confidence), 8000)
        c, r = confidence[chosen], right[chosen]
        for threshold in np.linspace(0.5, 0.999, 60):
            through = c >= threshold
            if r[through].mean() >= 0.995:
                broken += bool(right[confidence >= threshold].mean() < 0.995)
                break
    assert broken > 200 * 0.05 + 2 * (200 * 0.05 * 0.95) ** 0.5


def test_the_contract_says_what_becomes_unknown_and_of_which_class_it_promises_nothing() -> None:
    n = 800
    probabilities = np.tile([0.97, 0.02, 0.01], (n, 1))
    probabilities[:8] = 0.4, 0.3, 0.3  # below any threshold
    probabilities[700:] = 0.02, 0.97, 0.01
    labels = (np.arange(n) >= 700).astype(int)
    strange = np.zeros(n, bool)
    strange[10:14] = True
    contract = purity_contract(
        probabilities, strange, labels, CLASSES, {"good": 0.8, "bad": 0.7, "ugly": 0.6}, 0.995, 0.95
    )
    assert contract.classes["good"].promised
    assert contract.classes["good"].threshold == 0.5
    assert not contract.classes["bad"].promised
    assert contract.classes["bad"].threshold == 0.7
    assert contract.classes["bad"].pictures == 100
    assert contract.fewest == 598
    assert contract.unknown == pytest.approx(12 / 800)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.calibrate import calibration_error
from training.evaluation.metrics import (
    balanced_accuracy,
    class_scores,
    confusion,
    coverage_curves,
    more_than_chance,
    reliability,
    share,
)

CLASSES = ("bolt", "nut")


def two_classes(of_bolt: list[float]) -> np.ndarray:
    """Probabilities of two classes from those of the first."""
    first = np.array(of_bolt)
    return np.stack([first, 1 - first], axis=1)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_wilson_s_as_the_literature_prints_it(hits: int, count: int, low: float, high: float) -> None:
    found = share(hits, count)
    assert found.value == hits / count
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@given(st.integers(1, 5000), st.data())
def test_an_interval_holds_its_share_and_lies_within_0_and_1(count: int, data: st.DataObject) -> None:
    found = share(data.draw(st.integers(0, count)), count)
    assert found.value is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert share(0, 0).value is None


def test_scores_of_a_class_count_at_its_threshold_only_what_is_sure_enough() -> None:
    probabilities = two_classes([0.9, 0.8, 0.6, 0.4, 0.7, 0.1])  # four bolts, two nuts
    labels = np.array([0, 0, 0, 0, 1, 1])
    bolt, nut = class_scores(probabilities, labels, CLASSES, (0.75, 0.0))
    assert (bolt.pictures, bolt.called) == (4, 4)
    assert (bolt.recall.value, bolt.precision.value, bolt.f1) == (3 / 4, 3 / 4, 3 / 4)
    assert (bolt.coverage.value, bolt.purity.value) == (2 / 4, 1.0)
    assert (nut.recall.value, nut.precision.value) == (1 / 2, 1 / 2)
    counts = confusion(probabilities, labels)
    assert counts.tolist() == [[3, 1], [1, 1]]
    assert balanced_accuracy(counts) == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_what_looks_strange_is_sorted_by_no_lane() -> None:
    probabilities, labels = two_classes([0.9, 0.8, 0.7, 0.2]), np.array([0, 0, 1, 1])
    strange = np.array([False, True, True, False])
    bolt, nut = class_scores(probabilities, labels, CLASSES, (0.5, 0.5), strange)
    assert (bolt.coverage.value, bolt.purity.value, bolt.recall.value) == (1 / 2, 1.0, 1.0)
    assert (nut.coverage.value, nut.purity.value) == (1 / 2, 1.0)
    curve = coverage_curves(probabilities, labels, CLASSES, strange=strange)[0]
    assert (curve.thresholds, curve.coverage, curve.purity) == ((pytest.approx(0.9),), (1 / 2,), (1.0,))


def test_a_class_that_nothing_is_and_nothing_is_called_is_left_out() -> None:
    scores = class_scores(two_classes([0.9, 0.8]), np.array([0, 0]), CLASSES, (0.0, 0.0))
    assert [score.name for score in scores] == ["bolt"]


def test_coverage_falls_and_ends_at_the_surest_as_the_threshold_rises() -> None:
    probabilities = two_classes([0.95, 0.9, 0.9, 0.8, 0.6, 0.2])
    labels = np.array([0, 1, 0, 0, 1, 0])
    curve = coverage_curves(probabilities, labels, CLASSES)[0]
    assert curve.thresholds == (0.6, 0.8, 0.9, 0.95)
    assert curve.coverage == (3 / 4, 3 / 4, 2 / 4, 1 / 4)
    assert curve.purity == (3 / 5, 3 / 4, 2 / 3, 1.0)


@given(st.integers(0, 10_000))
def test_a_curve_agrees_with_the_scores_at_any_of_its_thresholds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([0.5, 0.5, 0.5], 60)
    labels = rng.integers(0, 3, 60)
    names = ("a", "b", "c")
    for curve in coverage_curves(probabilities, labels, names, points=7):
        assert len(curve.thresholds) <= 7
        for threshold, coverage, purity in zip(curve.thresholds, curve.coverage, curve.purity, strict=True):
            scores = {s.name: s for s in class_scores(probabilities, labels, names, [threshold] * 3)}
            assert scores[curve.name].coverage.value == pytest.approx(coverage)
            assert scores[curve.name].purity.value == pytest.approx(purity)


def test_the_reliability_bins_add_up_to_the_calibration_error() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.3, 0.3, 0.3], 500)
    labels = rng.integers(0, 3, 500)
    bins = reliability(probabilities, labels)
    assert sum(one.count for one in bins) == 500
    gaps = sum(one.count * abs(one.confidence - one.accuracy) for one in bins) / 500
    assert gaps == pytest.approx(calibration_error(probabilities, labels))


@pytest.mark.parametrize(
    ("lost", "won", "beyond"),
    [(0, 0, False), (4, 0, False), (5, 0, True), (9, 3, False), (10, 2, True), (2, 10, False)],
)
def test_a_loss_is_more_than_chance_where_a_coin_would_hardly_fall_so(lost: int, won: int, beyond: bool) -> None:
    assert more_than_chance(lost, won) is beyond

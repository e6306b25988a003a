import numpy as np
import pytest

from training.calibrate import Calibration, calibration_error, choose_thresholds, fit_calibration, softmax


def honest(n: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are right as often as softmax(logits / temperature) says, and their labels."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (n, 4))
    probabilities = softmax(logits, temperature)
    labels = np.array([rng.choice(4, p=row) for row in probabilities])
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    logits, labels = honest(20_000, temperature)
    assert fit_calibration(logits, labels).temperature == pytest.approx(temperature, rel=0.06)


def test_a_validation_part_without_a_mistake_asks_for_no_infinite_confidence() -> None:
    labels = np.arange(100) % 4
    logits = 8.0 * np.eye(4)[labels]
    confidence = fit_calibration(logits, labels).probabilities(logits).max(1)
    assert confidence.mean() == pytest.approx(1 - 1 / 102, abs=1e-3)


def test_offsets_that_moved_the_labels_are_found_beside_the_temperature() -> None:
    rng = np.random.default_rng(2)
    logits, moved = rng.normal(0, 2, (20_000, 3)), np.array([1.0, -0.5, -0.5])
    labels = np.array([rng.choice(3, p=row) for row in softmax(logits / 1.5 + moved)])
    found = fit_calibration(logits, labels, offsets=True)
    assert found.temperature == pytest.approx(1.5, rel=0.06)
    assert found.offsets == pytest.approx(moved, abs=0.06)
    assert calibration_error(found.probabilities(logits), labels) < 0.02


def test_an_answer_that_is_biased_is_put_right_by_offsets_and_not_by_a_temperature() -> None:
    """Two classes whose logits a network taught softly draws to the first."""
    rng = np.random.default_rng(3)
    margin = rng.normal(0, 3, 4000)
    labels = (rng.random(4000) < 1 / (1 + np.exp(-margin))).astype(int)
    logits = np.stack([np.full(4000, 1.5), margin], axis=1)
    best = ((margin > 0) == labels).mean()
    right = [(fit_calibration(logits, labels, way).probabilities(logits).argmax(1) == labels).mean() for way in (0, 1)]
    assert right[0] < best - 0.02
    assert right[1] == pytest.approx(best, abs=0.005)


def test_a_few_pictures_move_a_class_less_than_they_ask_for() -> None:
    logits = np.zeros((3, 2))
    offsets = fit_calibration(logits, np.zeros(3, int), offsets=True).offsets
    assert 0 < offsets[0] < 0.8
    assert offsets[0] == pytest.approx(-offsets[1])


@pytest.mark.parametrize("spread", [0.01, 1, 80])
@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("leaning", [0, 5])
def test_offsets_are_never_worse_than_the_temperature_alone(spread: float, right: bool, leaning: float) -> None:
    """Logits too small or too large for any temperature within its bounds, or that all lean to one class."""
    rng = np.random.default_rng(4)
    logits = rng.normal(0, spread, (60, 3))
    labels = logits.argmax(1) if right else rng.integers(0, 3, 60)
    logits[:, 0] += leaning * spread
    with_offsets, alone = (fit_calibration(logits, labels, offsets) for offsets in (True, False))
    assert np.isfinite(with_offsets.offsets).all()
    assert surprise(with_offsets, logits, labels) <= surprise(alone, logits, labels) + 1e-9


def surprise(calibration: Calibration, logits: np.ndarray, labels: np.ndarray) -> float:
    """What fit_calibration makes small: cross-entropy against labels that are not wholly believed, and its prior."""
    n, classes = logits.shape
    target = np.full((n, classes), 1 / (n + 2) / (classes - 1))
    target[np.arange(n), labels] = 1 - 1 / (n + 2)
    believed = np.log(np.maximum(calibration.probabilities(logits), 1e-300))
    return float(-(target * believed).sum() + sum(offset**2 for offset in calibration.offsets) / 2)


def test_a_useless_network_gets_the_highest_temperature_not_an_error() -> None:
    logits = np.random.default_rng(1).normal(0, 5, (500, 3))
    assert fit_calibration(logits, np.zeros(500, int)).temperature == pytest.approx(20, rel=0.3)


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10)
    assert calibration_error(probabilities, np.array([0] * 9 + [1])) == pytest.approx(0, abs=1e-9)
    assert calibration_error(probabilities, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.4)
    logits, labels = honest(20_000, 1.0)
    assert calibration_error(softmax(logits), labels) < 0.02
    assert calibration_error(softmax(logits, 0.3), labels) > 0.1


def test_a_class_without_mistakes_keeps_the_lowest_threshold() -> None:
    probabilities = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    assert choose_thresholds(probabilities, np.array([0, 0, 1]), ("a", "b")) == {"a": 0.5, "b": 0.5}


def test_a_threshold_shuts_out_the_mistakes_below_it() -> None:
    confidence = np.array([0.99, 0.97, 0.95, 0.70, 0.60])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    thresholds = choose_thresholds(probabilities, np.array([0, 0, 0, 1, 0]), ("a", "b"))
    assert 0.70 < thresholds["a"] < 0.95
    assert thresholds["b"] == 0.5


def test_a_class_that_is_always_wrong_gets_a_threshold_above_its_most_confident_mistake() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2]])
    assert 0.9 < choose_thresholds(probabilities, np.array([1, 1]), ("a", "b"))["a"] < 1


def test_a_threshold_rises_to_where_right_answers_begin_but_not_above_the_ceiling() -> None:
    sure = np.linspace(0.80, 0.99, 200)
    probabilities = np.stack([sure, 1 - sure], axis=1)
    threshold = choose_thresholds(probabilities, np.zeros(200, int), ("a", "b"))["a"]
    assert (sure < threshold).mean() <= 0.01
    assert threshold > 0.79
    surer = np.linspace(0.97, 0.99, 200)
    probabilities = np.stack([surer, 1 - surer], axis=1)
    assert choose_thresholds(probabilities, np.zeros(200, int), ("a", "b"))["a"] == 0.9

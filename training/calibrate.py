"""What probabilities mean: a calibration that makes them honest, thresholds that make them safe, and their error."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FLOOR = 0.5
PRECISION = 0.99
# What the network was never shown mostly gets less confidence than nearly everything that it was: a
# threshold may as well rise to where one in a hundred right answers falls below it, up to a ceiling.
RIGHT_BELOW = 0.01
CEILING = 0.9
ENOUGH_TO_RAISE = 50
HOTTEST = 20.0  # a temperature; the coldest is one through it
NEWTON_STEPS = 30
SMALLEST_SHARE = 1e-6  # of a step: then there is nothing left to gain


@dataclass(frozen=True)
class Calibration:
    """How logits become probabilities: softmax(logits / temperature + offsets), one offset a class, or none at all."""

    temperature: float = 1.0
    offsets: tuple[float, ...] = ()

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities, float64 [n, classes], of logits, float [n, classes]."""
        scaled = logits.astype(np.float64) / self.temperature
        return softmax(scaled + np.array(self.offsets) if self.offsets else scaled)


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities of logits, float [n, classes], divided by a temperature."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_calibration(logits: np.ndarray, labels: np.ndarray, offsets: bool = False) -> Calibration:
    """The calibration that is least surprised by the labels of held-out pictures, int [n].

    One temperature for all classes (Guo et al., "On Calibration of Modern Neural Networks", 2017). With
    offsets a class's logit may be moved, too: for a network that was taught something else than the
    labels it is held to, as soft ones. The labels are believed to 1 - 1 / (n + 2) only, in the spirit of
    Platt (1999): a held-out part without a single mistake would otherwise ask for infinite confidence.
    """
    n, classes = logits.shape
    target = np.full((n, classes), 1 / (n + 2) / (classes - 1))
    target[np.arange(n), labels] = 1 - 1 / (n + 2)
    logits = logits.astype(np.float64)
    if not offsets:
        return Calibration(_fit_temperature(logits, target))
    return _fit_offsets(logits, target)


def _fit_temperature(logits: np.ndarray, target: np.ndarray) -> float:
    """The loss is convex in 1 / temperature: a bisection of its slope, kept within 0.05 to 20."""
    wanted = (target * logits).sum(axis=1).mean()

    def slope(inverse: float) -> float:
        return float((softmax(logits, 1 / inverse) * logits).sum(axis=1).mean() - wanted)

    low, high = 1 / HOTTEST, HOTTEST
    for _ in range(50):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 1 / (low * high) ** 0.5


def _fit_offsets(logits: np.ndarray, target: np.ndarray) -> Calibration:
    """Newton's method from the temperature alone: the loss is convex in 1 / temperature and the offsets together.

    Offsets are thought to be normal with a deviation of 1 beforehand, so a class of few pictures is not moved far.
    A step that goes too far is halved until the loss falls, so the answer is never worse than the temperature alone.
    """
    bounds = 1 / HOTTEST, HOTTEST

    def loss(place: np.ndarray) -> float:
        scaled = place[0] * logits + place[1:]
        most = scaled.max(axis=1, keepdims=True)
        surprise = most + np.log(np.exp(scaled - most).sum(axis=1, keepdims=True)) - scaled
        return float((target * surprise).sum() + (place[1:] ** 2).sum() / 2)

    place = np.array([1 / _fit_temperature(logits, target), *np.zeros(logits.shape[1])])
    for _ in range(NEWTON_STEPS):
        p = softmax(place[0] * logits + place[1:])
        rest = logits - (p * logits).sum(axis=1, keepdims=True)
        slope = np.array([((p - target) * logits).sum(), *((p - target).sum(axis=0) + place[1:])])
        curve = np.empty((len(slope), len(slope)))
        curve[0, 0] = (p * rest**2).sum() + 1e-9  # of logits that are all alike, too
        curve[0, 1:] = curve[1:, 0] = (p * rest).sum(axis=0)
        curve[1:, 1:] = np.diag(p.sum(axis=0) + 1) - p.T @ p
        # A temperature that is at its bound and would leave it stays there.
        ahead = place[0] * (1 - 1e-6 * np.sign(slope[0]))
        held = int(not bounds[0] <= ahead <= bounds[1])
        step = np.zeros(len(slope))
        step[held:] = np.linalg.solve(curve[held:, held:], slope[held:])
        before, share = loss(place), 1.0
        while share > SMALLEST_SHARE:
            moved = place - share * step
            moved[0] = np.clip(moved[0], *bounds)
            if loss(moved) < before:
                place = moved
                break
            share /= 2
        else:
            break
    return Calibration(float(1 / place[0]), tuple(place[1:].tolist()))


def choose_thresholds(
    probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str], raised: bool = True
) -> dict[str, float]:
    """For each class the lowest confidence, not below FLOOR, from which PRECISION of the pictures are right.

    Pictures below it become `unknown`. Where no confidence is high enough the threshold is set
    above the last mistake. raised is for files that tell strangers by confidence alone: where enough
    pictures show how sure right answers are, it rises further, as far as it costs no more than RIGHT_BELOW
    of them.
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    thresholds = {}
    for number, name in enumerate(classes):
        mine = (predicted == number) & (confidence >= FLOOR)
        order = np.argsort(-confidence[mine], kind="stable")
        scores, right = confidence[mine][order], (labels == number)[mine][order]
        precision = np.cumsum(right) / np.arange(1, len(right) + 1)
        sound = np.flatnonzero(precision >= PRECISION)
        if len(sound) == len(scores) or (len(sound) and sound[-1] == len(scores) - 1):
            thresholds[name] = FLOOR
        elif len(sound):
            thresholds[name] = float(scores[sound[-1]] + scores[sound[-1] + 1]) / 2
        else:
            thresholds[name] = float(scores[0] + 1) / 2
        if raised and right.sum() >= ENOUGH_TO_RAISE:
            lowest = float(np.quantile(scores[right], RIGHT_BELOW, method="lower"))
            thresholds[name] = max(thresholds[name], min(lowest, CEILING))
    return {name: round(value, 4) for name, value in thresholds.items()}


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy over equal-width bins.

    Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    of_bin = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(float(confidence[of_bin == b].sum() - right[of_bin == b].sum())) for b in range(bins)]
    return sum(gaps) / max(len(labels), 1)

"""What right and wrong answers amount to: intervals, scores of each class, reliability, coverage and purity.

Everything here is computed from two arrays: probabilities, float [n, classes], and labels, int [n],
the positions of the true classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z95 = 1.959964  # the standard normal distribution's 97.5 % point


@dataclass(frozen=True, slots=True)
class Share:
    """A share of a count, 0 to 1, with its 95 % interval; value is None where there is nothing to take a share of."""

    value: float | None
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class. f1 is the harmonic mean of precision and recall (van Rijsbergen, 1979).

    coverage and purity are of what the line would sort: of the class's pictures the share that is called
    so as surely as the card's threshold asks and looks strange to nobody, and of all pictures that are
    called so the share that is of the class.
    """

    name: str
    pictures: int
    called: int
    precision: Share
    recall: Share
    f1: float
    threshold: float
    coverage: Share
    purity: Share


@dataclass(frozen=True, slots=True)
class Bin:
    """The pictures whose confidence, of the class they were called, lies between two bounds."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Curve:
    """One class's coverage and purity, 0 to 1, at rising thresholds: a step at every picture, thinned evenly."""

    name: str
    thresholds: tuple[float, ...]
    coverage: tuple[float, ...]
    purity: tuple[float, ...]


def share(hits: int, count: int) -> Share:
    """hits of count with Wilson's score interval at 95 %.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927; near 0 and 1,
    where models live, it keeps its promise where the textbook's normal interval does not (Brown, Cai
    and DasGupta, "Interval Estimation for a Binomial Proportion", 2001).
    """
    if not count:
        return Share(None, 0.0, 1.0, 0)
    p, z2 = hits / count, Z95**2
    middle = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 * math.sqrt(p * (1 - p) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    # At the ends the formula gives 0 and 1 but for rounding.
    low = 0.0 if hits == 0 else max(middle - half, 0.0)
    return Share(p, low, 1.0 if hits == count else min(middle + half, 1.0), count)


def confusion(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts, int64 [classes, classes]: row the truth, column what it was called."""
    classes = probabilities.shape[1]
    pairs = labels * classes + probabilities.argmax(axis=1)
    return np.asarray(np.bincount(pairs, minlength=classes * classes).reshape(classes, classes))


def balanced_accuracy(counts: np.ndarray) -> float:
    """The mean recall of the classes that occur, from a confusion matrix (Brodersen et al., 2010)."""
    pictures = counts.sum(axis=1)
    occurs = pictures > 0
    return float((counts.diagonal()[occurs] / pictures[occurs]).mean()) if occurs.any() else 0.0


def class_scores(
    probabilities: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    thresholds: Sequence[float],
    strange: np.ndarray | bool = False,
) -> tuple[ClassScore, ...]:
    """A score for each class that occurs among the labels or among the answers, in the order of classes.

    strange, bool [n], says which pictures the line would call unknown however sure the answer is.
    """
    called, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    familiar = np.logical_not(strange)
    scores = []
    for number, (name, threshold) in enumerate(zip(classes, thresholds, strict=True)):
        its, so = labels == number, called == number
        if not its.any() and not so.any():
            continue
        hits = int((its & so).sum())
        sure = so & familiar & (confidence >= threshold)
        kept = int((its & sure).sum())
        total = int(its.sum() + so.sum())
        scores.append(
            ClassScore(
                name,
                pictures=int(its.sum()),
                called=int(so.sum()),
                precision=share(hits, int(so.sum())),
                recall=share(hits, int(its.sum())),
                f1=2 * hits / total,
                threshold=float(threshold),
                coverage=share(kept, int(its.sum())),
                purity=share(kept, int(sure.sum())),
            )
        )
    return tuple(scores)


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> tuple[Bin, ...]:
    """The reliability diagram's bins, of equal width, empty ones left out.

    The same bins as those of calibrate.calibration_error (Guo et al., 2017, section 2).
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    of_bin = np.minimum((confidence * bins).astype(int), bins - 1)
    return tuple(
        Bin(
            number / bins,
            (number + 1) / bins,
            int(mine.sum()),
            float(confidence[mine].mean()),
            float(right[mine].mean()),
        )
        for number in range(bins)
        if (mine := of_bin == number).any()
    )


def coverage_curves(
    probabilities: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    points: int = 200,
    strange: np.ndarray | bool = False,
) -> tuple[Curve, ...]:
    """How coverage and purity of each class that occurs move with its threshold; at most so many points a class.

    Coverage is of the class's own pictures, purity of those that are called so: what a lane yields
    and how clean it is. strange, bool [n], says which pictures are unknown at every threshold.
    """
    called, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    familiar = np.logical_not(strange)
    curves = []
    for number, name in enumerate(classes):
        pictures, so = int((labels == number).sum()), (called == number) & familiar
        if not pictures or not so.any():
            continue
        order = np.argsort(-confidence[so], kind="stable")
        scores, right = confidence[so][order], (labels == number)[so][order]
        hits = np.cumsum(right)
        # A threshold cannot part pictures of the same confidence: only the last of each is a step.
        steps = np.flatnonzero(np.append(np.diff(scores) < 0, True))
        if len(steps) > points:
            steps = steps[np.linspace(0, len(steps) - 1, points).round().astype(int)]
        steps = steps[::-1]
        curves.append(
            Curve(
                name,
                tuple(float(scores[i]) for i in steps),
                tuple(float(hits[i] / pictures) for i in steps),
                tuple(float(hits[i] / (i + 1)) for i in steps),
            )
        )
    return tuple(curves)


def more_than_chance(lost: int, won: int, level: float = 0.05) -> bool:
    """Whether so many answers that turned wrong, against so many that turned right, are more than chance.

    McNemar's test in its exact form, one-sided: with no real difference each of the pictures on which
    two results differ is lost or won like the toss of a coin (McNemar, "Note on the Sampling Error of
    the Difference between Correlated Proportions or Percentages", 1947).
    """
    tosses = lost + won
    tail = sum(math.comb(tosses, k) for k in range(lost, tosses + 1))
    return tosses > 0 and tail <= level * (1 << tosses)

"""A purity contract: of what is called a class, so much is of it, with so much confidence.

Of the pictures that a class's threshold lets through, at least `purity` are right; the chance that the
pictures misled us about that is at most 1 - confidence, for each class. For one threshold that is the
exact binomial test of Clopper and Pearson (Biometrika 26, 1934): n pictures with k wrong show it when
P(Bin(n, 1 - purity) <= k) <= 1 - confidence. Looking for the lowest of many thresholds would spend the
chance many times over; it is spent once by testing them in a fixed order, from the most cautious down, and
stopping at the first that fails (fixed-sequence testing in Angelopoulos et al., "Learn then Test", 2021).
The order has to be fixed without the pictures that are then tested: a fifth of them lays it down.
"""

from collections.abc import Sequence
from math import ceil, lgamma, log

import numpy as np

from edge.model import ClassPurity, Purity
from training.calibrate import FLOOR

LADDER_SHARE = 0.2
RUNGS = 20
# The first rung lets through so many times the fewest pictures: enough that a mistake or two may be among them.
FIRST_RUNG = 3.0
ENOUGH_FOR_A_LADDER = 2.0


def fewest_pictures(purity: float, confidence: float) -> int:
    """How many pictures without a single mistake show a purity: the n with purity ** n <= 1 - confidence."""
    return ceil(log(1 - confidence) / log(purity) - 1e-9)


def chance_of_so_few(wrong: int, pictures: int, share: float) -> float:
    """P(Bin(pictures, share) <= wrong): how likely so few mistakes are if the true share of them is `share`."""
    k = np.arange(min(wrong, pictures) + 1)
    choose = lgamma(pictures + 1) - np.array([lgamma(i + 1) + lgamma(pictures - i + 1) for i in k])
    return min(float(np.exp(choose + k * log(share) + (pictures - k) * log(1 - share)).sum()), 1.0)


def lowest_threshold(
    confidence: np.ndarray, right: np.ndarray, purity: float, sureness: float, seed: int = 0
) -> float | None:
    """The lowest threshold, not below FLOOR, that keeps a purity with a sureness; None where none can be shown.

    confidence, float [n], and right, bool [n], are of the pictures that were called one class.
    """
    kept = confidence >= FLOOR
    confidence, right = confidence[kept], right[kept]
    fewest = fewest_pictures(purity, sureness)
    if len(right) < fewest:
        return None
    ladder = [FLOOR]
    if len(right) >= ENOUGH_FOR_A_LADDER * fewest:
        order = np.random.default_rng(seed).permutation(len(right))
        first, rest = np.split(order, [round(LADDER_SHARE * len(right))])
        start = min(FIRST_RUNG * fewest / len(rest), 1.0)
        heights = np.quantile(confidence[first], 1 - np.linspace(start, 1, RUNGS))
        ladder = [*np.floor(heights[:-1] * 1e6) / 1e6, FLOOR]
        confidence, right = confidence[rest], right[rest]
    lowest = None
    for threshold in ladder:
        through = confidence >= threshold
        pictures, wrong = int(through.sum()), int((~right[through]).sum())
        if chance_of_so_few(wrong, pictures, 1 - purity) > 1 - sureness:
            break
        lowest = float(threshold)
    return lowest


def purity_contract(
    probabilities: np.ndarray,
    strange: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    thresholds: dict[str, float],
    purity: float,
    confidence: float,
) -> Purity:
    """The contract for all classes, from held-out pictures.

    probabilities, float [n, classes], and strange, bool [n], are what the file itself says of them;
    thresholds stand where there are too few pictures, or too many mistakes, to promise anything.
    """
    called, sure = probabilities.argmax(1), probabilities.max(1)
    found: dict[str, ClassPurity] = {}
    for number, name in enumerate(classes):
        mine = (called == number) & ~strange
        right = labels[mine] == number
        lowest = lowest_threshold(sure[mine], right, purity, confidence)
        threshold = thresholds.get(name, 0.0) if lowest is None else lowest
        through = sure[mine] >= threshold
        found[name] = ClassPurity(
            promised=lowest is not None,
            threshold=threshold,
            pictures=int((sure[mine] >= FLOOR).sum()),
            wrong=int((~right[through]).sum()),
        )
    limits = np.array([found[name].threshold for name in classes])
    unknown = strange | (sure < limits[called])
    return Purity(
        purity=purity,
        confidence=confidence,
        pictures=len(labels),
        fewest=fewest_pictures(purity, confidence),
        unknown=float(unknown.mean()),
        classes=found,
    )

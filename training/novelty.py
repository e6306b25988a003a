"""What a stranger is: where known pictures lie by their features' direction, and how far from there is too far."""

from math import ceil

import numpy as np

from edge.model import Classifier, Novelty, strangeness
from training.data import Part

MOST_PICTURES, FEWER = 2000, 500  # of a part; of a file that takes so many looks at each, fewer
MOST_PROTOTYPES = 128  # of all classes together: a quarter of a megabyte at 1,280 features
EACH = 16
# A class's own limit needs so many times the pictures that a false alarm takes on average.
ENOUGH_OF_A_CLASS = 2.0


def learn_novelty(
    classifier: Classifier, train: Part, val: Part, false_alarms: float = 0.01, seed: int = 0
) -> Novelty | None:
    """The card's Novelty, from a model file and the parts it was trained and validated on.

    The prototypes come from the training part. A limit is the distance that, of the pictures to come, no
    more than false_alarms exceed on average (`limit_of`), from the validation part: a class's own where
    it has pictures enough, else one for all classes. None for a model without features.
    """
    features, labels = _features(classifier, train)
    if features is None:
        return None
    classes = len(classifier.card.classes)
    each = int(np.clip(MOST_PROTOTYPES // classes, 1, EACH))
    centre = np.stack([features[labels == number].mean(axis=0) for number in range(classes)]).mean(axis=0)
    prototypes = np.stack([prototypes_of(features[labels == number] - centre, each, seed) for number in range(classes)])
    rough = Novelty.of(centre, prototypes + centre, [2.0] * classes)
    held_out, held_out_labels = _features(classifier, val)
    assert held_out is not None
    distance = strangeness(held_out, held_out_labels, *rough.arrays())
    of_all = limit_of(distance, false_alarms)
    limits = []
    for number in range(classes):
        own = distance[held_out_labels == number]
        limits.append(limit_of(own, false_alarms) if len(own) >= ENOUGH_OF_A_CLASS / false_alarms else of_all)
    return rough.model_copy(update={"limits": tuple(round(limit, 5) for limit in limits)})


def limit_of(distance: np.ndarray, false_alarms: float) -> float:
    """The distance that one more picture of the same kind exceeds with a chance of at most false_alarms.

    The ceil((n + 1)(1 - false_alarms))-th smallest of n (split conformal prediction: Vovk et al.,
    "Algorithmic Learning in a Random World", 2005). Where n is too small for that, the largest.
    """
    rank = min(ceil((len(distance) + 1) * (1 - false_alarms) - 1e-9), len(distance))
    return float(np.sort(distance)[rank - 1])


def prototypes_of(features: np.ndarray, number: int, seed: int = 0, rounds: int = 15) -> np.ndarray:
    """So many typical directions, float [number, D] of length 1, of features [n, D] as seen from the centre.

    Spherical k-means (Dhillon and Modha, "Concept Decompositions for Large Sparse Text Data", 2001), begun
    at pictures drawn with the seed; with fewer pictures than directions some of them are repeated.
    """
    rows = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
    chosen = np.random.default_rng(seed).permutation(len(rows))
    means = rows[np.resize(chosen, number)]
    for _ in range(rounds):
        nearest = (rows @ means.T).argmax(axis=1)
        for each in np.unique(nearest):
            means[each] = rows[nearest == each].mean(axis=0)
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)
    return means


def _features(classifier: Classifier, part: Part) -> tuple[np.ndarray | None, np.ndarray]:
    """Features float32 [n, D] of some pictures, evenly chosen, and their labels int [n]."""
    most = max(MOST_PICTURES // int(classifier.card.calibration.get("looks", 1)), FEWER)
    chosen = np.unique(np.linspace(0, len(part) - 1, min(len(part), most)).astype(int))
    rows = []
    for start in range(0, len(chosen), 32):
        _, features = classifier.run(part.pixels(chosen[start : start + 32]))
        if features is None:
            return None, part.labels[chosen]
        rows.append(features)
    return np.concatenate(rows), part.labels[chosen]

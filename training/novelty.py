"""What a stranger is: the features of known pictures, class by class, and how far from them is too far."""

import numpy as np

from edge.model import Classifier, Novelty, strangeness
from training.data import Part

FALSE_ALARMS = 0.01
MOST_PICTURES = 2000


def learn_novelty(classifier: Classifier, train: Part, val: Part) -> Novelty | None:
    """The card's Novelty, from a model file and the parts it was trained and validated on.

    The class means come from the training part; a class's limit is the distance that all but
    FALSE_ALARMS of its validation pictures keep. None for a model without features.
    """
    features, labels = _features(classifier, train)
    if features is None:
        return None
    means = np.stack([features[labels == number].mean(axis=0) for number in range(len(classifier.card.classes))])
    rough = Novelty.of(means.mean(axis=0), means, [2.0] * len(means))
    centre, directions = rough.arrays()
    held_out, held_out_labels = _features(classifier, val)
    assert held_out is not None
    distance = strangeness(held_out, held_out_labels, centre, directions)
    limits = [
        float(np.quantile(distance[held_out_labels == number], 1 - FALSE_ALARMS, method="higher"))
        for number in range(len(means))
    ]
    return rough.model_copy(update={"limits": tuple(round(limit, 5) for limit in limits)})


def _features(classifier: Classifier, part: Part) -> tuple[np.ndarray | None, np.ndarray]:
    """Features float32 [n, D] of at most MOST_PICTURES pictures, evenly chosen, and their labels int [n]."""
    chosen = np.unique(np.linspace(0, len(part) - 1, min(len(part), MOST_PICTURES)).astype(int))
    rows = []
    for start in range(0, len(chosen), 32):
        _, features = classifier.run(part.pixels(chosen[start : start + 32]))
        if features is None:
            return None, part.labels[chosen]
        rows.append(features)
    return np.concatenate(rows), part.labels[chosen]

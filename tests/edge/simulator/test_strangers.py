"""What the file that ships does not know: foreign objects are told from parts, and parts are seldom taken for them."""

from collections import Counter
from itertools import islice

from edge.demo import bundled_model
from edge.model import Classifier
from edge.simulator.arrivals import FOREIGN
from edge.simulator.dataset import crops

SETS, PICTURES = range(80, 84), 400  # none of these belts was among what the file learnt from
SHARE = 0.3  # of foreign objects


def test_foreign_objects_become_unknown_and_known_parts_are_not_called_strange() -> None:
    classifier = Classifier(bundled_model(), "cpu")
    seen: Counter[str] = Counter()
    for seed in SETS:
        for _, label, crop in islice(crops(seed, SHARE), PICTURES):
            (prediction,) = classifier.classify([crop])
            if label == FOREIGN:
                seen.update(foreign=1, unknown=not prediction.known)
            else:
                seen.update(parts=1, alarms=prediction.strange)
    assert seen["unknown"] >= 0.95 * seen["foreign"], seen
    assert seen["alarms"] <= 0.02 * seen["parts"], seen

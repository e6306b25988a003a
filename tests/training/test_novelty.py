"""Strangers: what is unlike anything trained on is told, and what was trained on is not."""

from pathlib import Path

import numpy as np
from rich.progress import Progress

from edge.model import Classifier
from training.run import Run


def test_the_card_tells_strangers_from_what_was_trained_on(finished: Path, progress: Progress) -> None:
    run = Run.open(finished, progress)
    classifier = Classifier(run.int8, "cpu")
    assert classifier.card.novelty is not None
    held_out = run.data.test.pixels(slice(0, len(run.data.test)))
    noise = np.random.default_rng(0).integers(0, 256, held_out.shape, dtype=np.uint8)
    known, strangers = (classifier.strange(*classifier.run(pixels)).mean() for pixels in (held_out, noise))
    assert known < 0.2
    assert strangers > known + 0.5

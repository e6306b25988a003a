"""Strangers: what is unlike anything trained on is told, and what was trained on is not."""

from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress

from edge.model import Classifier, Novelty, strangeness
from training.novelty import learn_novelty, limit_of, prototypes_of
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


@pytest.mark.parametrize(("looks", "asked"), [(1, 12), (4, 6), (8, 6)])
def test_a_file_that_looks_often_is_asked_about_fewer_pictures(
    looks: int, asked: int, finished: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.novelty.MOST_PICTURES", 12)
    monkeypatch.setattr("training.novelty.FEWER", 6)
    run = Run.open(finished, progress)
    classifier = Classifier(run.fp32, "cpu")
    classifier.card = classifier.card.model_copy(update={"calibration": {"looks": looks}})
    counts: list[int] = []
    really = classifier.run
    monkeypatch.setattr(classifier, "run", lambda pixels: counts.append(len(pixels)) or really(pixels))
    assert learn_novelty(classifier, run.data.train, run.data.val) is not None
    assert counts == [asked, min(len(run.data.val), asked)]


def test_a_new_picture_exceeds_the_limit_no_oftener_than_asked() -> None:
    rng = np.random.default_rng(0)
    alarms = [rng.exponential(size=200) > limit_of(rng.exponential(size=250), 0.02) for _ in range(400)]
    assert np.mean(alarms) <= 0.02 + 0.002
    assert np.mean(alarms) > 0.01, "a limit that nothing ever exceeds tells no stranger"
    assert limit_of(np.array([3.0, 1.0, 2.0]), 0.01) == 3.0  # too few pictures for any quantile


def test_prototypes_lie_in_every_cluster_of_a_class() -> None:
    rng = np.random.default_rng(1)
    clusters = np.eye(6)[:3] * 5
    features = (clusters[rng.integers(0, 3, 300)] + rng.normal(0, 0.2, (300, 6))).astype(np.float32)
    found = prototypes_of(features, 6)
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-5
    assert (found @ (np.eye(6)[:3]).T).max(axis=0).min() > 0.98
    assert prototypes_of(features[:2], 4).shape == (4, 6)


def test_a_picture_is_as_strange_as_it_is_far_from_the_nearest_prototype_of_its_class() -> None:
    prototypes = np.array([[[1, 0, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 1]]], np.float32)
    novelty = Novelty.of(np.zeros(3), prototypes, [0.1, 0.1])
    features = np.array([[0, 2, 0], [0, 2, 0], [1, 1, 0]], np.float32)
    distance = strangeness(features, np.array([0, 1, 0]), *novelty.arrays())
    assert np.allclose(distance, [0, 1, 1 - 0.5**0.5], atol=1e-3)


def test_a_card_with_one_direction_a_class_reads_as_it_always_did() -> None:
    means = np.array([[1, 0], [0, 1]], np.float32)
    one = Novelty.of(np.zeros(2), means[:, None, :], [0.1, 0.1])
    old = Novelty.model_validate(one.model_dump(exclude={"each"}))
    assert np.array_equal(old.arrays()[1], one.arrays()[1])
    assert old.arrays()[1].shape == (2, 1, 2)

"""A model file held against pictures that it was not trained on: which ones, and everything it answers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import Progress

from edge.engines import cores
from edge.model import Classifier, ModelCard
from training.data import Part, Pictures, read, split
from training.errors import DatasetError, InputError
from training.layout import skipped_lines
from training.seen import Seen

BATCH = 32


@dataclass(frozen=True)
class Answers:
    """What a file says of pictures: probabilities float32 [n, classes], and which ones look strange to it, bool [n]."""

    probabilities: np.ndarray
    strange: np.ndarray

    @property
    def called(self) -> np.ndarray:
        """The class that each picture is called, int [n]."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def confidence(self) -> np.ndarray:
        """The probability of that class, float [n]."""
        return np.asarray(self.probabilities.max(axis=1))

    def known(self, card: ModelCard) -> np.ndarray:
        """Which pictures the line would not call unknown, bool [n]: sure enough by the card, and not strange."""
        return np.asarray((self.confidence >= thresholds(card)[self.called]) & ~self.strange)


@dataclass(frozen=True)
class Examination:
    """A model file, the pictures it is examined on and its answers to them.

    labels are int [n], positions in the card's classes; which says in words what the pictures are.
    Their files lie under root by the part's names.
    """

    classifier: Classifier
    root: Path
    part: Part
    labels: np.ndarray
    which: str
    answers: Answers

    @property
    def card(self) -> ModelCard:
        return self.classifier.card

    @property
    def right(self) -> np.ndarray:
        """Which pictures are called what they are, bool [n]."""
        return np.asarray(self.answers.called == self.labels)


def examine(path: Path, root: Path, progress: Progress, threads: int | None = None) -> Examination:
    """Runs a model file on the pictures of a dataset that it was not trained on.

    Those are the dataset's test folder where it has one; its test part, by the split that the card
    remembers, when it is the very dataset of the card. Of any other folder it takes all but those
    that the card lists as learnt, byte for byte; where it lists none, it says that they may be there.
    What cannot be read is left out and said by name.
    """
    classifier = Classifier(path, provider="cpu", threads=threads or cores())
    card = classifier.card
    seed = int(card.dataset.get("seed", 0))
    pictures = read(root, card.height, card.width, card.resize, progress)
    for line in skipped_lines(pictures.skipped):
        progress.console.print(line, soft_wrap=True, highlight=False, markup=False)
    if strangers := sorted(set(pictures.classes) - set(card.classes)):
        raise DatasetError(
            f"{root}: has a class {strangers[0]!r} that {path} does not know (it knows: {', '.join(card.classes)})"
        )
    if any(file.part == "test" for file in pictures.files) or pictures.fingerprint == card.dataset.get("fingerprint"):
        of_part = split(pictures.files, seed, root, card.dataset.get("group"), progress)
        chosen, which = [i for i, part in enumerate(of_part) if part == "test"], f"the test part of {root}"
    else:
        chosen, which = _unseen(card, path, pictures)
    part = pictures.part(chosen)
    if not len(part):
        raise DatasetError(f"{root}: has no readable picture to evaluate on that the model has not learnt from")
    labels = np.array([card.classes.index(name) for name in pictures.classes])[part.labels]
    return examine_part(classifier, part, labels, root, which, progress)


def _unseen(card: ModelCard, path: Path, pictures: Pictures) -> tuple[list[int], str]:
    """Which pictures of a folder the model has not learnt from, by their positions, and in words."""
    everything = list(range(len(pictures.files)))
    if not (text := card.dataset.get("learnt")):
        return (
            everything,
            f"all of {pictures.root}; the card does not list what was learnt: that flatters if among these",
        )
    try:
        learnt = Seen(text)
    except (TypeError, ValueError):
        raise InputError(f"{path}: its card's list of learnt pictures is damaged") from None
    chosen = [i for i in everything if pictures.digests[i] not in learnt]
    left_out = len(everything) - len(chosen)
    return chosen, f"all of {pictures.root}" + (f" but {left_out} that the model has learnt from" if left_out else "")


def examine_part(
    classifier: Classifier, part: Part, labels: np.ndarray, root: Path, which: str, progress: Progress
) -> Examination:
    """Runs a model on a part that is at hand."""
    return Examination(classifier, root, part, labels, which, answer(classifier, part, progress))


def answer(classifier: Classifier, part: Part, progress: Progress) -> Answers:
    """A file's answers to all pictures of a part, in order."""
    task = progress.add_task("classifying", total=len(part))
    rows, strange = [], []
    for pixels in part.batches(BATCH):
        probabilities, features = classifier.run(pixels)
        rows.append(probabilities)
        strange.append(classifier.strange(probabilities, features))
        progress.advance(task, len(pixels))
    progress.remove_task(task)
    return Answers(np.concatenate(rows), np.concatenate(strange))


def thresholds(card: ModelCard) -> np.ndarray:
    """The card's thresholds, float [classes]; 0 for a class without one."""
    return np.array([card.thresholds.get(name, 0.0) for name in card.classes])

"""How good a model is and how fast: measured on pictures it has never seen, all forms side by side."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from rich.progress import Progress

from edge.model import Classifier
from training.calibrate import calibration_error, softmax
from training.data import Part, read, split
from training.errors import DatasetError
from training.fit import as_input, predict
from training.networks import Network

ROUNDS = 200
MAX_DROP = 0.005  # of accuracy, against torch, that a faster file may cost


@dataclass(frozen=True, slots=True)
class Score:
    """One form of a model on one set of pictures.

    accuracy, agreement (the same class as torch) and calibration_error are shares, 0 to 1; the
    latencies are of one picture on one thread. size_bytes is 0 for torch, which has no file.
    """

    accuracy: float
    agreement: float
    calibration_error: float
    size_bytes: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class: how many pictures, how many of them were found, how many called so were."""

    name: str
    pictures: int
    recall: float
    precision: float


@dataclass(frozen=True, slots=True)
class Mistake:
    """One picture that was called something else, and how confidently."""

    picture: str
    truth: str
    called: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model file on a dataset. unknown is the share below the card's thresholds, kept_accuracy that of the rest."""

    model: str
    sha256: str
    pictures: str
    count: int
    accuracy: float
    calibration_error: float
    unknown: float
    kept_accuracy: float
    p50_ms: float
    p99_ms: float
    classes: tuple[ClassScore, ...]
    mistakes: tuple[Mistake, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


def compare(network: Network, temperature: float, files: dict[str, Path], part: Part) -> dict[str, Score]:
    """Scores the torch network and its exported files on a part; latencies interleaved, so load hits all alike."""
    reference = softmax(predict(network, part)[0], temperature)
    probabilities = {"torch": reference}
    sizes = {"torch": 0}
    classifiers = {name: Classifier(path, provider="cpu", threads=1) for name, path in files.items()}
    for name, classifier in classifiers.items():
        probabilities[name] = run(classifier, part)
        sizes[name] = files[name].stat().st_size

    picture = part.pixels(slice(0, 1))

    def through_torch() -> None:
        with torch.inference_mode():
            network(as_input(picture))

    calls: dict[str, Callable[[], object]] = {"torch": through_torch}
    calls |= {name: lambda c=classifier: c.run(picture) for name, classifier in classifiers.items()}  # type: ignore[misc]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        latencies = time_interleaved(calls)
    finally:
        torch.set_num_threads(threads)
    return {
        name: Score(
            accuracy=float((its.argmax(1) == part.labels).mean()),
            agreement=float((its.argmax(1) == reference.argmax(1)).mean()),
            calibration_error=calibration_error(its, part.labels),
            size_bytes=sizes[name],
            p50_ms=latencies[name][0],
            p99_ms=latencies[name][1],
        )
        for name, its in probabilities.items()
    }


def fastest_faithful(scores: dict[str, Score]) -> str:
    """The file that ships: the fastest of those that lose no more than MAX_DROP of torch's accuracy."""
    floor = scores["torch"].accuracy - MAX_DROP - 1e-9
    faithful = [name for name, score in scores.items() if name != "torch" and score.accuracy >= floor]
    return min(faithful or ["fp32"], key=lambda name: scores[name].p50_ms)


def evaluate(path: Path, root: Path, progress: Progress) -> Evaluation:
    """Runs a model file on the pictures of a dataset that it was not trained on.

    Those are the dataset's test folder where it has one; its test part, by the split that the card
    remembers, when it is the very dataset of the card; otherwise all of it.
    """
    classifier = Classifier(path, provider="cpu", threads=1)
    card = classifier.card
    seed = int(card.dataset.get("seed", 0))
    pictures = read(root, card.height, card.width, card.resize, progress)
    if strangers := sorted(set(pictures.classes) - set(card.classes)):
        raise DatasetError(
            f"{root}: has a class {strangers[0]!r} that {path} does not know (it knows: {', '.join(card.classes)})"
        )
    chosen: Sequence[int] = range(len(pictures.files))
    which = f"all of {root}, which is not what the model was trained on"
    if any(file.part == "test" for file in pictures.files) or pictures.fingerprint == card.dataset.get("fingerprint"):
        of_part = split(pictures.files, seed, root)
        chosen, which = [i for i, part in enumerate(of_part) if part == "test"], f"the test part of {root}"
    part = pictures.part(chosen)
    if not len(part):
        raise DatasetError(f"{root}: has no readable picture to evaluate on")
    labels = np.array([card.classes.index(name) for name in pictures.classes])[part.labels]

    probabilities = run(classifier, part)
    called, confidence = probabilities.argmax(1), probabilities.max(1)
    right = called == labels
    thresholds = np.array([card.thresholds.get(name, 0.0) for name in card.classes])
    kept = confidence >= thresholds[called]
    picture = part.pixels(slice(0, 1))
    p50, p99 = time_interleaved({"model": lambda: classifier.run(picture)})["model"]
    wrong = sorted(np.flatnonzero(~right), key=lambda row: -confidence[row])
    return Evaluation(
        model=f"{card.name} {card.version}",
        sha256=classifier.sha256,
        pictures=which,
        count=len(part),
        accuracy=float(right.mean()),
        calibration_error=calibration_error(probabilities, labels),
        unknown=float(1 - kept.mean()),
        kept_accuracy=float(right[kept].mean()) if kept.any() else 0.0,
        p50_ms=p50,
        p99_ms=p99,
        classes=tuple(
            ClassScore(name, int((labels == i).sum()), _share(right, labels == i), _share(right, called == i))
            for i, name in enumerate(card.classes)
            if (labels == i).any()
        ),
        mistakes=tuple(
            Mistake(part.names[row], card.classes[labels[row]], card.classes[called[row]], float(confidence[row]))
            for row in wrong
        ),
    )


def run(classifier: Classifier, part: Part) -> np.ndarray:
    """A file's probabilities, float32 [n, classes], for all pictures of a part."""
    return np.concatenate([classifier.run(pixels)[0] for pixels in part.batches(32)])


def time_interleaved(calls: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, tuple[float, float]]:
    """Median and 99th percentile in ms of each call, made in turns, after a tenth as many for warming up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-rounds // 10, rounds):
        for name, call in calls.items():
            started = perf_counter()
            call()
            if turn >= 0:
                times[name].append((perf_counter() - started) * 1e3)
    return {name: (float(np.median(ms)), float(np.percentile(ms, 99))) for name, ms in times.items()}


def _share(right: np.ndarray, of: np.ndarray) -> float:
    return float(right[of].mean()) if of.any() else 0.0

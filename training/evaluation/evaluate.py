"""What a model file is worth on pictures it has not seen, as numbers: all that the report shows and the JSON holds."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.progress import Progress

from edge.model import Classifier, ModelCard
from training.calibrate import calibration_error
from training.compare import time_interleaved
from training.errors import InputError
from training.evaluation.drift import Drifts, measure_drifts
from training.evaluation.examine import Answers, Examination, answer, examine, thresholds
from training.evaluation.metrics import (
    Bin,
    ClassScore,
    Curve,
    Share,
    balanced_accuracy,
    class_scores,
    confusion,
    coverage_curves,
    more_than_chance,
    reliability,
    share,
)

LEAST_CERTAIN = 100  # hits that the JSON names


@dataclass(frozen=True, slots=True)
class Called:
    """One picture, what it is, what it was called and how confidently; second is the next most likely class."""

    picture: str
    truth: str
    called: str
    confidence: float
    second: str
    known: bool


@dataclass(frozen=True, slots=True)
class Form:
    """One of two files that are held against each other; latencies are of one picture on one thread, in turns."""

    name: str
    file: str
    sha256: str
    size_bytes: int
    accuracy: Share
    balanced_accuracy: float
    calibration_error: float
    unknown: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A picture that two files call differently."""

    picture: str
    truth: str
    first: str
    first_confidence: float
    second: str
    second_confidence: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two files on the same pictures. agreement is the share that both call the same.

    lost counts the pictures that only the first calls right, won those that only the second does;
    significant says whether that is more than chance explains (McNemar's exact test, 5 %).
    """

    first: Form
    second: Form
    agreement: float
    largest_difference: float
    lost: int
    won: int
    significant: bool
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model file on a dataset. Shares are from 0 to 1; accuracy_95 is Wilson's 95 % interval.

    unknown is the share that the line would not sort, for want of confidence or as strange (strange
    alone is beside it); kept_accuracy is the accuracy of the rest, None without any. confusion has a row for each true
    class and a column for each answer, both in the order of labels.
    """

    model: str
    file: str
    sha256: str
    size_bytes: int
    pictures: str
    count: int
    accuracy: float
    accuracy_95: tuple[float, float]
    balanced_accuracy: float
    calibration_error: float
    unknown: float
    strange: float
    kept_accuracy: float | None
    p50_ms: float
    p99_ms: float
    labels: tuple[str, ...]
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    reliability: tuple[Bin, ...]
    curves: tuple[Curve, ...]
    mistakes: tuple[Called, ...]
    least_certain: tuple[Called, ...]
    drifts: Drifts | None
    comparison: Comparison | None
    card: dict[str, object]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @property
    def confusions(self) -> list[tuple[str, str, int]]:
        """What is taken for what, how often, the most frequent first."""
        return [(*pair, n) for pair, n in Counter((m.truth, m.called) for m in self.mistakes).most_common()]


def evaluate(path: Path, root: Path, progress: Progress, against: Path | None = None) -> Evaluation:
    """Examines a model file on a dataset and sums it up, without the drifts."""
    return summarize(examine(path, root, progress), progress, against, drifts=None)


def summarize(
    examination: Examination, progress: Progress, against: Path | None = None, drifts: Drifts | None = None
) -> Evaluation:
    """All figures of an examination; against names another file for the same classes to hold it against."""
    card, answers, labels, right = examination.card, examination.answers, examination.labels, examination.right
    path = examination.classifier.path
    other = _other(path, against, card) if against else None
    alone = Classifier(path, provider="cpu", threads=1)
    picture = examination.part.pixels(slice(0, 1))
    timed: dict[str, Callable[[], object]] = {"first": lambda: alone.run(picture)}
    if other is not None:
        timed["second"] = lambda: other.run(picture)
    task = progress.add_task("measuring latency", total=None)
    latencies = time_interleaved(timed)
    progress.remove_task(task)
    whole, counts = share(int(right.sum()), len(right)), confusion(answers.probabilities, labels)
    known = answers.known(card)
    wrong = np.flatnonzero(~right)
    hits = np.flatnonzero(right)
    return Evaluation(
        model=f"{card.name} {card.version}",
        file=path.name,
        sha256=examination.classifier.sha256,
        size_bytes=path.stat().st_size,
        pictures=examination.which,
        count=len(examination.part),
        accuracy=whole.value or 0.0,
        accuracy_95=(whole.low, whole.high),
        balanced_accuracy=balanced_accuracy(counts),
        calibration_error=calibration_error(answers.probabilities, labels),
        unknown=float(1 - known.mean()),
        strange=float(answers.strange.mean()),
        kept_accuracy=float(right[known].mean()) if known.any() else None,
        p50_ms=latencies["first"][0],
        p99_ms=latencies["first"][1],
        labels=card.classes,
        classes=class_scores(answers.probabilities, labels, card.classes, thresholds(card).tolist(), answers.strange),
        confusion=tuple(tuple(row) for row in counts.tolist()),
        reliability=reliability(answers.probabilities, labels),
        curves=coverage_curves(answers.probabilities, labels, card.classes, strange=answers.strange),
        mistakes=called(examination, wrong[np.argsort(-answers.confidence[wrong], kind="stable")]),
        least_certain=called(examination, hits[np.argsort(answers.confidence[hits], kind="stable")][:LEAST_CERTAIN]),
        drifts=drifts,
        comparison=_compare(examination, other, latencies, progress) if other is not None else None,
        card=card.model_dump(mode="json", exclude={"novelty": True, "dataset": {"learnt"}}),
    )


def twin(path: Path) -> Path | None:
    """The other form of a run's model, where the file lies in a run folder: fp32.onnx beside int8.onnx."""
    beside = {"int8.onnx": "fp32.onnx", "fp32.onnx": "int8.onnx"}.get(path.name)
    found = path.with_name(beside) if beside else None
    return found if found is not None and found.is_file() else None


def called(examination: Examination, rows: np.ndarray) -> tuple[Called, ...]:
    """These pictures in words, in the order of rows."""
    classes, answers = examination.card.classes, examination.answers
    known = answers.known(examination.card)
    return tuple(
        Called(
            examination.part.names[row],
            classes[examination.labels[row]],
            classes[best],
            float(answers.probabilities[row, best]),
            classes[second],
            bool(known[row]),
        )
        for row in rows
        for second, best in [np.argsort(answers.probabilities[row], kind="stable")[-2:]]
    )


def _other(path: Path, against: Path, card: ModelCard) -> Classifier:
    other = Classifier(against, provider="cpu", threads=1)
    if other.card.classes != card.classes:
        raise InputError(f"{against}: tells other classes apart than {path}; the two cannot be compared")
    if (other.card.height, other.card.width, other.card.resize) != (card.height, card.width, card.resize):
        raise InputError(f"{against}: takes other pictures than {path} (size or resize); the two cannot be compared")
    return other


def _compare(
    examination: Examination, other: Classifier, latencies: dict[str, tuple[float, float]], progress: Progress
) -> Comparison:
    together = other.with_threads(examination.classifier.threads)
    first, second = examination.answers, answer(together, examination.part, progress)
    labels, classes = examination.labels, examination.card.classes
    names = _names(examination.classifier, other)
    right, its_right = examination.right, second.called == labels
    lost, won = int((right & ~its_right).sum()), int((its_right & ~right).sum())
    return Comparison(
        _form(names[0], examination.classifier, first, labels, latencies["first"]),
        _form(names[1], other, second, labels, latencies["second"]),
        agreement=float((first.called == second.called).mean()),
        largest_difference=float(np.abs(first.probabilities - second.probabilities).max()),
        lost=lost,
        won=won,
        significant=more_than_chance(max(lost, won), min(lost, won), 0.025),
        differences=tuple(
            Difference(
                examination.part.names[row],
                classes[labels[row]],
                classes[first.called[row]],
                float(first.confidence[row]),
                classes[second.called[row]],
                float(second.confidence[row]),
            )
            for row in np.flatnonzero(first.called != second.called)
        ),
    )


def _form(
    name: str, classifier: Classifier, answers: Answers, labels: np.ndarray, latency: tuple[float, float]
) -> Form:
    right = answers.called == labels
    return Form(
        name,
        classifier.path.name,
        classifier.sha256,
        classifier.path.stat().st_size,
        share(int(right.sum()), len(right)),
        balanced_accuracy(confusion(answers.probabilities, labels)),
        calibration_error(answers.probabilities, labels),
        float(1 - answers.known(classifier.card).mean()),
        *latency,
    )


def _names(first: Classifier, second: Classifier) -> tuple[str, str]:
    """fp32 and int8 by their cards' recipes where that tells them apart, else the files' names."""

    def kind(classifier: Classifier) -> str:
        recipe = str(classifier.card.quantization.get("recipe", ""))
        return "fp32" if recipe.startswith("none") else "int8" if "QDQ" in recipe else classifier.path.name

    if kind(first) != kind(second):
        return kind(first), kind(second)
    return str(first.path), str(second.path)


def evaluate_whole(
    examination: Examination, progress: Progress, against: Path | None = None, quick: bool = False
) -> Evaluation:
    """All figures with the drifts, which take the longest."""
    return summarize(examination, progress, against, measure_drifts(examination, progress, quick))

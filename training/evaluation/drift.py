"""How far the camera can drift before it matters: the answers to pictures that are spoiled step by step."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from rich.progress import Progress

from edge.engines import cores
from edge.model import to_pixels
from edge.picture import read_bytes
from training.evaluation.disturb import DISTURBANCES, Disturbance
from training.evaluation.examine import Answers, Examination
from training.evaluation.metrics import Share, more_than_chance, share
from training.reading import read_sound

MOST, MOST_QUICK = 400, 80
CHUNK = 16
LONGEST = 1024  # px; a longer picture is reduced to this first, and strengths are in pixels of that
ACCURACY_MATTERS, SORTED_MATTERS = 0.01, 0.05  # shares of the pictures


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of the pictures at one strength.

    accuracy is of the answers as such. On the line an answer can also be `unknown`: unknown is the
    share of those, wrong the share that is sorted wrong all the same. lost counts the pictures that
    are answered right undisturbed and no longer here, won the reverse; of sorted likewise.
    """

    strength: float
    accuracy: Share
    sorted_right: float
    unknown: float
    wrong: float
    lost: int
    won: int
    sorted_lost: int
    sorted_won: int


@dataclass(frozen=True, slots=True)
class Drift:
    """One disturbance. matters_from is the first strength at which accuracy falls by more than a point,
    or the share that is sorted right by more than five, and by more than chance explains; None where
    none of them does.
    """

    name: str
    unit: str
    cause: str
    steps: tuple[Step, ...]
    matters_from: float | None


@dataclass(frozen=True, slots=True)
class Drifts:
    """All disturbances, on the same pictures; as_is is what becomes of those undisturbed.

    reduced counts the pictures that were longer than LONGEST.
    """

    pictures: int
    reduced: int
    as_is: Step
    kinds: tuple[Drift, ...]


def measure_drifts(examination: Examination, progress: Progress, quick: bool = False) -> Drifts:
    """Disturbs at most MOST of the pictures, evenly chosen, each in every way at every strength.

    The pictures are read anew from their files, a few at a time, and made the model's input after they
    were disturbed, as the line would. Raises PictureError when a file is no longer there.
    """
    chosen = sample(len(examination.part), MOST_QUICK if quick else MOST)
    variants = [(kind, strength) for kind in DISTURBANCES for strength in kind.strengths]
    gathered: list[list[Answers]] = [[] for _ in range(1 + len(variants))]
    reduced = 0
    task = progress.add_task("disturbing pictures", total=len(chosen) * len(gathered))
    with ThreadPoolExecutor(max_workers=cores()) as pool:
        for start in range(0, len(chosen), CHUNK):
            numbers = [int(row) for row in chosen[start : start + CHUNK]]
            names = [examination.root / examination.part.names[row] for row in numbers]
            read = list(pool.map(_read, names))
            pictures = [picture for picture, _ in read]
            reduced += sum(longer for _, longer in read)
            for answers, variant in zip(gathered, (None, *variants), strict=True):
                ready = pool.map(partial(_input, examination, variant), pictures, numbers)
                pixels = np.stack(list(ready))
                probabilities, features = examination.classifier.run(pixels)
                answers.append(Answers(probabilities, examination.classifier.strange(probabilities, features)))
                progress.advance(task, len(numbers))
    progress.remove_task(task)
    whole = [_joined(answers) for answers in gathered]
    labels, card = examination.labels[chosen], examination.card
    before = whole[0].called == labels
    sorted_before = before & whole[0].known(card)

    def step(answers: Answers, strength: float) -> Step:
        right = answers.called == labels
        known = answers.known(card)
        return Step(
            strength,
            share(int(right.sum()), len(right)),
            sorted_right=float((known & right).mean()),
            unknown=float(1 - known.mean()),
            wrong=float((known & ~right).mean()),
            lost=int((before & ~right).sum()),
            won=int((right & ~before).sum()),
            sorted_lost=int((sorted_before & ~(known & right)).sum()),
            sorted_won=int((known & right & ~sorted_before).sum()),
        )

    steps = [step(answers, strength) for answers, (_, strength) in zip(whole[1:], variants, strict=True)]
    each = len(DISTURBANCES[0].strengths)
    kinds = [_drift(kind, tuple(steps[i * each : (i + 1) * each]), len(chosen)) for i, kind in enumerate(DISTURBANCES)]
    return Drifts(len(chosen), reduced, step(whole[0], 0.0), tuple(kinds))


def sample(count: int, most: int) -> np.ndarray:
    """At most so many positions, evenly spread; pictures stand in order of their class, so each keeps its share."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def reduce(picture: np.ndarray) -> np.ndarray:
    """A picture whose longer side is at most LONGEST."""
    scale = LONGEST / max(picture.shape[:2])
    return picture if scale >= 1 else cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _read(path: Path) -> tuple[np.ndarray, bool]:
    """A picture, reduced where it is longer than LONGEST, and whether it was."""
    picture = read_sound(read_bytes(path), str(path))
    return reduce(picture), max(picture.shape[:2]) > LONGEST


def _input(
    examination: Examination, variant: tuple[Disturbance, float] | None, picture: np.ndarray, number: int
) -> np.ndarray:
    if variant is not None:
        kind, strength = variant
        picture = kind.apply(picture, strength, number)
    card = examination.card
    return to_pixels(picture, card.height, card.width, card.resize)


def _joined(answers: list[Answers]) -> Answers:
    return Answers(
        np.concatenate([some.probabilities for some in answers]), np.concatenate([some.strange for some in answers])
    )


def _drift(kind: Disturbance, steps: tuple[Step, ...], pictures: int) -> Drift:
    def costs(lost: int, won: int, most: float) -> bool:
        return (lost - won) / pictures > most and more_than_chance(lost, won)

    matters = (
        step.strength
        for step in steps
        if costs(step.lost, step.won, ACCURACY_MATTERS) or costs(step.sorted_lost, step.sorted_won, SORTED_MATTERS)
    )
    return Drift(kind.name, kind.unit, kind.cause, steps, next(matters, None))

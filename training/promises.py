"""What a model file shall promise of its answers, and making an existing file keep it on fresh pictures."""

from pathlib import Path

import numpy as np
import onnx
from pydantic import BaseModel, ConfigDict, Field
from rich.progress import Progress

from edge.model import Classifier, ModelCard
from training.calibrate import calibration_error, choose_thresholds
from training.evaluation.examine import Answers, examine
from training.export import write_model
from training.purity import purity_contract


class Promises(BaseModel):
    """What is asked of a file: a purity contract (training.purity) or none, and how rarely a known picture
    may be taken for a stranger (training.novelty)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    purity: float | None = Field(default=None, ge=0.5, lt=1)
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    false_alarms: float = Field(default=0.01, gt=0, le=0.2)


def promised(card: ModelCard, answers: Answers, labels: np.ndarray, promises: Promises) -> ModelCard:
    """The card with thresholds from what its file answered on held-out pictures; labels are int [n].

    Where purity is asked for, a class's threshold is the one that keeps it; without, or where there
    are too few pictures, it is chosen as training.calibrate says.
    """
    strangers_are_told = card.novelty is not None
    thresholds = choose_thresholds(answers.probabilities, labels, card.classes, raised=not strangers_are_told)
    if promises.purity is None:
        return card.model_copy(update={"thresholds": thresholds, "purity": None})
    contract = purity_contract(
        answers.probabilities,
        answers.strange,
        labels,
        card.classes,
        thresholds,
        promises.purity,
        promises.confidence,
    )
    thresholds |= {name: its.threshold for name, its in contract.classes.items()}
    return card.model_copy(update={"thresholds": thresholds, "purity": contract})


def calibrate(path: Path, root: Path, out: Path, promises: Promises, progress: Progress) -> ModelCard:
    """Writes a model file anew with the thresholds, and the contract, that held-out pictures give; returns its card.

    The pictures are those that `evaluate` would take: give a folder of fresh ones.
    """
    examination = examine(path, root, progress)
    card = promised(examination.card, examination.answers, examination.labels, promises)
    error = calibration_error(examination.answers.probabilities, examination.labels)
    calibration = {**card.calibration, "pictures": len(examination.labels), "error": error, "on": examination.which}
    card = card.model_copy(update={"calibration": calibration})
    write_model(onnx.load(path), card, out)
    return Classifier(out, provider="cpu").card

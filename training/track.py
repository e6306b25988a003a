"""Who follows a run: one small interface that the loop calls, and the one that follows nothing.

`fit` calls `start` once and `epoch` after each epoch; whoever made the tracker hands it the model
that came of the run and ends it. On several processes only the first one's tracker is called.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from training.checkpoint import Epoch


class Tracker(Protocol):
    """Follows one run. A tracker that fails must not end the training: it says so and goes quiet."""

    def start(self, folder: Path, settings: Mapping[str, Any], classes: Sequence[str], done: Sequence["Epoch"]) -> None:
        """The run begins, or goes on after the epochs in done.

        folder is the run's; its augmentations.png shows what training pictures go through. settings
        are the fit's, plain values as JSON has them.
        """

    def epoch(self, line: "Epoch", confusion: np.ndarray) -> None:
        """An epoch is over and its checkpoint is on the disk.

        confusion, int64 [classes, classes], counts the validation part: row the truth, column the answer.
        """

    def model(self, path: Path, figures: Mapping[str, float]) -> None:
        """A model file came of the run, with what was measured on it."""

    def end(self, failed: bool = False) -> None:
        """Nothing more comes."""


class NoTracker:
    """Follows nothing."""

    def start(self, folder: Path, settings: Mapping[str, Any], classes: Sequence[str], done: Sequence["Epoch"]) -> None:
        """Nothing."""

    def epoch(self, line: "Epoch", confusion: np.ndarray) -> None:
        """Nothing."""

    def model(self, path: Path, figures: Mapping[str, float]) -> None:
        """Nothing."""

    def end(self, failed: bool = False) -> None:
        """Nothing."""

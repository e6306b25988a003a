"""A run in TensorBoard: losses, accuracy, learning rate, sample pictures, the confusion matrix of each epoch.

Events are written to RUN/tensorboard; `tensorboard --logdir runs` shows all runs side by side.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from training.trackers.common import figures_of, flat, matrix_picture, sample_pictures

if TYPE_CHECKING:
    from training.checkpoint import Epoch


class TensorBoard:
    """A Tracker that writes TensorBoard's event files."""

    def __init__(self) -> None:
        self._writer: SummaryWriter | None = None
        self._classes: Sequence[str] = ()
        self._last = 0

    def start(self, folder: Path, settings: Mapping[str, Any], classes: Sequence[str], done: Sequence["Epoch"]) -> None:
        # What an interrupted epoch had written of itself is hidden when the run goes on.
        self._writer = SummaryWriter(folder / "tensorboard", purge_step=len(done) + 1 if done else None)
        self._classes = classes
        self._last = len(done)
        if not done:
            rows = "\n".join(f"| {key} | {value} |" for key, value in flat(settings).items())
            self._writer.add_text("settings", f"| setting | value |\n|---|---|\n{rows}", 0)
            samples = sample_pictures(folder)
            if samples is not None:
                self._writer.add_image("training pictures", samples, 0, dataformats="HWC")
        self._writer.flush()

    def epoch(self, line: "Epoch", confusion: np.ndarray) -> None:
        writer = self._open()
        for name, value in figures_of(line).items():
            writer.add_scalar(name, value, line.number)
        writer.add_image(
            "confusion/validation", matrix_picture(confusion, self._classes), line.number, dataformats="HWC"
        )
        writer.flush()
        self._last = line.number

    def model(self, path: Path, figures: Mapping[str, float]) -> None:
        writer = self._open()
        for name, value in figures.items():
            writer.add_scalar(f"test/{name}", value, self._last)
        writer.add_text("model", path.name, self._last)
        writer.flush()

    def end(self, failed: bool = False) -> None:
        del failed
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self) -> SummaryWriter:
        assert self._writer is not None, "start comes first"
        return self._writer

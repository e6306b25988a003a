"""Who follows a run, by name: TensorBoard always, MLflow and Weights & Biases where they are asked for.

`--track mlflow`, `--track mlflow=http://server:5000`, `--track wandb`, `--track wandb=online`,
`--track none`. Each library has one file here and is imported only when it is used.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.errors import InputError, TrainingError
from training.track import Tracker

if TYPE_CHECKING:
    from training.checkpoint import Epoch

NAMES = ("tensorboard", "mlflow", "wandb", "none")
Say = Callable[[str], None]


@contextmanager
def tracking(wanted: Sequence[str], say: Say) -> Iterator[Tracker]:
    """The tracker of the wanted names, ended when the block is left: as failed where an error leaves it.

    Raises InputError for a name that is none, TrainingError for a library that is not installed.
    say gets the sentences that people should read.
    """
    tracker = Several([Cautious(name, made, say) for name, made in _make(wanted, say)])
    failed = True
    try:
        yield tracker
        failed = False
    finally:
        tracker.end(failed)


class Several:
    """Tells several trackers the same."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = trackers

    def start(self, folder: Path, settings: Mapping[str, Any], classes: Sequence[str], done: Sequence["Epoch"]) -> None:
        for tracker in self.trackers:
            tracker.start(folder, settings, classes, done)

    def epoch(self, line: "Epoch", confusion: np.ndarray) -> None:
        for tracker in self.trackers:
            tracker.epoch(line, confusion)

    def model(self, path: Path, figures: Mapping[str, float]) -> None:
        for tracker in self.trackers:
            tracker.model(path, figures)

    def end(self, failed: bool = False) -> None:
        for tracker in self.trackers:
            tracker.end(failed)


class Cautious:
    """Keeps a tracker's failures from the training: the first one is said in one sentence, and no call follows."""

    def __init__(self, name: str, tracker: Tracker, say: Say) -> None:
        self.tracker = tracker
        self._name, self._say = name, say
        self._over = False

    def start(self, folder: Path, settings: Mapping[str, Any], classes: Sequence[str], done: Sequence["Epoch"]) -> None:
        self._try(lambda: self.tracker.start(folder, settings, classes, done))

    def epoch(self, line: "Epoch", confusion: np.ndarray) -> None:
        self._try(lambda: self.tracker.epoch(line, confusion))

    def model(self, path: Path, figures: Mapping[str, float]) -> None:
        self._try(lambda: self.tracker.model(path, figures))

    def end(self, failed: bool = False) -> None:
        self._try(lambda: self.tracker.end(failed))
        self._over = True

    def _try(self, act: Callable[[], None]) -> None:
        if self._over:
            return
        try:
            act()
        except Exception as error:  # each library raises its own kinds, and those of its HTTP and database clients
            self._over = True
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            self._say(f"{self._name}: no longer followed there ({reason}); the training goes on")
            try:
                self.tracker.end(failed=True)
            except Exception:  # what was wrong has been said; this only lets go of threads and files where it can
                return


def _asked(wanted: Sequence[str]) -> dict[str, str]:
    """The words of --track, checked: each name with what stands behind its equals sign."""
    asked = dict(word.partition("=")[::2] for word in wanted)
    for name, where in asked.items():
        if name not in NAMES:
            raise InputError(f"--track {name}: is not one of {', '.join(NAMES)}")
        if where and name not in {"mlflow", "wandb"}:
            raise InputError(f"--track {name}={where}: takes nothing after the name")
        if name != "none" and find_spec(name) is None:
            extra = "training" if name == "tensorboard" else "tracking"
            raise TrainingError(f'--track {name}: {name} is not installed; pip install "sortline[{extra}]"')
    if asked.get("wandb", "") not in {"", "online", "offline"}:
        raise InputError(f"--track wandb={asked['wandb']}: takes online or offline")
    if "none" in asked and len(asked) > 1:
        raise InputError("--track none: cannot be said beside another tracker")
    return asked


def _make(wanted: Sequence[str], say: Say) -> Iterator[tuple[str, Tracker]]:
    asked = _asked(wanted)
    if "none" in asked:
        return
    if find_spec("tensorboard") is not None:
        from training.trackers.tensorboard import TensorBoard

        yield "TensorBoard", TensorBoard()
    else:
        say('the run is not followed in TensorBoard, which is not installed; pip install "sortline[training]"')
    if "mlflow" in asked:
        from training.trackers.mlflow import Mlflow

        yield "MLflow", Mlflow(asked["mlflow"] or None)
    if "wandb" in asked:
        from training.trackers.wandb import Wandb

        yield "Weights & Biases", Wandb(say, online=asked["wandb"] == "online")

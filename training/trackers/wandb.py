"""A run in Weights & Biases: offline in the run folder unless online is asked for; `wandb sync` sends it later."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import wandb

from edge.model import Classifier
from training.trackers.common import beside, figures_of, matrix_picture, sample_pictures

if TYPE_CHECKING:
    from training.checkpoint import Epoch

PROJECT = "sortline"
RUN_FILE = "wandb-run.txt"
INIT_TIMEOUT_S = 60


class Wandb:
    """A Tracker that writes a W&B run; online as the account that `wandb login` was told."""

    def __init__(self, say: Callable[[str], None], online: bool = False) -> None:
        self._say, self._online = say, online
        self._run: wandb.Run | None = None
        self._classes: Sequence[str] = ()

    def start(self, folder: Path, settings: Mapping[str, Any], classes: Sequence[str], done: Sequence["Epoch"]) -> None:
        self._classes = classes
        known = folder / RUN_FILE
        # Nothing of the machine goes out that was not asked for: no code, no git, no console, no load figures.
        quiet = wandb.Settings(
            silent=True,
            console="off",
            init_timeout=INIT_TIMEOUT_S,
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
        )
        self._run = wandb.init(
            project=PROJECT,
            name=folder.name,
            id=known.read_text().strip() if done and known.exists() else None,
            resume="allow" if done else None,
            dir=folder,
            mode="online" if self._online else "offline",
            config={"classes": list(classes), **settings},
            settings=quiet,
        )
        known.write_text(f"{self._run.id}\n")
        samples = sample_pictures(folder)
        if samples is not None and not done:
            self._run.log({"training pictures": wandb.Image(samples)}, step=0)

    def epoch(self, line: "Epoch", confusion: np.ndarray) -> None:
        picture = wandb.Image(matrix_picture(confusion, self._classes))
        self._open().log({**figures_of(line), "confusion/validation": picture}, step=line.number)

    def model(self, path: Path, figures: Mapping[str, float]) -> None:
        run, card = self._open(), Classifier(path, provider="cpu").card
        run.summary.update({f"test/{name}": value for name, value in figures.items()})
        artifact = wandb.Artifact(card.name, "model", metadata={"version": card.version, "classes": list(card.classes)})
        for file in (path, *beside(path)):
            artifact.add_file(str(file))
        run.log_artifact(artifact)

    def end(self, failed: bool = False) -> None:
        if self._run is None:
            return
        run, self._run = self._run, None
        place = Path(run.dir).parent
        run.finish(exit_code=1 if failed else 0)
        wandb.teardown()
        if not self._online:
            self._say(f"Weights & Biases: the run is in {place}; wandb sync sends it")

    def _open(self) -> "wandb.Run":
        assert self._run is not None, "start comes first"
        return self._run

"""What a training has come to: history, weights, averages, optimizer; written whole after each epoch, read to go on."""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from training.architectures import Network
from training.errors import InputError, TrainingError
from training.files import write_atomically

Stage = Literal["head", "all"]


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of the history; losses are mean cross-entropies in nats."""

    number: int
    stage: Stage
    lr: float
    train_loss: float
    val_loss: float
    val_accuracy: float
    seconds: float

    def words(self, last: int, best: bool, left_s: float) -> str:
        """The epoch in one line, for people; left_s is how long the training has still to go, at most."""
        return (
            f"epoch {self.number:>2}/{last}  {self.stage:<4}  loss {self.train_loss:.4f}  "
            f"val loss {self.val_loss:.4f}  val accuracy {self.val_accuracy:.2%}  {self.seconds:.0f} s"
            f"{f', at most {_duration(left_s)} left' if left_s else ''}{'  best' if best else ''}"
        )


@dataclass
class Progressed:
    """All that changes while a training goes on."""

    network: Network
    average: AveragedModel | None
    optimizer: Optimizer
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = -1
    best_loss: float = math.inf

    @property
    def judged(self) -> Network:
        """What is validated and kept: the average where there is one."""
        return cast(Network, self.average.module) if self.average else self.network

    def add(self, line: Epoch, newest: bool) -> bool:
        """Notes an epoch, and its weights when they are the best so far or the newest are wanted; says whether."""
        self.history.append(line)
        if line.val_loss >= self.best_loss and not newest:
            return False
        self.best = {key: value.clone() for key, value in self.judged.state_dict().items()}
        self.best_epoch, self.best_loss = line.number - 1, line.val_loss
        return True

    def save(self, folder: Path, kept: bool) -> None:
        """Writes checkpoint.pt and history.json, and weights.pt if they changed; TrainingError when the disk will not.

        Each is the old one or the new one, whole, at every moment.
        """
        history = [asdict(epoch) for epoch in self.history]
        checkpoint = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimizer": self.optimizer.state_dict(),
            "history": history,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
        }
        try:
            write_atomically(folder / "checkpoint.pt", _to_bytes(checkpoint))
            if kept:
                write_atomically(folder / "weights.pt", _to_bytes(self.best))
            write_atomically(folder / "history.json", json.dumps(history, indent=1).encode())
        except TrainingError as error:
            if not (folder / "checkpoint.pt").exists():
                raise TrainingError(f"{error}; no epoch is saved yet: make room, and --resume begins anew") from None
            raise TrainingError(f"{error}; the last good checkpoint stays, --resume goes on from it") from None

    def load(self, folder: Path) -> None:
        """Becomes what folder/checkpoint.pt says; InputError when it cannot be read.

        Without one the run had not finished an epoch, and this stays what it is: its first step.
        """
        path = folder / "checkpoint.pt"
        try:
            state = torch.load(path, weights_only=True)
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        except Exception:  # torch raises whatever its unpickler meets, with paragraphs of advice to programmers
            raise InputError(f"{path}: cannot be read, it is torn or no checkpoint; start a new run") from None
        self.network.load_state_dict(state["network"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = [Epoch(**line) for line in state["history"]]
        self.best, self.best_epoch, self.best_loss = state["best"], state["best_epoch"], state["best_loss"]


def _duration(seconds: float) -> str:
    """Seconds in words: 45 s, 12 min, 3 h 05 min."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def _to_bytes(content: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    return buffer.getvalue()

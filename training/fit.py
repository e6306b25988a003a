"""The training loop, whole: settings, network, two stages of fine-tuning, early stopping, checkpoints.

Read it from top to bottom. Stage one trains the fresh head on a frozen backbone, so that its first,
random gradients do not spoil pre-trained features; stage two trains everything. The weights with
the lowest loss on the validation part are the ones that are kept.
"""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional as F

from training.augment import AugmentSettings, augmentation
from training.data import Dataset, Part
from training.errors import InputError, TrainingError
from training.files import write_atomically
from training.networks import Network, build_network
from training.track import NoTracker, Tracker


class FitSettings(BaseModel):
    """Everything that decides the result of a fit, besides the pictures. Written to the run folder and the card.

    lr is the highest learning rate of stage two; it rises to it over the first epoch and falls to
    nearly nothing along a cosine. head_lr is stage one's, constant.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str = "efficientnet_lite0"
    weights: str | None = None
    from_scratch: bool = False
    seed: int = Field(default=0, ge=0)
    batch: int = Field(default=32, ge=2)
    head_epochs: int = Field(default=2, ge=0)
    epochs: int = Field(default=10, ge=1)
    patience: int = Field(default=4, ge=1)
    optimizer: Literal["adam", "sgd"] = "adam"
    head_lr: float = Field(default=3e-3, gt=0)
    lr: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=0.02, ge=0)
    augment: AugmentSettings = AugmentSettings()

    @classmethod
    def choose(cls, **given: Any) -> "FitSettings":
        """Settings from what was given, the rest from what suits the network and the optimizer."""
        given = {key: value for key, value in given.items() if value is not None}
        fresh = given.get("from_scratch", False) or given.get("network") == "simple_cnn"
        suits: dict[str, Any] = {"head_epochs": 0, "epochs": 40, "patience": 8, "lr": 2e-3} if fresh else {}
        if given.get("optimizer") == "sgd":
            suits |= {"head_lr": 0.1, "lr": 0.1 if fresh else 0.02, "weight_decay": 1e-4}
        return cls.model_validate(suits | given)


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of the history; losses are mean cross-entropies in nats."""

    number: int
    stage: Literal["head", "all"]
    lr: float
    train_loss: float
    val_loss: float
    val_accuracy: float
    seconds: float


@dataclass
class Progressed:
    """How far a fit has come: what a checkpoint holds besides weights."""

    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = -1
    best_loss: float = math.inf

    def add(self, line: Epoch, network: nn.Module) -> bool:
        """Notes an epoch, and the weights if they are the best so far; returns whether they are."""
        self.history.append(line)
        if line.val_loss >= self.best_loss:
            return False
        self.best = {key: value.clone() for key, value in network.state_dict().items()}
        self.best_epoch, self.best_loss = line.number - 1, line.val_loss
        return True


def fit(
    data: Dataset,
    settings: FitSettings,
    folder: Path,
    progress: Progress,
    resume: bool = False,
    tracker: Tracker | None = None,
) -> Network:
    """Trains a network on data.train, watched on data.val, and returns it with its best weights, ready to use.

    The folder gets checkpoint.pt and history.json after each epoch, weights.pt after each better
    one, always whole. With resume it goes on from the folder's checkpoint to the very result that
    an uninterrupted run has on the same machine.
    """
    # The network: its own weights in the backbone, random ones in the head. On CPUs convolutions
    # run 1.5 times faster with the channels last in memory.
    torch.manual_seed(settings.seed)
    weights = Path(settings.weights) if settings.weights else None
    network = build_network(settings.network, len(data.classes), weights, settings.from_scratch)
    network = network.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(network, settings)
    augment = augmentation(settings.augment)

    so_far = Progressed()
    if resume:
        so_far = _load_checkpoint(folder, network, optimizer)
    tracker = tracker or NoTracker()
    tracker.start(folder, settings.model_dump(mode="json"), data.classes, so_far.history)

    steps = max(len(data.train) // settings.batch, 1)
    last_epoch = settings.head_epochs + settings.epochs
    task = progress.add_task("training", total=last_epoch * steps, completed=len(so_far.history) * steps)

    for epoch in range(len(so_far.history), last_epoch):
        if stopped_improving(so_far, settings):
            progress.console.print(f"no better for {settings.patience} epochs: stopped")
            break

        # What is random in an epoch follows from its number alone, so a resumed run draws the same.
        torch.manual_seed(settings.seed * 100_003 + epoch)
        started = perf_counter()
        stage: Literal["head", "all"] = "head" if epoch < settings.head_epochs else "all"
        network.train()
        network.backbone.requires_grad_(stage == "all").train(stage == "all")

        # A remainder smaller than a batch is left out; the next epoch's order leaves out another.
        order = torch.randperm(len(data.train))[: steps * settings.batch]
        total_loss = 0.0
        for step, chosen in enumerate(torch.split(order, settings.batch)):
            lr = learning_rate(settings, epoch + step / steps)
            for group in optimizer.param_groups:
                group["lr"] = lr

            pixels = augment(as_input(data.train.pixels(chosen.numpy())))
            labels = torch.from_numpy(data.train.labels[chosen.numpy()])
            logits, _ = network(pixels.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits, labels)

            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total_loss += loss.item()
            progress.advance(task)
        if not math.isfinite(total_loss):
            raise TrainingError(f"the loss is no longer a number in epoch {epoch + 1}; try a smaller --lr than {lr:g}")

        # How good is it on pictures that it does not train on?
        logits_val = predict(network, data.val)[0]
        val_loss = F.cross_entropy(torch.from_numpy(logits_val), torch.from_numpy(data.val.labels)).item()
        accuracy = float((logits_val.argmax(1) == data.val.labels).mean())
        line = Epoch(epoch + 1, stage, lr, total_loss / steps, val_loss, accuracy, perf_counter() - started)
        better = so_far.add(line, network)
        _save(folder, network, optimizer, so_far, better)
        tracker.epoch(line, confusion(logits_val, data.val.labels))
        progress.console.print(
            f"epoch {line.number:>2}/{last_epoch}  {stage:<4}  loss {line.train_loss:.4f}  "
            f"val loss {val_loss:.4f}  val accuracy {accuracy:.2%}  {line.seconds:.0f} s{'  best' if better else ''}",
            soft_wrap=True,
            highlight=False,
        )

    progress.remove_task(task)
    network.load_state_dict(so_far.best)
    return network.eval()


def learning_rate(settings: FitSettings, epoch: float) -> float:
    """The learning rate at a moment of the run, counted in epochs."""
    done = epoch - settings.head_epochs
    if done < 0:
        return settings.head_lr
    warm_up = min(1.0, 0.2 * settings.epochs)
    if done < warm_up:
        return settings.lr * (0.05 + 0.95 * done / warm_up)
    share = (done - warm_up) / (settings.epochs - warm_up)
    return settings.lr * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)


def make_optimizer(network: nn.Module, settings: FitSettings) -> torch.optim.Optimizer:
    """AdamW, or SGD with Nesterov momentum. Biases and batch norms, which have one dimension, do not decay."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=settings.lr)


def stopped_improving(so_far: Progressed, settings: FitSettings) -> bool:
    """True when stage two has gone `patience` epochs without a lower loss on the validation part."""
    since = max(so_far.best_epoch + 1, settings.head_epochs)
    return len(so_far.history) - since >= settings.patience


def as_input(pixels: np.ndarray) -> Tensor:
    """RGB uint8 [N, H, W, 3] as float32 [N, 3, H, W], 0 to 255: what a Network takes, channels last in memory."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float()


@torch.inference_mode()
def predict(network: Network, part: Part, batch: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Logits float32 [n, classes] and features float32 [n, D] of a part's pictures, in order, as they are."""
    network.eval()
    outputs = [network(as_input(pixels)) for pixels in part.batches(batch)]
    logits, features = (torch.cat(column).numpy() for column in zip(*outputs, strict=True))
    return logits, features


def confusion(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How often each class, a row, was given each answer, a column: int64 [classes, classes]."""
    counts = np.zeros((logits.shape[1],) * 2, np.int64)
    np.add.at(counts, (labels, logits.argmax(axis=1)), 1)
    return counts


def _save(folder: Path, network: Network, optimizer: torch.optim.Optimizer, so_far: Progressed, better: bool) -> None:
    history = [asdict(epoch) for epoch in so_far.history]
    checkpoint = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": history,
        "best": so_far.best,
        "best_epoch": so_far.best_epoch,
        "best_loss": so_far.best_loss,
    }
    write_atomically(folder / "checkpoint.pt", _to_bytes(checkpoint))
    if better:
        write_atomically(folder / "weights.pt", _to_bytes(so_far.best))
    write_atomically(folder / "history.json", json.dumps(history, indent=1).encode())


def _load_checkpoint(folder: Path, network: Network, optimizer: torch.optim.Optimizer) -> Progressed:
    path = folder / "checkpoint.pt"
    try:
        state = torch.load(path, weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint; the run has not finished an epoch, start it anew") from None
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    history = [Epoch(**line) for line in state["history"]]
    return Progressed(history, state["best"], state["best_epoch"], state["best_loss"])


def _to_bytes(content: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    return buffer.getvalue()

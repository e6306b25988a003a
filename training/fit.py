"""The training loop, whole: network, two stages of fine-tuning, judging, checkpoints, early stopping.

Read it from top to bottom. Stage one trains the fresh head on a frozen backbone, so that its first,
random gradients do not spoil pre-trained features; stage two trains everything. The weights with
the lowest loss on the validation part are the ones that are kept, unless the last ones are wanted.
Started by torchrun, several processes run this same loop, each on its rows of every batch.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from training.architectures import Network
from training.augment import augmentation
from training.batches import Batches, as_input, loss_of
from training.bfloat16 import in_bfloat16
from training.checkpoint import Epoch, Progressed, Stage
from training.crew import ALONE, Crew
from training.data import Dataset, Part
from training.errors import TrainingError
from training.networks import build_network, check_sides
from training.schedule import cost, learning_rate, make_optimizer, set_rate, side_of
from training.settings import FitSettings
from training.sheet import write_sheet
from training.track import NoTracker, Tracker
from training.tta import LOOKS, Tta, looks_at, mean_of_looks


def fit(
    data: Dataset,
    settings: FitSettings,
    folder: Path,
    progress: Progress,
    resume: bool = False,
    tracker: Tracker | None = None,
    crew: Crew = ALONE,
) -> Network:
    """Trains a network on data.train, watched on data.val, and returns it with its best weights, ready to use.

    The folder gets augmentations.png before the first step, checkpoint.pt and history.json after
    each epoch, weights.pt after each better one, always whole. With resume it goes on from the
    folder's checkpoint, or from the first step where no epoch was finished, to the very result that
    an uninterrupted run has on the same machine.
    """
    so_far = begin(data, settings, crew)
    network, average = so_far.network, so_far.average
    batches = Batches(data.train, settings, crew)
    whole, last = data.side, settings.head_epochs + settings.epochs

    # What it goes on from, and who follows it.
    if resume:
        so_far.load(folder)
    if crew.leads and not so_far.history:
        write_sheet(folder / "augmentations.png", data, settings)
    tracker = tracker if tracker and crew.leads else NoTracker()
    tracker.start(folder, settings.model_dump(mode="json"), data.classes, so_far.history)
    costs = [cost(settings, epoch, whole) for epoch in range(last)]
    task = progress.add_task("training", total=sum(costs), completed=sum(costs[: len(so_far.history)]))

    for epoch in range(len(so_far.history), last):
        if stopped_improving(so_far, settings):
            progress.console.print(f"no better for {settings.patience} epochs: stopped")
            break

        # What is random in an epoch follows from its number alone, so a resumed run draws the same.
        torch.manual_seed(settings.seed * 100_003 + epoch)
        started = perf_counter()
        stage: Stage = "head" if epoch < settings.head_epochs else "all"
        network.train()
        network.backbone.requires_grad_(stage == "all").train(stage == "all")
        shared = crew.share(network)

        augment = augmentation(settings.augment, side_of(settings, epoch, whole), crew)
        total_loss = 0.0
        for step, (pixels, wanted) in enumerate(batches.epoch(augment)):
            lr = set_rate(so_far.optimizer, learning_rate(settings, epoch + step / batches.steps))
            with in_bfloat16(network) if settings.precision == "bf16" else nullcontext():
                logits, _ = shared(pixels)
            loss = loss_of(logits, wanted)
            so_far.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            so_far.optimizer.step()
            if average:
                average.update_parameters(network)
            total_loss += loss.item()
            progress.advance(task, costs[epoch] / batches.steps)
        train_loss = crew.mean(total_loss) / batches.steps
        if not math.isfinite(train_loss):
            raise TrainingError(f"the loss is no longer a number in epoch {epoch + 1}; try a smaller --lr than {lr:g}")

        # How good is it on pictures that it does not train on?
        answers, val_loss, accuracy = judge(so_far.judged, data.val, crew)
        line = Epoch(epoch + 1, stage, lr, train_loss, val_loss, accuracy, perf_counter() - started)
        kept = so_far.add(line, newest=settings.keep == "last")
        if crew.leads:
            so_far.save(folder, kept)
        tracker.epoch(line, confusion(answers, data.val.labels))
        left_s = line.seconds / costs[epoch] * sum(costs[epoch + 1 :])
        words = line.words(last, kept and settings.keep == "best", left_s)
        progress.console.print(words, soft_wrap=True, highlight=False)

    progress.remove_task(task)
    network.load_state_dict(so_far.best)
    return network.eval()


def begin(data: Dataset, settings: FitSettings, crew: Crew) -> Progressed:
    """The network before its first step: its own weights in the backbone, random ones in the head; its optimizer.

    On CPUs convolutions run 1.5 times faster with the channels last in memory.
    """
    torch.manual_seed(settings.seed)
    weights = Path(settings.weights) if settings.weights else None
    network = build_network(settings.network, len(data.classes), weights, settings.from_scratch)
    epochs = range(settings.head_epochs + settings.epochs)
    check_sides(network, settings.network, {side_of(settings, epoch, data.side) for epoch in epochs} | {data.side})
    crew.prepare(network)
    network = network.to(memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=averaging(settings.average), use_buffers=True)
    return Progressed(network, average if settings.average else None, make_optimizer(network, settings))


def averaging(decay: float) -> Callable[[Any, Any, Any], None]:
    """How an AveragedModel follows the network: an exponential moving average, quicker over its first steps.

    The decay rises to its full value as (1 + n) / (10 + n): else a short training would average in
    the weights that it began with (TensorFlow's ExponentialMovingAverage, num_updates).
    """

    @torch.no_grad()
    def average(kept: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        now = min(decay, (1 + int(count)) / (10 + int(count)))
        for old, new in zip(kept, current, strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - now)
            else:
                old.copy_(new)

    return average


def stopped_improving(so_far: Progressed, settings: FitSettings) -> bool:
    """True when stage two has gone `patience` epochs without a lower loss on the validation part."""
    since = max(so_far.best_epoch + 1, settings.head_epochs)
    return settings.keep == "best" and len(so_far.history) - since >= settings.patience


def judge(network: Network, part: Part, crew: Crew) -> tuple[np.ndarray, float, float]:
    """Logits float32 [n, classes] for a whole part, each process running its share; mean cross-entropy; accuracy."""
    mine = part.take(np.arange(crew.place, len(part), crew.size))
    logits = crew.gather(predict(network, mine)[0], len(part))
    loss = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(part.labels)).item()
    return logits, loss, float((logits.argmax(1) == part.labels).mean())


@torch.inference_mode()
def predict(network: Network, part: Part, batch: int = 64, tta: Tta = "none") -> tuple[np.ndarray, np.ndarray]:
    """Logits float32 [n, classes] and features float32 [n, D] of a part's pictures, in order: the mean of all looks."""
    network.eval()
    outputs = [network(as_input(looks_at(pixels, tta))) for pixels in part.batches(batch // LOOKS[tta])]
    means = [[mean_of_looks(column.numpy(), tta) for column in answers] for answers in outputs]
    logits, features = (np.concatenate(column) for column in zip(*means, strict=True))
    return logits, features


def confusion(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How often each class, a row, was given each answer, a column: int64 [classes, classes]."""
    counts = np.zeros((logits.shape[1],) * 2, np.int64)
    np.add.at(counts, (labels, logits.argmax(axis=1)), 1)
    return counts

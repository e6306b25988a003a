"""What a step of training is made of: which pictures, in which order, what they should be answered, how they mix."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from training.crew import Crew
from training.data import Part
from training.errors import InputError
from training.settings import FitSettings


class Batches:
    """A part's pictures, batch by batch, for one process of the crew.

    What is random comes from torch's global generator, which all processes of a crew set alike: each
    takes its rows of what one process would draw for the whole batch.
    """

    def __init__(self, part: Part, settings: FitSettings, crew: Crew) -> None:
        self.part, self.settings, self.crew = part, settings, crew
        self.weights = torch.from_numpy(class_weights(part))
        # Whole batches; or, of fewer pictures than one batch has, all that the crew can share out.
        self.steps = max(len(part) // settings.batch, 1)
        even = crew.size * (2 if settings.mixup and crew.size > 1 else 1)
        self.size = min(settings.batch, len(part)) // even * even
        if settings.batch % even or not self.size:
            raise InputError(
                f"a batch of {settings.batch} pictures ({len(part)} to train on) cannot be shared out evenly "
                f"to {crew.size} processes; --batch must be a multiple of {even}"
            )

    def order(self) -> Tensor:
        """An epoch's order of the part's positions, int64 [steps * size].

        A remainder smaller than a batch is left out; the next epoch's order leaves out another. With
        balanced sampling each class is drawn equally often, the pictures of small ones more than once.
        """
        count = self.steps * self.size
        if self.settings.balance == "sampling":
            return torch.multinomial(self.weights[self.part.labels], count, replacement=True)
        return torch.randperm(len(self.part))[:count]

    def epoch(self, augment: v2.Transform) -> Iterator[tuple[Tensor, Tensor]]:
        """Pixels float32 [n, 3, S, S], 0 to 255, and what they should be answered, float32 [n, classes]."""
        for whole in torch.split(self.order(), self.size):
            chosen = self.crew.mine(whole).numpy()
            pixels, wanted = augment(as_input(self.part.pixels(chosen))), self.wanted(chosen)
            if self.settings.mixup:
                pixels, wanted = mix(pixels, wanted, self.settings.mixup, self.crew)
            yield pixels.contiguous(memory_format=torch.channels_last), wanted

    def wanted(self, positions: np.ndarray) -> Tensor:
        """What the pictures at these positions should be answered, float32 [n, classes].

        Their probabilities, smoothed (Szegedy et al., "Rethinking the Inception Architecture", 2016),
        each row times its picture's weight: cross-entropy is linear in its target.
        """
        smoothing = self.settings.label_smoothing
        wanted = torch.from_numpy(self.part.targets[positions])
        wanted = (1 - smoothing) * wanted + smoothing / wanted.shape[1]
        if self.settings.balance == "weights":
            wanted = wanted * self.weights[self.part.labels[positions]].unsqueeze(1)
        return wanted


def class_weights(part: Part) -> np.ndarray:
    """What a picture of each class weighs, float32 [classes]: all classes alike, and a picture 1 on average."""
    counts = np.bincount(part.labels, minlength=part.targets.shape[1])
    return np.asarray(len(part) / ((counts > 0).sum() * np.maximum(counts, 1)), np.float32)


def mix(pixels: Tensor, wanted: Tensor, alpha: float, crew: Crew) -> tuple[Tensor, Tensor]:
    """Blends each picture, and its target, with its neighbour's in the batch: MixUp (Zhang et al., 2018).

    Each picture has a share of its own from Beta(alpha, alpha). Of an odd batch the last stays alone.
    """
    n = len(pixels)
    partner = torch.arange(n) ^ 1
    partner[partner >= n] = n - 1
    drawn = crew.mine(torch.distributions.Beta(alpha, alpha).sample((n * crew.size,)))
    share = torch.maximum(drawn, 1 - drawn)
    mixed = torch.lerp(pixels[partner], pixels, share.view(-1, 1, 1, 1))
    return mixed, torch.lerp(wanted[partner], wanted, share.unsqueeze(1))


def as_input(pixels: np.ndarray) -> Tensor:
    """RGB uint8 [N, H, W, 3] as float32 [N, 3, H, W], 0 to 255: what a Network takes, channels last in memory."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float()


def loss_of(logits: Tensor, wanted: Tensor) -> Tensor:
    """Mean cross-entropy, in nats, of logits [n, classes] against targets that may be soft and weighted."""
    return -(wanted * F.log_softmax(logits.float(), dim=1)).sum(dim=1).mean()

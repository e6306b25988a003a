"""The processes of one training: which of them this is, and what keeps them at the result of a single one.

`torchrun --nproc-per-node N -m training fit …` starts N processes. Each trains on its share of every
batch; torch's DistributedDataParallel averages their gradients. For the result to be that of one
process with the whole batch, to rounding, three more things must not depend on the number of
processes: what is random (drawn alike everywhere for the whole batch, of which each takes its rows),
batch normalisation (its mean and variance are those of the whole batch) and dropout (as all that is
random). torch's SyncBatchNorm does the second on GPUs alone; the one here runs wherever torch's
collectives do.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from training.errors import InputError, TrainingError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Crew:
    """This process's place, 0 to size - 1, among those that train together. One process is a crew too."""

    place: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one process that writes files and speaks to people."""
        return self.place == 0

    def mine(self, whole: T) -> T:
        """This process's rows of what belongs to a whole batch, or of its positions."""
        rows = len(whole) // self.size  # type: ignore[arg-type]
        return whole[self.place * rows : (self.place + 1) * rows]  # type: ignore[index]

    def rand(self, rows: int) -> Tensor:
        """Numbers from 0 to 1 for this process's rows, which one process would have drawn for them."""
        return self.mine(torch.rand(rows * self.size))

    def prepare(self, network: nn.Module) -> None:
        """Replaces, in place, the layers whose training depends on which pictures are in a batch together."""
        if self.size == 1:
            return
        for name, layer in list(network.named_modules()):
            if isinstance(layer, nn.BatchNorm2d):
                network.set_submodule(name, WholeBatchNorm.like(layer, self))
            elif type(layer) is nn.Dropout:
                network.set_submodule(name, WholeDropout(layer.p, self))

    def share(self, network: nn.Module) -> nn.Module:
        """The network to run training steps with: its gradients become the crew's mean."""
        if self.size == 1:
            return network
        return DistributedDataParallel(network, broadcast_buffers=False)

    def mean(self, value: float) -> float:
        """The mean of everybody's value."""
        if self.size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64)
        distributed.all_reduce(tensor)
        return float(tensor) / self.size

    def gather(self, rows: np.ndarray, total: int) -> np.ndarray:
        """All rows, in order, of which this process has those at place, place + size, place + 2 * size…"""
        if self.size == 1:
            return rows
        everybody: list[np.ndarray] = [rows] * self.size
        distributed.all_gather_object(everybody, rows)
        whole = np.empty((total, *rows.shape[1:]), rows.dtype)
        for place, theirs in enumerate(everybody):
            whole[place :: self.size] = theirs
        return whole

    def agree(self, what: str, value: str) -> None:
        """Raises InputError when the processes do not have the same value."""
        if self.size == 1:
            return
        everybody = [value] * self.size
        distributed.all_gather_object(everybody, value)
        for place, theirs in enumerate(everybody):
            if theirs != everybody[0]:
                raise InputError(f"{what} of process {place} is not that of process 0; all must train on the same")


ALONE = Crew()


@contextmanager
def assemble(environment: Mapping[str, str] = os.environ) -> Iterator[Crew]:
    """The crew that torchrun started this process for, connected while it lasts; a crew of one without torchrun.

    RANK and WORLD_SIZE are torchrun's own words to the processes that it starts. Raises
    TrainingError when another process of the crew is gone.
    """
    if int(environment.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    distributed.init_process_group("gloo")
    try:
        yield Crew(distributed.get_rank(), distributed.get_world_size())
    except RuntimeError as error:
        if "gloo" not in str(error).lower():
            raise
        raise TrainingError("another process of this training ended; see what it said") from error
    finally:
        distributed.destroy_process_group()


class WholeBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by the mean and variance of the crew's whole batch (Ioffe and Szegedy, 2015)."""

    crew: Crew = ALONE

    @classmethod
    def like(cls, other: nn.BatchNorm2d, crew: Crew) -> "WholeBatchNorm":
        """One with the other's own parameters and buffers."""
        norm = cls(other.num_features, other.eps, other.momentum, other.affine, other.track_running_stats)
        norm.weight, norm.bias = other.weight, other.bias
        norm.running_mean, norm.running_var = other.running_mean, other.running_var
        norm.num_batches_tracked = other.num_batches_tracked
        norm.crew = crew
        return norm.train(other.training)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        # Two rounds of sums, mean first: the one-round form, E[x^2] - E[x]^2, loses digits.
        count = x.numel() // x.shape[1] * self.crew.size
        mean = _summed(x.sum(dim=(0, 2, 3))) / count
        centred = x - mean.view(1, -1, 1, 1)
        variance = _summed(centred.square().sum(dim=(0, 2, 3))) / count
        if self.running_mean is not None and self.running_var is not None and self.momentum is not None:
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * count / max(count - 1, 1), self.momentum)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked += 1
        y = centred * torch.rsqrt(variance + self.eps).view(1, -1, 1, 1)
        if self.affine:
            y = y * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return y


def _summed(mine: Tensor) -> Tensor:
    """The sum of everybody's tensor, through which gradients flow."""
    total: Tensor = all_reduce(mine)  # type: ignore[no-untyped-call]
    return total


class WholeDropout(nn.Dropout):
    """Dropout that draws for the crew's whole batch and uses this process's rows."""

    def __init__(self, p: float, crew: Crew) -> None:
        super().__init__(p)
        self.crew = crew

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        whole = torch.ones((len(x) * self.crew.size, *x.shape[1:]), dtype=x.dtype)
        return x * self.crew.mine(F.dropout(whole, self.p))

"""What an epoch is, by its number: its learning rate, the side of its pictures, what it costs."""

import math

import torch
from torch import nn
from torch.optim import Optimizer

from training.settings import FitSettings

HEAD_COST = 1 / 3  # of an epoch of the whole network: a pass forward costs half as much as one back


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


def side_of(settings: FitSettings, epoch: int, side: int) -> int:
    """The side of the pictures that an epoch trains on: multiples of 32 that grow to the whole."""
    done = max(epoch - settings.head_epochs, 0) / (0.75 * settings.epochs)
    share = settings.grow_from + (1 - settings.grow_from) * min(done, 1.0)
    return min(max(round(share * side / 32) * 32, 32), side)


def cost(settings: FitSettings, epoch: int, side: int) -> int:
    """What an epoch takes, in thousandths of one of the whole network at the whole side, to estimate the time left."""
    stage = HEAD_COST if epoch < settings.head_epochs else 1.0
    return round(1000 * stage * (side_of(settings, epoch, side) / side) ** 2)


def make_optimizer(network: nn.Module, settings: FitSettings) -> Optimizer:
    """AdamW, or SGD with Nesterov momentum. The weights of convolutions and linear layers decay, nothing else does.

    Norms and biases have one dimension; what transformers have besides (tokens, places, tables of
    biases, scales of a layer) has more, but is not called a weight. Fused, a step over Lite0's 149
    tensors takes 8 ms of one core instead of 28.
    """
    decaying: list[nn.Parameter] = []
    staying: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        (decaying if parameter.dim() > 1 and name.endswith("weight") else staying).append(parameter)
    groups = [
        {"params": decaying, "weight_decay": settings.weight_decay},
        {"params": staying, "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=0.9, nesterov=True, fused=True)
    return torch.optim.AdamW(groups, lr=settings.lr, fused=True)


def set_rate(optimizer: Optimizer, lr: float) -> float:
    """Sets the learning rate of every group, and returns it."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    return lr

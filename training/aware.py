"""Quantization-aware fine-tuning: a few epochs in which the network feels the rounding that its file will have.

Where rounding afterwards costs too much (the hard-swish of MobileNetV3 spreads small values over wide
ranges), the weights can learn to bear it. Batch norms are folded into the convolutions first, as the
export does, and then weights and activations are rounded on the very grid of quantize.to_int8 (a symmetric
scale for each output channel; one scale and zero point a tensor), with gradients passed straight through:
Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", CVPR 2018. What comes out is a plain float network, to be exported and quantized as any other.
"""

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse
from torch.nn import functional as F
from torch.nn.utils import parametrize

from training.architectures import Network
from training.augment import augmentation
from training.batches import Batches, as_input, loss_of
from training.calibrate import softmax
from training.crew import ALONE
from training.data import Dataset, Part
from training.settings import FitSettings

LR_SHARE = 0.1  # of the fit's highest learning rate: the network is trained already
SMOOTHING = 0.9  # of a range, a step: how much of the old one stays
CLIPPERS = (nn.ReLU, nn.ReLU6)  # ONNX Runtime takes these into the convolution before them
ROUNDED = (nn.Conv2d, nn.Linear, nn.Hardswish, nn.Hardsigmoid, *CLIPPERS)
ADDITIONS = {"add", "iadd", "mul", "imul"}


class RoundedWeight(nn.Module):
    """A weight as 8-bit (or 7-bit) integers see it: one symmetric scale for each output channel."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, weight: Tensor) -> Tensor:
        largest = weight.detach().abs().flatten(1).amax(1).clamp(min=1e-8)
        zeros = torch.zeros(len(weight), dtype=torch.int32)
        rounded: Tensor = torch.fake_quantize_per_channel_affine(
            weight, largest / self.most, zeros, 0, -self.most, self.most
        )
        return rounded


class _Rounding(torch.autograd.Function):
    """A tensor rounded to multiples of a step between two of them; gradients pass straight through in between.

    What torch.fake_quantize_per_tensor_affine does (but for gradients within half a step of the ends), in vector
    instructions, gradients too, and without looking where nothing lies outside: on a CPU that was a third of a step
    of training, and its mask of bools, which no vector instruction multiplies with, a sixth.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float, step: float, all_inside: bool) -> Tensor:
        ctx.ends = low, high
        ctx.save_for_backward(*(() if all_inside else (x,)))
        return x.clamp(low, high).mul_(1 / step).round_().mul_(step)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        for x in ctx.saved_tensors:
            gradient = torch.ops.aten.hardtanh_backward(gradient, x, *ctx.ends)
        return gradient, None, None, None, None


class RoundedActivation(nn.Module):
    """A tensor as unsigned 8-bit integers see it; follows its range while training."""

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        seen = x.detach()
        if not seen.is_contiguous():  # channels last in memory: looked at as they lie, or all is copied first
            seen = seen.movedim(1, -1)
        least, most = seen.aminmax()
        if self.training:
            kept = SMOOTHING if self.high > 0 else 0.0
            self.low.mul_(kept).add_((1 - kept) * least.clamp(max=0))
            self.high.mul_(kept).add_((1 - kept) * most.clamp(min=1e-6))
        step = max(float(self.high - self.low), 1e-8) / 255
        zero = min(max(round(-float(self.low) / step), 0), 255)
        low, high = -zero * step, (255 - zero) * step
        rounded: Tensor = _Rounding.apply(x, low, high, step, bool(low <= least and most <= high))
        return rounded


def rounding(network: Network, seven_bits: bool) -> Network:
    """A copy of a network with batch norms folded, that rounds as its quantized file will."""
    copied = copy.deepcopy(network).eval()
    # The fusion sees one graph, in which each module stands for itself.
    backbone = fx.symbolic_trace(fuse(copied.backbone))
    most = 64 if seven_bits else 127
    for module in backbone.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            parametrize.register_parametrization(module, "weight", RoundedWeight(most))
    graph, modules = backbone.graph, dict(backbone.named_modules())
    for number, node in enumerate(list(graph.nodes)):
        if not _is_rounded(node, modules):
            continue
        backbone.add_module(f"rounded_{number}", RoundedActivation())
        with graph.inserting_after(node):
            after = graph.call_module(f"rounded_{number}", (node,))
        node.replace_all_uses_with(after, delete_user_cb=lambda user, own=after: user is not own)
    backbone.recompile()
    copied.backbone = backbone
    return copied


def fit_aware(
    network: Network,
    data: Dataset,
    settings: FitSettings,
    epochs: int,
    seven_bits: bool,
    before: np.ndarray,
    progress: Progress,
) -> Network:
    """Fine-tunes a trained network for epochs under the rounding of its file; returns the best, in plain floats.

    Learns from what the fit was taught and, as much, from what the network itself answered before, logits float
    [n, classes] for the pictures of the training part. The best is the one with the lowest loss on the validation
    part, rounded.
    """
    torch.manual_seed(settings.seed)
    student = rounding(network, seven_bits)
    augment = augmentation(settings.augment, data.side)
    batches = Batches(taught_by(before, data.train), settings, ALONE)
    optimizer = torch.optim.AdamW(student.parameters(), lr=settings.lr * LR_SHARE, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches.steps, eta_min=settings.lr * 1e-3)
    task = progress.add_task("learning to be rounded", total=epochs * batches.steps)
    best, best_loss = copy.deepcopy(student.state_dict()), float("inf")
    for epoch in range(epochs):
        student.train()
        total = 0.0
        for pixels, wanted in batches.epoch(augment):
            loss = loss_of(student(pixels)[0], wanted)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.item()
            progress.advance(task)
        student.eval()
        val_loss, accuracy = _examine(student, data)
        if val_loss < best_loss:
            best, best_loss = copy.deepcopy(student.state_dict()), val_loss
        progress.console.print(
            f"aware {epoch + 1}/{epochs}  loss {total / batches.steps:.4f}  val loss {val_loss:.4f}  "
            f"val accuracy {accuracy:.2%} rounded",
            soft_wrap=True,
            highlight=False,
        )
    progress.remove_task(task)
    student.load_state_dict(best)
    return _plain(student)


def taught_by(logits: np.ndarray, part: Part) -> Part:
    """A part whose targets are halfway between its own and what a network answers, logits float [n, classes]."""
    return replace(part, targets=((part.targets + softmax(logits)) / 2).astype(np.float32))


@torch.inference_mode()
def _examine(network: Network, data: Dataset) -> tuple[float, float]:
    """Loss and accuracy on the validation part."""
    logits = torch.cat([network(as_input(pixels))[0] for pixels in data.val.batches(64)])
    labels = torch.from_numpy(data.val.labels)
    return F.cross_entropy(logits, labels).item(), float((logits.argmax(1) == labels).float().mean())


def _plain(student: Network) -> Network:
    """Takes the rounding out: weights stay where rounding had put them, activations are as they come."""
    backbone = student.backbone
    assert isinstance(backbone, fx.GraphModule)
    for module in backbone.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    for node in list(backbone.graph.nodes):
        if node.op == "call_module" and isinstance(backbone.get_submodule(str(node.target)), RoundedActivation):
            node.replace_all_uses_with(node.args[0])
            backbone.graph.erase_node(node)
            backbone.delete_submodule(str(node.target))
    backbone.recompile()
    return student.eval()


def _is_rounded(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether the quantized file rounds this node's result."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        if isinstance(module, nn.Conv2d) and _only_clipped(node.users, modules):
            return False
        return isinstance(module, ROUNDED)
    name = getattr(node.target, "__name__", str(node.target))
    return node.op in {"call_function", "call_method"} and name in ADDITIONS


def _only_clipped(users: Iterable[fx.Node], modules: dict[str, nn.Module]) -> bool:
    return all(user.op == "call_module" and isinstance(modules[str(user.target)], CLIPPERS) for user in users)

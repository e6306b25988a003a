"""A network's pass in bfloat16, back and forth, with depthwise convolutions that learn as quickly as the others.

What torch has for the gradients of a depthwise convolution in bfloat16 on a CPU is slow where the kernel is larger
than 3 x 3 (for the weights) or the stride is not 1 (for the input): half of a step of EfficientNet-Lite0, which so
took longer than in float32. Both can be had from quick kernels: the gradient of a 5 x 5 weight from four of 3 x 3,
that of a strided input from float32.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

QUICK = 3  # the largest side of a kernel whose weight gradient is quick


class QuickDepthwise(nn.Conv2d):
    """A depthwise convolution without bias, dilation or another padding than zeros."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Depthwise.apply(x, self.weight, tuple(self.stride), tuple(self.padding))
        return y


@contextmanager
def in_bfloat16(network: nn.Module) -> Iterator[None]:
    """What a network computes while it lasts, it computes in bfloat16 where torch finds that safe; parameters stay
    float32."""
    layers = [module for module in network.modules() if _fits(module)]
    for layer in layers:
        layer.__class__ = QuickDepthwise
    try:
        with torch.autocast("cpu", torch.bfloat16):
            yield
    finally:
        for layer in layers:
            layer.__class__ = nn.Conv2d


def _fits(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d
        and 1 < module.groups == module.in_channels == module.out_channels
        and module.bias is None
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and set(module.dilation) == {1}
    )


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return torch.conv2d(x, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            kind = gradient.dtype if set(ctx.stride) == {1} else torch.float32
            like_x = x if x.dtype == kind else torch.empty_like(x, dtype=kind)  # its values do not count
            of_x = _gradients(gradient.to(kind), like_x, weight.to(kind), ctx.stride, ctx.padding, (True, False))[0]
            of_x = of_x.to(x.dtype)
        if ctx.needs_input_grad[1]:
            of_weight = _of_weight(gradient, x.to(gradient.dtype), weight, ctx.stride, ctx.padding).to(weight.dtype)
        return of_x, of_weight, None, None


def _of_weight(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """The gradient of a depthwise weight, [C, 1, h, w], from windows of it of at most QUICK x QUICK."""
    tall, wide = (min(side, QUICK) for side in weight.shape[2:])
    if (tall, wide) == tuple(weight.shape[2:]):
        return _gradients(gradient, x, weight.to(gradient.dtype), stride, padding, (False, True))[1]
    x = nn.functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    high, broad = ((count - 1) * step for count, step in zip(gradient.shape[2:], stride, strict=True))
    whole = torch.empty_like(weight, dtype=gradient.dtype)
    part = torch.empty_like(weight[:, :, :tall, :wide], dtype=gradient.dtype)  # its values do not count
    for top, left in itertools.product(_starts(weight.shape[2], tall), _starts(weight.shape[3], wide)):
        seen = x[:, :, top : top + high + tall, left : left + broad + wide]
        seen = seen.contiguous(memory_format=torch.channels_last)
        found = _gradients(gradient, seen, part, stride, (0, 0), (False, True))[1]
        whole[:, :, top : top + tall, left : left + wide] = found
    return whole


def _starts(length: int, window: int) -> list[int]:
    """Where windows begin that cover so much, the last of them at its end."""
    return sorted({*range(0, length - window, window), length - window})


def _gradients(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    wanted: tuple[bool, bool],
) -> tuple[Tensor, Tensor]:
    """The gradients of a depthwise convolution's input and weight, as torch's own kernels have them."""
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), (*wanted, False)
    )
    return of_x, of_weight

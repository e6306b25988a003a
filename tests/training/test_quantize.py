from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from rich.progress import Progress

from edge.model import Classifier
from training.compare import run as run_file
from training.export import Front, export_core
from training.networks import build_network
from training.quantize import METHODS, Histogram, entropy, minmax, observe, percentile, scaled, to_int8
from training.run import Run


def histogram(values: np.ndarray) -> Histogram:
    low, high = min(float(values.min()), 0.0), float(values.max())
    return Histogram(low, high, np.histogram(values, 2048, (low, high))[0])


def test_the_int8_file_keeps_the_classes_that_fp32_gives(finished: Path, progress: Progress) -> None:
    run = Run.open(finished, progress)
    fp32, int8 = (Classifier(path, provider="cpu") for path in (run.fp32, run.int8))
    agreement = run_file(fp32, run.data.test).argmax(1) == run_file(int8, run.data.test).argmax(1)
    assert agreement.mean() >= 0.94
    assert run.int8.stat().st_size < 0.4 * run.fp32.stat().st_size


def test_the_card_of_the_int8_file_lists_what_was_tried(finished: Path, progress: Progress) -> None:
    card = Classifier(finished / "int8.onnx", provider="cpu").card
    assert [candidate["method"] for candidate in card.quantization["candidates"]] == list(METHODS)
    chosen = next(c for c in card.quantization["candidates"] if c["method"] == card.quantization["calibration"])
    assert chosen["accuracy"] == max(c["accuracy"] for c in card.quantization["candidates"])


@pytest.mark.parametrize(("name", "convolutions"), [("efficientnet_lite0", 49), ("resnet18", 20)])
def test_onnx_runtime_runs_every_convolution_and_addition_in_integers(
    name: str, convolutions: int, tmp_path: Path
) -> None:
    network = build_network(name, 3, from_scratch=True).eval()
    core = export_core(network, 64)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    ranges = {key: minmax(seen) for key, seen in observe(core, [scaled(pixels, network.scaling)]).items()}
    front = Front((network.scaling.zero,), (network.scaling.divisor,))
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(to_int8(core, ranges, front).SerializeToString(), options)
    ops = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert ops["QLinearConv"] == convolutions
    assert not ops["Conv"] + ops["Add"] + ops["Clip"] + ops["Relu"]
    assert ops["Gemm"] == 1  # the head


def test_observing_sees_every_tensor_s_range_and_zero() -> None:
    core = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 20]>
        core (float[N, 1, 2, 2] x) => (float[N, 4] logits) { y = Add (x, x)  logits = Flatten (y) }"""
    )
    batches = [np.full((1, 1, 2, 2), value, np.float32) for value in (1.0, 5.0, 2.5)]
    seen = observe(core, batches)
    assert set(seen) == {"x", "y", "logits"}
    assert (seen["y"].low, seen["y"].high) == (0.0, 10.0)
    assert seen["y"].counts.sum() == 12
    assert seen["y"].counts[1023] + seen["y"].counts[1024] == 4


def test_percentile_leaves_out_rare_spikes_and_minmax_does_not() -> None:
    values = histogram(np.concatenate([np.random.default_rng(0).normal(0, 1, 200_000), [50.0]]))
    assert minmax(values)[1] == 50
    low, high = percentile(values)
    assert -4.5 < low < -3.4
    assert 3.4 < high < 4.5


def test_entropy_clips_a_long_tail_but_not_a_flat_distribution() -> None:
    rng = np.random.default_rng(0)
    spiky = histogram(np.concatenate([rng.normal(0, 1, 500_000), rng.normal(0, 1, 50) * 20]))
    assert entropy(spiky)[1] < 0.5 * spiky.high
    flat = histogram(rng.uniform(0, 6, 200_000))
    assert entropy(flat)[1] > 5.5


@pytest.mark.parametrize("method", METHODS)
def test_a_range_always_holds_zero_and_stays_within_what_was_seen(method: str) -> None:
    for values in (np.zeros(10), np.full(10, 3.0), np.linspace(0, 6, 1000)):
        low, high = float(min(values.min(), 0)), float(max(values.max(), 1e-6))
        counts = np.histogram(values, 2048, (low, high))[0]
        chosen = METHODS[method](Histogram(low, high, counts))
        assert low <= chosen[0] <= 0 <= chosen[1] <= high

import copy
import platform
from collections import Counter
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, numpy_helper
from rich.progress import Progress
from torch import nn

from edge.model import Classifier
from training.aware import fit_aware
from training.compare import run as run_file
from training.export import Front, export_core
from training.networks import build_network
from training.quantize import KEPT_IN_FLOAT, Limits, quantize, run_core, saturates, scaled, to_int8
from training.ranges import METHODS, Histogram, entropy, minmax, observe, percentile
from training.run import Run
from training.sensitivity import most_sensitive


def histogram(values: np.ndarray) -> Histogram:
    low, high = min(float(values.min()), 0.0), float(values.max())
    return Histogram(low, high, np.histogram(values, 2048, (low, high))[0])


def test_the_int8_file_keeps_the_classes_that_fp32_gives(finished: Path, progress: Progress) -> None:
    run = Run.open(finished, progress)
    fp32, int8 = (Classifier(path, provider="cpu") for path in (run.fp32, run.int8))
    agreement = run_file(fp32, run.data.test).argmax(1) == run_file(int8, run.data.test).argmax(1)
    assert agreement.mean() >= 0.94
    assert run.int8.stat().st_size < 0.4 * run.fp32.stat().st_size


def test_the_card_lists_what_was_tried_and_the_fastest_that_holds_ships(finished: Path) -> None:
    quantization = Classifier(finished / "int8.onnx", provider="cpu").card.quantization
    tried = {one["method"]: one for one in quantization["candidates"]}
    assert {"fp32", *METHODS} < set(tried)
    assert any(one["kept_in_float"] for one in tried.values())
    ships, fp32 = tried[quantization["ships"]], tried["fp32"]
    assert ships["holds"]
    kind = ("kept_in_float", "stem_rearranged")
    alike = [one["p50_ms"] for one in tried.values() if [one[key] for key in kind] == [ships[key] for key in kind]]
    assert ships is fp32 or min(alike) <= fp32["p50_ms"]
    assert all(one["p50_ms"] > 0 and one["size_bytes"] > 0 for one in tried.values())
    assert fp32["drop"] == fp32["logit_error"] == 0
    limits = quantization["limits"]
    for one in tried.values():
        assert one["holds"] == (one["drop"] <= limits["drop"] and one["class_drop"] <= limits["class_drop"])


def test_what_loses_too_much_does_not_ship_and_nodes_go_back_to_float(finished: Path, progress: Progress) -> None:
    run = Run.open(finished, progress)
    core = onnx.load(run.core)
    impossible = Limits(drop=-1.0)
    made = quantize(
        {"": core}, run.network.scaling, run.data.train, run.data.val, run.data.classes, 0, impossible, progress
    )
    assert made.ships == "fp32"
    kept = [one.kept_in_float for one in made.candidates if one.kept_in_float and not one.stem_rearranged]
    assert kept == list(KEPT_IN_FLOAT[: len(kept)])
    assert len(kept) >= 2
    assert not any(one.holds for one in made.candidates)


def test_the_most_sensitive_node_is_the_one_whose_weights_do_not_fit_a_grid(finished: Path, progress: Progress) -> None:
    run = Run.open(finished, progress)
    core = onnx.load(run.core)
    convolutions = [node for node in core.graph.node if node.op_type == "Conv"]
    spoiled = next(tensor for tensor in core.graph.initializer if tensor.name == convolutions[1].input[1])
    weights = numpy_helper.to_array(spoiled).copy()
    weights[:, 0, 0, 0] = 300.0  # one value of each channel leaves no steps for the others
    spoiled.CopyFrom(numpy_helper.from_array(weights, spoiled.name))
    pixels = run.data.train.pixels(slice(0, 8))
    batches = [scaled(pixels, run.network.scaling)]
    ranges = {key: minmax(seen) for key, seen in observe(core, batches).items()}
    front = Front((run.network.scaling.zero,), (run.network.scaling.divisor,))
    assert most_sensitive(core, to_int8(core, ranges, front), batches, ("Conv",))[0] == convolutions[1].name
    kept = to_int8(core, ranges, front, in_float=[convolutions[1].name])
    assert {tensor.name for tensor in kept.graph.initializer} >= {spoiled.name}, "its weights are still floats"


def test_weights_get_seven_bits_where_pairs_of_products_would_be_cut_off(finished: Path, progress: Progress) -> None:
    run = Run.open(finished, progress)
    core = onnx.load(run.core)
    batches = [scaled(run.data.train.pixels(slice(0, 8)), run.network.scaling)]
    ranges = {key: minmax(seen) for key, seen in observe(core, batches).items()}
    front = Front((run.network.scaling.zero,), (run.network.scaling.divisor,))
    for seven_bits, most in ((False, 127), (True, 64)):
        made = to_int8(core, ranges, front, seven_bits=seven_bits)
        weights = [numpy_helper.to_array(t) for t in made.graph.initializer if t.data_type == TensorProto.INT8]
        assert max(int(np.abs(w.astype(int)).max()) for w in weights if w.ndim > 1) == most


@pytest.mark.parametrize(
    ("flags", "cut_off"), [("fpu avx2 avx512f", True), ("fpu avx2 avx_vnni", False), ("avx512_vnni amx_int8", False)]
)
def test_a_processor_without_vnni_is_known_by_its_flags(flags: str, cut_off: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")
    assert saturates("here", tmp_path / "cpuinfo") == (cut_off and platform.machine() == "x86_64")
    assert saturates("no-vnni")
    assert not saturates("vnni")
    assert not saturates("arm")


def test_a_network_that_learnt_to_be_rounded_loses_no_more_than_one_that_did_not(
    finished: Path, progress: Progress
) -> None:
    """Channels of very different height share one scale of 256 steps: the low ones are rounded away."""
    run = Run.open(finished, progress)
    network = copy.deepcopy(run.network)
    layers = cast("nn.Sequential", network.backbone)
    with torch.no_grad():  # what one layer blows up the next one shrinks: in float the same answers
        spread = torch.logspace(0, 3, 32)
        layers[1].weight *= spread
        layers[1].bias *= spread
        layers[4].weight /= spread.reshape(1, -1, 1, 1)
    settings = run.settings.fit.model_copy(update={"lr": 2e-3})
    aware = fit_aware(network, run.data, settings, 2, True, progress)
    front = Front((network.scaling.zero,), (network.scaling.divisor,))
    found = []
    for each in (network, aware):
        core = export_core(each, 32)
        batches = [scaled(run.data.train.pixels(slice(0, 32)), network.scaling)]
        ranges = {key: minmax(seen) for key, seen in observe(core, batches).items()}
        logits = run_core(to_int8(core, ranges, front, seven_bits=True), run.data.val, network.scaling)
        found.append(float((logits.argmax(1) == run.data.val.labels).mean()))
    assert found[1] >= found[0]


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

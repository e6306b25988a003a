import copy
import platform
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, numpy_helper
from rich.progress import Progress
from torch import nn

from edge.errors import ModelError
from edge.model import Classifier
from training.aware import RoundedActivation, fit_aware, taught_by
from training.calibrate import fit_calibration
from training.compare import run as run_file
from training.export import Front, export_core
from training.fit import predict
from training.quantize import KEPT_IN_FLOAT, Limits, Target, quantize, run_core, saturates, scaled, to_int8
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
    assert fp32["drop"] == 0
    limits = quantization["limits"]
    for one in tried.values():
        assert one["holds"] == (one["drop"] <= limits["drop"] and one["class_drop"] <= limits["class_drop"])


@pytest.mark.parametrize("fastest", ["the integers", "nodes in float", "stem rearranged", "fp32"])
def test_the_fastest_kind_ships_in_its_best_form_and_nothing_slower_than_fp32(
    fastest: str, finished: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times are the test's own: it looks at the rule, not at this machine."""

    def kind(method: str) -> str:
        kinds = ("nodes in float, stem rearranged", "stem rearranged", "nodes in float", "fp32")
        found = [one for one in kinds if method.endswith(one)]
        return found[0] if found else "the integers"

    def timed(calls: dict[str, object], rounds: int) -> dict[str, tuple[float, float]]:
        times = {
            "fp32": 4.0,
            "nodes in float, stem rearranged": 5.2,
            "stem rearranged": 4.5,
            "nodes in float": 5.0,
            "the integers": 5.5,
        } | {fastest: 3.0}
        return {method: (times[kind(method)], 9.0) for method in calls}

    monkeypatch.setattr("training.quantize.time_interleaved", timed)
    run = Run.open(finished, progress)
    core, data, scaling = onnx.load(run.core), run.data, run.network.scaling
    if fastest == "nodes in float":
        order = sorted(core.graph.node, key=lambda node: node.op_type != "Conv")
        monkeypatch.setattr("training.quantize.most_sensitive", lambda *_: [node.name for node in order])
    target: Target = "no-vnni" if fastest == "the integers" else "vnni"
    limits = Limits(drop=1.0, class_drop=1.0, target=target)
    train = data.train
    if fastest == "stem rearranged":  # taught by votes: then the file moves its logits, too
        train = replace(train, targets=(0.9 * train.targets + 0.1 / len(data.classes)).astype(np.float32))
    made = quantize({"": core}, scaling, train, data.val, data.classes, 0, limits, progress)
    tried = {one.method: one for one in made.candidates}
    assert {kind(method) for method in tried} >= {"the integers", "nodes in float", "fp32", fastest}
    assert kind(made.ships) == fastest
    assert {"minmax", "percentile", "entropy"} == set(METHODS) < set(tried)
    if fastest == "fp32":
        return
    assert made.ships == made.method
    alike = [one for method, one in tried.items() if kind(method) == fastest]
    assert tried[made.method].loss == min(one.loss for one in alike)

    logits, wanted = run_core(made.model, data.val, scaling, saturates("here")), run_core(core, data.val, scaling)
    labels = data.val.labels
    answers, expected = (
        fit_calibration(raw, labels, offsets=train is not data.train).probabilities(raw) for raw in (logits, wanted)
    )
    called, before = answers.argmax(1), expected.argmax(1)
    chosen = tried[made.method]
    assert chosen.accuracy == pytest.approx((called == labels).mean())
    assert chosen.loss == pytest.approx(-np.log(answers[np.arange(len(labels)), labels]).mean())
    assert chosen.agreement == pytest.approx((called == before).mean())
    assert chosen.drop == pytest.approx((before == labels).mean() - (called == labels).mean())
    drops = [(before[labels == n] == n).mean() - (called[labels == n] == n).mean() for n in range(len(data.classes))]
    assert chosen.class_drop == pytest.approx(max(drops))

    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.model.graph.initializer}
    weights = [array for array in stored.values() if array.dtype == np.int8 and array.ndim > 1]
    assert max(int(np.abs(array.astype(int)).max()) for array in weights) == (64 if made.seven_bits else 127)
    assert made.seven_bits == (target == "no-vnni")
    convolutions = [array for array in weights if array.ndim == 4]
    assert len(convolutions) == (0 if fastest == "nodes in float" else 2), "what suffers most is what is left in float"
    assert chosen.kept_in_float == (2 if fastest == "nodes in float" else 0)


def test_every_output_channel_has_a_scale_of_its_own_and_activations_are_unsigned(finished: Path) -> None:
    graph = onnx.load(finished / "int8.onnx").graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    scales = {node.input[0]: stored[node.input[1]] for node in graph.node if node.op_type == "DequantizeLinear"}
    weights = [name for name in scales if name in stored and stored[name].ndim == 4]
    assert len(weights) == 2
    assert all(scales[name].shape == stored[name].shape[:1] for name in weights)
    zeros = [stored[node.input[2]].dtype for node in graph.node if node.op_type == "QuantizeLinear"]
    assert set(zeros) == {np.dtype(np.uint8)}


@pytest.mark.parametrize("impossible", [Limits(drop=-1.0), Limits(drop=1.0, class_drop=-1.0)])
def test_what_loses_too_much_does_not_ship_and_nodes_go_back_to_float(
    impossible: Limits, finished: Path, progress: Progress
) -> None:
    run = Run.open(finished, progress)
    core = onnx.load(run.core)
    made = quantize(
        {"": core}, run.network.scaling, run.data.train, run.data.val, run.data.classes, 0, impossible, progress
    )
    assert made.ships == "fp32"
    kept = [one.kept_in_float for one in made.candidates if one.kept_in_float and not one.stem_rearranged]
    assert kept == list(KEPT_IN_FLOAT[: len(kept)])
    assert len(kept) >= 2
    assert not any(one.holds for one in made.candidates)


def test_what_it_is_timed_with_must_be_there(finished: Path, progress: Progress) -> None:
    run = Run.open(finished, progress)
    limits = Limits(provider="tensorrt")
    with pytest.raises(ModelError, match="'tensorrt' is not installed here"):
        quantize(
            {"": onnx.load(run.core)}, run.network.scaling, run.data.train, run.data.val, run.data.classes, 0, limits,
            progress,
        )  # fmt: skip


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


@pytest.mark.parametrize("reach", [0.5, 4.0], ids=["all inside", "clipped"])
def test_rounding_while_training_is_what_torch_calls_fake_quantization(reach: float) -> None:
    rounds = RoundedActivation().eval()
    rounds.low, rounds.high = torch.tensor(-0.7), torch.tensor(1.9)
    x = torch.linspace(-0.7 * reach, 1.9 * reach, 4001).reshape(1, 1, 1, -1).requires_grad_()
    step, weights = 2.6 / 255, torch.linspace(-3, 5, 4001)
    zero = round(0.7 / step)
    theirs = torch.fake_quantize_per_tensor_affine(x, step, zero, 0, 255)
    (expected,) = torch.autograd.grad((theirs * weights).sum(), x)
    ours = rounds(x)
    (found,) = torch.autograd.grad((ours * weights).sum(), x)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    # At the ends they let what is less than half a step outside still pass.
    far = ((x.detach() + zero * step).abs() > step) & ((x.detach() - (255 - zero) * step).abs() > step)
    assert torch.equal(found[far], expected[far])
    assert far.float().mean() > 0.98
    outside = (x.detach() < -zero * step) | (x.detach() > (255 - zero) * step)
    assert (found[outside] == 0).all()
    assert bool(outside.any()) == (reach > 1)


def test_what_a_network_is_taught_while_it_learns_to_be_rounded_is_halfway_to_its_own_answer(
    finished: Path, progress: Progress
) -> None:
    run = Run.open(finished, progress)
    part, network = run.data.train, copy.deepcopy(run.network)
    with torch.no_grad():  # one that doubts
        network.head.weight *= 0.05
    logits = predict(network, part)[0]
    taught = taught_by(logits, part)
    answers = torch.from_numpy(logits).softmax(1).numpy()
    assert taught.targets.dtype == part.targets.dtype
    np.testing.assert_allclose(taught.targets, (part.targets + answers) / 2, atol=1e-5)
    np.testing.assert_allclose(taught.targets.sum(axis=1), 1, atol=1e-5)
    assert taught.names == part.names
    assert np.abs(taught.targets - part.targets).max() > 0.001


def test_a_network_that_learnt_to_be_rounded_answers_in_integers_as_it_does_in_floats(
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
    before = run_core(export_core(network, 32), run.data.train, network.scaling)
    aware = fit_aware(network, run.data, settings, 2, True, before, progress)
    front = Front((network.scaling.zero,), (network.scaling.divisor,))
    labels = run.data.val.labels

    def doubt(logits: np.ndarray) -> float:
        """How near the runner-up comes to the true class, 1 where they meet, in the mean."""
        own = logits[np.arange(len(logits)), labels]
        others = np.where(np.eye(logits.shape[1], dtype=bool)[labels], -np.inf, logits).max(1)
        return float(np.exp((others - own).astype(np.float64)).mean())

    grown = []
    for each in (network, aware):
        core = export_core(each, 32)
        batches = [scaled(run.data.train.pixels(slice(0, 32)), network.scaling)]
        ranges = {key: minmax(seen) for key, seen in observe(core, batches).items()}
        floats = run_core(core, run.data.val, network.scaling)
        rounded = run_core(to_int8(core, ranges, front, seven_bits=True), run.data.val, network.scaling)
        grown.append(doubt(rounded) / doubt(floats))
    assert grown[0] > 1000, "rounding afterwards hurts here, or nothing is shown"
    assert grown[1] < 30


@pytest.mark.parametrize(("name", "convolutions"), [("efficientnet_lite0", 49), ("resnet18", 20)])
def test_onnx_runtime_runs_every_convolution_and_addition_in_integers(
    name: str, convolutions: int, exported: Callable[[str, int], tuple[Any, Any]], tmp_path: Path
) -> None:
    network, core = exported(name, 64)
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

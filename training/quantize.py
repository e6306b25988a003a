"""Static 8-bit quantization: how large values get, which scales to choose, and which choice keeps the answers.

U8 activations and S8 weights with a scale for each output channel, as QuantizeLinear and
DequantizeLinear pairs that ONNX Runtime fuses into integer kernels. The softmax head stays in
float, and so does the pooling before it: they cost nothing, and the features stay fine-grained.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from rich.progress import Progress

from training.data import Part
from training.export import Front
from training.networks import Scaling

BINS = 2048
SAMPLES = 1 << 16  # of one tensor in one batch; the range is of all its values
INTEGER_OPS = ("Conv", "Gemm", "MatMul", "Add", "Mul", "Clip", "Relu", "MaxPool")
CALIBRATION_PICTURES = 256

Range = tuple[float, float]


@dataclass
class Histogram:
    """The values of one tensor: counts, int64 [BINS], between its lowest and its highest value."""

    low: float
    high: float
    counts: np.ndarray

    @property
    def edges(self) -> np.ndarray:
        return np.linspace(self.low, self.high, BINS + 1)


@dataclass(frozen=True)
class Candidate:
    """One way to quantize and how well it answers on the validation part, against fp32."""

    method: str
    accuracy: float
    agreement: float
    logit_error: float


def minmax(values: Histogram) -> Range:
    """All values that occurred."""
    return values.low, values.high


def percentile(values: Histogram, kept: float = 0.9999) -> Range:
    """The middle of the values, without the outermost ten-thousandth: rare spikes do not coarsen the rest."""
    share = np.cumsum(values.counts) / values.counts.sum()
    first = int(np.searchsorted(share, (1 - kept) / 2))
    last = int(np.searchsorted(share, (1 + kept) / 2))
    return min(float(values.edges[first]), 0.0), max(float(values.edges[min(last + 1, BINS)]), 0.0)


def entropy(values: Histogram) -> Range:
    """The clipping at which the quantized values tell least apart from the real ones.

    The threshold on |value| with the smallest Kullback-Leibler divergence between the clipped
    distribution and its quantized form: Migacz, "8-bit inference with TensorRT", GTC 2017.
    """
    middles = (values.edges[:-1] + values.edges[1:]) / 2
    largest = max(abs(values.low), abs(values.high))
    counts, edges = np.histogram(np.abs(middles), BINS, (0, largest), weights=values.counts)
    counts[0] = counts[1]  # zeros are exact at any scale, and so many that they would drown the rest
    if not counts.any():
        return values.low, values.high
    levels = 256 if values.low >= 0 else 128
    best, threshold = np.inf, largest
    for size in range(levels, BINS + 1, 16):
        real = counts[:size].copy()
        real[-1] += counts[size:].sum()
        starts = np.linspace(0, size, levels, endpoint=False).astype(int)
        group = np.repeat(np.arange(levels), np.diff([*starts, size]))
        filled = counts[:size] > 0
        in_group = np.bincount(group, filled, levels)
        quantized = np.where(filled, (np.bincount(group, counts[:size], levels) / np.maximum(in_group, 1))[group], 0)
        real, quantized = real / real.sum(), quantized / max(quantized.sum(), 1)
        seen = real > 0
        divergence = float((real[seen] * np.log(real[seen] / np.maximum(quantized[seen], 1e-9))).sum())
        if divergence < best:
            best, threshold = divergence, float(edges[size])
    return max(values.low, -threshold), min(values.high, threshold)


METHODS: dict[str, Callable[[Histogram], Range]] = {"minmax": minmax, "percentile": percentile, "entropy": entropy}


def observe(core: onnx.ModelProto, batches: Iterable[np.ndarray]) -> dict[str, Histogram]:
    """Runs float32 [n, 3, H, W] batches through a core and histograms every tensor in it, twice: range, then counts.

    ONNX Runtime's own calibrators keep every value of every tensor in memory until the end, and run
    anew for each method; this keeps one histogram a tensor, for all methods.
    """
    model = onnx.ModelProto()
    model.CopyFrom(core)
    outputs = {output.name for output in model.graph.output}
    inside = [name for node in model.graph.node for name in node.output if name and name not in outputs]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in inside)
    session = _session(model)
    names = [session.get_inputs()[0].name, *(output.name for output in session.get_outputs())]

    def values() -> Iterator[tuple[str, np.ndarray]]:
        for batch in batches:
            for name, value in zip(names, [batch, *session.run(None, {names[0]: batch})], strict=True):
                if value.dtype == np.float32:
                    yield name, value

    ranges: dict[str, Range] = {}
    for name, value in values():
        low, high = ranges.get(name, (0.0, 0.0))  # zero must always be a value that can be written
        ranges[name] = min(low, float(value.min())), max(high, float(value.max()))
    histograms = {
        name: Histogram(low, high if high > low else low + 1e-6, np.zeros(BINS, np.int64))
        for name, (low, high) in ranges.items()
    }
    for name, value in values():
        into = histograms[name]
        some = value.reshape(-1)[:: value.size // SAMPLES | 1]  # an odd step meets every channel
        into.counts += np.histogram(some, BINS, (into.low, into.high))[0]
    return histograms


def to_int8(core: onnx.ModelProto, ranges: dict[str, Range], front: Front) -> onnx.ModelProto:
    """A core with its convolutions, additions and dense layers in integers, its last layer in float."""
    model = onnx.ModelProto()
    model.CopyFrom(core)
    graph = model.graph
    last = next(node.name for node in graph.node if graph.output[0].name in node.output)
    # The input's scale is not a matter of calibration: pixels are that quantized tensor already.
    exact = {
        "scale": np.array(1 / front.divisor[0], np.float32),
        "zero_point": np.array(front.zero[0], np.uint8),
    }
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(
            CalibrationMethod.MinMax,
            {name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in ranges.items()},
        ),
        nodes_to_quantize=[],
        nodes_to_exclude=[last],
        op_types_to_quantize=list(INTEGER_OPS),
        extra_options={
            "ActivationSymmetric": False,
            "WeightSymmetric": True,
            "TensorQuantOverrides": {graph.input[0].name: [exact]},
        },
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized


def quantize(
    core: onnx.ModelProto, scaling: Scaling, train: Part, val: Part, seed: int, progress: Progress
) -> tuple[onnx.ModelProto, str, list[Candidate]]:
    """Quantizes a core by each of METHODS and takes the one that answers best on the validation part.

    Calibrates on at most CALIBRATION_PICTURES of the training part, as they are. Returns the int8
    core, the method that it was made by and all candidates. On a tie in accuracy the one with the
    smaller mean squared difference of its logits to fp32's wins.
    """
    front = Front((scaling.zero,), (scaling.divisor,))
    chosen = np.random.default_rng(seed).permutation(len(train))[:CALIBRATION_PICTURES]
    batches = [scaled(train.pixels(chosen[i : i + 8]), scaling) for i in range(0, len(chosen), 8)]
    task = progress.add_task("quantizing", total=len(METHODS) + 1)
    histograms = observe(core, batches)
    progress.advance(task)
    reference = run_core(core, val, scaling)

    candidates: list[Candidate] = []
    models: dict[str, onnx.ModelProto] = {}
    for method, choose in METHODS.items():
        models[method] = to_int8(core, {name: choose(values) for name, values in histograms.items()}, front)
        logits = run_core(models[method], val, scaling)
        candidates.append(
            Candidate(
                method,
                accuracy=float((logits.argmax(1) == val.labels).mean()),
                agreement=float((logits.argmax(1) == reference.argmax(1)).mean()),
                logit_error=float(((logits - reference) ** 2).mean()),
            )
        )
        progress.advance(task)
    progress.remove_task(task)
    best = max(candidates, key=lambda candidate: (candidate.accuracy, -candidate.logit_error))
    return models[best.method], best.method, candidates


def scaled(pixels: np.ndarray, scaling: Scaling) -> np.ndarray:
    """RGB uint8 [n, H, W, 3] as a core's input, float32 [n, 3, H, W]."""
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32)
    return np.asarray((planes - scaling.zero) / np.float32(scaling.divisor))


def run_core(core: onnx.ModelProto, part: Part, scaling: Scaling) -> np.ndarray:
    """A core's logits, float32 [n, classes], for all pictures of a part."""
    session = _session(core)
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(["logits"], {name: scaled(b, scaling)})[0] for b in part.batches(32)])


def _session(model: onnx.ModelProto) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

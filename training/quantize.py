"""8-bit quantization by measurement: several ways to do it, and the fastest that keeps the answers.

U8 activations and S8 weights with a scale for each output channel, as QuantizeLinear and
DequantizeLinear pairs that ONNX Runtime fuses into integer kernels. The softmax head stays in
float, and so does the pooling before it: they cost nothing, and the features stay fine-grained.
"""

import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from rich.progress import Progress

from edge.model import FORMAT, Classifier, ModelCard
from training.architectures import Scaling
from training.calibrate import fit_calibration
from training.compare import time_interleaved
from training.data import Part
from training.export import Front, dress, with_card
from training.processor import CPUINFO, processor_flags
from training.ranges import METHODS, Range, observe
from training.sensitivity import most_sensitive
from training.sessions import session_of
from training.stem import rearranged
from training.tta import LOOKS, Tta, looks_at, mean_of_looks

INTEGER_OPS = ("Conv", "Gemm", "MatMul", "Add", "Mul", "Clip", "Relu", "MaxPool")
CALIBRATION_PICTURES = 256
DEBUG_PICTURES = 8
KEPT_IN_FLOAT = (2, 4, 8, 16)  # nodes, until the answers hold
ROUNDS = 60
AS_FAST = 1.03  # so far apart, two forms count as equally fast
TINIEST = np.finfo(np.float64).tiny
FP32 = "fp32"

Target = Literal["here", "vnni", "no-vnni", "arm"]


@dataclass(frozen=True)
class Limits:
    """What a quantized file may cost, and where it will run.

    drop is of the accuracy, class_drop of any one class's recall, shares from 0 to 1 on the validation
    part against fp32. provider is one of edge's; target says what the processor of the line can do.
    """

    drop: float = 0.005
    class_drop: float = 0.02
    provider: str = "cpu"
    target: Target = "here"


@dataclass(frozen=True)
class Candidate:
    """One way to quantize, measured on the validation part.

    Shares are from 0 to 1; agreement is with fp32, drop against it; loss is the mean surprise at the labels, in
    nats, of probabilities calibrated as the file's will be; p50_ms of one picture on one thread, all in turns.
    kept_in_float counts the nodes that are not quantized though they could be; stem_rearranged says that the
    first convolution has the form of training.stem, which changes its time and nothing else.
    """

    method: str
    accuracy: float
    agreement: float
    drop: float
    worst_class: str
    class_drop: float
    loss: float
    p50_ms: float
    size_bytes: int
    kept_in_float: int
    holds: bool
    stem_rearranged: bool = False


@dataclass(frozen=True)
class Quantized:
    """The outcome: the best quantized core, which of the candidates it is, and which of all should ship.

    ships is "fp32" when no quantized core holds, or none is faster.
    """

    model: onnx.ModelProto
    method: str
    ships: str
    seven_bits: bool
    candidates: tuple[Candidate, ...]


def saturates(target: Target, cpuinfo: Path = CPUINFO) -> bool:
    """Whether the target adds pairs of 8-bit products in 16 bits, so that large ones are cut off.

    Intel and AMD processors before VNNI do (vpmaddubsw): there weights get 7 bits, which cannot
    overflow. https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
    """
    if target != "here":
        return target == "no-vnni"
    if platform.machine().lower() not in {"x86_64", "amd64", "i686"}:
        return False
    flags = processor_flags(cpuinfo)
    # Where it is not told, the safe side: a seventh bit instead of wrong sums.
    return flags is None or not flags & {"avx512_vnni", "avx_vnni", "amx_int8"}


def to_int8(
    core: onnx.ModelProto,
    ranges: dict[str, Range],
    front: Front,
    *,
    seven_bits: bool = False,
    in_float: Sequence[str] = (),
) -> onnx.ModelProto:
    """A core with its convolutions, additions and dense layers in integers, its last layer in float.

    seven_bits gives weights from -64 to 64; in_float names further nodes to leave as they are.
    """
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
        reduce_range=seven_bits,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(
            CalibrationMethod.MinMax,
            {name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in ranges.items()},
        ),
        nodes_to_quantize=[],
        nodes_to_exclude=[last, *in_float],
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
    cores: dict[str, onnx.ModelProto],
    scaling: Scaling,
    train: Part,
    val: Part,
    classes: Sequence[str],
    seed: int,
    limits: Limits,
    progress: Progress,
    tta: Tta = "none",
) -> Quantized:
    """Tries all ways to quantize and takes the fastest that loses no more than the limits allow.

    With tta answers and times are those of all looks at a picture. Of equally fast ones that hold the one with
    the lowest loss is taken: shares of a few hundred pictures are often equal, or differ by one picture of luck.

    cores[""] is the network as it was trained; others, by a name, are the same network trained further
    to bear rounding. Ranges come from at most CALIBRATION_PICTURES of the training part, as they are.
    """
    trial = _Trial(cores[""], scaling, val, classes, limits, tta, offsets=train.soft)
    chosen = np.random.default_rng(seed).permutation(len(train))[:CALIBRATION_PICTURES]
    batches = [scaled(train.pixels(chosen[i : i + 8]), scaling) for i in range(0, len(chosen), 8)]
    task = progress.add_task("quantizing", total=len(METHODS) * len(cores) + len(KEPT_IN_FLOAT) + 2)
    ways: dict[str, tuple[onnx.ModelProto, dict[str, Range]]] = {}
    for name, core in cores.items():
        histograms = observe(core, batches)
        for method, choose in METHODS.items():
            label = f"{name} {method}".strip()
            ways[label] = core, {key: choose(seen) for key, seen in histograms.items()}
            trial.add(label, to_int8(*ways[label], trial.front, seven_bits=trial.saturates))
            progress.advance(task)
    # The nodes that suffer most go back to float, a few at a time, until the answers hold.
    best = trial.best().method
    core, ranges = ways[best]
    order = most_sensitive(core, trial.models[best], [batches[0][:DEBUG_PICTURES]], INTEGER_OPS)
    for count in KEPT_IN_FLOAT:
        if 2 * count > len(order):
            break
        label = f"{best}, {count} nodes in float"
        trial.add(label, to_int8(core, ranges, trial.front, seven_bits=trial.saturates, in_float=order[:count]), count)
        progress.advance(task)
        if trial.holds(label):
            break
    for method in trial.best_of_each_kind():
        if (quicker := rearranged(trial.models[method])) is not None:
            trial.add_quicker(method, f"{method}, stem rearranged", quicker)
    trial.time()
    progress.remove_task(task)
    return trial.outcome()


class _Trial:
    """Candidates for one network, on one validation part, under one set of limits."""

    def __init__(
        self,
        core: onnx.ModelProto,
        scaling: Scaling,
        val: Part,
        classes: Sequence[str],
        limits: Limits,
        tta: Tta,
        offsets: bool,
    ) -> None:
        self.front = Front((scaling.zero,), (scaling.divisor,))
        self.saturates = saturates(limits.target)
        # What this processor would cut off, the target does not: then the numbers are taken as written.
        self._as_written = saturates("here") and not self.saturates
        self._scaling, self._val, self._classes, self._limits, self._tta = scaling, val, classes, limits, tta
        self._offsets = offsets
        self._reference = self._probabilities(core)
        self._found = self._recalls(self._reference)
        self.models = {FP32: core}
        self._candidates: dict[str, Candidate] = {}
        self._measure(FP32, 0)

    def add(self, method: str, model: onnx.ModelProto, kept_in_float: int = 0) -> None:
        """Measures what a quantized core answers."""
        self.models[method] = model
        self._measure(method, kept_in_float)

    def add_quicker(self, like: str, method: str, model: onnx.ModelProto) -> None:
        """Takes in a form that computes the same integers as an earlier one, in another order."""
        self.models[method] = model
        self._candidates[method] = replace(self._candidates[like], method=method, stem_rearranged=True)

    def holds(self, method: str) -> bool:
        return self._candidates[method].holds

    def best(self) -> Candidate:
        """Of the quantized candidates the one that answers best, holding ones first."""
        quantized = [one for name, one in self._candidates.items() if name != FP32]
        return min(quantized, key=lambda one: (not one.holds, one.loss))

    def best_of_each_kind(self) -> list[str]:
        """The holding one that answers best for each number of nodes in float: how fast a kind is comes later."""
        holding = [one for name, one in self._candidates.items() if name != FP32 and one.holds]
        kinds = sorted({one.kept_in_float for one in holding})
        best = [min((o for o in holding if o.kept_in_float == kind), key=lambda o: o.loss).method for kind in kinds]
        return best or [self.best().method]

    def time(self) -> None:
        """Measures how long each takes for one picture, in turns, in the form in which it would ship."""
        height, width = self._val.store.shape[1:3]
        with TemporaryDirectory() as folder:
            calls: dict[str, Callable[[], object]] = {}
            card = ModelCard(
                format=FORMAT, name="candidate", version="", classes=tuple(self._classes), height=height, width=width
            )
            for number, (method, core) in enumerate(self.models.items()):
                path = Path(folder) / f"{number}.onnx"
                dressed = dress(core, height, width, self.front, len(self._classes), tta=self._tta)
                path.write_bytes(with_card(dressed, card).SerializeToString())
                classifier = Classifier(path, provider=self._limits.provider, threads=1)
                picture = self._val.pixels(slice(0, 1))
                calls[method] = lambda c=classifier, p=picture: c.run(p)  # type: ignore[misc]
                self._change(method, size_bytes=path.stat().st_size)
            for method, (p50, _) in time_interleaved(calls, ROUNDS).items():
                self._change(method, p50_ms=p50)

    def outcome(self) -> Quantized:
        quantized = [one for name, one in self._candidates.items() if name != FP32]
        holding = [one for one in quantized if one.holds]
        # Forms that differ in their scales alone run the same kernels: what one of them needed, all need.
        kernels = {one.method: (one.kept_in_float, one.stem_rearranged) for one in quantized}
        needs = {
            one.method: min(o.p50_ms for o in quantized if kernels[o.method] == kernels[one.method]) for one in holding
        }
        if holding:
            near = min(needs.values()) * AS_FAST
            as_fast = (one for one in holding if needs[one.method] <= near)
            best = min(as_fast, key=lambda c: (c.loss, needs[c.method]))
        else:
            best = self.best()
        ships = best.method if holding and needs[best.method] < self._candidates[FP32].p50_ms else FP32
        return Quantized(self.models[best.method], best.method, ships, self.saturates, tuple(self._candidates.values()))

    def _measure(self, method: str, kept_in_float: int) -> None:
        answers = self._reference if method == FP32 else self._probabilities(self.models[method], self._as_written)
        called, labels = answers.argmax(1), self._val.labels
        reference = self._reference.argmax(1)
        drop = float((reference == labels).mean() - (called == labels).mean())
        drops = self._found - self._recalls(answers)
        worst = int(np.nanargmax(drops))
        slack = 1e-9
        self._candidates[method] = Candidate(
            method,
            accuracy=float((called == labels).mean()),
            agreement=float((called == reference).mean()),
            drop=drop,
            worst_class=self._classes[worst],
            class_drop=float(drops[worst]),
            loss=float(-np.log(np.maximum(answers[np.arange(len(labels)), labels], TINIEST)).mean()),
            p50_ms=0.0,
            size_bytes=0,
            kept_in_float=kept_in_float,
            holds=drop <= self._limits.drop + slack and float(drops[worst]) <= self._limits.class_drop + slack,
        )

    def _probabilities(self, core: onnx.ModelProto, as_written: bool = False) -> np.ndarray:
        """What a core calibrated as it would ship says of the validation part, float64 [n, classes]."""
        logits = run_core(core, self._val, self._scaling, as_written, self._tta)
        return fit_calibration(logits, self._val.labels, self._offsets).probabilities(logits)

    def _recalls(self, answers: np.ndarray) -> np.ndarray:
        """The share of each class's pictures that are called so, NaN for a class without pictures."""
        labels = self._val.labels
        pictures = np.bincount(labels, minlength=len(self._classes))
        found = np.bincount(labels[answers.argmax(1) == labels], minlength=len(self._classes))
        return np.where(pictures > 0, found / np.maximum(pictures, 1), np.nan)

    def _change(self, method: str, **values: float) -> None:
        self._candidates[method] = replace(self._candidates[method], **values)  # type: ignore[arg-type]


def scaled(pixels: np.ndarray, scaling: Scaling) -> np.ndarray:
    """RGB uint8 [n, H, W, 3] as a core's input, float32 [n, 3, H, W]."""
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32)
    return np.asarray((planes - scaling.zero) / np.float32(scaling.divisor))


def run_core(
    core: onnx.ModelProto, part: Part, scaling: Scaling, as_written: bool = False, tta: Tta = "none"
) -> np.ndarray:
    """A core's logits, float32 [n, classes], for all pictures of a part: the mean of all looks.

    as_written as in session_of.
    """
    session = session_of(core, as_written)
    name = session.get_inputs()[0].name

    def logits() -> Iterator[np.ndarray]:
        for batch in part.batches(32 // LOOKS[tta]):
            looks = scaled(looks_at(batch, tta), scaling)
            yield mean_of_looks(session.run(["logits"], {name: looks})[0], tta)

    return np.concatenate(list(logits()))

"""From a trained network to the one-file contract: uint8 pixels in, probabilities and features out, card inside.

The network's core, scaled floats to logits, goes through torch's exporter; `dress` gives it the
contract's two ends. The same dress fits the fp32 core, its int8 form and anybody else's classifier.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edge.model import METADATA_KEY, Classifier, ModelCard
from training.architectures import Network
from training.calibrate import Calibration
from training.errors import TrainingError
from training.files import write_atomically
from training.stem import over_rows
from training.tta import OLDEST_OPSET, Constant, Tta, look_nodes, mean_nodes

PARITY = 1e-3
PREFIX = "net/"
UNCALIBRATED = Calibration()


@dataclass(frozen=True)
class Front:
    """How RGB pixels become a graph's input: (pixel - zero) / divisor, one value each or one a channel."""

    zero: tuple[float, ...]
    divisor: tuple[float, ...]
    layout: Literal["nchw", "nhwc"] = "nchw"

    @property
    def zero_is_whole(self) -> bool:
        """Then pixels are a quantized tensor as they are: scale 1 / divisor, zero point zero."""
        return all(float(zero).is_integer() and 0 <= zero <= 255 for zero in self.zero)


class _Core(nn.Module):
    """The part of a Network that is exported: what comes after scaling."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.core(scaled)


def export_core(network: Network, size: int) -> onnx.ModelProto:
    """The network as ONNX: `scaled` float32 [N, 3, size, size] to `logits` [N, classes] and `features` [N, D].

    The exporter folds batch norms and paddings into the convolutions. Its notes, which hold source
    lines and paths of this machine, are taken out.
    """
    # Weights that lie channels last would be exported with nodes that shuffle them about.
    network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    program = torch.onnx.export(
        _Core(network).eval(),
        (torch.zeros(2, 3, size, size),),
        dynamo=True,
        input_names=["scaled"],
        output_names=["logits", "features"],
        dynamic_shapes=({0: torch.export.Dim("N")},),
        verbose=False,
    )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    graph = model.graph
    for thing in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del thing.metadata_props[:]
        thing.doc_string = ""
    graph.name = "network"
    return model


def dress(
    core: onnx.ModelProto,
    height: int,
    width: int,
    front: Front,
    classes: int,
    *,
    scores: str = "logits",
    features: str | None = "features",
    calibration: Calibration | None = UNCALIBRATED,
    tta: Tta = "none",
) -> onnx.ModelProto:
    """Gives a classifier the contract's two ends; returns a new model without a card.

    core has one input, float32 in front.layout, and an output called `scores`: logits, or
    probabilities already when calibration is None. With tta the file looks at each picture several times
    (training.tta) and answers with the mean of logits and features. Where the core's first act is to quantize its
    input just as front's numbers say, the pixels themselves become that quantized tensor and
    nothing is computed at all. Else a first convolution is made to read rows of pixels and to scale them:
    one DequantizeLinear is left where zero is one whole number, or a Cast, and a subtraction where zeros
    are padded. Other cores get their planes, and their scaling in one node or three.
    """
    model = onnx.compose.add_prefix(core, PREFIX)
    graph = model.graph
    opset = next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    if tta != "none" and opset < OLDEST_OPSET:
        raise ValueError(f"looks need opset {OLDEST_OPSET}, not {opset}")
    constants: list[TensorProto] = []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    looks, seen = look_nodes("pixels", tta, constant)
    before = [*looks, *_front_nodes(model, seen, height, width, front, opset, constant)]
    after, answered = mean_nodes(PREFIX + scores, classes, tta, constant)
    after += _calibration_nodes(answered, calibration, constant)
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes])]
    if features:
        theirs = next(output for output in graph.output if output.name == PREFIX + features)
        length = theirs.type.tensor_type.shape.dim[1].dim_value
        means, mean = mean_nodes(PREFIX + features, length, tta, constant)
        after += [*means, helper.make_node("Identity", [mean], ["features"])]
        outputs.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", length]))

    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", height, width, 3]))
    graph.output.extend(outputs)
    return model


def _calibration_nodes(scores: str, calibration: Calibration | None, constant: Constant) -> list[onnx.NodeProto]:
    """The nodes from a core's scores to `probabilities`; without a calibration they are that already."""
    if calibration is None:
        return [helper.make_node("Identity", [scores], ["probabilities"])]
    inverse = constant("inverse_temperature", np.array(1 / calibration.temperature, np.float32))
    if not calibration.offsets:
        nodes = [helper.make_node("Mul", [scores, inverse], ["logits"])]
    else:
        offsets = constant("offsets", np.array(calibration.offsets, np.float32))
        nodes = [
            helper.make_node("Mul", [scores, inverse], ["cooled"]),
            helper.make_node("Add", ["cooled", offsets], ["logits"]),
        ]
    return [*nodes, helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1)]


def _front_nodes(
    model: onnx.ModelProto,
    pixels: str,
    height: int,
    width: int,
    front: Front,
    opset: int,
    constant: Constant,
) -> list[onnx.NodeProto]:
    """The nodes from pixels, uint8 [N, H, W, 3], to the core's input, in the cheapest of dress's ways.

    May change the core.
    """
    inside = model.graph.input[0].name

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        before.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    before: list[onnx.NodeProto] = []
    scale = (1 / np.array(front.divisor)).astype(np.float32)
    zero = np.array(front.zero)
    one_number = len(scale) == len(zero) == 1
    whole = front.zero_is_whole and opset >= (10 if one_number else 13)

    def as_laid_out() -> str:
        return node("Transpose", [pixels], "planes", perm=[0, 3, 1, 2]) if front.layout == "nchw" else pixels

    def as_rows() -> str:
        return node("Reshape", [pixels, constant("rows", np.array([0, 1, height, 3 * width]))], "row")

    quantizer = _input_quantizer(model, inside, scale, zero)
    if quantizer is not None:
        planes = as_laid_out()
        for reader in model.graph.node:
            reader.input[:] = [planes if name == quantizer.output[0] else name for name in reader.input]
        model.graph.node.remove(quantizer)
    elif whole and one_number and over_rows(model, np.zeros(3), np.ones(3)) is not None:
        numbers = [constant("scale", scale.reshape(())), constant("zero", zero.astype(np.uint8).reshape(()))]
        node("DequantizeLinear", [as_rows(), *numbers], inside)
    elif (rest := over_rows(model, np.broadcast_to(zero, 3), np.broadcast_to(front.divisor, 3))) is not None:
        floats = node("Cast", [as_rows()], "float" if rest.any() else inside, to=TensorProto.FLOAT)
        if rest.any():
            node("Sub", [floats, constant("zero", np.tile(rest, width).astype(np.float32))], inside)
    else:
        planes = as_laid_out()
        if whole:
            each = max(len(scale), len(zero))
            shape: tuple[int, ...] = () if each == 1 else (each,)
            numbers = [
                constant("scale", np.broadcast_to(scale, (each,)).reshape(shape)),
                constant("zero", np.broadcast_to(zero, (each,)).astype(np.uint8).reshape(shape)),
            ]
            axis = {"axis": 1 if front.layout == "nchw" else 3} if shape else {}
            node("DequantizeLinear", [planes, *numbers], inside, **axis)
        else:
            along = (-1, 1, 1) if front.layout == "nchw" else (-1,)
            floats = node("Cast", [planes], "float", to=TensorProto.FLOAT)
            centred = node("Sub", [floats, constant("zero", zero.astype(np.float32).reshape(along))], "centred")
            node("Mul", [centred, constant("scale", scale.reshape(along))], inside)
    return before


def _input_quantizer(model: onnx.ModelProto, inside: str, scale: np.ndarray, zero: np.ndarray) -> onnx.NodeProto | None:
    """The node that quantizes the core's input, if it is all that reads it and its numbers are these."""
    readers = [node for node in model.graph.node if inside in node.input]
    if len(readers) != 1 or readers[0].op_type != "QuantizeLinear" or len(readers[0].input) != 3:
        return None
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    its_scale, its_zero = (values.get(name) for name in readers[0].input[1:])
    if its_scale is None or its_zero is None or its_zero.dtype != np.uint8:
        return None
    same = np.array_equal(np.unique(its_scale), np.unique(scale)) and np.array_equal(
        np.unique(its_zero), np.unique(zero)
    )
    return readers[0] if same and its_scale.size == 1 else None


def write_model(model: onnx.ModelProto, card: ModelCard, path: Path) -> None:
    """Writes a dressed model with its card, whole or not at all, after the checker has passed it."""
    model = with_card(model, card)
    onnx.checker.check_model(model, full_check=True)
    write_atomically(path, model.SerializeToString())


def with_card(model: onnx.ModelProto, card: ModelCard) -> onnx.ModelProto:
    """A copy of a model with this card in place of any it had."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    others = {entry.key: entry.value for entry in model.metadata_props if entry.key != METADATA_KEY}
    del copy.metadata_props[:]
    helper.set_model_props(copy, {**others, METADATA_KEY: card.to_json()})
    return copy


def check_parity(path: Path, pixels: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference between a file's probabilities and the wanted ones; TrainingError above PARITY.

    pixels are uint8 [n, H, W, 3]; wanted are what torch gives for them, float [n, classes].
    """
    classifier = Classifier(path, provider="cpu")
    got = np.concatenate([classifier.run(pixels[i : i + 32])[0] for i in range(0, len(pixels), 32)])
    worst = float(np.abs(got - wanted).max())
    if not worst <= PARITY:
        raise TrainingError(
            f"{path}: gives probabilities up to {worst:.4f} away from torch's, more than {PARITY}; "
            "the exported graph is not the network that was trained"
        )
    return worst

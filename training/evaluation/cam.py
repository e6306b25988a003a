"""Where a model looks: class-activation maps taken from the ONNX file itself, occlusion where it has none.

A network that averages its last feature map and ends in one linear layer shows what each place of
the map adds to a class: Zhou et al., "Learning Deep Features for Discriminative Localization", 2016.
The file needs no change for it: the map is made a further output of a copy in memory, in fp32 and in
int8 files alike. Any other network is asked what it answers with one place after another covered:
Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from edge.model import Classifier

PASSED = {"Identity", "Flatten", "Reshape", "Squeeze", "QuantizeLinear", "DequantizeLinear", "Cast", "Dropout"}
POOLS = {"GlobalAveragePool", "ReduceMean"}
CELLS = 8  # of an occlusion map along each side


@dataclass(frozen=True)
class _Place:
    """The tensor before pooling, where its channels are, and what each channel is worth to each class."""

    tensor: str
    channels_last: bool
    weights: np.ndarray  # float [classes, channels]


class Attention:
    """Says for a picture how much each place of it speaks for a class. Make one for each model file.

    method is what it uses: "cam" or "occlusion".
    """

    method: Literal["cam", "occlusion"]

    def __init__(self, path: Path, classifier: Classifier) -> None:
        self._classifier = classifier
        model = onnx.load(path)
        place = _find(model)
        self.method = "occlusion"
        if place is not None:
            model.graph.output.append(helper.make_empty_tensor_value_info(place.tensor))
            options = ort.SessionOptions()
            options.log_severity_level = 4
            session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            shape = session.run([place.tensor], {"pixels": _grey(classifier, 1)})[0].shape
            channels = shape[-1] if place.channels_last else shape[1]
            if len(shape) == 4 and channels == place.weights.shape[1]:
                self.method, self._place, self._session = "cam", place, session

    def maps(self, pixels: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Maps, float32 [n, h, w], from 0 to 1, of pixels, uint8 [n, H, W, 3], for a class each, int [n].

        1 is where a picture speaks most for its class; 0 is where it says nothing of it, or speaks
        against it. A picture of which no place speaks for the class gets zeros.
        """
        raw = self._activations(pixels, classes) if self.method == "cam" else self._occlusions(pixels, classes)
        raw = np.maximum(raw, 0)
        return np.asarray(raw / np.maximum(raw.max(axis=(1, 2), keepdims=True), 1e-9), np.float32)

    def _activations(self, pixels: np.ndarray, classes: np.ndarray) -> np.ndarray:
        rows = []
        for start in range(0, len(pixels), 16):
            batch = pixels[start : start + 16]
            # A file that looks several times (training.tta) looks at all pictures as they are first.
            seen = self._session.run([self._place.tensor], {"pixels": batch})[0][: len(batch)]
            planes = seen if self._place.channels_last else seen.transpose(0, 2, 3, 1)
            rows.append(np.einsum("nhwc,nc->nhw", planes, self._place.weights[classes[start : start + 16]]))
        return np.concatenate(rows)

    def _occlusions(self, pixels: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """What the class's log-odds lose when a patch twice a cell's side is covered with the picture's mean colour."""
        height, width = pixels.shape[1:3]
        ys = np.linspace(0, height, CELLS + 1).round().astype(int)
        xs = np.linspace(0, width, CELLS + 1).round().astype(int)
        maps = []
        for picture, number in zip(pixels, classes, strict=True):
            covered = np.repeat(picture[None], CELLS * CELLS + 1, axis=0)
            colour = picture.reshape(-1, 3).mean(axis=0).astype(np.uint8)
            for cell in range(CELLS * CELLS):
                row, column = divmod(cell, CELLS)
                top, bottom = max((ys[row] * 3 - ys[row + 1]) // 2, 0), (ys[row + 1] * 3 - ys[row]) // 2
                left, right = max((xs[column] * 3 - xs[column + 1]) // 2, 0), (xs[column + 1] * 3 - xs[column]) // 2
                covered[cell, top:bottom, left:right] = colour
            answers = [self._classifier.run(covered[i : i + 16])[0][:, number] for i in range(0, len(covered), 16)]
            p = np.clip(np.concatenate(answers).astype(np.float64), 1e-6, 1 - 1e-6)
            odds = np.log(p / (1 - p))
            maps.append((odds[-1] - odds[:-1]).reshape(CELLS, CELLS))
        return np.stack(maps)


def _grey(classifier: Classifier, n: int) -> np.ndarray:
    return np.full((n, classifier.card.height, classifier.card.width, 3), 127, np.uint8)


def _find(model: onnx.ModelProto) -> _Place | None:
    """Walks back from `probabilities` over the last linear layer to the pooling before it; None where it is not so."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t

    def value(name: str) -> np.ndarray | None:
        """A constant, also where it stands quantized behind a DequantizeLinear."""
        if name in constants:
            return np.asarray(numpy_helper.to_array(constants[name]))
        node = made_by.get(name)
        if node is None or node.op_type not in {"DequantizeLinear", "Identity", "Transpose"}:
            return None
        parts = [part for part in map(value, node.input) if part is not None]
        if len(parts) < len(node.input):
            return None
        if node.op_type == "DequantizeLinear":
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            return _dequantized(axis, *parts)
        return parts[0].T if node.op_type == "Transpose" else parts[0]

    node = made_by.get("probabilities")
    linear: np.ndarray | None = None
    while node is not None and linear is None:
        inputs = [name for name in node.input if name in made_by and value(name) is None]
        if node.op_type in {"Gemm", "MatMul"}:
            linear = value(node.input[1])
            if linear is None or linear.ndim != 2:
                return None
            if any(a.name == "transB" and a.i for a in node.attribute):
                linear = linear.T
        elif node.op_type == "ReduceMean" and _axes(node, value) == [0]:
            pass  # over the looks at a picture
        elif node.op_type not in PASSED | {"Softmax", "Mul", "Div", "Add"} or len(inputs) != 1:
            return None
        node = made_by.get(inputs[0]) if inputs else None
    while node is not None and node.op_type in PASSED:
        node = made_by.get(node.input[0])
    if node is None or linear is None or node.op_type not in POOLS:
        return None
    channels_last = False
    if node.op_type == "ReduceMean":
        places = sorted(axis % 4 for axis in _axes(node, value))
        if places not in ([1, 2], [2, 3]):
            return None
        channels_last = places == [1, 2]
    return _Place(node.input[0], channels_last, linear.T)


def _axes(node: onnx.NodeProto, value: Callable[[str], np.ndarray | None]) -> list[int]:
    """The axes of a ReduceMean, which old files have as an attribute and new ones as a constant; none: unknown."""
    axes = next((np.array(a.ints) for a in node.attribute if a.name == "axes"), None)
    if axes is None and len(node.input) > 1:
        axes = value(node.input[1])
    return [] if axes is None else axes.tolist()


def _dequantized(axis: int, stored: np.ndarray, scale: np.ndarray, zero: np.ndarray | int = 0) -> np.ndarray:
    """QDQ's formula: (stored - zero) * scale, one pair for all or one along the axis."""
    along = [1] * stored.ndim
    if np.ndim(scale):
        along[axis] = -1
        scale, zero = np.reshape(scale, along), np.reshape(zero, along) if np.ndim(zero) else zero
    return np.asarray((stored.astype(np.float64) - zero) * scale, np.float32)

"""The first convolution of a network, rearranged to suit pixels as they lie in memory: three bytes a pixel, row by row.

In integers: ONNX Runtime's kernel takes input channels by fours, and a picture has three: such a convolution is
gathered into a table first, three bytes at a time, which takes longer than the arithmetic. So the bytes of a
row are read as columns of four, whichever pixel they are of, and the kernel covers as many columns as it has
bytes, its weights spread over them with zeros between. Pixels of three bytes and columns of four meet again
every 12 bytes, so 12 bytes' worth of outputs that lie side by side are computed at once, as further channels,
and moved apart afterwards. Integers are added in another order, so the answers are the same to the last bit.

In floats: a row of pixels is one row of a single plane, three times as wide, over which the kernel, three
times as wide too, goes in threefold steps. The same sums, and no colour needs a plane of its own first.
"""

from dataclasses import dataclass
from math import gcd

import numpy as np
import onnx
from onnx import helper, numpy_helper

COLUMN = 4  # bytes: the channels that the kernel takes at a time
PIXEL = 3
PREFIX = "stem/"


@dataclass(frozen=True)
class Rows:
    """How a convolution over pixels lies on rows of columns; all along x.

    outputs are computed side by side; columns are what the kernel covers, step is from one such group to
    the next; offset is the byte of the first column at which the first pixel begins; left and right are
    columns of padding.
    """

    outputs: int
    columns: int
    step: int
    offset: int
    left: int
    right: int

    @classmethod
    def of(cls, width: int, kernel: int, stride: int, pads: tuple[int, int]) -> "Rows | None":
        """None where rows are not whole columns, or outputs not whole groups."""
        outputs = COLUMN // gcd(PIXEL * stride, COLUMN)
        made = (width + sum(pads) - kernel) // stride + 1
        if (width * PIXEL) % COLUMN or made % outputs:
            return None
        step = PIXEL * stride * outputs // COLUMN
        left = -(-pads[0] * PIXEL // COLUMN)
        offset = left * COLUMN - pads[0] * PIXEL
        columns = -(-(offset + PIXEL * (stride * (outputs - 1) + kernel)) // COLUMN)
        right = (made // outputs - 1) * step + columns - left - width * PIXEL // COLUMN
        return cls(outputs, columns, step, offset, left, right) if right >= 0 else None

    def spread(self, weights: np.ndarray, stride: int) -> np.ndarray:
        """Weights [channels, 3, h, w] on columns: [outputs * channels, 4, h, columns]."""
        channels, _, height, width = weights.shape
        bytes_ = np.zeros((self.outputs, channels, height, self.columns * COLUMN), weights.dtype)
        row = weights.transpose(0, 2, 3, 1).reshape(channels, height, width * PIXEL)
        for output in range(self.outputs):
            begins = self.offset + PIXEL * stride * output
            bytes_[output, :, :, begins : begins + width * PIXEL] = row
        columns = bytes_.reshape(self.outputs * channels, height, self.columns, COLUMN)
        return np.ascontiguousarray(columns.transpose(0, 3, 1, 2))


def rearranged(quantized: onnx.ModelProto) -> onnx.ModelProto | None:
    """A quantized core whose first convolution works on columns of four bytes; None where it is of another form.

    The core's input is float32 [N, 3, H, W], as training.quantize.to_int8 leaves it: quantized, convolved with
    weights and bias that are integers, and quantized again.
    """
    model = onnx.ModelProto()
    model.CopyFrom(quantized)
    graph = model.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    height, width = (dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim[2:])
    into = _only_reader(graph, graph.input[0].name, "QuantizeLinear")
    back = into and _only_reader(graph, into.output[0], "DequantizeLinear")
    conv = back and _only_reader(graph, back.output[0], "Conv")
    out = conv and _only_reader(graph, conv.output[0], "QuantizeLinear")
    if into is None or back is None or conv is None or out is None:
        return None
    parameters = [made_by[name] for name in conv.input[1:] if name in made_by]
    if len(parameters) != len(conv.input) - 1 or {node.op_type for node in parameters} != {"DequantizeLinear"}:
        return None
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in conv.attribute}
    if given.get("group", 1) != 1 or set(given.get("dilations", [1])) != {1} or given.get("auto_pad") != b"NOTSET":
        return None
    (stride_y, stride), (top, left, bottom, right) = given.get("strides", (1, 1)), given.get("pads", (0, 0, 0, 0))
    weights = values[parameters[0].input[0]]
    rows = Rows.of(width, weights.shape[3], stride, (left, right))
    if rows is None:
        return None

    def constant(name: str, value: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(value, PREFIX + name))
        return PREFIX + name

    for node in parameters:
        spread = [np.tile(values[name], rows.outputs) if values[name].ndim == 1 else None for name in node.input]
        if node is parameters[0]:
            spread[0] = rows.spread(weights, stride)
        node.input[:] = [
            name if value is None else constant(name, value) for name, value in zip(node.input, spread, strict=True)
        ]
    kept = [attribute for attribute in conv.attribute if attribute.name not in {"kernel_shape", "strides", "pads"}]
    del conv.attribute[:]
    conv.attribute.extend(kept)
    conv.attribute.append(helper.make_attribute("strides", [stride_y, rows.step]))
    conv.attribute.append(helper.make_attribute("pads", [top, rows.left, bottom, rows.right]))

    made_y = (height + top + bottom - weights.shape[2]) // stride_y + 1
    made_x = (width + left + right - weights.shape[3]) // stride + 1
    columns = np.array([0, height, width * PIXEL // COLUMN, COLUMN], np.int64)
    apart = np.array([0, made_y, made_x, len(weights)], np.int64)
    before = _reshaped_rows(into.output[0], "columns", constant("to_columns", columns))
    back.input[0] = before[-1].output[0]
    after = _reshaped_rows(PREFIX + "side_by_side", "apart", constant("move_apart", apart))
    after[-1].output[0], out.output[0] = out.output[0], PREFIX + "side_by_side"
    nodes = []
    for node in graph.node:
        nodes += [node, *(before if node is into else after if node is out else [])]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    _drop_unused(graph)
    return model


def _only_reader(graph: onnx.GraphProto, name: str, kind: str) -> onnx.NodeProto | None:
    """The node that reads a tensor, if it is the only one, and of this kind."""
    readers = [node for node in graph.node if name in node.input]
    return readers[0] if len(readers) == 1 and readers[0].op_type == kind else None


def _reshaped_rows(name: str, to: str, shape: str) -> list[onnx.NodeProto]:
    """Planes as rows of pixels, read in another shape, and back; ONNX Runtime, which keeps rows, does none of it."""
    rows, seen, planes = (f"{PREFIX}{to}_{what}" for what in ("rows", "seen", "planes"))
    return [
        helper.make_node("Transpose", [name], [rows], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", [rows, shape], [seen]),
        helper.make_node("Transpose", [seen], [planes], perm=[0, 3, 1, 2]),
    ]


def over_rows(core: onnx.ModelProto, zero: np.ndarray, divisor: np.ndarray) -> np.ndarray | None:
    """Makes a core's first convolution take its input as rows, float32 [N, 1, H, 3 W], in place of planes.

    The weights take in the divisors, [3], and where nothing is padded the bias takes in the zeros, [3]: what
    a row still lacks, to be taken from each of its pixels, is returned, [3]. None, and nothing is changed,
    where the input is not read by such a convolution alone. A core that wants pixels last may turn them
    into planes first, which then falls away.
    """
    graph = core.graph
    source = graph.input[0].name
    turn = _only_reader(graph, source, "Transpose")
    if turn is not None and [list(one.ints) for one in turn.attribute] != [[0, 3, 1, 2]]:
        return None
    conv = _only_reader(graph, turn.output[0] if turn else source, "Conv")
    if conv is None:
        return None
    values = {tensor.name: tensor for tensor in graph.initializer}
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in conv.attribute}
    weights, *bias = (numpy_helper.to_array(values[name]) if name in values else None for name in conv.input[1:])
    if weights is None or weights.ndim != 4 or weights.shape[1] != PIXEL or any(one is None for one in bias):
        return None
    if given.get("auto_pad", b"NOTSET") not in {b"NOTSET", b"VALID"} or set(given.get("dilations", [1])) != {1}:
        return None
    channels, _, high, wide = weights.shape
    (stride_y, stride), (top, left, bottom, right) = given.get("strides", (1, 1)), given.get("pads", (0, 0, 0, 0))
    weights = weights / divisor.reshape(1, PIXEL, 1, 1)
    rest = zero
    if not any((top, left, bottom, right)):
        before = bias[0] if bias else np.zeros(channels)
        bias, rest = [before - np.einsum("ocyx,c->o", weights, zero)], np.zeros(PIXEL)
    rows = weights.transpose(0, 2, 3, 1).reshape(channels, 1, high, wide * PIXEL)
    for number, value in enumerate((rows, *bias)):
        name = f"{PREFIX}{('weight', 'bias')[number]}"
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        conv.input[1 + number :] = [name, *conv.input[2 + number :]]
    conv.input[0] = source
    del conv.attribute[:]
    conv.attribute.append(helper.make_attribute("strides", [stride_y, PIXEL * stride]))
    conv.attribute.append(helper.make_attribute("pads", [top, PIXEL * left, bottom, PIXEL * right]))
    if turn is not None:
        graph.node.remove(turn)
    _drop_unused(graph)
    return rest


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    needed = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(needed)

"""A real .onnx classifier in half a kilobyte, written byte by byte: it names a picture's nearest colour.

The file obeys the one-file contract of edge/model.py (uint8 NHWC pixels in, softmax probabilities
and pooled features out, a card inside) and needs no onnx package. Field numbers are those of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; the encoding is protobuf's wire format.
"""

import colorsys
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

COLOURS = {"red": (220, 40, 40), "green": (40, 190, 60), "blue": (40, 70, 220)}
FLOAT, UINT8, INT64 = 1, 2, 7


def write_model(
    path: str | Path,
    classes: Sequence[str] | Mapping[str, tuple[int, int, int]] = COLOURS,
    size: int = 32,
    *,
    card: bool | str = True,
    softmax: bool = True,
    input_name: str = "pixels",
    input_shape: Sequence[int | str] | None = None,
    input_type: int = UINT8,
    output_type: int = FLOAT,
    scores: int | None = None,
    sharpness: float = 40.0,
    more_graph: bytes = b"",
    more_model: bytes = b"",
    **card_overrides: Any,
) -> Path:
    """Writes the classifier and returns its path.

    classes are names, each with its RGB colour; names alone take colours from around the wheel. The
    picture's mean colour is compared with each class's: logits are -sharpness x squared distance
    (0 to 1 a channel). Everything after size makes a file that breaks the contract: card=False leaves
    the card out and a string replaces it, softmax=False gives raw logits, input_* change the graph's
    input, output_type what its probabilities are, scores the number of values it gives; more_graph and
    more_model are further fields of the graph and of the model; card_overrides replace or add keys of the card.
    """
    colours = dict(classes) if isinstance(classes, Mapping) else wheel(classes)
    prototypes = np.array(list(colours.values()), np.float32) / 255
    weights = (2 * sharpness * prototypes.T / 255).astype(np.float32)
    bias = (-sharpness * (prototypes**2).sum(1)).astype(np.float32)
    if scores is not None:
        weights, bias = np.resize(weights, (3, scores)), np.resize(bias, scores)
    shape: Sequence[int | str] = ["N", size, size, 3] if input_shape is None else input_shape
    last = "logits" if softmax else "probabilities"
    nodes = [
        node("Cast", [input_name], "floats", integer("to", FLOAT)),
        node("ReduceMean", ["floats"], "features", integers("axes", [1, 2]), integer("keepdims", 0)),
        node("MatMul", ["features", "weights"], "products"),
        node("Add", ["products", "bias"], last),
    ]
    if softmax:
        softmaxed = "probabilities" if output_type == FLOAT else "softmaxed"
        nodes.append(node("Softmax", [last], softmaxed, integer("axis", -1)))
    if output_type != FLOAT:
        nodes.append(node("Cast", ["softmaxed"], "probabilities", integer("to", output_type)))
    graph = b"".join(bytes_field(1, each) for each in nodes)
    graph += bytes_field(2, b"tiny") + bytes_field(5, tensor("weights", weights)) + bytes_field(5, tensor("bias", bias))
    graph += bytes_field(11, value_info(input_name, input_type, shape))
    graph += bytes_field(12, value_info("probabilities", output_type, ["N", len(bias)]))
    graph += bytes_field(12, value_info("features", FLOAT, ["N", 3]))
    model = more_model + number_field(1, 8) + bytes_field(7, graph + more_graph)
    model += bytes_field(8, bytes_field(1, b"") + number_field(2, 13))
    if card:
        content = {
            "format": 1,
            "name": "colours",
            "version": "1",
            "classes": list(colours),
            "height": size,
            "width": size,
            **card_overrides,
        }
        text = card if isinstance(card, str) else json.dumps(content)
        model += bytes_field(14, bytes_field(1, b"sortline") + bytes_field(2, text.encode()))
    path = Path(path)
    path.write_bytes(model)
    return path


def wheel(names: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """RGB colours for names: the known ones as they are called, the others from around the colour wheel."""
    colours = {}
    for i, name in enumerate(names):
        red, green, blue = colorsys.hsv_to_rgb(i / len(names), 0.8, 0.85)
        colours[name] = COLOURS.get(name, (round(255 * red), round(255 * green), round(255 * blue)))
    return colours


def base128(value: int) -> bytes:
    """A base-128 varint; negative numbers are written as 64-bit two's complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def number_field(field: int, value: int) -> bytes:
    return base128(field << 3) + base128(value)


def bytes_field(field: int, value: bytes) -> bytes:
    return base128(field << 3 | 2) + base128(len(value)) + value


def node(kind: str, inputs: Sequence[str], output: str, *attributes: bytes) -> bytes:
    names = b"".join(bytes_field(1, name.encode()) for name in inputs) + bytes_field(2, output.encode())
    return names + bytes_field(4, kind.encode()) + b"".join(bytes_field(5, attribute) for attribute in attributes)


def integer(name: str, value: int) -> bytes:
    return bytes_field(1, name.encode()) + number_field(3, value) + number_field(20, 2)


def integers(name: str, values: Sequence[int]) -> bytes:
    return bytes_field(1, name.encode()) + b"".join(number_field(8, value) for value in values) + number_field(20, 7)


def tensor(name: str, values: np.ndarray, dims: Sequence[int] | None = None) -> bytes:
    """float32 or int64 values; dims claims other sizes than they have."""
    kind = INT64 if values.dtype == np.int64 else FLOAT
    sizes = b"".join(number_field(1, n) for n in (values.shape if dims is None else dims))
    return sizes + number_field(2, kind) + bytes_field(8, name.encode()) + bytes_field(9, values.tobytes())


def value_info(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(
        bytes_field(1, number_field(1, n) if isinstance(n, int) else bytes_field(2, n.encode())) for n in shape
    )
    return bytes_field(1, name.encode()) + bytes_field(2, bytes_field(1, number_field(1, kind) + bytes_field(2, dims)))

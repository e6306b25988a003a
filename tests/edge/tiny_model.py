"""A real .onnx classifier in half a kilobyte, written byte by byte: it names a picture's nearest colour.

The file obeys the one-file contract of edge/model.py (uint8 NHWC pixels in, softmax probabilities
and pooled features out, a card inside) and needs no onnx package. Field numbers are those of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; the encoding is protobuf's wire format.
"""

import colorsys
import json
import struct
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
    scores: int | None = None,
    sharpness: float = 40.0,
    **card_overrides: Any,
) -> Path:
    """Writes the classifier and returns its path.

    classes are names, each with its RGB colour; names alone take colours from around the wheel. The
    picture's mean colour is compared with each class's: logits are -sharpness x squared distance
    (0 to 1 a channel). Everything after size makes a file that breaks the contract: card=False leaves
    the card out and a string replaces it, softmax=False gives raw logits, input_* change the graph's
    input, scores the number of values it gives; card_overrides replace or add keys of the card.
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
        _node("Cast", [input_name], "floats", _integer("to", FLOAT)),
        _node("ReduceMean", ["floats"], "features", _integers("axes", [1, 2]), _integer("keepdims", 0)),
        _node("MatMul", ["features", "weights"], "products"),
        _node("Add", ["products", "bias"], last),
    ]
    if softmax:
        nodes.append(_node("Softmax", [last], "probabilities", _integer("axis", -1)))
    graph = b"".join(_bytes(1, node) for node in nodes)
    graph += _bytes(2, b"tiny") + _bytes(5, _tensor("weights", weights)) + _bytes(5, _tensor("bias", bias))
    graph += _bytes(11, _value(input_name, input_type, shape))
    graph += _bytes(12, _value("probabilities", FLOAT, ["N", len(bias)]))
    graph += _bytes(12, _value("features", FLOAT, ["N", 3]))
    model = _varint(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, b"") + _varint(2, 13))
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
        model += _bytes(14, _bytes(1, b"sortline") + _bytes(2, text.encode()))
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


def _number(value: int) -> bytes:
    """A base-128 varint; negative numbers are written as 64-bit two's complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _varint(field: int, value: int) -> bytes:
    return _number(field << 3) + _number(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _number(field << 3 | 2) + _number(len(value)) + value


def _node(kind: str, inputs: Sequence[str], output: str, *attributes: bytes) -> bytes:
    names = b"".join(_bytes(1, name.encode()) for name in inputs) + _bytes(2, output.encode())
    return names + _bytes(4, kind.encode()) + b"".join(_bytes(5, attribute) for attribute in attributes)


def _integer(name: str, value: int) -> bytes:
    return _bytes(1, name.encode()) + _varint(3, value) + _varint(20, 2)


def _integers(name: str, values: Sequence[int]) -> bytes:
    return _bytes(1, name.encode()) + b"".join(_varint(8, value) for value in values) + _varint(20, 7)


def _tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(_varint(1, n) for n in values.shape)
    raw = b"".join(struct.pack("<f", value) for value in values.ravel().tolist())
    return dims + _varint(2, FLOAT) + _bytes(8, name.encode()) + _bytes(9, raw)


def _value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(_bytes(1, _varint(1, n) if isinstance(n, int) else _bytes(2, n.encode())) for n in shape)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _varint(1, kind) + _bytes(2, dims)))

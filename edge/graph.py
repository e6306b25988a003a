"""What a model file is made of, looked at before ONNX Runtime is given it: all of it inside, nothing to run away with.

ONNX Runtime follows a tensor's reference to another file, from the working directory and even through
`..`, when it is handed a model as bytes; it takes as many gigabytes as a graph asks for, and runs a loop
for ever. So the file's bytes are walked first, as protobuf's wire format
(https://protobuf.dev/programming-guides/encoding/) with the field numbers of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, and what a classifier has no use for is refused.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from math import ceil, prod
from pathlib import Path

from edge.errors import ModelError

MOST_BYTES = 1 << 30  # a file of more is no classifier for a small computer; protobuf itself ends at 2 GB
MOST_PIECES = 300_000  # fields that are looked at, a third of a second; a large network has 20,000
MOST_ELEMENTS = 1 << 27  # of a tensor that a node fills with one value
DEEPEST = 8  # graphs within graphs

# Operators of these domains are part of ONNX Runtime; those of any other would have to be brought along.
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
REFUSED = {
    "Loop": "runs a loop, whose length nothing bounds",
    "Scan": "runs a loop, whose length nothing bounds",
    "SequenceMap": "runs a loop, whose length nothing bounds",
    "EPContext": "runs a compiled model, which may lie in another file",
}
# Bytes of one element by TensorProto.DataType; half a byte for the 4-bit kinds, strings have no size.
ELEMENT_BYTES = {
    1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16, 16: 2,
    17: 1, 18: 1, 19: 1, 20: 1, 21: 0.5, 22: 0.5, 23: 0.5, 24: 1,
}  # fmt: skip
INT64, EXTERNAL = 7, 1
INT64_DATA = 7
WRITTEN_AS_NUMBERS = (4, 5, 6, INT64_DATA, 10, 11)  # a tensor's fields of numbers, and of strings
FEW = 64  # values of a tensor that may be a shape

Value = int | memoryview


class _Damaged(Exception):
    """The bytes are not protobuf's; says where it shows."""


@dataclass
class _Node:
    """What of a node is looked at. constant is the value of its attribute `value`, where that is whole numbers."""

    kind: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    constant: tuple[int, ...] | None = None


def check_graph(data: bytes, path: Path) -> None:
    """Raises ModelError where the bytes of a file are not one whole ONNX model that keeps to itself."""
    try:
        _Inspection(path).model(memoryview(data))
    except _Damaged as damage:
        raise ModelError(f"{path}: is not an ONNX model, or is torn: {damage}") from None


class _Inspection:
    """One walk through one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pieces = 0
        self._functions: set[tuple[str, str]] = set()

    def model(self, data: memoryview) -> None:
        graphs = []
        functions = []
        for number, value in self._fields(data):
            if number == 7:
                graphs.append(_message(value, "its graph"))
            elif number == 25:
                functions.append(_message(value, "a function"))
        if not graphs:
            raise ModelError(f"{self._path}: is not an ONNX model: it has no graph")
        self._functions = {self._signature(function) for function in functions}
        for function in functions:
            self._nodes([_message(v, "a node") for n, v in self._fields(function) if n == 7], {}, 1)
        for graph in graphs:
            self._graph(graph, 0)

    def _signature(self, function: memoryview) -> tuple[str, str]:
        texts = {n: _text(v) for n, v in self._fields(function) if n in (1, 10)}
        return texts.get(10, ""), texts.get(1, "")

    def _graph(self, data: memoryview, depth: int) -> None:
        if depth > DEEPEST:
            raise ModelError(f"{self._path}: has graphs within graphs, more than {DEEPEST} deep")
        nodes = []
        constants: dict[str, tuple[int, ...]] = {}
        for number, value in self._fields(data):
            if number == 1:
                nodes.append(_message(value, "a node"))
            elif number == 5:
                name, whole = self._tensor(_message(value, "a tensor"))
                constants |= {name: whole} if whole is not None else {}
            elif number == 15:
                self._refuse_sparse()
        self._nodes(nodes, constants, depth)

    def _nodes(self, messages: list[memoryview], constants: dict[str, tuple[int, ...]], depth: int) -> None:
        """Looks at the nodes of one graph or function, each alone and how they hang together."""
        nodes = [self._node(message, depth) for message in messages]
        for node in nodes:
            if node.kind == "Constant" and node.constant is not None and node.outputs:
                constants[node.outputs[0]] = node.constant
        for node in nodes:
            shape = constants.get(node.inputs[0]) if node.kind == "ConstantOfShape" and node.inputs else None
            if shape is not None and prod(shape) > MOST_ELEMENTS:
                raise ModelError(f"{self._path}: its graph makes a tensor of {prod(shape):,} elements")
        makers = {output: number for number, node in enumerate(nodes) for output in node.outputs if output}
        needs = {n: {makers[name] for name in node.inputs if name in makers} for n, node in enumerate(nodes)}
        try:
            TopologicalSorter(needs).prepare()
        except CycleError as error:
            circle = " → ".join(f"{nodes[n].kind} ({', '.join(nodes[n].outputs)[:40]})" for n in error.args[1][:4])
            raise ModelError(f"{self._path}: its graph runs in a circle: {circle}") from None

    def _node(self, data: memoryview, depth: int) -> _Node:
        node = _Node()
        attributes = []
        for number, value in self._fields(data):
            if number == 1:
                node.inputs.append(_text(value))
            elif number == 2:
                node.outputs.append(_text(value))
            elif number == 4:
                node.kind = _text(value)
            elif number == 5:
                attributes.append(_message(value, "an attribute"))
            elif number == 7:
                node.domain = _text(value)
        if node.domain not in DOMAINS and (node.domain, node.kind) not in self._functions:
            raise ModelError(
                f"{self._path}: uses the operator {node.kind!r} of {node.domain!r}, which is not part of ONNX; "
                "custom operators are refused"
            )
        if node.kind in REFUSED:
            raise ModelError(f"{self._path}: its operator {node.kind!r} {REFUSED[node.kind]}")
        for attribute in attributes:
            node.constant = self._attribute(attribute, depth) or node.constant
        return node

    def _attribute(self, data: memoryview, depth: int) -> tuple[int, ...] | None:
        whole = None
        ints: list[int] = []
        for number, value in self._fields(data):
            if number in (5, 10):
                whole = self._tensor(_message(value, "a tensor"))[1]
            elif number == 8 and len(ints) < FEW and _room(value) <= FEW:
                ints += _numbers(value)
            elif number in (6, 11):
                self._graph(_message(value, "a graph"), depth + 1)
            elif number in (22, 23):
                self._refuse_sparse()
        return tuple(ints) or whole

    def _tensor(self, data: memoryview) -> tuple[str, tuple[int, ...] | None]:
        """Looks at one tensor; returns its name, and its values where they are a few 64-bit whole numbers."""
        found: defaultdict[int, list[Value]] = defaultdict(list)
        for number, value in self._fields(data):
            found[number].append(value)
        name = "".join(_text(value) for value in found[8][-1:])
        if found[13] or EXTERNAL in found[14]:
            raise ModelError(
                f"{self._path}: keeps its tensor {name!r} in another file; all of a model must be inside the one file"
            )
        dims = [size for value in found[1] for size in _numbers(value)]
        if any(size >= 1 << 63 for size in dims):
            raise ModelError(f"{self._path}: its tensor {name!r} has a negative size")
        elements, kind = prod(dims), found[2][-1] if found[2] else 0
        raw = _message(found[9][-1], "a tensor's bytes") if found[9] else None
        held = len(raw) if raw is not None else sum(_room(v) for n in WRITTEN_AS_NUMBERS for v in found[n])
        # Numbers that are written out take a byte for two elements at the very least.
        each = ELEMENT_BYTES.get(kind if isinstance(kind, int) else 0)
        if (raw is not None and each and held != ceil(elements * each)) or (raw is None and elements > 2 * held):
            raise ModelError(f"{self._path}: its tensor {name!r} claims {elements:,} elements and holds {held:,} bytes")
        if kind != INT64 or elements > FEW:
            return name, None
        if raw is not None:
            return name, tuple(int.from_bytes(raw[i : i + 8], "little", signed=True) for i in range(0, held, 8))
        return name, tuple(n for value in found[INT64_DATA] for n in _numbers(value))

    def _refuse_sparse(self) -> None:
        raise ModelError(f"{self._path}: has a sparse tensor; only tensors that are written in full are read")

    def _fields(self, data: memoryview) -> Iterator[tuple[int, Value]]:
        """The fields of one message: number, and a whole number or the bytes of what is in it."""
        at, end = 0, len(data)
        while at < end:
            self._pieces += 1
            if self._pieces > MOST_PIECES:
                raise ModelError(f"{self._path}: is made of more than {MOST_PIECES:,} pieces, which no classifier is")
            tag, at = _varint(data, at)
            number, wire = tag >> 3, tag & 7
            if not number:
                raise _Damaged("it has a field without a number")
            if wire == 0:
                value, at = _varint(data, at)
                yield number, value
                continue
            if wire == 2:
                length, at = _varint(data, at)
            elif wire in (1, 5):
                length = 8 if wire == 1 else 4
            else:
                raise _Damaged(f"a field is of the unknown kind {wire}")
            if length > end - at:
                raise _Damaged(f"a field of {length:,} bytes begins where {end - at:,} are left")
            yield number, data[at : at + length]
            at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The base-128 number at a place, and the place behind it."""
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (1 << 64) - 1, at
        shift += 7
        if shift > 63:
            raise _Damaged("a number is longer than 64 bits")
    raise _Damaged("it ends in the middle of a number")


def _numbers(value: Value) -> list[int]:
    """One number, or a few that are written one behind the other."""
    if isinstance(value, int):
        return [value]
    numbers: list[int] = []
    at = 0
    while at < len(value):
        if len(numbers) == FEW:
            raise _Damaged(f"there are more than {FEW} numbers where a few belong")
        number, at = _varint(value, at)
        numbers.append(number)
    return numbers


def _room(value: Value) -> int:
    """The bytes that a number, some numbers or a string take; an empty string is there too."""
    return 1 if isinstance(value, int) else max(len(value), 1)


def _message(value: Value, what: str) -> memoryview:
    if isinstance(value, int):
        raise _Damaged(f"{what} is a number")
    return value


def _text(value: Value) -> str:
    try:
        return bytes(_message(value, "a name")).decode()
    except UnicodeDecodeError:
        raise _Damaged("a name is not UTF-8") from None

"""A corpus of model files that nobody should run, each with the words by which it must be refused.

    python -m tests.edge.malformed FILE…

opens each file as the line does, in a process of its own, and prints a JSON line: what became of that
process, the sentence, and the processor time that it took.
"""

import json
import os
import random
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edge.graph import MOST_PIECES
from tests.edge.tiny_model import base128, bytes_field, node, number_field, tensor, value_info, write_model

FLOAT, FLOAT16 = 1, 10
ONE = np.ones(1, np.float32)
EXTERNAL = number_field(14, 1)

Write = Callable[[Path], object]


def corpus() -> dict[str, tuple[Write, str]]:
    """By name: what writes the file, and a regular expression for its sentence."""
    return _torn() | _too_much() | _outside() | _graphs() | _ends() | _cards()


def _torn() -> dict[str, tuple[Write, str]]:
    def cut(share: float) -> Write:
        return lambda path: path.write_bytes((whole := _tiny(path))[: int(len(whole) * share)])

    def bent(path: Path) -> None:
        whole = bytearray(_tiny(path))
        rng = random.Random(1)
        for _ in range(40):
            whole[rng.randrange(len(whole))] = rng.randrange(256)
        path.write_bytes(whole)

    return {
        "empty": (_put(b""), "is not an ONNX model: it has no graph"),
        "text": (_put(b"this is not a model\n" * 20), "is not an ONNX model, or is torn"),
        "a picture": (_put(b"\x89PNG\r\n\x1a\n" + bytes(200)), "is not an ONNX model, or is torn"),
        "zeros": (_put(bytes(1000)), "is torn: it has a field without a number"),
        "another format of onnxruntime": (_put(b"\x18\0\0\0ORTM" + bytes(300)), "is not an ONNX model, or is torn"),
        **{f"cut at {share}": (cut(share), "is torn: a field of .* bytes begins where") for share in (0.3, 0.6, 0.95)},
        "a number that never ends": (_put(b"\x3a" + b"\xff" * 50), "a number is longer than 64 bits"),
        "ends in a number": (_put(b"\x08\x88"), "it ends in the middle of a number"),
        "a graph that is a number": (_put(number_field(7, 5)), "its graph is a number"),
        "names that are not text": (_more(_named(b"\xff\xfe")), "a name is not UTF-8"),
        "bent all over": (bent, "is not an ONNX model|has no model card"),
    }  # fmt: skip


def _too_much() -> dict[str, tuple[Write, str]]:
    def sparse_file(path: Path) -> None:
        _tiny(path)
        os.truncate(path, (1 << 31) + 5)

    claim = tensor("weights", ONE, [1 << 29])
    typed = bytes_field(8, b"big") + number_field(1, 1 << 29) + number_field(2, FLOAT) + bytes_field(4, bytes(4))
    shape = tensor("shape", np.array([1 << 16, 1 << 15]))
    filled = bytes_field(5, shape) + _nodes(node("ConstantOfShape", ["shape"], "huge"))
    nested = _nested(40)
    return {
        "a field that claims 2 GB": (_put(b"\x3a" + base128(1 << 31)), "a field of 2,147,483,648 bytes begins where"),
        "a file of 2 GB": (sparse_file, r"is 2\.1 GB large"),
        "a tensor that claims 2 GB": (_more(bytes_field(5, claim)), "'weights' claims 536,870,912 elements"),
        "numbers that claim 2 GB": (_more(bytes_field(5, typed)), "'big' claims 536,870,912 elements and holds 4"),
        "a negative size": (_more(bytes_field(5, tensor("w", ONE, [-3]))), "'w' has a negative size"),
        "2 GB made by a node": (_more(filled), "makes a tensor of 2,147,483,648 elements"),
        "a sparse tensor": (_more(bytes_field(15, bytes_field(1, b""))), "has a sparse tensor"),
        "very many pieces": (_more(number_field(20, 1) * (MOST_PIECES + 1)), "more than 300,000 pieces"),
        "graphs without end": (_more(_nodes(nested)), "graphs within graphs, more than 8 deep"),
        "a loop": (_more(_nodes(node("Loop", ["a", "b"], "c"))), "'Loop' runs a loop, whose length nothing bounds"),
    }  # fmt: skip


def _outside() -> dict[str, tuple[Write, str]]:
    def kept_in(location: str) -> bytes:
        entry = bytes_field(1, b"location") + bytes_field(2, location.encode())
        return number_field(1, 4) + number_field(2, FLOAT) + bytes_field(8, b"w") + bytes_field(13, entry) + EXTERNAL

    def holding(field: int, content: bytes) -> bytes:
        return node("Constant", [], "c", bytes_field(1, b"value") + bytes_field(field, content))

    says = "keeps its tensor 'w' in another file"
    function = bytes_field(1, b"f") + bytes_field(10, b"own") + bytes_field(7, holding(5, kept_in("w")))
    return {
        "weights beside it": (_more(bytes_field(5, kept_in("weights.bin"))), says),
        "weights above it": (_more(bytes_field(5, kept_in("../../etc/shadow"))), says),
        "weights anywhere": (_more(bytes_field(5, kept_in("/etc/shadow"))), says),
        "weights in memory": (_more(bytes_field(5, kept_in("*/_ORT_MEM_ADDR_/*"))), says),
        "weights outside without the mark": (
            _more(bytes_field(5, tensor("w", ONE) + bytes_field(13, b""))), says,
        ),
        "a node's weights outside": (_more(_nodes(holding(5, kept_in("w.bin")))), says),
        "an inner graph's weights outside": (_more(_nodes(holding(6, bytes_field(5, kept_in("w.bin"))))), says),
        "a function's weights outside": (
            lambda path: write_model(path, more_model=bytes_field(25, function)), says,
        ),
        "a compiled model elsewhere": (
            _more(_nodes(node("EPContext", [], "c") + bytes_field(7, b"com.microsoft"))), "may lie in another file",
        ),
        "a custom operator": (
            _more(_nodes(node("Hack", [], "c") + bytes_field(7, b"evil"))),
            "the operator 'Hack' of 'evil', which is not part of ONNX; custom operators are refused",
        ),
    }  # fmt: skip


def _graphs() -> dict[str, tuple[Write, str]]:
    circle = _nodes(node("Relu", ["b"], "a"), node("Relu", ["a"], "b"))
    unknown = _nodes(node("Frobnicate", ["features"], "x"))
    dangling = _nodes(node("Relu", ["nowhere"], "x"))
    twice = _nodes(node("Relu", ["floats"], "features"))
    return {
        "a circle": (_more(circle), "its graph runs in a circle: Relu"),
        "an unknown operator": (_more(unknown), "can be loaded .*Frobnicate"),
        "a value from nowhere": (_more(dangling), "can be loaded .*nowhere"),
        "one name twice": (_more(twice), "can be loaded .*features"),
        "an opset of the future": (_replaced(number_field(2, 13), number_field(2, 99)), "can be loaded .*opset"),
        "a version of the future": (_replaced(number_field(1, 8), number_field(1, 127)), "can be loaded .*IR version"),
        "no nodes": (_put(bytes_field(7, bytes_field(2, b"none"))), "can be loaded|one input `pixels`"),
    }  # fmt: skip


def _ends() -> dict[str, tuple[Write, str]]:
    def made(**words: Any) -> Write:
        return lambda path: write_model(path, **words)

    return {
        "float pixels": (made(input_type=FLOAT), r"one input `pixels`, uint8 .*; it has pixels: tensor\(float"),
        "another input": (made(input_name="image"), "one input `pixels`.* it has image"),
        "two inputs": (_more(bytes_field(11, value_info("more", FLOAT, [1]))), "one input `pixels`.*more"),
        "pixels without a width": (made(input_shape=("N", 32, 3)), "one input `pixels`|can be loaded"),
        "one picture at a time": (made(input_shape=(1, 32, 32, 3)), "takes exactly 1 pictures; N must be dynamic"),
        "another height": (made(input_shape=("N", 64, 32, 3)), "its card says H = 32, its graph takes 64"),
        "four colours": (made(input_shape=("N", 32, 32, 4)), "can be loaded .*Dimension mismatch"),
        "no probabilities": (_replaced(b"probabilities", b"improbability"), "has no output `probabilities`"),
        "half probabilities": (made(output_type=FLOAT16), "its output `probabilities` must be float32; it is tensor"),
        "logits": (made(softmax=False), "softmax must be part of the graph"),
        "not numbers": (made(sharpness=float("nan")), "its output sums to nan, not to 1"),
        "too few probabilities": (made(scores=2), r"names 3 classes, its graph gives \[1, 2\]"),
    }  # fmt: skip


def _cards() -> dict[str, tuple[Write, str]]:
    def with_card(text: str) -> Write:
        return lambda path: write_model(path, card=text)

    def made(**words: Any) -> Write:
        return lambda path: write_model(path, **words)

    whole = {"format": 1, "name": "m", "version": "1", "classes": ["a", "b", "c"], "height": 32, "width": 32}

    def without(key: str) -> str:
        return json.dumps({k: v for k, v in whole.items() if k != key})

    novelty = {"centre": "AAAA", "means": "AAAA", "limits": [1, 1, 1]}
    endless = {"centre": "AAAAAAAA", "means": "A" * 24, "limits": [1, float("nan"), 1]}
    return {
        "no card": (made(card=False), r"has no model card \(metadata key 'sortline'\)"),
        "a card that is no JSON": (with_card("{"), "its card is not JSON"),
        "a card that is a list": (with_card("[]"), "its card is not a JSON object"),
        "a card without end": (with_card("[" * 200_000), "its card is not JSON that can be read"),
        "a number without end": (with_card(f'{{"format": {"9" * 5000}}}'), "its card is not JSON"),
        "a card in Latin-1": (_replaced(b'"name": "colours"', b'"name": "colou\xfcr"'), "is not UTF-8"),
        **{f"a card without {key}": (with_card(without(key)), f"its card's {key}: field required") for key in whole},
        "format 99": (made(format=99), "its card has format 99, this version of sortline reads format"),
        "a format in words": (made(format="one"), "its card's format"),
        "a class of no name": (with_card(json.dumps({**whole, "classes": ["a", "b", None]})), r"its card's classes\.2"),
        "a broken name": (made(name="\ud800"), "its card's name"),
        "one class twice": (with_card(json.dumps({**whole, "classes": ["a", "b", "a"]})), "names a class twice"),
        "one class": (with_card(json.dumps({**whole, "classes": ["a"]})), "its card's classes"),
        "a card of 4 classes": (with_card(json.dumps({**whole, "classes": [*"abcd"]})), "names 4 classes, its graph"),
        "a height of nothing": (made(height=0), "its card's height"),
        "a height of a mile": (made(height=1_000_000), "its card's height"),
        "a threshold of a stranger": (made(thresholds={"mauve": 0.5}), "threshold for 'mauve'"),
        "a threshold beyond 1": (made(thresholds={"red": 1.5}), "threshold outside 0 to 1"),
        "a threshold that is no number": (made(thresholds={"red": float("nan")}), r"its card's thresholds\.red"),
        "damaged novelty": (made(novelty=novelty), "novelty is damaged"),
        "novelty that is no base64": (made(novelty={**novelty, "centre": "?é"}), "novelty is damaged"),
        "novelty without a limit": (made(novelty=endless), r"its card's novelty\.limits\.1"),
        "a resize of its own": (made(resize={"mode": "crop"}), r"its card's resize\.mode"),
    }  # fmt: skip


def _tiny(path: Path) -> bytes:
    return write_model(path).read_bytes()


def _put(content: bytes) -> Write:
    return lambda path: path.write_bytes(content)


def _more(graph: bytes) -> Write:
    return lambda path: write_model(path, more_graph=graph)


def _replaced(old: bytes, new: bytes) -> Write:
    def write(path: Path) -> None:
        content = _tiny(path)
        assert old in content
        path.write_bytes(content.replace(old, new))

    return write


def _nodes(*nodes: bytes) -> bytes:
    return b"".join(bytes_field(1, each) for each in nodes)


def _named(name: bytes) -> bytes:
    return bytes_field(1, bytes_field(1, name) + bytes_field(4, b"Relu"))


def _nested(deep: int) -> bytes:
    inner = node("Relu", ["a"], "b")
    for _ in range(deep):
        graph = bytes_field(1, inner)
        inner = node("If", ["c"], "d", bytes_field(1, b"then_branch") + bytes_field(6, graph))
    return inner


def opened(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """Opens each file in a fork of this process: {file, died, said, cpu_s}; died is the signal or None."""
    from edge.errors import ModelError
    from edge.model import Classifier

    for path in paths:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            said: str | None = None
            before = resource.getrusage(resource.RUSAGE_SELF)
            try:
                Classifier(path, provider="cpu")
            except ModelError as error:
                said = str(error)
            except BaseException as error:
                said = f"a traceback: {error!r}"
            after = resource.getrusage(resource.RUSAGE_SELF)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            os.write(writer, json.dumps([said, spent]).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            answer = pipe.read()
        status = os.waitpid(child, 0)[1]
        said, spent = json.loads(answer) if answer else (None, 0.0)
        yield {"file": path.name, "died": os.WTERMSIG(status) or None, "said": said, "cpu_s": spent}


if __name__ == "__main__":
    for line in opened([Path(word) for word in sys.argv[1:]]):
        print(json.dumps(line), flush=True)

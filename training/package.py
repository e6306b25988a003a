"""Anyone's ONNX classifier, from Keras, timm or a model zoo, made into the one-file contract."""

import time
from importlib.metadata import version
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto

from edge.errors import ModelError
from edge.model import FORMAT, METADATA_KEY, Classifier, ModelCard, Resize
from training.errors import InputError
from training.export import UNCALIBRATED, Front, dress, with_card
from training.files import write_atomically
from training.spelling import unfit


def read_labels(path: Path) -> tuple[str, ...]:
    """The class names of a text file, one a line in the order of the model's outputs."""
    try:
        lines = path.read_text("utf-8-sig").split("\n")  # and at nothing else that may hide in a line
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of labels") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from None
    named = {number: line.strip(" \t") for number, line in enumerate(lines, 1) if line.strip(" \t")}
    for number, label in named.items():
        if why := unfit(label):
            raise InputError(
                f"{path}: line {number} names the class {label!r}, which cannot be the name of a folder: {why}"
            )
    labels = tuple(named.values())
    if len(labels) < 2:
        raise InputError(f"{path}: must name at least two classes, one a line; it names {len(labels)}")
    if len(set(labels)) != len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise InputError(f"{path}: names {twice!r} twice")
    return labels


def package(
    source: Path, out: Path, labels: tuple[str, ...], size: int, front: Front, logits: bool, name: str, resize: Resize
) -> ModelCard:
    """Writes source, a float32 image classifier, as a file that the edge runs; returns its card.

    front says what its input expects of RGB pixels; logits that its output still needs a softmax.
    Raises InputError saying what does not fit.
    """
    model = _read(source)
    if any(entry.key == METADATA_KEY for entry in model.metadata_props):
        raise InputError(f"{source}: is a file for sortline already; it can be used as it is")
    graph = model.graph
    initialized = {tensor.name for tensor in graph.initializer}  # old exporters list weights as inputs
    inputs = [value for value in graph.input if value.name not in initialized]
    if len(inputs) != 1:
        raise InputError(f"{source}: must have one input, the picture; it has {len(inputs)}")
    del graph.input[:]
    graph.input.append(inputs[0])
    kind = inputs[0].type.tensor_type
    shape = [dim.dim_value for dim in kind.shape.dim]  # 0 where it is dynamic
    expected = [3, size, size] if front.layout == "nchw" else [size, size, 3]
    if kind.elem_type != TensorProto.FLOAT:
        raise InputError(f"{source}: its input {inputs[0].name!r} must be float32")
    if len(shape) != 4 or any(has not in (0, wanted) for has, wanted in zip(shape[1:], expected, strict=True)):
        given = ", ".join(str(dim.dim_param or dim.dim_value or "?") for dim in kind.shape.dim)
        raise InputError(
            f"{source}: its input {inputs[0].name!r} is [{given}], which is not N pictures of {expected}; "
            "say --size and --layout as the model has them"
        )
    scores = _scores(model, source, len(labels), logits)
    for value in (graph.input[0], *graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "N"
    del graph.value_info[:]  # they may repeat the fixed number of pictures

    dressed = dress(
        model,
        size,
        size,
        front,
        len(labels),
        scores=scores,
        features=None,
        calibration=UNCALIBRATED if logits else None,
    )
    now = time.gmtime()
    card = ModelCard(
        format=FORMAT,
        name=name,
        version=time.strftime("%Y%m%d-%H%M%S", now),
        classes=labels,
        height=size,
        width=size,
        resize=resize,
        quantization={"recipe": "as packaged"},
        training={"packaged_from": source.name},
        libraries={"onnx": version("onnx"), "onnxruntime": version("onnxruntime")},
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", now),
    )
    partial = out.with_name(f".{out.stem}.unchecked.onnx")
    try:
        write_atomically(partial, with_card(dressed, card).SerializeToString())
        _try(partial, source)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return card


def _read(source: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(source, load_external_data=False)
    except FileNotFoundError:
        raise InputError(f"{source}: no such model file") from None
    except (OSError, DecodeError) as error:
        raise InputError(f"{source}: is not an ONNX model ({error})") from None
    if not model.graph.node or not model.graph.output:
        raise InputError(f"{source}: is not an ONNX model: it has no graph")
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise InputError(f"{source}: keeps its weights in other files; save it as one file first")
    return model


def _scores(model: onnx.ModelProto, source: Path, classes: int, logits: bool) -> str:
    """The output that has one value a class."""
    outputs = {value.name: value.type.tensor_type for value in model.graph.output}
    fitting = [
        name
        for name, kind in outputs.items()
        if kind.elem_type == TensorProto.FLOAT
        and (not kind.HasField("shape") or len(kind.shape.dim) == 2)
        and (not kind.HasField("shape") or kind.shape.dim[1].dim_value in (0, classes))
    ]
    if len(fitting) != 1:
        raise InputError(
            f"{source}: must have one float32 output [N, {classes}] for the {classes} labels; "
            f"{len(fitting)} of its outputs ({', '.join(outputs)}) look so"
        )
    last = next((node.op_type for node in model.graph.node if fitting[0] in node.output), "")
    if logits and last == "Softmax":
        raise InputError(f"{source}: ends in a Softmax already; leave out --softmax")
    return fitting[0]


def _try(path: Path, source: Path) -> None:
    """Opens the packaged file as the edge will, which runs one picture and then two at once."""
    try:
        Classifier(path, provider="cpu")
    except ModelError as error:
        said = str(error)
        advice = ""
        if "softmax" in said:
            advice = "; if it returns logits, say --softmax"
        elif "N must be dynamic" in said or "pictures at once" in said:
            advice = "; export it with a dynamic batch"
        raise InputError(said.replace(str(path), str(source)) + advice) from None

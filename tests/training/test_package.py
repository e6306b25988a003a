import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edge.model import Classifier, Resize
from training.errors import InputError
from training.export import Front
from training.package import package, read_labels

LABELS = ("red", "green", "blue")


def brightest_channel(
    path: Path,
    opset: int = 11,
    layout: str = "nchw",
    batch: int | str = "N",
    kind: int = TensorProto.FLOAT,
    softmax: bool = False,
    size: int | str = 16,
) -> Path:
    """A classifier as another tool may write it: an old opset, its own names, pictures as floats."""
    shape = [batch, 3, size, size] if layout == "nchw" else [batch, size, size, 3]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["pooled"], axes=[2, 3] if layout == "nchw" else [1, 2], keepdims=0),
        helper.make_node("MatMul", ["pooled", "weights"], ["probabilities" if softmax else "dense"]),
    ]
    output = "dense"
    if softmax:
        nodes[-1].output[0] = "raw"
        nodes.append(helper.make_node("Softmax", ["raw"], ["probabilities"], axis=1))
        output = "probabilities"
    weights = numpy_helper.from_array((3 * np.eye(3)).astype(np.float32), "weights")
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info(output, kind, [batch, 3])],
        [weights] if kind == TensorProto.FLOAT else [],
    )
    if kind != TensorProto.FLOAT:
        del graph.node[1]
        graph.node[0].output[0] = "dense"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6), path)
    return path


def packaged(source: Path, front: Front, logits: bool = True, size: int = 16, labels: tuple[str, ...] = LABELS) -> Path:
    out = source.with_name("ours.onnx")
    package(source, out, labels, size, front, logits, "colours", Resize(mode="stretch"))
    return out


@pytest.mark.parametrize("opset", [7, 11, 13, 17])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize(
    ("mean", "std"), [((127.0,), (128.0,)), ((0.0,), (255.0,)), ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))]
)
def test_any_opset_layout_and_normalisation_answers_as_the_original_does(
    opset: int, layout: str, mean: tuple[float, ...], std: tuple[float, ...], tmp_path: Path
) -> None:
    source = brightest_channel(tmp_path / "theirs.onnx", opset, layout)
    front = Front(mean, std, layout)  # type: ignore[arg-type]
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    floats = ((pixels - np.array(mean)) / np.array(std)).astype(np.float32)
    given = floats if layout == "nhwc" else floats.transpose(0, 3, 1, 2)
    logits = ort.InferenceSession(source).run(None, {"image": given})[0]
    wanted = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    probabilities, features = Classifier(packaged(source, front), provider="cpu").run(pixels)
    assert np.abs(probabilities - wanted).max() < 1e-5
    assert features is None


def test_a_packaged_model_sorts_real_crops_through_the_edge(tmp_path: Path) -> None:
    source = brightest_channel(tmp_path / "theirs.onnx", softmax=True)
    classifier = Classifier(packaged(source, Front((0.0,), (255.0,)), logits=False), provider="cpu")
    assert classifier.card.name == "colours"
    assert classifier.card.resize.mode == "stretch"
    blue = np.zeros((50, 30, 3), np.uint8)
    blue[..., 0] = 250  # OpenCV's order
    assert classifier.classify([blue])[0].label == "blue"


def test_a_file_that_is_sortline_s_already_is_not_packaged_again(tmp_path: Path) -> None:
    ours = packaged(brightest_channel(tmp_path / "theirs.onnx"), Front((0.0,), (255.0,)))
    with pytest.raises(InputError, match="is a file for sortline already; it can be used as it is"):
        packaged(ours, Front((0.0,), (255.0,)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_from_torch_s_older_exporter_is_packaged(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.append(nn.Linear(4, 3)).eval()
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, 16, 16),),
        tmp_path / "theirs.onnx",
        dynamo=False,
        opset_version=11,
        input_names=["x"],
        output_names=["features"],
        dynamic_axes={"x": {0: "batch"}, "features": {0: "batch"}},
    )
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    ours = packaged(tmp_path / "theirs.onnx", Front((127.5,), (127.5,)))
    with torch.inference_mode():
        scaled = (torch.from_numpy(pixels).permute(0, 3, 1, 2) - 127.5) / 127.5
        wanted = network(scaled).softmax(1).numpy()
    assert np.abs(Classifier(ours, provider="cpu").run(pixels)[0] - wanted).max() < 1e-5


def test_a_timm_export_is_packaged(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", pretrained=False, num_classes=3).eval()
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, 64, 64),),
        tmp_path / "theirs.onnx",
        dynamo=True,
        dynamic_shapes=({0: batch},),
        external_data=False,
        verbose=False,
    )
    mean, std = (tuple(255 * value for value in network.default_cfg[key]) for key in ("mean", "std"))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    ours = packaged(tmp_path / "theirs.onnx", Front(mean, std), size=64)
    with torch.inference_mode():
        floats = (torch.from_numpy(pixels).float() - torch.tensor(mean)) / torch.tensor(std)
        wanted = network(floats.permute(0, 3, 1, 2)).softmax(1).numpy()
    assert np.abs(Classifier(ours, provider="cpu").run(pixels)[0] - wanted).max() < 1e-4


def test_a_keras_model_from_its_own_exporter_is_packaged(tmp_path: Path) -> None:
    """In a process of its own, because Keras reads which library it stands on once, from the environment."""
    if find_spec("keras") is None:
        pytest.skip("keras is not installed")
    code = """
import keras, numpy as np
layers = keras.layers
model = keras.Sequential([
    keras.Input((32, 32, 3)), layers.Conv2D(4, 3, strides=2, activation="relu"), layers.BatchNormalization(),
    layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax"),
])
pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
np.savez("wanted.npz", pixels=pixels, wanted=keras.ops.convert_to_numpy(model(pixels / np.float32(255))))
model.export("theirs.onnx", format="onnx", verbose=False)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"KERAS_BACKEND": "torch", "KERAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    source = tmp_path / "theirs.onnx"
    ours = packaged(source, Front((0.0,), (255.0,), "nhwc"), logits=False, size=32)
    told = np.load(tmp_path / "wanted.npz")
    assert np.abs(Classifier(ours, provider="cpu").run(told["pixels"])[0] - told["wanted"]).max() < 1e-5


def written(tmp_path: Path, how: str) -> Path:
    path = tmp_path / "theirs.onnx"
    if how == "missing":
        return path
    if how == "text":
        path.write_text("this is not a model")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "integers":
        brightest_channel(path, kind=TensorProto.DOUBLE)
    elif how == "one at a time":
        brightest_channel(path, batch=1)
        model = onnx.load(path)
        model.graph.node.append(helper.make_node("Reshape", ["dense", "one"], ["out"]))
        model.graph.initializer.append(numpy_helper.from_array(np.array([1, 3], np.int64), "one"))
        model.graph.output[0].name = "out"
        onnx.save(model, path)
    elif how == "outside weights":
        model = onnx.load(brightest_channel(path))
        onnx.save(model, path, save_as_external_data=True, size_threshold=0, location="weights.bin")
    elif how == "another operator":
        model = onnx.load(brightest_channel(path))
        model.graph.node[0].op_type = "Frobnicate"
        onnx.save(model, path)
    else:
        brightest_channel(path, softmax=how == "softmax twice")
    return path


@pytest.mark.parametrize(
    ("how", "options", "says"),
    [
        ("missing", {}, "no such model file"),
        ("text", {}, "is not an ONNX model"),
        ("empty", {}, "is not an ONNX model: it has no graph"),
        ("integers", {}, "its input 'image' must be float32"),
        ("fine", {"size": 32}, r"its input 'image' is \[N, 3, 16, 16\], which is not N pictures of \[3, 32, 32\]"),
        ("fine", {"front": Front((0.0,), (255.0,), "nhwc")}, "say --size and --layout as the model has them"),
        ("fine", {"labels": ("a", "b")}, r"must have one float32 output \[N, 2\] for the 2 labels"),
        ("fine", {"logits": False}, "if it returns logits, say --softmax"),
        ("softmax twice", {}, "ends in a Softmax already; leave out --softmax"),
        ("one at a time", {}, r"cannot run two 16x16 pictures at once .*; export it with a dynamic batch"),
        ("outside weights", {}, "keeps its weights in other files"),
        ("another operator", {}, "is not an ONNX model that can be loaded"),
    ],
)
def test_what_cannot_be_packaged_is_said_in_one_sentence_and_nothing_is_left(
    how: str, options: dict[str, object], says: str, tmp_path: Path
) -> None:
    source = written(tmp_path, how)
    with pytest.raises(InputError, match=says) as caught:
        packaged(source, **{"front": Front((0.0,), (255.0,)), **options})  # type: ignore[arg-type]
    assert str(caught.value).startswith(str(source))
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"theirs.onnx", "weights.bin"}


def test_labels_are_read_a_line_a_class_and_must_differ(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("bolt\n\n nut \nwasher")
    assert read_labels(path) == ("bolt", "nut", "washer")
    for text, says in {"bolt": "at least two", "bolt\nnut\nbolt": "names 'bolt' twice"}.items():
        path.write_text(text)
        with pytest.raises(InputError, match=says):
            read_labels(path)
    with pytest.raises(InputError, match="no such file of labels"):
        read_labels(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ("../a", "holds a /"),
        (".hidden", "begins with a dot"),
        ("__pycache__", "begins with two underscores"),
        ("a/b", "holds a /"),
        ("a\\b", "holds a \\"),
        ("a\0b", "holds U+0000, which cannot be seen"),
        ("a\x1b[2Jb", "holds U+001B, which cannot be seen"),
        ("a\u202eb", "holds U+202E, which cannot be seen"),
        ("a\u2028b", "holds U+2028, which cannot be seen"),
        ("a\x85b", "holds U+0085, which cannot be seen"),
        ("a\ufeffb", "holds U+FEFF, which cannot be seen"),
        ("\u00fc" * 128, "is longer than 255 bytes"),
    ],
)
def test_a_label_that_cannot_name_a_folder_is_refused_with_its_line(label: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(f"bolt\n\n{label}\nwasher\n", "utf-8")
    with pytest.raises(InputError) as caught:
        read_labels(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: line 3 names the class ")
    assert f", which cannot be the name of a folder: it {says}" in said
    assert said.isprintable()


def test_labels_of_other_systems_and_scripts_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffbolt, M8\r\n\u0645\u06cc\u200c\u062e\r\n\u30ca\u30c3\u30c8\u3000\u5927\r\n".encode())
    assert read_labels(path) == ("bolt, M8", "\u0645\u06cc\u200c\u062e", "\u30ca\u30c3\u30c8\u3000\u5927")

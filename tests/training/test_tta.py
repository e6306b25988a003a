import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
from rich.progress import Progress

from edge.model import FORMAT, Classifier, ModelCard
from tests.training.pictures import SHAPES, write_pictures
from training.cli import main
from training.commands.options import TTAS
from training.evaluation.cam import Attention
from training.export import Front, dress, with_card
from training.fit import predict
from training.quantize import run_core, scaled, to_int8
from training.ranges import minmax, observe
from training.run import Run
from training.stem import rearranged
from training.tta import LOOKS, Tta, looks_at, mean_of_looks

SIDE = 64


@pytest.fixture(scope="module")
def core(exported: Callable[[str, int], tuple[Any, Any]]) -> tuple[Any, onnx.ModelProto]:
    return exported("resnet18", SIDE)


def pictures(n: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (n, SIDE, SIDE, 3), np.uint8)


def written(path: Path, model: onnx.ModelProto) -> Classifier:
    card = ModelCard(format=FORMAT, name="n", version="1", classes=("a", "b", "c"), height=SIDE, width=SIDE)
    path.write_bytes(with_card(model, card).SerializeToString())
    return Classifier(path, provider="cpu")


def test_the_command_offers_every_way_to_look() -> None:
    assert get_args(Tta) == TTAS == tuple(LOOKS)


@pytest.mark.parametrize("tta", TTAS)
def test_looks_are_all_different_mirrors_and_turns_of_the_picture(tta: Tta) -> None:
    picture = pictures(1)
    poses = {np.rot90(side, turn, (1, 2)).tobytes() for side in (picture, picture[:, :, ::-1]) for turn in range(4)}
    looks = looks_at(picture, tta)
    assert len(looks) == LOOKS[tta] == len({look.tobytes() for look in looks})
    assert {look.tobytes() for look in looks} <= poses
    assert looks[0].tobytes() == picture.tobytes()


@pytest.mark.parametrize("form", ["fp32", "int8", "int8, stem rearranged"])
@pytest.mark.parametrize("tta", ["flips", "turns"])
def test_a_file_answers_with_the_mean_of_what_it_says_to_each_look(
    tta: Tta, form: str, core: tuple[Any, onnx.ModelProto], tmp_path: Path
) -> None:
    network, model = core
    scaling = network.scaling
    front = Front((scaling.zero,), (scaling.divisor,))
    if form != "fp32":
        ranges = {key: minmax(seen) for key, seen in observe(model, [scaled(pictures(4), scaling)]).items()}
        model = to_int8(model, ranges, front)
    if form.endswith("rearranged"):
        model = rearranged(model)
    once = written(tmp_path / "once.onnx", dress(model, SIDE, SIDE, front, 3))
    often = written(tmp_path / "often.onnx", dress(model, SIDE, SIDE, front, 3, tta=tta))
    pixels = pictures(3)
    probabilities, features = once.run(np.ascontiguousarray(looks_at(pixels, tta)))
    assert features is not None
    # Softmax of a mean of logits is the geometric mean of probabilities, made to sum to one.
    geometric = np.exp(mean_of_looks(np.log(probabilities), tta))
    got, its_features = often.run(pixels)
    assert got == pytest.approx(geometric / geometric.sum(axis=1, keepdims=True), abs=1e-5)
    assert its_features == pytest.approx(mean_of_looks(features, tta), abs=1e-4)
    assert not np.allclose(got, once.run(pixels)[0], atol=1e-5)


def test_the_network_and_its_bare_core_look_as_often_as_the_file(finished: Path, progress: Progress) -> None:
    run = Run.open(finished, progress)
    core = onnx.load(run.core)
    wanted = [mean_of_looks(predict_all(run, tta), tta) for tta in TTAS]
    for tta, logits in zip(TTAS, wanted, strict=True):
        assert predict(run.network, run.data.val, batch=16, tta=tta)[0] == pytest.approx(logits, abs=1e-4)
        assert run_core(core, run.data.val, run.network.scaling, tta=tta) == pytest.approx(logits, abs=1e-3)


def predict_all(run: Run, tta: Tta) -> np.ndarray:
    """The network's logits to every look at the validation part, looks one behind the other."""
    part = run.data.val
    looks = looks_at(part.pixels(slice(None)), tta)
    every = type(part)(looks, np.arange(len(looks)), np.zeros(len(looks), int), np.zeros((len(looks), 3)), ())
    return predict(run.network, every)[0]


def test_a_map_is_that_of_the_picture_as_it_is(core: tuple[Any, onnx.ModelProto], tmp_path: Path) -> None:
    network, model = core
    front = Front((network.scaling.zero,), (network.scaling.divisor,))
    pixels, classes = pictures(3), np.array([0, 1, 2])
    maps = []
    for tta in ("none", "turns"):
        classifier = written(tmp_path / f"{tta}.onnx", dress(model, SIDE, SIDE, front, 3, tta=tta))
        attention = Attention(classifier.path, classifier)
        assert attention.method == "cam"
        maps.append(attention.maps(pixels, classes))
    assert maps[1] == pytest.approx(maps[0], abs=1e-4)


def test_a_run_is_exported_with_looks_and_its_card_tells(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    assert main(["export", str(folder), "--tta", "flips"]) == 0
    card = Classifier(folder / "fp32.onnx", provider="cpu").card
    assert card.calibration["looks"] == 4
    assert card.calibration["offsets"] == []  # its labels leave no doubt
    assert json.loads((folder / "settings.json").read_text())["tta"] == "flips"
    assert main(["export", str(folder), "--tta", "none"]) == 0
    assert Classifier(folder / "fp32.onnx", provider="cpu").card.calibration["looks"] == 1


def test_labels_with_doubt_get_offsets_and_looks_are_kept_to_the_end(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "doubtful", dict.fromkeys(SHAPES, 20))
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    lines = [
        f"{name}," + ",".join("0.8" if label == name.split("/")[0] else "0.1" for label in SHAPES) for name in names
    ]
    (root / "labels.csv").write_text("\n".join([f"file,{','.join(SHAPES)}", *lines]) + "\n")
    out = tmp_path / "shapes.onnx"
    words = [
        "--network",
        "simple_cnn",
        "--size",
        "32",
        "--epochs",
        "2",
        "--batch",
        "16",
        "--tta",
        "turns",
        "--no-report",
    ]
    assert main(["build", str(root), "--out", str(out), "--run", str(tmp_path / "run"), *words]) == 0
    card = Classifier(out, provider="cpu").card
    assert card.calibration["looks"] == 8
    assert len(card.calibration["offsets"]) == len(SHAPES)
    page = out.with_suffix(".md").read_text()
    assert "Looks at each picture 8 times" in page
    assert "logits moved by" in page

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import training.commands.pictures
from edge.model import Classifier
from tests.training.pictures import SHAPES, write_pictures
from tests.training.test_package import brightest_channel
from tests.training.test_trackers import events
from training.cli import main

ONE = ("--threads", "1")
TINY = ("--network", "simple_cnn", "--size", "32", "--epochs", "4", "--batch", "16", "--lr", "0.003", *ONE)


def test_build_makes_one_measured_file_a_report_and_a_run_folder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pictures = write_pictures(tmp_path / "pictures", dict.fromkeys(SHAPES, 40))
    (pictures / "disc" / "broken.jpg").write_bytes(b"\xff\xd8 torn")
    out = tmp_path / "models" / "shapes.onnx"
    words = ["build", str(pictures), "--out", str(out), "--run", str(tmp_path / "run"), *TINY]
    assert main(words) == 0
    card = Classifier(out, provider="cpu").card
    assert card.name == "shapes"
    assert card.test["pictures"] == 18
    assert card.test["shipped"] in {"fp32", "int8"}
    assert {"torch", "fp32", "int8"} < set(card.test)
    assert card.test["fp32"]["accuracy"] >= 0.9
    limits = {"drop": 0.005, "class_drop": 0.02, "provider": "cpu", "target": "here"}
    assert card.quantization["limits"] == limits, "half a point, two of any class"
    report = out.with_suffix(".md").read_text()
    tried = [one["method"] for one in card.quantization["candidates"]]
    assert {"fp32", "minmax", "percentile", "entropy"} < set(tried)
    table = report.partition("## How it was quantized")[2]
    assert all(re.search(rf"^\| {re.escape(one)}( \(chosen\))? \|", table, re.MULTILINE) for one in tried)
    assert f"sortline-train {' '.join(words)}" in report
    assert "| torch |" in report
    assert f"{card.test['shipped']} (ships)" in report
    figures = json.loads(out.with_suffix(".json").read_text())
    assert figures["accuracy"] == card.test[card.test["shipped"]]["accuracy"]
    assert figures["count"] == figures["drifts"]["pictures"] == 18
    assert {figures["comparison"][which]["name"] for which in ("first", "second")} == {"fp32", "int8"}
    assert "<svg" in out.with_suffix(".html").read_text()
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    followed = [(event.step, event.value) for event in events(tmp_path / "run").Scalars("loss/validation")]
    assert followed == [(line["number"], pytest.approx(line["val_loss"])) for line in history]
    (tested,) = events(tmp_path / "run").Scalars("test/accuracy")
    assert tested.value == pytest.approx(card.test[card.test["shipped"]]["accuracy"])
    shown = capfd.readouterr()
    assert "(ships)" in shown.out
    assert "left out: disc/broken.jpg: is cut short" in shown.err
    assert "epoch  4/4" in shown.err
    assert "Warning" not in shown.err
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *("settings.json", "augmentations.png", "history.json", "checkpoint.pt", "weights.pt"),
        *("core.onnx", "fp32.onnx", "int8.onnx", "tensorboard"),
    }
    assert logging.root.manager.disable == logging.NOTSET


def test_the_steps_one_by_one_make_the_same_files(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    assert main(["fit", str(shapes), "--out", run, *TINY]) == 0
    assert main(["export", run, *ONE]) == 0
    limits = ["--max-drop", "1", "--max-class-drop", "3", "--target", "arm"]
    assert main(["quantize", run, "--aware", "1", *limits, *ONE]) == 0
    quantization = Classifier(Path(run) / "int8.onnx", provider="cpu").card.quantization
    assert quantization["limits"] == {"drop": 0.01, "class_drop": 0.03, "provider": "cpu", "target": "arm"}
    assert quantization["aware_epochs"] == 1
    tried = {one["method"] for one in quantization["candidates"]}
    assert {f"{kind}{way}" for kind in ("", "aware ") for way in ("minmax", "percentile", "entropy")} < tried
    assert "may lose 1 points, 3 in a class" in (shown := capsys.readouterr().out)
    assert shown.count("aware") >= 3, "every way that was tried is in the table"
    figures = tmp_path / "figures.json"
    assert main(["evaluate", f"{run}/int8.onnx", str(shapes), "--json", str(figures), *ONE]) == 0
    evaluation = json.loads(figures.read_text())
    assert evaluation["count"] == 18
    shown = capsys.readouterr().out
    assert "of the rest" in shown
    assert "recall" in shown


def test_a_finished_run_can_be_resumed_and_is_left_as_it_is(finished: Path, shapes: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    before = (run / "weights.pt").read_bytes()
    assert main(["fit", str(shapes), "--out", str(run), "--resume", *ONE]) == 0
    assert (run / "weights.pt").read_bytes() == before


def test_a_run_goes_on_with_as_many_threads_as_it_began_with(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sum over two threads rounds otherwise than over one: the result would not be the identical one."""
    monkeypatch.setattr("edge.engines.cores", lambda: 3)
    words = ["fit", str(shapes), "--out", str(tmp_path / "run"), "--track", "none"]
    assert main([*words, *TINY, "--epochs", "1"]) == 0
    assert main([*words, "--resume"]) == 0
    assert torch.get_num_threads() == 1
    assert main([*words, "--resume", "--threads", "2"]) == 0
    assert torch.get_num_threads() == 2


def test_a_resumed_run_takes_the_words_that_it_began_with_and_refuses_others_by_name(
    finished: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    words = ["fit", str(shapes), "--out", str(run), "--resume", *ONE]
    began = ["--network", "simple_cnn", "--epochs", "6", "--batch", "16", "--lr", "0.003", "--size", "32"]
    assert main([*words, *began, "--augment", "flip=true"]) == 0
    (tmp_path / "other.toml").write_text("lr = 0.1\n[augment]\nzoom = 0.3\n")
    for other, says in {
        "--epochs 7": "epochs 6, not 7",
        "--size 64": "size 32, not 64",
        "--augment flip=false": "augment.flip True, not False",
        "--from-scratch --group similar": "from_scratch False, not True, group None, not similar",
        "--tta turns --purity 0.99": "tta none, not turns, purity None, not 0.99",
        f"--settings {tmp_path}/other.toml": "lr 0.003, not 0.1, augment.zoom 0.12, not 0.3",
    }.items():
        assert main([*words, *other.split()]) == 2
        assert f"run: was started with {says}; --resume goes on" in capsys.readouterr().err.splitlines()[-1]


def test_package_split_and_draw_do_what_they_say(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    brightest_channel(tmp_path / "theirs.onnx")
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    words = ["--labels", str(tmp_path / "labels.txt"), "--size", "16", "--range", "0-1", "--softmax"]
    colours = ["--mean", "0.485", "0.456", "0.406", "--std", "0.229", "0.224", "0.225"]
    out = tmp_path / "ours.onnx"
    assert main(["package", str(tmp_path / "theirs.onnx"), "--out", str(out), *words, *colours]) == 0
    ours = Classifier(out, provider="cpu")
    assert ours.card.classes == ("red", "green", "blue")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    means = (pixels.mean((1, 2)) / 255 - (0.485, 0.456, 0.406)) / (
        0.229,
        0.224,
        0.225,
    )  # the model's logits are thrice these
    wanted = np.exp(3 * means) / np.exp(3 * means).sum(1, keepdims=True)
    assert np.abs(ours.run(pixels)[0] - wanted).max() < 1e-5
    assert main(["split", str(shapes), str(tmp_path / "parted"), "--seed", "1"]) == 0
    assert len(list((tmp_path / "parted" / "test" / "disc").iterdir())) == 6
    assert main(["draw", str(tmp_path / "parts"), "--pictures-per-class", "2", "--size", "64"]) == 0
    folders = sorted((tmp_path / "parts").iterdir())
    assert len(folders) >= 5
    assert all(len(list(folder.iterdir())) == 2 for folder in folders)
    assert "3 classes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("build {tmp}/none --out {tmp}/a.onnx", 2, "none: no such folder"),
        ("build {shapes} --out {tmp}/a.pt", 2, "a.pt: the file to write must end in .onnx"),
        ("build {tmp}/empty --out {tmp}/a.onnx", 2, "empty/cat: has no picture in it"),
        ("build {shapes} --out {tmp}/a.onnx --network lenet", 2, "no network is called 'lenet'"),
        ("build {shapes} --out {tmp}/a.onnx --size 90", 2, "'90' is not a multiple of 4"),
        ("build {shapes} --out {tmp}/a.onnx --lr much", 2, "'much' is not a number"),
        ("build {shapes} --out {tmp}/a.onnx --run {finished}", 2, "holds a run already; name a new folder"),
        ("build {shapes} --out {tmp}/a.onnx --weights {tmp}/none.pt", 2, "none.pt: no such file of weights"),
        ("build {shapes} --out {tmp}/file/a.onnx", 2, "file is not a folder that can be written to"),
        ("build {shapes} --out {tmp}/a.onnx --provider tensorrt", 2, "--provider: tensorrt is not installed here"),
        ("build {shapes} --out {tmp}/a.onnx --run {shapes}/run", 2, "run: lies in the dataset"),
        ("fit {shapes} --out {shapes}/run", 2, "run: lies in the dataset"),
        ("split {shapes} {shapes}/in", 2, "in: lies in the dataset"),
        ("build {shapes}", 2, "the following arguments are required: --out"),
        ("fit {shapes} --out {tmp}/file", 1, "file: cannot be made"),
        ("fit {shapes} --out {tmp}/none --resume", 2, "is not a run folder"),
        ("fit {tmp}/other --out {finished} --resume", 2, "other: is not as it was when"),
        ("export {tmp}", 2, "is not a run folder"),
        ("quantize {tmp}/empty", 2, "is not a run folder"),
        ("evaluate {tmp}/none.onnx {shapes}", 2, "none.onnx: no such model file"),
        ("evaluate {tmp}/file {shapes}", 2, "is not an ONNX model"),
        ("package {tmp}/file --out {tmp}/b.onnx --labels {tmp}/file --size 16", 2, "must name at least two classes"),
        ("package {tmp}/file --out {tmp}/b.onnx --labels {tmp}/file --size 16 --mean 1 2", 2, "--mean: takes one"),
        ("package {tmp}/file --out {tmp}/b.onnx --labels {tmp}/file --size 16 --std 0", 2, "--std: must not be 0"),
        (
            "package {tmp}/file --out {tmp}/b.onnx --labels {tmp}/file --size 16 --std nan",
            2,
            "--std: nan is not a number",
        ),
        ("package {tmp}/file --out {tmp}/b.onnx --labels {tmp}/file --size 16 --mean inf", 2, "--mean: inf is not"),
        ("package {tmp}/file --out {tmp}/b.onnx --labels {tmp}/file --size 16 --std 1e-30", 2, "--std: must not be 0"),
        (
            "package {tmp}/m.onnx --out {tmp}/m.onnx --labels {tmp}/file --size 16",
            2,
            "m.onnx: is the model that is read",
        ),
        ("calibrate {tmp}/m.onnx {shapes} --out {tmp}/empty/../m.onnx", 2, "m.onnx: is the model that is read"),
        ("networks zzz", 2, "no network's name fits 'zzz'"),
        ("draw {tmp}/file", 1, "cannot be made (Not a directory)"),
        ("draw /proc/parts", 1, "/proc/parts/bolt: cannot be made"),
        ("split {shapes} {finished}", 2, "is not an empty folder"),
        ("draw {shapes} --pictures-per-class 0", 2, "'0' is not a whole number from 1 up"),
        ("bake {shapes}", 2, "invalid choice: 'bake'"),
        ("", 2, "required: COMMAND"),
    ],
)
def test_a_wrong_input_gets_one_clear_sentence_and_an_exit_status(
    words: str, status: int, says: str, shapes: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    (tmp_path / "empty" / "dog").mkdir(parents=True)
    (tmp_path / "file").write_text("a file")
    (tmp_path / "m.onnx").write_text("a customer's only model")
    write_pictures(tmp_path / "other", dict.fromkeys(SHAPES, 6))
    try:
        code = main(words.format(tmp=tmp_path, shapes=shapes, finished=finished).split())
    except SystemExit as exit_:
        code = int(str(exit_.code))
    assert code == status
    shown = capsys.readouterr().err.strip().splitlines()
    assert says in shown[-1]
    assert (tmp_path / "m.onnx").read_text() == "a customer's only model"
    assert "Traceback" not in "\n".join(shown)


@pytest.mark.parametrize("wrong", [("--network", "lenet"), ("--weights", "none.pt"), ("--weights", "{other}")])
def test_a_fit_that_failed_at_its_first_step_leaves_its_folder_to_the_corrected_command(
    wrong: tuple[str, str], shapes: Path, tmp_path: Path
) -> None:
    torch.save({"backbone.other": torch.zeros(1)}, tmp_path / "other.pt")
    words = ["fit", str(shapes), "--out", str(tmp_path / "run"), *TINY, "--epochs", "1", "--track", "none"]
    assert main([*words, wrong[0], wrong[1].format(other=tmp_path / "other.pt")]) == 2
    assert main(words) == 0
    assert main(words) == 2


def test_a_build_without_a_report_leaves_none_of_an_earlier_model(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for suffix in (".html", ".json"):
        (tmp_path / "a.onnx").with_suffix(suffix).write_text("of the model before")
    assert main(["build", str(shapes), "--out", "a.onnx", "--no-report", *TINY, "--epochs", "1"]) == 0
    assert sorted(path.name for path in tmp_path.glob("a.*")) == ["a.md", "a.onnx"]


def test_every_command_s_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("build", "fit", "export", "quantize", "evaluate", "package", "split", "draw", "import", "audit"):
        with pytest.raises(SystemExit) as exit_:
            main([command, "--help"])
        assert exit_.value.code == 0
        assert f"example: sortline-train {command} " in " ".join(capsys.readouterr().out.split())


def test_help_comes_without_waiting_for_torch() -> None:
    code = "import sys\nfrom training.cli import main\ntry: main(['--help'])\nfinally: print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=os.environ
    )
    assert done.stdout.strip().endswith("False")


def test_a_traceback_is_shown_only_with_debug(tmp_path: Path) -> None:
    from training.errors import DatasetError

    with pytest.raises(DatasetError):
        main(["split", str(tmp_path / "none"), str(tmp_path / "out"), "--debug"])


@pytest.mark.parametrize(
    ("first", "again"),
    [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)],
)
def test_ctrl_c_that_is_pressed_again_at_once_tears_nothing_out_of_its_good_order(
    first: int, again: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = []

    def draw(*_: object) -> None:
        try:
            signal.raise_signal(first)
        finally:
            signal.raise_signal(again)
            done.append("ended in good order")

    monkeypatch.setattr(training.commands.pictures, "_draw", draw)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        assert main(["draw", "parts"]) == 1
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == ["ended in good order"]
    assert capsys.readouterr().err == "sortline-train: interrupted\n"


@pytest.mark.parametrize("wish", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_a_library_is_loading_is_no_fault_of_the_library(
    wish: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw(*_: object) -> None:
        try:
            signal.raise_signal(wish)
        except KeyboardInterrupt as interrupt:  # as pybind11 does in a module's beginning
            raise ImportError("initialization failed") from interrupt

    monkeypatch.setattr(training.commands.pictures, "_draw", draw)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(["draw", "parts"]) == 1
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "sortline-train: interrupted\n"


def test_an_answer_that_finds_no_room_on_a_full_disk_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["networks"]) == 1
    said = "sortline-train: standard output cannot be written (No space left on device)\n"
    assert capsys.readouterr().err == said


def test_names_with_what_cannot_be_seen_are_written_out_on_the_screen_and_on_the_page(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    turned, seen = "torn\u202egpj.exe", "torn\\u202egpj.exe"
    pictures = write_pictures(tmp_path / "pictures", dict.fromkeys(SHAPES, 10))
    (pictures / "disc" / f"{turned}.jpg").write_bytes(b"\xff\xd8 torn")
    page = tmp_path / "audit.html"
    words = ["audit", str(pictures), "--skip-labels", "--report", str(page), *ONE]
    assert main(words) == 1
    assert main(["split", str(pictures), str(tmp_path / "out")]) == 0
    assert main(["split", str(tmp_path / turned), str(tmp_path / "none")]) == 2
    shown = capfd.readouterr()
    assert f"left out: disc/{seen}.jpg" in shown.err
    assert f"{seen}: no such folder" in shown.err
    assert seen in page.read_text()
    assert "\u202e" not in shown.out + shown.err + page.read_text()

"""Followed runs, read back with each library's own reader from what it really wrote."""

import contextlib
import gc
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.picture import read_picture
from tests.edge.tiny_model import COLOURS, write_model
from training.checkpoint import Epoch
from training.cli import main
from training.errors import InputError, TrainingError
from training.trackers import tracking
from training.trackers.common import matrix_picture

CLASSES = tuple(COLOURS)
SETTINGS = {"network": "simple_cnn", "lr": 0.003, "augment": {"flip": True}}
LINES = [Epoch(n, "all", 0.01 / n, 1 / n, 2 / n, 1 - 0.5 / n, 3.0) for n in (1, 2, 3)]
MATRIX = np.array([[8, 1, 0], [0, 9, 0], [2, 0, 7]])
FIGURES = {"accuracy": 0.975, "size_bytes": 3000.0}
ONE = ("--threads", "1")
TINY = ("--network", "simple_cnn", "--size", "32", "--epochs", "2", "--batch", "16", *ONE)


@pytest.fixture
def said() -> list[str]:
    """The sentences that people would read."""
    return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder with what a run has in it when its tracker is started."""
    run = tmp_path / "runs" / "first"
    run.mkdir(parents=True)
    (run / "settings.json").write_text(json.dumps(SETTINGS))
    (run / "history.json").write_text("[]")
    cv2.imwrite(str(run / "augmentations.png"), np.full((30, 50, 3), (10, 20, 200), np.uint8))
    return run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file with its report beside it."""
    (tmp_path / "colours.html").write_text("<!doctype html>")
    return write_model(tmp_path / "colours.onnx")


def follow(wanted: list[str], said: list[str], folder: Path, model: Path, lines: list[Epoch] = LINES) -> None:
    """A whole run, as the loop and the command tell it."""
    with tracking(wanted, said.append) as tracker:
        tracker.start(folder, SETTINGS, CLASSES, [])
        for line in lines:
            tracker.epoch(line, MATRIX)
        tracker.model(model, FIGURES)


# --- TensorBoard


def events(folder: Path) -> Any:
    """The run's events, as TensorBoard itself reads them."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulator.EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    return read.Reload()


def scalars(read: Any, name: str) -> list[tuple[int, float]]:
    return [(event.step, pytest.approx(event.value, rel=1e-6)) for event in read.Scalars(name)]


def test_tensorboard_has_every_epoch_s_figures_pictures_and_the_settings(
    folder: Path, model: Path, said: list[str]
) -> None:
    follow([], said, folder, model)
    read = events(folder)
    assert scalars(read, "loss/train") == [(line.number, line.train_loss) for line in LINES]
    assert scalars(read, "loss/validation") == [(line.number, line.val_loss) for line in LINES]
    assert scalars(read, "accuracy/validation") == [(line.number, line.val_accuracy) for line in LINES]
    assert scalars(read, "learning_rate") == [(line.number, line.lr) for line in LINES]
    assert scalars(read, "test/accuracy") == [(3, 0.975)]
    matrices = read.Images("confusion/validation")
    assert [image.step for image in matrices] == [1, 2, 3]
    shown = cv2.imdecode(np.frombuffer(matrices[0].encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(shown[..., ::-1], matrix_picture(MATRIX, CLASSES))
    sample = read.Images("training pictures")[0].encoded_image_string
    assert cv2.imdecode(np.frombuffer(sample, np.uint8), cv2.IMREAD_COLOR)[0, 0].tolist() == [10, 20, 200]
    settings = read.Tensors("settings/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| augment.flip | True |" in settings
    assert not said


def test_a_resumed_run_goes_on_in_tensorboard_where_it_was_cut(folder: Path, model: Path, said: list[str]) -> None:
    with tracking([], said.append) as tracker:
        tracker.start(folder, SETTINGS, CLASSES, [])
        for line in LINES[:2]:
            tracker.epoch(line, MATRIX)
    with tracking([], said.append) as tracker:  # its checkpoint is of the first epoch
        tracker.start(folder, SETTINGS, CLASSES, LINES[:1])
        for line in LINES[1:]:
            tracker.epoch(line, MATRIX)
    assert [step for step, _ in scalars(events(folder), "loss/train")] == [1, 2, 3]


def test_none_follows_a_run_nowhere(shapes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["fit", str(shapes), "--out", str(run), "--track", "none", *TINY]) == 0
    assert (run / "history.json").exists()
    assert main(["fit", str(shapes), "--out", str(run), "--resume"]) == 0
    assert not (run / "tensorboard").exists()


# --- failures


def test_a_tracker_that_fails_is_said_once_and_the_run_goes_on(
    folder: Path, model: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "tensorboard").write_text("a file where the folder should be")
    follow([], said, folder, model)
    assert len(said) == 1
    assert said[0].startswith("TensorBoard: no longer followed there (")
    assert said[0].endswith("); the training goes on")


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (["neptune"], InputError, r"--track neptune: is not one of tensorboard, mlflow, wandb, none"),
        (["tensorboard=here"], InputError, r"--track tensorboard=here: takes nothing after the name"),
        (["none", "tensorboard"], InputError, r"--track none: cannot be said beside another tracker"),
    ],
)
def test_a_wrong_word_is_refused_with_the_right_ones(words: list[str], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says), tracking(words, print):
        pass


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_tracker_that_is_asked_for_and_not_installed_is_said_before_the_work(
    name: str, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import training.trackers

    monkeypatch.setattr(training.trackers, "find_spec", lambda wanted: None if wanted == name else object())
    assert main(["fit", str(shapes), "--out", str(tmp_path / "run"), "--track", name, *TINY]) == 1
    assert f'--track {name}: {name} is not installed; pip install "sortline[tracking]"' in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_without_tensorboard_a_run_goes_on_and_says_what_to_install(
    folder: Path, model: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import training.trackers

    monkeypatch.setattr(training.trackers, "find_spec", lambda wanted: None)
    follow([], said, folder, model)
    assert said == ['the run is not followed in TensorBoard, which is not installed; pip install "sortline[training]"']
    with pytest.raises(TrainingError, match=r"tensorboard is not installed"), tracking(["tensorboard"], said.append):
        pass


# --- MLflow


@pytest.fixture
def quiet_mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow as a machine has it that tells nobody of its use, and that has no jobs to do for others."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    pytest.importorskip("mlflow")
    yield
    gc.collect()  # MLflow's clients end their threads when they are let go of


def serve(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A real MLflow server on a free port, ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "files")]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *words, "--port", str(port), "--workers", "1"],
        cwd=folder,
        stdout=(folder / "server.log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 240
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return server, url
        except OSError:
            time.sleep(0.2)
    stop(server)
    pytest.fail("mlflow server did not start: " + (folder / "server.log").read_text()[-500:])


def stop(server: subprocess.Popen[bytes]) -> None:
    """Ends a server and the workers in its own session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, 9)
    server.wait(30)


@pytest.fixture
def server(quiet_mlflow: None, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    pytest.importorskip("mlflow.server", reason="needs mlflow with its server")
    pytest.importorskip("flask_cors", reason="needs mlflow with its server")
    process, url = serve(tmp_path)
    yield process, url
    stop(process)


def read_back(uri: str, folder: Path, model: Path, scratch: Path) -> None:
    """Holds what an MLflow store gives back against what was written."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name("sortline")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == folder.name
    assert run.info.status == "FINISHED"
    assert {"augment.flip": "True", "lr": "0.003", "classes": "red, green, blue"}.items() <= run.data.params.items()
    for name, values in {
        "loss/train": [line.train_loss for line in LINES],
        "accuracy/validation": [line.val_accuracy for line in LINES],
        "learning_rate": [line.lr for line in LINES],
        "test/accuracy": [0.975],
    }.items():
        assert [metric.value for metric in client.get_metric_history(run.info.run_id, name)] == values, name
    kept = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"settings.json", "history.json", "augmentations.png", "report", "model"} <= kept
    matrices = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    for line in LINES:
        (path,) = (path for path in matrices if re.search(rf"step.{line.number}\W.*\.png$", path))
        shown = read_picture(Path(client.download_artifacts(run.info.run_id, path, str(scratch))))
        assert np.array_equal(shown[..., ::-1], matrix_picture(MATRIX, CLASSES))
    (version,) = client.search_model_versions("name='colours'")
    assert (version.run_id, version.status) == (run.info.run_id, "READY")
    given = client.download_artifacts(run.info.run_id, f"model/{model.name}", str(scratch))
    assert Path(given).read_bytes() == model.read_bytes()
    assert version.source.endswith(f"{run.info.run_id}/artifacts/model")


def test_an_mlflow_server_has_figures_files_and_the_model_registered(
    server: tuple[subprocess.Popen[bytes], str], folder: Path, model: Path, said: list[str], tmp_path: Path
) -> None:
    process, url = server
    follow([f"mlflow={url}"], said, folder, model)
    assert not said
    read_back(url, folder, model, tmp_path)

    # The server goes while another run is on.
    second = folder.parent / "second"
    second.mkdir()
    with tracking([f"mlflow={url}"], said.append) as tracker:
        tracker.start(second, SETTINGS, CLASSES, [])
        tracker.epoch(LINES[0], MATRIX)
        assert not said
        stop(process)
        for line in LINES[1:]:
            tracker.epoch(line, MATRIX)
        tracker.model(model, FIGURES)
    assert len(said) == 1
    assert said[0].startswith("MLflow: no longer followed there (API request to ")
    assert [step for step, _ in scalars(events(second), "loss/train")] == [1, 2, 3]


def test_without_a_server_mlflow_writes_a_database_beside_the_runs_and_a_resumed_run_goes_on_in_it(
    quiet_mlflow: None, folder: Path, model: Path, said: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("sqlalchemy", reason="MLflow's local database needs it")
    with pytest.raises(KeyboardInterrupt), tracking(["mlflow"], said.append) as tracker:
        tracker.start(folder, SETTINGS, CLASSES, [])
        tracker.epoch(LINES[0], MATRIX)
        raise KeyboardInterrupt
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{folder.parent}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)
    (cut,) = client.search_runs([client.get_experiment_by_name("sortline").experiment_id])
    assert cut.info.status == "FAILED"
    with tracking(["mlflow"], said.append) as tracker:
        tracker.start(folder, SETTINGS, CLASSES, LINES[:1])
        for line in LINES[1:]:
            tracker.epoch(line, MATRIX)
        tracker.model(model, FIGURES)
    assert not said
    read_back(uri, folder, model, tmp_path)
    onnx_flavour = pytest.importorskip("mlflow.onnx", reason="MLflow's reader of ONNX models needs pandas")
    import mlflow

    mlflow.set_tracking_uri(uri)
    try:
        loaded = onnx_flavour.load_model("models:/colours/1")
    finally:
        mlflow.set_tracking_uri(None)
    assert [entry.key for entry in loaded.metadata_props] == ["sortline"]


# --- Weights & Biases


def records(path: Path) -> Iterator[Any]:
    """The records of an offline run's file, by W&B's own message types.

    The file is LevelDB's log format behind a 7 byte head: blocks of 32 KiB, each record's parts led
    by a checksum, a length and whether it is whole (1), the first (2), middle (3) or last (4).
    """
    from wandb.proto import wandb_internal_pb2

    data, place, parts = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in {1, 4}:
            yield wandb_internal_pb2.Record.FromString(parts)
            parts = b""


def go_on(said: list[str], folder: Path) -> None:
    """One more epoch of a run that was stopped after three."""
    with tracking(["wandb"], said.append) as tracker:
        tracker.start(folder, SETTINGS, CLASSES, LINES)
        tracker.epoch(Epoch(4, "all", 0.01, 0.125, 0.25, 0.75, 3.0), MATRIX)


def test_an_offline_run_of_weights_and_biases_holds_all_that_was_told(folder: Path, model: Path) -> None:
    """In a process of its own: W&B leaves threads behind."""
    pytest.importorskip("wandb")
    code = (
        "import sys; from pathlib import Path; import tests.training.test_trackers as t; said = [];"
        "t.follow(['wandb'], said, Path(sys.argv[1]), Path(sys.argv[2]));"
        "t.go_on(said, Path(sys.argv[1])); print(*said, sep=chr(10))"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(model)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run, rest = sorted((folder / "wandb").glob("offline-run-*"))
    assert done.stdout.splitlines() == [
        f"Weights & Biases: the run is in {run}; wandb sync sends it",
        f"Weights & Biases: the run is in {rest}; wandb sync sends it",
    ]
    # What was resumed is the same run, with the epochs since. A folder's name is offline-run-TIME-ID, and -1 behind it
    # where both began within the same second.
    assert run.name.split("-")[3] == rest.name.split("-")[3] == (folder / "wandb-run.txt").read_text().strip()
    (later,) = rest.glob("run-*.wandb")
    assert [
        json.loads(item.value_json)
        for record in records(later)
        for item in record.history.item
        if "loss/train" in (item.key, *item.nested_key)
    ] == [0.125]
    (file,) = run.glob("run-*.wandb")
    written = list(records(file))
    history: dict[str, list[Any]] = {}
    for record in written:
        for item in record.history.item:
            # A picture's entry has several values under one name; the last is the name of the value.
            name = item.key or "/".join(item.nested_key)
            history.setdefault(name, []).append(json.loads(item.value_json))
    assert history["loss/train"] == [line.train_loss for line in LINES]
    assert history["accuracy/validation"] == [line.val_accuracy for line in LINES]
    assert history["learning_rate"] == [line.lr for line in LINES]
    pictures = [run / "files" / path for path in history["confusion/validation/path"]]
    assert len(pictures) == 3
    assert all(np.array_equal(read_picture(path)[..., ::-1], matrix_picture(MATRIX, CLASSES)) for path in pictures)
    (sample,) = history["training pictures/path"]
    assert read_picture(run / "files" / sample)[0, 0].tolist() == [10, 20, 200]
    config = {item.key: json.loads(item.value_json) for record in written for item in record.run.config.update}
    assert config["network"] == "simple_cnn"
    assert config["augment"] == {"flip": True}
    summary = {"/".join(item.nested_key) or item.key: item.value_json for r in written for item in r.summary.update}
    assert json.loads(summary["test/accuracy"]) == 0.975
    artifacts = [record.artifact for record in written] + [record.request.log_artifact.artifact for record in written]
    (kept,) = ([file.path for file in one.manifest.contents] for one in artifacts if one.name == "colours")
    assert kept == ["colours.html", "colours.onnx"]
    assert any(record.HasField("exit") and record.exit.exit_code == 0 for record in written)

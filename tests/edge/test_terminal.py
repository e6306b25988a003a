"""Where words and results cannot go: a full disk under the output, a file that is none, a person who has had enough."""

import io
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import edge.bench
from edge import interrupts
from edge.cli import main
from edge.config import LineConfig, WebSettings
from edge.errors import ConfigError, ModelError, PictureError, WebError
from edge.files import write_whole
from edge.model import Classifier
from edge.picture import read_bytes, read_piped
from edge.web.listen import listen, token_for
from tests.edge.tiny_model import write_model

FULL = "sortline: standard output cannot be written (No space left on device)\n"
LINE = """
[model]
path = "colours.onnx"
[camera]
source = "sim:?seed=3&width=640&height=360"
[belt]
pixels_per_mm = 1.6
speed_mm_s = 500
[[lanes]]
name = "rest"
default = true
[web]
enabled = false
"""


@pytest.fixture
def line(tmp_path: Path) -> Path:
    path = tmp_path / "line.toml"
    path.write_text(LINE)
    return path


def test_the_summary_is_whole_where_the_table_cannot_be_printed_which_is_told_in_a_sentence(
    line: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(line.parent / "colours.onnx")
    summary = line.parent / "summary.json"
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        status = main(["run", str(line), "--fast", "--seconds", "0.5", "--summary", str(summary)])
    assert status == 1
    assert json.loads(summary.read_text())["frames"] > 0
    assert capsys.readouterr().err == FULL


def test_a_command_whose_answer_finds_no_room_says_so_in_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "edge.cli", "cameras"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, FULL)


def test_a_run_that_cannot_start_leaves_no_empty_summary(line: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = line.parent / "summary.json"
    assert main(["run", str(line), "--summary", str(summary)]) == 2
    assert "colours.onnx: no such model file" in capsys.readouterr().err
    assert {path.name for path in line.parent.iterdir()} == {"line.toml"}


def test_a_file_for_which_there_is_no_room_stays_as_it_was(tmp_path: Path) -> None:
    path, link = tmp_path / "summary.json", tmp_path / "link.json"
    link.symlink_to(path)
    write_whole(link, "the first")
    path.chmod(0o640)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, unlimited[1]))  # as a disk that fills up
    try:
        with pytest.raises(OSError, match="too large"):
            write_whole(path, "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert path.read_text() == "the first"
    write_whole(link, "the second")
    assert path.read_text() == "the second"
    assert path.stat().st_mode & 0o777 == 0o640
    assert {one.name for one in tmp_path.iterdir()} == {"summary.json", "link.json"}


def interrupted_bench(capsys: pytest.CaptureFixture[str]) -> None:
    """`sortline bench`, in which run_bench brings Ctrl-C about: it ends with a word."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        assert main(["bench"]) == 1
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "sortline: interrupted\n"


def test_ctrl_c_ends_a_command_with_a_word(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(edge.bench, "run_bench", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    interrupted_bench(capsys)


def test_ctrl_c_while_a_library_is_loading_is_no_fault_of_the_library(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_bench(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as interrupt:  # as pybind11 does in a module's beginning
            raise ImportError("initialization failed") from interrupt

    monkeypatch.setattr(edge.bench, "run_bench", run_bench)
    interrupted_bench(capsys)


def test_ctrl_c_that_is_pressed_again_at_once_tears_nothing_out_of_its_good_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = []

    def run_bench(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            done.append("ended in good order")
            # Who presses it again later means something else.
            monkeypatch.setattr(interrupts, "AGAIN_S", 0.0)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(edge.bench, "run_bench", run_bench)
    interrupted_bench(capsys)
    assert done == ["ended in good order"]


@pytest.mark.parametrize(
    ("kind", "says"),
    [("device", "it is no regular file"), ("pipe", "it is no regular file"), ("folder", "it is no regular file"),
     ("huge", "it is larger than 1 MB")],
)  # fmt: skip
def test_what_can_be_no_configuration_or_token_is_refused_and_not_read_to_its_end(
    tmp_path: Path, kind: str, says: str
) -> None:
    path = tmp_path / kind
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, 10**12)  # a terabyte that takes no room
    with pytest.raises(ConfigError) as error:
        LineConfig.load(path)
    assert str(error.value) == f"{path}: cannot be read as text ({says})"
    web = WebSettings(port=0, token_file=path)
    with listen(web) as sock, pytest.raises(WebError) as refused:
        token_for(web, sock)
    assert str(refused.value) == f"web.token_file {path}: cannot be read ({says})"


def test_a_device_that_never_ends_or_a_pipe_that_never_begins_is_no_model_and_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    for path in (Path("/dev/zero"), pipe):
        with pytest.raises(ModelError, match=rf"{path}: is no regular file"):
            Classifier(path)
        with pytest.raises(PictureError, match=rf"{path}: cannot be read \(it is no regular file\)"):
            read_bytes(path)
    (tmp_path / "huge.jpg").write_bytes(bytes(2001))
    monkeypatch.setattr("edge.picture.MOST_BYTES", 2000)
    with pytest.raises(PictureError, match=r"huge\.jpg: cannot be read \(it is larger than 0\.002 MB\)"):
        read_bytes(tmp_path / "huge.jpg")
    for stdin, says in (
        (io.TextIOWrapper(io.BytesIO(bytes(2001))), r"cannot be read \(it is larger than 0\.002 MB\)"),
        (None, "is closed"),
    ):
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(PictureError, match=f"^standard input: {says}$"):
            read_piped()


ASKS = """
import sys
from edge.errors import SortlineError
from edge.modbus import ModbusDevice, ModbusSettings
try:
    ModbusDevice(ModbusSettings(host="127.0.0.1", port=int(sys.argv[1]), timeout_ms=50), "type").bit("coil", 0)
except SortlineError as error:
    print(error)
"""


def test_what_the_modbus_library_says_of_a_silent_device_does_not_come_raw_to_the_screen() -> None:
    pytest.importorskip("pymodbus", reason="pymodbus is not installed")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, and never answers
        port = silent.getsockname()[1]
        words = [sys.executable, "-c", ASKS, str(port)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.startswith(f"127.0.0.1:{port}: ")
    assert done.stderr == ""

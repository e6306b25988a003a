"""An encoder of the user's own, as `sortline check` and `sortline run` meet it: wrong, silent, or hanging."""

import json
import re
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from edge.cli import main
from tests.edge.test_cli import LINE, ROOT
from tests.edge.tiny_model import write_model

HANGS = """
import threading, time
class Wheel:
    def __init__(self, settings, clock): ...
    def read(self):
        {before}
        threading.Event().wait(30)
"""


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """Writes a module of the user's own and a line that names it; gives the line's path."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = "plant_" + re.sub(r"\W", "_", request.node.name)

    def write(code: str, more: str = "") -> Path:
        (tmp_path / f"{module}.py").write_text(code)
        text = LINE.format(model=write_model(tmp_path / "m.onnx"), source="sim:?seed=3&seconds=1", camera="", more=more)
        encoder = f'[belt.encoder]\ntype = "{module}:Wheel"\ncounts_per_mm = 10\n'
        path = tmp_path / "line.toml"
        path.write_text(text.replace("[decide]", f"{encoder}[decide]"))
        return path

    return write


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("class Wheel:\n    def __init__(self): ...\n    def read(self): return 1", r"must take \(settings, clock\)"),
        ("1 / 0", "cannot be imported .*ZeroDivisionError"),
        ("import sys\nsys.exit('no licence')", "cannot be imported .*no licence"),
        ("class Wheel:\n    def __init__(self, settings, clock): ...", "must have read"),
        (
            "class Wheel:\n    def __init__(self, settings, clock): raise OSError('no such port')\n"
            "    def read(self): return 1",
            "no such port",
        ),
        ("class Other: ...", "has no Wheel"),
    ],
)
@pytest.mark.parametrize("command", ["check", "run"])
def test_an_encoder_that_cannot_be_made_is_one_sentence_with_file_and_key(
    plant: Any, code: str, says: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = plant(code)
    assert main([command, str(path)]) in {1, 2}
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert str(path) in said.err
    told = " ".join((said.out + said.err).split())  # the table folds long sentences
    assert "belt.encoder.type" in told
    assert re.search(says, told), told


@pytest.mark.parametrize(
    ("read", "ok", "says"),
    [
        ("return 42", True, "stands at 42 counts"),
        ("raise OSError('no such device')", False, "no such device"),
        ("return 'twelve'", False, "no finite number"),
        ("go_on.wait(20)", False, r"read\(\) has not come back for 3 s"),
    ],
)
def test_check_reads_the_encoder_once_and_says_what_came_of_it(
    plant: Any, read: str, ok: bool, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = plant(
        f"import threading\ngo_on = threading.Event()\n"
        f"class Wheel:\n    def __init__(self, settings, clock): ...\n    def read(self): {read}\n"
        f"    def close(self): go_on.set()"
    )
    assert main(["check", str(path)]) == (0 if ok else 1)
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(rf"{'ok' if ok else 'FAILED'} encoder [^|]*{says}", said), said


@pytest.mark.parametrize("before", ["pass", "if time.monotonic() % 4 > 1: return int(time.monotonic() * 5000)"])
def test_an_encoder_that_hangs_is_told_shown_and_journalled_while_it_does_and_holds_nothing_up(
    plant: Any, before: str, tmp_path: Path
) -> None:
    """Once from its first read on, and once in the middle."""
    path = plant(HANGS.format(before=before), more='[journal]\npath = "line.db"')
    text = path.read_text().replace("enabled = false", "port = 0").replace("&seconds=1", "")
    path.write_text(text)
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.cli", "run", str(path), "--summary", str(tmp_path / "s.json")],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        url = None
        while url is None:
            url = re.search(r"http://\S+/", line := process.stderr.readline())
            assert line, "the line has ended"
        parts = _readiness(url[0])
        assert process.poll() is None
        assert not parts["encoder"]["ok"]
        assert "has not answered" in parts["encoder"]["text"]
        asked = time.monotonic()
        process.terminate()
        _, err = process.communicate(timeout=30)
        assert time.monotonic() - asked < 5
    finally:
        process.kill()
        process.communicate()
    assert "encoder_silent: the encoder has not answered for" in line + err
    assert process.returncode == 0
    assert json.loads((tmp_path / "s.json").read_text())["incidents"]["encoder_silent"] == 1
    with sqlite3.connect(tmp_path / "line.db") as journal:
        assert journal.execute("select count(*) from incidents where name = 'encoder_silent'").fetchone() == (1,)


def _readiness(url: str) -> dict[str, Any]:
    """The parts of /readyz once the encoder is among what fails and its incident has been told."""
    deadline = time.monotonic() + 30
    while True:
        assert time.monotonic() < deadline, "the encoder's silence is not shown"
        try:
            urllib.request.urlopen(f"{url}readyz", timeout=5).close()
        except urllib.error.HTTPError as error:
            found = json.load(error)
            told = json.load(urllib.request.urlopen(f"{url}state.json", timeout=5))["incidents"]
            if "encoder" in found["failing"] and any(one["name"] == "encoder_silent" for one in told):
                parts: dict[str, Any] = found["parts"]
                return parts
        except OSError:
            pass
        time.sleep(0.1)

"""Trust: every file of a corpus of bad ones is refused with its own sentence, at once, and none ends the process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge
from edge.errors import ModelError
from edge.graph import check_graph
from edge.model import Classifier
from tests.edge.malformed import corpus
from tests.edge.tiny_model import bytes_field, node, tensor, write_model

ROOT = Path(edge.__file__).resolve().parents[1]
CORPUS = corpus()


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What became of each file of the corpus, opened in a process of its own; working directory beside the files."""
    folder = tmp_path_factory.mktemp("malformed")
    (folder / "weights.bin").write_bytes(bytes(16))
    names = {f"{number}.onnx": name for number, name in enumerate(CORPUS)}
    for file, name in names.items():
        CORPUS[name][0](folder / file)
    done = subprocess.run(
        [sys.executable, "-m", "tests.edge.malformed", *names],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {names[row["file"]]: row for row in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", CORPUS)
def test_a_malformed_file_is_refused_with_its_own_sentence_in_no_time(
    name: str, refusals: dict[str, dict[str, Any]]
) -> None:
    row = refusals[name]
    assert row["died"] is None, f"signal {row['died']}"
    assert row["said"] is not None, "it was taken"
    assert re.match(r"\d+\.onnx: ", row["said"]), row["said"]
    assert re.search(CORPUS[name][1], row["said"]), row["said"]
    assert "\n" not in row["said"]
    assert row["cpu_s"] < 1.0  # processor time, which other programs do not lengthen


def test_nothing_is_printed_beside_the_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.onnx"
    for name in ("an unknown operator", "a card in Latin-1", "a circle"):
        CORPUS[name][0](path)
        with pytest.raises(ModelError):
            Classifier(path)
    assert capfd.readouterr() == ("", "")


def test_what_a_sound_model_may_have_is_let_through(tmp_path: Path) -> None:
    ours = bytes_field(7, b"own") + bytes_field(3, b"a function of its own")
    function = bytes_field(1, b"Twice") + bytes_field(4, b"x") + bytes_field(5, b"y") + bytes_field(10, b"own")
    function += bytes_field(7, node("Add", ["x", "x"], "y"))
    shape = bytes_field(5, tensor("shape", np.array([3, 4])))
    nodes = [node("ConstantOfShape", ["shape"], "small"), node("Twice", ["small"], "big") + ours]
    more = shape + b"".join(bytes_field(1, each) for each in nodes)
    path = write_model(tmp_path / "m.onnx", more_graph=more, more_model=bytes_field(25, function))
    check_graph(path.read_bytes(), path)


def test_the_model_that_ships_is_let_through() -> None:
    path = ROOT / "models" / "parts.onnx"
    check_graph(path.read_bytes(), path)

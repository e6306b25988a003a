"""What people see while a long command works."""

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from rich.console import Console

from tests.training.pictures import SHAPES, write_pictures
from training.cli import main
from training.session import progress_bars


def test_a_bar_says_how_far_it_is_how_long_it_took_and_once_how_long_it_has_to_go() -> None:
    clock = [0.0]
    bars = progress_bars()
    bars.get_time = lambda: clock[0]
    task = bars.add_task("training", total=100)
    for clock[0] in (10.0, 20.0, 30.0):
        bars.update(task, advance=10)
    screen = io.StringIO()
    Console(file=screen, width=120).print(bars.get_renderable())
    assert "30 %" in screen.getvalue()
    assert re.findall(r"\d:\d\d:\d\d", screen.getvalue()) == ["0:00:30", "0:01:10"]


@pytest.fixture
def talkative_opencv() -> Iterator[None]:
    """OpenCV as a process begins: one that has read clips has silenced it for good."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_WARNING)
    yield
    cv2.utils.logging.setLogLevel(before)


@pytest.mark.usefixtures("talkative_opencv")
@pytest.mark.parametrize(("debug", "words"), [(False, False), (True, True)])
def test_opencv_s_own_words_about_a_damaged_picture_come_with_debug_alone(
    debug: bool, words: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = write_pictures(tmp_path / "set", dict.fromkeys(SHAPES, 6))
    whole = (root / "disc" / "000.png").read_bytes()
    (root / "disc" / "half.bmp").write_bytes(b"BM" + bytes(200))
    (root / "disc" / "half.png").write_bytes(whole[: len(whole) // 2] + b"IEND")
    main(["split", str(root), str(tmp_path / "parted"), *(["--debug"] if debug else [])])
    said = capfd.readouterr().err
    assert "left out: disc/half.bmp" in said
    assert bool(re.search(r"\[ ?(WARN|ERROR)", said)) is words


def test_a_training_tells_nobody_of_itself(tmp_path: Path) -> None:
    """ONNX Runtime keeps what it means to report under the home folder; MLflow asks before it starts to."""
    root = Path(__file__).resolve().parents[2]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "XDG_", "MLFLOW_"))}
    code = (
        "import sys, onnx, training.sessions, importlib.util as u\n"
        "training.sessions.session_of(onnx.load(sys.argv[1]))\n"
        "if u.find_spec('mlflow'):\n"
        "    from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "    assert is_telemetry_disabled()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(root / "models" / "parts.onnx")],
        env={**environment, "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=120, check=False, cwd=root,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("*onnxruntime*"))

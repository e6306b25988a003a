"""One picture, one answer: torch with the training transform, `sortline predict` and `POST /predict` agree."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.progress import Progress

from edge.config import LineConfig
from edge.line import Line
from edge.model import Classifier, to_pixels
from edge.picture import read_picture
from training.batches import as_input
from training.run import Run

ROOT = Path(__file__).resolve().parents[2]
WITHIN = 1e-3


@pytest.fixture(scope="module")
def pictures(shapes: Path) -> list[Path]:
    return [sorted((shapes / name).iterdir())[0] for name in sorted(p.name for p in shapes.iterdir())]


def by_torch(folder: Path, pictures: list[Path], progress: Progress) -> list[dict[str, float]]:
    """Probabilities by the network itself, with the very transform that training used, and the file's temperature."""
    run = Run.open(folder, progress)
    card = Classifier(run.fp32, "cpu").card
    crops = np.stack([to_pixels(read_picture(p), card.height, card.width, run.settings.resize) for p in pictures])
    with torch.inference_mode():
        logits, _ = run.network(as_input(crops))
        rows = torch.softmax(logits / card.calibration["temperature"], 1).numpy()
    return [dict(zip(run.data.classes, row.tolist(), strict=True)) for row in rows]


def assert_agree(answers: list[dict[str, object]], expected: list[dict[str, float]]) -> None:
    assert len(answers) == len(expected) > 2
    for answer, wanted in zip(answers, expected, strict=True):
        assert answer["class"] == max(wanted, key=wanted.__getitem__)
        assert answer["probabilities"] == pytest.approx(wanted, abs=WITHIN)
        assert answer["confidence"] == pytest.approx(max(wanted.values()), abs=WITHIN)


def test_sortline_predict_answers_as_torch_does(finished: Path, pictures: list[Path], progress: Progress) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge.cli", "predict", str(finished / "fp32.onnx"), *map(str, pictures)],
        capture_output=True, text=True, timeout=120, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert_agree([json.loads(line) for line in done.stdout.splitlines()], by_torch(finished, pictures, progress))


def test_post_predict_answers_as_torch_does(finished: Path, pictures: list[Path], progress: Progress) -> None:
    config = LineConfig.parse(
        {
            "model": {"path": str(finished / "fp32.onnx")},
            "camera": {"source": "sim:?fps=10&width=320&height=240"},
            "belt": {"pixels_per_mm": 1.6, "speed_mm_s": 500},
            "lanes": [{"name": "rest", "default": True}],
            "web": {"port": 0},
        }
    )
    answers = []
    with Line(config) as line:
        for path in pictures:
            call = urllib.request.Request(
                f"{line.url}predict", path.read_bytes(), {"Content-Type": "image/png"}, method="POST"
            )
            with urllib.request.urlopen(call, timeout=60) as response:
                answers.append(json.load(response))
    assert_agree(answers, by_torch(finished, pictures, progress))

"""What a training leaves when it is killed or the disk is full, and what --resume makes of it."""

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rich.progress import Progress

from edge.model import Resize
from training.crew import ALONE
from training.data import Dataset, load
from training.errors import InputError, TrainingError
from training.fit import begin, fit
from training.run import Run
from training.settings import FitSettings

# Everything that draws random numbers or keeps a state from step to step.
SETTINGS = FitSettings.choose(
    network="simple_cnn",
    epochs=6,
    head_epochs=1,
    batch=8,
    lr=0.003,
    mixup=0.3,
    average=0.95,
    label_smoothing=0.1,
    balance="sampling",
    grow_from=0.5,
)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(folder / "weights.pt", weights_only=True)
    return loaded


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture
def dataset(shapes: Path, progress: Progress) -> Dataset:
    return load(shapes, 64, 64, Resize(), 0, progress)


def test_a_run_killed_at_a_random_moment_loses_at_most_its_epoch_and_resumes_to_the_same_weights(
    shapes: Path, tmp_path: Path, progress: Progress
) -> None:
    whole = Run.start(tmp_path / "whole", shapes, "shapes", SETTINGS, progress, size=64)
    whole.fit()
    cut = Run.start(tmp_path / "cut", shapes, "shapes", SETTINGS, progress, size=64)
    code = (
        "import sys; from pathlib import Path; from rich.progress import Progress; import torch\n"
        "from training.run import Run\n"
        "torch.set_num_threads(1)\n"
        "with Progress(disable=True) as progress: Run.open(Path(sys.argv[1]), progress).fit()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(cut.folder)], stdout=subprocess.DEVNULL)
    history = cut.folder / "history.json"
    deadline = time.monotonic() + 240
    while not history.exists() or len(json.loads(history.read_text())) < 2:
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(InputError, match="cut: another training is at work in it"):
        Run.open(cut.folder, progress).fit(resume=True)
    time.sleep(random.random())
    seen = len(json.loads(history.read_text()))
    child.kill()
    child.wait(timeout=60)
    kept = torch.load(cut.folder / "checkpoint.pt", weights_only=True)["history"]
    assert len(kept) >= seen
    Run.open(cut.folder, progress).fit(resume=True)
    assert same(weights(cut.folder), weights(whole.folder))


def test_a_full_disk_is_said_and_leaves_the_last_good_checkpoint_to_resume_from(
    dataset: Dataset, small_disk: Path, tmp_path: Path, progress: Progress
) -> None:
    settings = SETTINGS.model_copy(update={"average": 0.0, "epochs": 2})
    with pytest.raises(TrainingError, match=r"checkpoint\.pt: cannot be written \(No space left .*--resume"):
        fit(dataset, settings, small_disk, progress)
    kept = json.loads((small_disk / "history.json").read_text())
    assert torch.load(small_disk / "checkpoint.pt", weights_only=True)["history"] == kept
    assert 1 <= len(kept) < 3
    assert not list(small_disk.glob(".*partial"))
    shutil.copytree(small_disk, tmp_path / "roomy")
    fit(dataset, settings, tmp_path / "roomy", progress, resume=True)
    fit(dataset, settings, tmp_path / "whole", progress)
    assert same(weights(tmp_path / "roomy"), weights(tmp_path / "whole"))


def test_a_checkpoint_that_cannot_be_read_is_named(dataset: Dataset, tmp_path: Path, progress: Progress) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(InputError, match=r"checkpoint\.pt: cannot be read, it is torn or no .*; start a new run$"):
        fit(dataset, SETTINGS, tmp_path, progress, resume=True)


def test_a_disk_that_takes_not_even_the_first_epoch_promises_no_checkpoint(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "full").write_text("no folder can be made below a file")
    with pytest.raises(TrainingError, match=r"no epoch is saved yet: make room, and --resume begins anew$"):
        begin(dataset, SETTINGS, ALONE).save(tmp_path / "full" / "run", kept=True)

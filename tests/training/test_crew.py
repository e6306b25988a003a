import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.progress import Progress

from edge.model import Resize
from training.batches import Batches
from training.cli import main
from training.crew import Crew
from training.data import load
from training.errors import InputError
from training.settings import FitSettings

# Everything that could depend on the number of processes: batch norm, dropout, MixUp, averages. SGD,
# since Adam's first steps have the size of the learning rate however small, or rounded, a gradient is.
WORDS = (
    *("--network", "simple_cnn", "--size", "32", "--batch", "16", "--optimizer", "sgd", "--lr", "0.02"),
    *("--mixup", "0.2", "--average", "0.9", "--threads", "1", "--track", "none"),
)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def words(shapes: Path, run: Path, epochs: int) -> list[str]:
    return ["fit", str(shapes), "--out", str(run), "--epochs", str(epochs), *WORDS]


def fit_by_two(shapes: Path, run: Path, epochs: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *TORCHRUN, "-m", "training", *words(shapes, run, epochs)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def test_two_processes_come_to_the_result_of_one_at_the_same_batch(shapes: Path, tmp_path: Path) -> None:
    two = fit_by_two(shapes, tmp_path / "two", 2)
    assert main(words(shapes, tmp_path / "one", 2)) == 0
    said = two.communicate(timeout=280)[0].decode()
    assert two.returncode == 0, said
    assert said.count("epoch  1/2") == 1  # the first process alone speaks
    by_one, by_two = (torch.load(tmp_path / name / "weights.pt") for name in ("one", "two"))
    for key, value in by_one.items():
        torch.testing.assert_close(by_two[key], value, atol=2e-3, rtol=1e-3, msg=key)
    histories = [json.loads((tmp_path / name / "history.json").read_text()) for name in ("one", "two")]
    for a, b in zip(*histories, strict=True):
        assert b["train_loss"] == pytest.approx(a["train_loss"], rel=1e-3)
        assert b["val_loss"] == pytest.approx(a["val_loss"], rel=1e-3)


def test_the_death_of_one_process_ends_all_and_the_last_checkpoint_is_whole(shapes: Path, tmp_path: Path) -> None:
    run = fit_by_two(shapes, tmp_path / "run", 500)
    try:
        history = tmp_path / "run" / "history.json"
        deadline = time.monotonic() + 240
        while not history.exists():
            assert run.poll() is None, run.communicate()[0].decode()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        trainers = children(run.pid)
        assert len(trainers) == 2
        os.kill(trainers[1], signal.SIGKILL)
        run.communicate(timeout=60)
        assert run.returncode != 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in trainers)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
    checkpoint = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert len(checkpoint["history"]) >= 1


def children(pid: int) -> list[int]:
    """The process ids of the trainers that torchrun started, in the order in which it did."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return [child for child in sorted(found) if b"training\0fit" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_processes_that_have_other_pictures_than_the_first_are_refused() -> None:
    code = (
        "import sys; from training.crew import assemble; from training.errors import InputError\n"
        "with assemble() as crew:\n"
        "    try: crew.agree('pictures: the dataset', sys.argv[1])\n"
        "    except InputError as error: print(error)\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    crew = [
        subprocess.Popen(
            [sys.executable, "-c", code, fingerprint],
            env=os.environ | place | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank, fingerprint in enumerate(["aaaa", "bbbb"])
    ]
    said = [process.communicate(timeout=120)[0].strip() for process in crew]
    assert said == ["pictures: the dataset of process 1 is not that of process 0; all must train on the same"] * 2


def test_what_each_process_draws_is_its_rows_of_what_one_would_draw() -> None:
    torch.manual_seed(3)
    whole = Crew().rand(8)
    parts = []
    for place in range(2):
        torch.manual_seed(3)
        parts.append(Crew(place, 2).rand(4))
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize(("mixup", "multiple"), [(0.0, 3), (0.5, 6)])
def test_a_batch_that_cannot_be_shared_out_is_refused_with_what_could(
    mixup: float, multiple: int, shapes: Path, progress: Progress
) -> None:
    part = load(shapes, 32, 32, Resize(), 0, progress).train
    with pytest.raises(InputError, match=rf"a batch of 16 .* to 3 processes; --batch must be a multiple of {multiple}"):
        Batches(part, FitSettings(batch=16, mixup=mixup), Crew(0, 3))


def test_targets_of_classes_that_weigh_more_in_the_loss_make_up_for_fewer_pictures(
    shapes: Path, progress: Progress
) -> None:
    part = load(shapes, 32, 32, Resize(), 0, progress).train
    few = part.take(np.concatenate([np.flatnonzero(part.labels == 0)[:7], np.flatnonzero(part.labels > 0)]))
    weighed = Batches(few, FitSettings(balance="weights"), Crew()).wanted(np.arange(len(few))).sum(dim=1).numpy()
    sums = [weighed[few.labels == label].sum() for label in range(3)]
    assert sums == pytest.approx([len(few) / 3] * 3, rel=1e-4)
    torch.manual_seed(0)
    sampled = Batches(few, FitSettings(balance="sampling", batch=60), Crew())
    drawn = np.bincount(few.labels[torch.cat([sampled.order() for _ in range(20)]).numpy()])
    assert drawn.min() > 0.8 * drawn.max()

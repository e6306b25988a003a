import os
from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress

from edge.bounded import within
from edge.model import Resize
from tests.training.pictures import write_pictures
from training.data import Dataset, load
from training.errors import DatasetError
from training.labels import read_soft_labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "shapes", {"disc": 10, "square": 10})


def loaded(folder: Path, progress: Progress) -> Dataset:
    return load(folder, 32, 32, Resize(), 0, progress)


def test_pictures_that_annotators_disagree_on_are_taught_with_their_doubt_and_judged_by_their_folder(
    folder: Path, progress: Progress
) -> None:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("disc/*"))
    (folder / "labels.csv").write_text("file,square,disc\n" + "".join(f"{name},0.33,0.67\n" for name in names))
    data = loaded(folder, progress)
    disc = data.train.labels == data.classes.index("disc")
    assert data.train.targets[disc] == pytest.approx(np.tile([0.67, 0.33], (disc.sum(), 1)), abs=1e-6)
    assert data.train.targets[~disc] == pytest.approx(np.tile([0.0, 1.0], ((~disc).sum(), 1)))


def test_what_labels_csv_says_is_part_of_the_dataset_s_fingerprint(folder: Path, progress: Progress) -> None:
    plain = loaded(folder, progress).fingerprint
    name = next(folder.glob("disc/*")).relative_to(folder).as_posix()
    (folder / "labels.csv").write_text(f"file,disc,square\n{name},0.75,0.25\n")
    doubted = loaded(folder, progress).fingerprint
    (folder / "labels.csv").write_text(f"file,disc,square\n{name},0.5,0.5\n")
    assert len({plain, doubted, loaded(folder, progress).fingerprint}) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,disc\n", r"labels\.csv: its first line is 'file,disc'; it must be 'file,disc,square'"),
        ("file,disc,square\ndisc/nine.png,1,0\n", r"labels\.csv: line 2 names 'disc/nine.png', which is not a picture"),
        ("file,disc,square\ndisc/000.png,1,0\ndisc/000.png,1,0\n", r"line 3 names 'disc/000.png' a second time"),
        ("file,disc,square\ndisc/000.png,yes,no\n", r"line 2 needs a probability from 0 to 1 in each class's column"),
        ("file,disc,square\ndisc/000.png,0.9\n", r"line 2 needs a probability"),
        ("file,disc,square\ndisc/000.png,0.9,0.9\n", r"line 2 has probabilities .* sum to 1 \(they sum to 1\.8\)"),
        ("file,disc,square\ndisc/000.png,1.5,-0.5\n", r"line 2 has probabilities that are not from 0 to 1"),
        ("file,disc,square\ndisc/000.png,nan,1\n", r"line 2 has probabilities that are not from 0 to 1"),
    ],
)
def test_a_labels_csv_that_does_not_fit_its_folder_is_told_by_its_line(
    text: str, said: str, folder: Path, progress: Progress
) -> None:
    (folder / "labels.csv").write_text(text)
    with pytest.raises(DatasetError, match=said):
        loaded(folder, progress)


def test_a_labels_csv_that_is_no_text_is_told(folder: Path, progress: Progress) -> None:
    (folder / "labels.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DatasetError, match=r"labels\.csv: cannot be read"):
        loaded(folder, progress)


def test_a_labels_csv_that_is_a_named_pipe_is_refused_and_holds_nobody_up(folder: Path) -> None:
    pipe = folder / "labels.csv"
    os.mkfifo(pipe)
    try:
        with pytest.raises(DatasetError, match=r"labels\.csv: is no file"):
            within(20, lambda: read_soft_labels(folder, ["disc", "square"], []), "labels.csv")
    finally:
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))  # lets a reader go

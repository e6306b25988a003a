"""Folders that are written whole or not at all, also where two programs write the same one."""

from pathlib import Path

import pytest

from training.errors import TrainingError
from training.files import whole_or_not_at_all


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("there", [False, True])
def test_of_two_that_make_the_same_folder_at_once_the_first_keeps_it_as_it_is(there: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if there:
        out.mkdir()
    with (
        pytest.raises(TrainingError, match=r"out: was written by another program meanwhile; name a new folder"),
        whole_or_not_at_all(out) as late,
    ):
        (late / "bolt").mkdir(parents=True)
        (late / "bolt" / "late.png").touch()
        with whole_or_not_at_all(out) as first:
            (first / "bolt").mkdir(parents=True)
            (first / "bolt" / "first.png").touch()
    assert names(tmp_path) == ["out", "out/bolt", "out/bolt/first.png"]

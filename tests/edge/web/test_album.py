"""Pictures worth labelling: class folders that training reads, and a size that they never exceed."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from edge.web.album import Album

JPEG = b"\xff\xd8\xff" + bytes(997)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_labelled_picture_lies_in_the_folder_of_its_class(tmp_path: Path) -> None:
    album = Album(tmp_path, 100_000)
    assert album.label(412, 0.0, "bolt", JPEG) == "labelled/bolt/19700101-000000-412.jpg"
    assert album.label(413, 0.0, None, JPEG) == "strangers/19700101-000000-413.jpg"
    assert (tmp_path / "labelled/bolt/19700101-000000-412.jpg").read_bytes() == JPEG


def test_a_second_word_on_an_item_moves_its_picture(tmp_path: Path) -> None:
    album = Album(tmp_path, 100_000)
    for label in ("bolt", "bolt", "nut"):
        album.label(1, 0.0, label, JPEG)
    assert names(tmp_path) == ["labelled/nut/19700101-000000-1.jpg"]
    assert [path.name for path in (tmp_path / "labelled").iterdir()] == ["nut"]  # training refuses an empty class


def test_unsure_pictures_make_room_for_newer_ones_and_for_labelled_ones(tmp_path: Path) -> None:
    album = Album(tmp_path, 10_000)
    for item in range(9):
        album.unsure(item, float(item), JPEG)
    assert names(tmp_path) == ["unsure/19700101-000007-7.jpg", "unsure/19700101-000008-8.jpg"]
    for item in range(10):
        album.label(100 + item, 0.0, "bolt", JPEG)
    assert len(names(tmp_path)) == 10
    assert not list((tmp_path / "unsure").iterdir())


def test_what_waits_to_be_named_does_not_give_way_to_what_has_no_room_either(tmp_path: Path) -> None:
    told: list[str | None] = []
    album = Album(tmp_path, 10_000, told.append)
    for item in range(9):
        album.label(item, 0.0, "bolt", JPEG)
    album.unsure(20, 0.0, JPEG)
    album.unsure(21, 0.0, JPEG + JPEG)
    assert [name for name in names(tmp_path) if name.startswith("unsure")] == ["unsure/19700101-000000-20.jpg"]
    assert told[0] is None
    assert "journal.pictures_mb" in str(told[1])


def test_a_picture_that_somebody_has_named_waits_for_nobody(tmp_path: Path) -> None:
    for label in ("bolt", None):
        Album(tmp_path, 100_000).unsure(1, 0.0, JPEG)
        album = Album(tmp_path, 100_000)  # the program may have started again meanwhile
        album.unsure(2, 0.0, JPEG)
        place = album.label(1, 0.0, label, JPEG)
        assert place
        assert names(tmp_path) == sorted([place, "unsure/19700101-000000-2.jpg"])
        (tmp_path / place).unlink()


def test_a_folder_that_somebody_empties_takes_pictures_again(tmp_path: Path) -> None:
    album = Album(tmp_path, 2_000)
    for item in range(2):
        album.label(item, 0.0, "bolt", JPEG)
    assert album.label(2, 0.0, "bolt", JPEG) is None
    shutil.rmtree(tmp_path / "labelled")
    for item in (0, 2):  # also one that was named before, whose picture is gone
        assert (tmp_path / (album.label(item, 0.0, "bolt", JPEG) or "none")).is_file()
    assert album.label(3, 0.0, "bolt", JPEG) is None


def test_what_people_have_named_is_never_thrown_away(tmp_path: Path) -> None:
    for _ in range(2):  # also when the program starts again
        album = Album(tmp_path, 3_000)
        for item in range(3):
            album.label(item, 0.0, "bolt", JPEG) if not names(tmp_path)[item:] else None
        assert album.label(9, 0.0, "nut", JPEG) is None
        album.unsure(10, 0.0, JPEG)
        assert len(names(tmp_path)) == 3


@pytest.mark.parametrize("label", ["nut (M6)", "a & b", "75 %", "l'écrou, petit", "#4", "half_[1]"])
def test_a_class_keeps_the_name_that_training_knows_it_by(tmp_path: Path, label: str) -> None:
    assert Path(Album(tmp_path, 10_000).label(1, 0.0, label, JPEG) or "none").parts[1] == label


@pytest.mark.parametrize("label", ["../../etc", "/etc/cron.d", "..", "a/b", "", "nul\0", "c:\\d", "__a"])
def test_no_class_name_reaches_out_of_the_folder(tmp_path: Path, label: str) -> None:
    folder = tmp_path / "pictures"
    place = Album(folder, 10_000).label(1, 0.0, label, JPEG) or ""
    assert len(Path(place).parts) == 3
    assert (folder / place).resolve().is_relative_to(folder.resolve() / "labelled")


def test_a_disk_that_refuses_leaves_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "labelled").write_text("a file where a folder should be")
    assert Album(tmp_path, 10_000).label(1, 0.0, "bolt", JPEG) is None
    assert names(tmp_path) == ["labelled"]


def test_a_full_disk_leaves_no_empty_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    told: list[str | None] = []
    album = Album(tmp_path, 10_000, told.append)
    album.label(1, 0.0, "bolt", JPEG)
    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", refuse)
        for label in ("bolt", "nut"):
            assert album.label(2, 0.0, label, JPEG) is None
        album.unsure(3, 0.0, JPEG)
        assert album.label(1, 0.0, "bolt", JPEG)  # it lies there already, which says nothing of the disk
    assert told == [None, "No space left on device"]
    album.unsure(3, 0.0, JPEG)
    assert told[2:] == [None]
    (tmp_path / "unsure/19700101-000000-3.jpg").unlink()
    (tmp_path / "unsure").rmdir()
    assert [path.name for path in (tmp_path / "labelled").iterdir()] == ["bolt"]
    assert names(tmp_path) == ["labelled/bolt/19700101-000000-1.jpg"]

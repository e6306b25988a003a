import os
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.progress import Progress

from edge.model import Resize, to_pixels
from edge.picture import read_picture
from tests.training.pictures import SHAPES, draw, write_pictures
from training.data import Dataset, load, read, write_split
from training.errors import DatasetError, InputError, TrainingError
from training.layout import Skipped, default_size, find, skipped_lines


def opened(root: Path, progress: Progress, seed: int = 0, size: int = 32) -> Dataset:
    return load(root, size, size, Resize(), seed, progress)


def test_every_class_is_split_70_15_15(shapes: Path, progress: Progress) -> None:
    counts = opened(shapes, progress).counts()
    assert counts == {
        "train": dict.fromkeys(SHAPES, 28),
        "val": dict.fromkeys(SHAPES, 6),
        "test": dict.fromkeys(SHAPES, 6),
    }


def test_no_picture_is_in_two_parts_and_none_is_lost(shapes: Path, progress: Progress) -> None:
    dataset = opened(shapes, progress)
    names = [name for part in (dataset.train, dataset.val, dataset.test) for name in part.names]
    assert sorted(names) == sorted(file.name for file in find(shapes)[0])


def test_the_seed_decides_the_split(shapes: Path, progress: Progress) -> None:
    first, again, other = (opened(shapes, progress, seed) for seed in (0, 0, 1))
    assert first.test.names == again.test.names
    assert first.test.names != other.test.names


def test_a_new_class_leaves_the_parts_of_the_others_as_they_were(tmp_path: Path, progress: Progress) -> None:
    root = write_pictures(tmp_path / "set", {"disc": 20, "square": 20})
    before = set(opened(root, progress).test.names)
    write_pictures(root, {"stripe": 20})
    assert before < set(opened(root, progress).test.names)


def test_pixels_and_labels_are_those_of_the_file_through_the_lines_own_resize(shapes: Path, progress: Progress) -> None:
    dataset = opened(shapes, progress)
    for position in (0, len(dataset.val) - 1):
        name = dataset.val.names[position]
        wanted = to_pixels(read_picture(shapes / name), 32, 32, Resize())
        assert np.array_equal(dataset.val.pixels(slice(position, position + 1))[0], wanted)
        assert dataset.classes[dataset.val.labels[position]] == name.split("/")[0]


def test_a_given_test_folder_stays_untouched_and_validation_comes_off_train(tmp_path: Path, progress: Progress) -> None:
    write_pictures(tmp_path / "train", dict.fromkeys(SHAPES, 20))
    write_pictures(tmp_path / "test", dict.fromkeys(SHAPES, 4), first=20)
    dataset = opened(tmp_path, progress)
    assert set(dataset.test.names) == {f"test/{shape}/{number:03d}.png" for shape in SHAPES for number in range(20, 24)}
    assert {name.split("/")[0] for name in dataset.train.names + dataset.val.names} == {"train"}
    assert dataset.counts()["val"] == dict.fromkeys(SHAPES, 3)


def test_train_valid_and_test_folders_are_taken_as_given(tmp_path: Path, progress: Progress) -> None:
    for folder, count in {"train": 8, "valid": 3, "test": 2}.items():
        write_pictures(tmp_path / folder, dict.fromkeys(SHAPES, count))
    counts = opened(tmp_path, progress).counts()
    assert [counts[part]["disc"] for part in ("train", "val", "test")] == [8, 3, 2]


def test_a_corrupt_picture_is_skipped_and_named(tmp_path: Path, progress: Progress) -> None:
    root = write_pictures(tmp_path, dict.fromkeys(SHAPES, 10))
    (root / "disc" / "003.png").write_bytes(b"not a picture")
    whole = (root / "square" / "004.png").read_bytes()
    (root / "square" / "004.png").write_bytes(whole[:60])
    (root / "stripe" / "notes.txt").write_text("by hand")
    (root / "readme.png").write_bytes(whole)
    dataset = opened(root, progress)
    left_out = {skipped.name: skipped.reason for skipped in dataset.skipped}
    assert set(left_out) == {"disc/003.png", "square/004.png", "stripe/notes.txt", "readme.png"}
    assert "not a picture" in left_out["disc/003.png"]
    assert sum(sum(part.values()) for part in dataset.counts().values()) == 28


def test_grey_deep_transparent_and_turned_pictures_are_read_like_the_line_reads_them(
    tmp_path: Path, progress: Progress
) -> None:
    root = write_pictures(tmp_path, {"disc": 10, "square": 10})
    picture = draw("disc", 0)
    cv2.imwrite(str(root / "disc" / "grey.png"), cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    cv2.imwrite(str(root / "disc" / "deep.png"), picture.astype(np.uint16) * 257)
    cv2.imwrite(str(root / "disc" / "clear.png"), cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA))
    cv2.imwrite(str(root / "disc" / "wide.jpg"), np.hstack([picture, picture, picture]))
    pictures = read(root, 32, 32, Resize(), progress)
    assert not pictures.skipped
    rows = {file.name: pictures.store[row] for file, row in zip(pictures.files, pictures.rows, strict=True)}
    wanted = to_pixels(picture, 32, 32, Resize())
    assert np.array_equal(rows["disc/deep.png"], wanted)
    assert np.array_equal(rows["disc/clear.png"], wanted)
    assert np.ptp(rows["disc/grey.png"], axis=2).max() == 0


def test_pictures_too_many_for_memory_come_from_a_file_and_are_the_same(
    shapes: Path, tmp_path: Path, progress: Progress
) -> None:
    in_memory = read(shapes, 32, 32, Resize(), progress)
    mapped = read(shapes, 32, 32, Resize(), progress, scratch=tmp_path, memory_bytes=1000)
    assert isinstance(mapped.store, np.memmap)
    assert np.array_equal(mapped.store, in_memory.store)
    assert not list(tmp_path.iterdir())


def test_the_fingerprint_follows_names_and_contents(tmp_path: Path, progress: Progress) -> None:
    root = write_pictures(tmp_path / "a", dict.fromkeys(SHAPES, 8))
    copy = Path(shutil.copytree(root, tmp_path / "b"))
    first = opened(root, progress).fingerprint
    assert opened(copy, progress).fingerprint == first
    (copy / "disc" / "000.png").rename(copy / "disc" / "first.png")
    renamed = opened(copy, progress).fingerprint
    shutil.copy(copy / "disc" / "001.png", copy / "disc" / "first.png")
    assert len({first, renamed, opened(copy, progress).fingerprint}) == 3


@pytest.mark.parametrize(("side", "size"), [(100, 128), (64, 64), (20, 64), (300, 224), (130, 160)])
def test_the_default_size_fits_the_pictures(side: int, size: int, tmp_path: Path) -> None:
    assert default_size(find(write_pictures(tmp_path, {"disc": 3}, side=side))[0]) == size


def test_a_split_can_be_written_as_folders_that_load_to_the_same_parts(
    shapes: Path, tmp_path: Path, progress: Progress
) -> None:
    counts, skipped = write_split(shapes, tmp_path / "parted", seed=3)
    assert skipped == ()
    assert counts == {"train": 84, "val": 18, "test": 18}
    direct, parted = opened(shapes, progress, seed=3), opened(tmp_path / "parted", progress)
    assert {f"test/{name}" for name in direct.test.names} == set(parted.test.names)
    with pytest.raises(DatasetError, match="not an empty folder"):
        write_split(shapes, tmp_path / "parted", seed=3)


def test_a_split_draws_what_training_draws_and_leaves_out_what_cannot_be_read(
    tmp_path: Path, progress: Progress
) -> None:
    root = write_pictures(tmp_path / "set", dict.fromkeys(SHAPES, 12))
    (root / "disc" / "003.png").write_bytes((root / "disc" / "003.png").read_bytes()[:60])
    counts, skipped = write_split(root, tmp_path / "parted", seed=3)
    direct = opened(root, progress, seed=3)
    assert [file.name for file in skipped] == ["disc/003.png"]
    assert sum(counts.values()) == 35
    for part, names in (("train", direct.train.names), ("val", direct.val.names), ("test", direct.test.names)):
        made = {
            path.relative_to(tmp_path / "parted" / part).as_posix()
            for path in (tmp_path / "parted").glob(f"{part}/*/*")
        }
        assert made == set(names)


def test_a_split_into_the_dataset_itself_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "set", dict.fromkeys(SHAPES, 6))
    with pytest.raises(InputError, match=r"in: lies in the dataset .*set and would become part of it"):
        write_split(root, root / "in", seed=0)
    assert sorted(path.name for path in root.iterdir()) == sorted(SHAPES)


def test_a_split_that_the_disk_has_no_room_for_leaves_nothing_of_itself(shapes: Path, small_disk: Path) -> None:
    (small_disk / "full").write_bytes(bytes((16 << 20) - (60 << 10)))
    with pytest.raises(TrainingError, match=r"disk/parted/\w+/\w+/\d+\.png: cannot be written \(No space left"):
        write_split(shapes, small_disk / "parted", seed=3)
    assert [path.name for path in small_disk.iterdir()] == ["full"]


def test_a_name_that_is_not_utf8_is_left_out_and_shown_with_its_bytes(tmp_path: Path, progress: Progress) -> None:
    root = write_pictures(tmp_path / "set", dict.fromkeys(SHAPES, 6))
    odd = Path(os.fsdecode(os.fsencode(root / "disc") + b"/\xff.png"))
    try:
        shutil.copy(root / "disc" / "000.png", odd)
    except OSError:
        pytest.skip("this file system takes no name that is not UTF-8")
    dataset = opened(root, progress)
    assert [(file.name, file.reason) for file in dataset.skipped] == [
        ("disc/\\xff.png", "its name is not UTF-8 text; rename it")
    ]
    odd.rename(Path(os.fsdecode(os.fsencode(root) + b"/\xe9.png")))
    assert opened(root, progress).skipped[0].name == "\\xe9.png"
    (root / "disc").rename(Path(os.fsdecode(os.fsencode(root) + b"/\xfc")))
    with pytest.raises(DatasetError, match=r"set/\\xfc: its name is not UTF-8"):
        opened(root, progress)


def broken(root: Path, how: str) -> Path:
    """A dataset folder with one thing wrong."""
    if how == "missing":
        return root / "nowhere"
    if how == "a file":
        (root / "set.zip").write_bytes(b"PK")
        return root / "set.zip"
    if how == "empty":
        return root
    write_pictures(root, {"disc": 12} if how == "one class" else {"disc": 12, "square": 3 if how == "few" else 12})
    if how == "empty class":
        (root / "stripe").mkdir()
    elif how == "no readable class":
        for path in (root / "square").iterdir():
            path.write_bytes(b"")
    elif how == "a name that cannot be seen":
        (root / "square").rename(root / "squ\u202eare")
    elif how == "where a line keeps pictures":
        (root / "square").rename(root / "labelled")
        (root / "disc").rename(root / "unsure")
        shutil.rmtree(root / "stripe", ignore_errors=True)
    elif how == "a stranger beside train":
        write_pictures(root / "train", {"disc": 12, "square": 12})
    elif how == "an unknown class in test":
        shutil.rmtree(root / "square")
        shutil.rmtree(root / "disc")
        write_pictures(root / "train", {"disc": 12, "square": 12})
        write_pictures(root / "test", {"stripe": 2})
    return root


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("missing", "nowhere: no such folder"),
        ("a file", "set.zip: is a file; a dataset is a folder"),
        ("empty", "has no class folders"),
        ("one class", r"has one class \(disc\)"),
        ("few", "class 'square' has 3 readable pictures to train on; at least 5"),
        ("empty class", "stripe: has no picture in it; add some, or remove the folder"),
        ("no readable class", "no picture of class 'square' can be read"),
        ("a name that cannot be seen", r"squ\\u202eare: cannot be the name of a class: it holds U\+202E, which cannot"),
        (
            "where a line keeps pictures",
            "keeps its pictures; those that people have named, .*/labelled, are the dataset",
        ),
        ("a stranger beside train", "has 'disc' beside a train folder"),
        ("an unknown class in test", "test has a class 'stripe' which train does not have"),
    ],
)
def test_a_dataset_that_cannot_be_trained_on_is_refused_in_one_sentence(
    how: str, says: str, tmp_path: Path, progress: Progress
) -> None:
    with pytest.raises(DatasetError, match=says) as caught:
        opened(broken(tmp_path, how), progress)
    assert "\n" not in str(caught.value)


def test_the_parts_cover_all_classes_even_of_the_smallest_dataset(tmp_path: Path, progress: Progress) -> None:
    dataset = opened(write_pictures(tmp_path, dict.fromkeys(SHAPES, 5)), progress)
    assert all(Counter(part).keys() == set(SHAPES) for part in dataset.counts().values())
    assert dataset.counts()["test"] == dict.fromkeys(SHAPES, 1)


def test_hidden_files_are_no_pictures_of_a_class_and_those_that_look_like_pictures_are_named(
    tmp_path: Path, progress: Progress
) -> None:
    root = write_pictures(tmp_path / "set", {"disc": 10, "square": 10})
    shutil.copy(root / "disc" / "000.png", root / "disc" / "._000.png")
    (root / "square" / ".thumbnails").mkdir()
    shutil.copy(root / "disc" / "000.png", root / "square" / ".thumbnails" / "001.png")
    (root / "square" / ".DS_Store").write_bytes(b"")
    dataset = opened(root, progress)
    assert sum(len(part) for part in (dataset.train, dataset.val, dataset.test)) == 20
    assert [file.name for file in dataset.skipped] == ["disc/._000.png", "square/.thumbnails/001.png"]
    assert all(file.reason.startswith("is hidden") for file in dataset.skipped)


def test_links_that_lead_nowhere_or_to_a_folder_are_named_and_those_to_files_are_followed(
    tmp_path: Path, progress: Progress
) -> None:
    root = write_pictures(tmp_path / "set", {"disc": 10, "square": 10})
    store = write_pictures(tmp_path / "store", {"disc": 3}, first=20)
    (root / "disc" / "linked.png").symlink_to(store / "disc" / "020.png")
    (root / "disc" / "gone.png").symlink_to(store / "disc" / "gone.png")
    (root / "disc" / "more").symlink_to(store / "disc")
    os.mkfifo(root / "square" / "pipe.png")
    os.mkfifo(root / "stray.png")
    dataset = opened(root, progress)
    assert sum(len(part) for part in (dataset.train, dataset.val, dataset.test)) == 21
    assert {file.name: file.reason for file in dataset.skipped} == {
        "disc/gone.png": "is a link that leads nowhere",
        "disc/more": "is a link to a folder, which is not followed",
        "square/pipe.png": "is no file",
        "stray.png": "is no file",
    }


@pytest.mark.parametrize(("wrong", "named", "rest"), [(11, 11, None), (12, 10, "2 more files; `sortline-train audit")])
def test_of_many_files_left_out_the_first_are_named_and_the_rest_counted_with_who_names_them(
    wrong: int, named: int, rest: str | None
) -> None:
    lines = skipped_lines([Skipped(f"disc/{number:02d}.png", "is empty (0 bytes)") for number in range(wrong)])
    assert [line.split(": ")[1] for line in lines[:named]] == [f"disc/{number:02d}.png" for number in range(named)]
    assert len(lines) == named + (rest is not None)
    assert not rest or rest in lines[-1]

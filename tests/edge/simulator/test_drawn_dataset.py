import errno
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import ConfigError
from edge.picture import read_picture
from edge.simulator.__main__ import main
from edge.simulator.dataset import crops, draw

CLASSES = ["bolt", "gear", "nut", "screw", "washer"]


def pictures(folder) -> list[np.ndarray]:
    return [read_picture(path) for path in sorted(folder.iterdir())]


def test_a_dataset_has_a_folder_a_class_and_the_foreign_objects_beside_it(tmp_path):
    written = draw(tmp_path / "parts", per_class=6, seed=1, foreign=4)
    assert written == {**dict.fromkeys(CLASSES, 6), "foreign": 4}
    assert sorted(folder.name for folder in (tmp_path / "parts").iterdir()) == CLASSES
    assert all(len(pictures(folder)) == 6 for folder in (tmp_path / "parts").iterdir())
    assert len(pictures(tmp_path / "parts-foreign")) == 4
    for path in tmp_path.rglob("*.png"):
        assert re.fullmatch(r"belt\d{4}-0000\d\.png", path.name), "the belt is what `--group` can go by"


def test_the_same_seed_draws_the_same_pictures(tmp_path):
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        draw(tmp_path / name, per_class=2, seed=seed)
    one, two, three = (
        [p.tobytes() for c in CLASSES for p in pictures(tmp_path / n / c)] for n in ("one", "two", "three")
    )
    assert one == two != three


def test_crops_are_square_show_their_item_and_can_be_of_one_size(tmp_path):
    draw(tmp_path / "parts", per_class=5, seed=2, size=64)
    for label in CLASSES:
        for picture in pictures(tmp_path / "parts" / label):
            assert picture.shape == (64, 64, 3)
            # The item fills the middle: it differs from the belt at the crop's rim.
            rim = np.median(np.concatenate([picture[:3].reshape(-1, 3), picture[-3:].reshape(-1, 3)]), axis=0)
            middle = cv2.absdiff(picture[16:48, 16:48].astype(np.float32), np.full((32, 32, 3), rim, np.float32))
            assert (middle.max(axis=2) > 20).mean() > 0.1, label


def test_crops_vary_in_size_and_light_and_those_of_one_belt_are_alike_in_it():
    drawn = [one for one, _ in zip(crops(seed=3), range(120), strict=False)]
    some = [crop for _, _, crop in drawn]
    shades: dict[int, list[float]] = {}
    for belt, _, crop in drawn:
        shades.setdefault(belt, []).append(float(np.median(crop[[0, -1]])))
    assert list(shades) == list(range(1, len(shades) + 1))
    within = np.mean([np.std(seen) for seen in shades.values()])
    assert np.std([np.mean(seen) for seen in shades.values()]) > 1.5 * within
    assert all(abs(crop.shape[0] - crop.shape[1]) <= 1 for crop in some)
    sizes, lights = [crop.shape[0] for crop in some], [float(crop.mean()) for crop in some]
    assert max(sizes) > 1.8 * min(sizes)
    assert max(lights) > 1.3 * min(lights)


def test_a_folder_that_holds_pictures_is_left_alone(tmp_path, capsys):
    assert main([str(tmp_path / "parts"), "--per-class", "1"]) == 0
    assert "bolt 1" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="holds pictures already"):
        draw(tmp_path / "parts", per_class=1, seed=1)
    assert main([str(tmp_path / "parts"), "--per-class", "1"]) == 1
    assert "holds pictures already" in capsys.readouterr().err


def test_a_full_disk_is_named_with_the_picture_and_nothing_half_done_stays(tmp_path, monkeypatch, capsys):
    real = Path.write_bytes

    def full(path, data):
        if len(list(tmp_path.rglob("*.png"))) < 5:
            return real(path, data)
        real(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    (tmp_path / "kept").mkdir()
    for out in ("parts", "new/parts", "kept"):
        assert main([str(tmp_path / out), "--per-class", "3", "--foreign", "1"]) == 1
        (said,) = capsys.readouterr().err.splitlines()
        assert said.endswith(".png: cannot be written (No space left on device)")
        assert list(tmp_path.rglob("*")) == [tmp_path / "kept"], "the one folder that was there before"


def test_where_not_every_folder_can_be_made_none_is_left(tmp_path, monkeypatch, capsys):
    real = Path.mkdir

    def full(path, *args, **keys):
        if path.name == "nut":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, *args, **keys)

    monkeypatch.setattr(Path, "mkdir", full)
    assert main([str(tmp_path / "new" / "parts"), "--per-class", "3"]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.endswith("nut: cannot be made (No space left on device)")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_dataset_leaves_nothing_that_could_be_taken_for_a_whole_one(tmp_path, monkeypatch):
    real = Path.write_bytes

    def interrupted(path, data):
        real(path, data[: len(data) // 2])
        if len(list(tmp_path.rglob("*.png"))) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw(tmp_path / "new" / "parts", per_class=3, seed=1)
    assert not list(tmp_path.iterdir())


def test_a_dataset_is_cut_from_real_pictures_on_the_belt(tmp_path, shared_data):
    written = draw(tmp_path / "fruit", per_class=2, seed=1, items=shared_data / "fruits" / "test")
    assert len(written) == 10
    assert set(written.values()) == {2}

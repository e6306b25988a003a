import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.bounded import within
from edge.camera import CameraSettings, open_source
from edge.camera.folder import Folder
from edge.clock import MonotonicClock
from edge.errors import CameraError


def folder_of(source: Path | str, **settings: float) -> Folder:
    opened = open_source(CameraSettings.model_validate({"source": str(source), **settings}), MonotonicClock())
    assert isinstance(opened, Folder)
    return opened


def levels_of(folder: Folder) -> list[int]:
    """What each picture is filled with."""
    levels = []
    while (shot := folder.read()) is not None:
        levels.append(round(float(shot.pixels.mean())))
    return levels


def write(path: Path, level: int) -> None:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), np.full((20, 30, 3), level, np.uint8))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number in (10, 2, 1):
        write(tmp_path / f"part {number}.png", number)
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def test_pictures_come_in_natural_order_one_a_second(pictures: Path) -> None:
    folder = folder_of(pictures)
    shots = [folder.read() for _ in range(4)]
    assert [shot and round(float(shot.pixels.mean())) for shot in shots] == [1, 2, 10, None]
    assert [shot.at for shot in shots if shot] == [0.0, 1.0, 2.0]


def test_the_rate_can_be_set(pictures: Path) -> None:
    folder = folder_of(pictures, fps=4)
    assert [shot.at for shot in (folder.read(), folder.read()) if shot] == [0.0, 0.25]


def test_a_glob_goes_into_folders(pictures: Path) -> None:
    write(pictures / "b" / "1.jpg", 200)
    assert levels_of(folder_of(pictures / "**" / "*.jpg")) == [200]
    assert levels_of(folder_of(pictures / "part [12].png")) == [1, 2]


def test_a_single_picture_is_a_source_too(pictures: Path) -> None:
    assert levels_of(folder_of(pictures / "part 2.png")) == [2]


def test_a_corrupt_picture_is_skipped_and_named(pictures: Path) -> None:
    (pictures / "part 3.jpg").write_bytes(b"\xff\xd8 this was a JPEG once")
    folder = folder_of(pictures)
    assert levels_of(folder) == [1, 2, 10]
    assert [path.name for path in folder.corrupt] == ["part 3.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_picture_that_this_user_may_not_read_is_skipped_and_named(pictures: Path) -> None:
    (pictures / "part 2.png").chmod(0)
    folder = folder_of(pictures)
    assert levels_of(folder) == [1, 10]
    assert [path.name for path in folder.corrupt] == ["part 2.png"]


def test_a_picture_that_is_gone_when_its_turn_comes_is_skipped_and_named(pictures: Path) -> None:
    folder = folder_of(pictures)
    (pictures / "part 2.png").unlink()
    assert levels_of(folder) == [1, 10]
    assert [path.name for path in folder.corrupt] == ["part 2.png"]


def test_a_folder_that_grows_ends_with_what_it_held_when_it_was_opened(pictures: Path) -> None:
    folder = folder_of(pictures)
    write(pictures / "part 3.png", 3)
    write(pictures / "part 11.png", 11)
    assert levels_of(folder) == [1, 2, 10]
    assert levels_of(folder_of(pictures)) == [1, 2, 3, 10, 11]


def test_a_folder_without_one_good_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"holds no picture \(\.bmp, .*\.webp\)"):
        folder_of(tmp_path)
    (tmp_path / "a.jpg").touch()
    with pytest.raises(CameraError, match="none of its 1 pictures can be decoded"):
        folder_of(tmp_path)


def test_a_picture_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"a\.jpg: no such file"):
        folder_of(tmp_path / "a.jpg")


def test_a_named_pipe_among_the_pictures_is_skipped_and_named(pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(pictures / "part 2b.png")
    (pictures / "part 3.png").symlink_to(pictures / "none.png")
    (pictures / "more.png").mkdir()
    for source in (pictures, pictures / "*.png"):
        caplog.clear()
        folder = within(20, lambda source=source: folder_of(source), "the folder")  # type: ignore[misc]
        assert levels_of(folder) == [1, 2, 10]
        assert [path.name for path in folder.corrupt] == ["part 2b.png", "part 3.png"]
        assert caplog.messages == [f"{pictures / name}: is no file; skipped" for name in ("part 2b.png", "part 3.png")]

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.camera import CameraSettings, Shot, open_source
from edge.camera.clip import Clip
from edge.clock import MonotonicClock
from edge.errors import CameraError

MakeClip = Callable[..., Path]


def clip_of(path: Path | str, **settings: float) -> Clip:
    source = open_source(CameraSettings.model_validate({"source": str(path), **settings}), MonotonicClock())
    assert isinstance(source, Clip)
    return source


def shots_of(clip: Clip) -> list[Shot]:
    shots = []
    while (shot := clip.read()) is not None:
        shots.append(shot)
    return shots


def test_a_clip_gives_every_picture_at_its_own_time(make_clip: MakeClip) -> None:
    shots = shots_of(clip_of(make_clip(pictures=50, fps=25.0)))
    assert len(shots) == 50
    assert [shot.at for shot in shots] == pytest.approx([number / 25 for number in range(50)], abs=1e-3)
    assert {shot.pixels.shape for shot in shots} == {(240, 320, 3)}
    assert {shot.pixels.dtype for shot in shots} == {np.dtype(np.uint8)}


def test_a_clip_takes_the_rate_that_is_asked_for(make_clip: MakeClip) -> None:
    shots = shots_of(clip_of(make_clip(pictures=10, fps=25.0), fps=5))
    assert [shot.at for shot in shots] == pytest.approx([number / 5 for number in range(10)])


def test_the_pictures_of_an_animated_gif_come_at_its_own_uneven_times(shared_data: Path) -> None:
    shots = shots_of(clip_of(shared_data / "belt" / "bolt.gif"))
    intervals = np.diff([shot.at for shot in shots])
    assert len(shots) == 37
    assert shots[0].pixels.shape == (270, 480, 3)
    assert {round(float(interval), 2) for interval in intervals} == {0.06, 0.07}


def test_a_whole_film_is_read_to_its_last_picture(shared_data: Path) -> None:
    clip = clip_of(shared_data / "belt" / "bottles.mp4")
    count, last = 0, -1.0
    while (shot := clip.read()) is not None:
        assert shot.at > last
        count, last = count + 1, shot.at
    assert count == 1189
    assert last == pytest.approx(1188 / 29.8333, abs=0.1)


def test_what_a_file_holds_counts_not_what_it_is_called(make_clip: MakeClip) -> None:
    path = make_clip("clip.avi", pictures=5)
    assert len(shots_of(clip_of(path.rename(path.with_name("clip: 1.dat"))))) == 5


def test_a_file_that_is_cut_gives_its_good_pictures_and_then_says_so(make_clip: MakeClip) -> None:
    path = make_clip(pictures=50)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    clip, count = clip_of(path), 0
    with pytest.raises(CameraError, match=r"clip\.avi: is cut or damaged: \d+ of about 50 pictures were there"):
        while clip.read() is not None:
            count += 1
    assert 20 <= count <= 30


def test_a_gif_that_is_cut_says_so_too_though_it_promises_no_number(shared_data: Path, tmp_path: Path) -> None:
    whole = (shared_data / "belt" / "bolt.gif").read_bytes()
    path = tmp_path / "cut.gif"
    path.write_bytes(whole[: len(whole) // 2])
    clip, count = clip_of(path), 0
    with pytest.raises(CameraError, match=r"cut\.gif: is cut or damaged: it has no end after its \d+ pictures"):
        while clip.read() is not None:
            count += 1
    assert 10 <= count <= 25


@pytest.mark.parametrize("size", [(2, 2), (2000, 2), (2, 2000)])
def test_a_clip_of_slivers_is_refused_in_words(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "sliver.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25.0, size)
    for _ in range(3):
        writer.write(np.zeros((size[1], size[0], 3), np.uint8))
    writer.release()
    with pytest.raises(CameraError, match=rf"sliver\.avi: its pictures are {size[0]}x{size[1]}; at least 16x16 pixels"):
        clip_of(path)


def test_a_grey_clip_becomes_bgr(tmp_path: Path) -> None:
    path = tmp_path / "grey.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"FFV1"), 25.0, (64, 48), False)
    writer.write(np.full((48, 64), 77, np.uint8))
    writer.release()
    (shot,) = shots_of(clip_of(path))
    assert shot.pixels.shape == (48, 64, 3)
    assert np.abs(shot.pixels.astype(int) - 77).max() <= 2


def test_a_film_whose_index_is_cut_off_is_refused(make_clip: MakeClip) -> None:
    path = make_clip("clip.mp4", fourcc="mp4v")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CameraError, match=r"clip\.mp4: is not a video file that can be decoded, or it is damaged"):
        clip_of(path)


@pytest.mark.parametrize("name", ["words.mp4", "words.gif", "words.avi"])
def test_a_file_that_is_no_video_is_refused_and_nothing_else_is_printed(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("these are words, and not a film\n" * 100)
    code = (
        "import sys; from edge.camera import *; from edge.clock import MonotonicClock\n"
        "try: open_source(CameraSettings(source=sys.argv[1]), MonotonicClock())\n"
        "except CameraError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{path}: is not a video file that can be decoded, or it is damaged\n"
    assert ran.stderr == ""


def test_a_file_of_zero_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.touch()
    with pytest.raises(CameraError, match=r"clip\.mp4: is empty \(0 bytes\)"):
        clip_of(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"clip\.mp4: no such file"):
        clip_of(tmp_path / "clip.mp4")


def test_a_clip_says_what_it_is_and_may_be_closed_twice(make_clip: MakeClip) -> None:
    clip = clip_of(make_clip())
    assert clip.describe() == "OpenCV FFMPEG, 320x240, 25 fps"
    clip.close()
    clip.close()
    with pytest.raises(CameraError, match="was closed"):
        clip.read()

"""What was found becomes files: boxes cut out as the line cuts them, whole pictures copied as they are."""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from rich.progress import Progress

from edge.engines import cores
from edge.errors import PictureError
from edge.model import cut
from edge.picture import SUFFIXES
from edge.records import Box
from training.errors import TrainingError
from training.files import write_atomically
from training.importing.found import Labelled
from training.layout import PART_FOLDERS, Skipped
from training.reading import read_sound

LAYOUT = frozenset(
    {"images", "jpegimages", "data", "obj_train_data", "obj_val_data", "obj_valid_data", "obj_test_data"}
)


@dataclass(frozen=True, slots=True)
class Written:
    """One picture of the dataset that was made: its name under OUT, and where it comes from."""

    name: str
    label: str
    part: str | None
    source: str


@dataclass(frozen=True, slots=True)
class _Task:
    item: Labelled
    target: Path
    said: str  # what the item is called where it has to be named


def write(
    items: Sequence[Labelled], root: Path, out: Path, margin: float, progress: Progress
) -> tuple[list[Written], list[Skipped]]:
    """Cuts or copies every item to OUT/[part/]class/name; returns what was written and what could not be.

    A box becomes a PNG named after its picture and its number there; with margin as in edge.model.cut.
    """
    tasks = _name(items, root, out)
    written: list[Written] = []
    left_out: list[Skipped] = []
    by_picture: dict[Path, list[_Task]] = {}
    for task in tasks:
        by_picture.setdefault(task.item.picture, []).append(task)

    def one_picture(of: list[_Task]) -> list[str | None]:
        if of[0].item.frame is not None:
            return _cut_from_video(of, margin)
        return _cut_from_picture(of, margin)

    with ThreadPoolExecutor(max_workers=cores()) as pool:
        batches = list(by_picture.values())
        for batch, outcomes in zip(
            batches,
            progress.track(pool.map(one_picture, batches), len(batches), description="writing pictures"),
            strict=True,
        ):
            for task, reason in zip(batch, outcomes, strict=True):
                if reason is not None:
                    left_out.append(Skipped(task.said, reason))
                    continue
                name = task.target.relative_to(out).as_posix()
                written.append(Written(name, task.item.label, task.item.part, task.said))
    return written, left_out


def _name(items: Sequence[Labelled], root: Path, out: Path) -> list[_Task]:
    """A name for each: its picture's path, so that patterns over names find clips and days again."""
    number: Counter[tuple[Path, int | None]] = Counter()
    taken: set[Path] = set()
    tasks = []
    for item in items:
        inside = item.picture.relative_to(root) if item.picture.is_relative_to(root) else Path(item.picture.name)
        steps = [s for s in inside.parts[:-1] if s.casefold() not in LAYOUT and s.casefold() not in PART_FOLDERS]
        if item.area is None and steps and steps[0] == item.label:
            steps = steps[1:]
        stem = "_".join([*steps, inside.stem])
        if item.frame is not None:
            stem += f"_{item.frame:06d}"
        said = inside.as_posix() + (f" frame {item.frame}" if item.frame is not None else "")
        suffix = inside.suffix
        if item.area is not None or item.frame is not None:
            suffix = ".png"
            number[item.picture, item.frame] += 1
            mark = f"track{item.track}" if item.track is not None else str(number[item.picture, item.frame])
            stem += f"-{mark}"
            said += f" box {mark} ({item.told_in})"
        folder = out / (item.part or "") / item.label
        target, again = folder / f"{stem}{suffix}", 1
        while target in taken:
            again += 1
            target = folder / f"{stem}~{again}{suffix}"
        taken.add(target)
        tasks.append(_Task(item, target, said))
    return tasks


def _cut_from_picture(tasks: list[_Task], margin: float) -> list[str | None]:
    """Writes all items of one picture; a reason for each that could not be."""
    path = tasks[0].item.picture
    try:
        data = path.read_bytes()
        picture = read_sound(data, path.name)
    except OSError as error:
        return [f"cannot be read ({error.strerror})"] * len(tasks)
    except PictureError as error:
        return [str(error).removeprefix(f"{path.name}: ")] * len(tasks)
    return [_put(task, picture, margin) for task in tasks]


def _put(task: _Task, picture: np.ndarray, margin: float) -> str | None:
    item = task.item
    if item.area is None and item.frame is None:
        if item.picture.suffix.lower() not in SUFFIXES:
            return "is not a picture by its name"
        try:
            task.target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(item.picture, task.target)
        except OSError as error:
            raise TrainingError(f"{task.target}: cannot be written ({error.strerror})") from None
        return None
    try:
        crop = picture if item.area is None else cut(picture, _box(item, picture), margin)
    except ValueError as error:
        return str(error)
    write_atomically(task.target, cv2.imencode(".png", crop)[1].tobytes())
    return None


def _box(item: Labelled, picture: np.ndarray) -> Box:
    """The item's area in whole pixels inside the picture; ValueError when it cannot be meant for this picture."""
    height, width = picture.shape[:2]
    if item.size and item.size != (width, height):
        was = " x ".join(map(str, item.size))
        raise ValueError(f"was labelled on a picture of {was} pixels, but the file has {width} x {height}")
    area = item.area
    assert area is not None
    if area.relative:
        area = replace(
            area, left=area.left * width, right=area.right * width, top=area.top * height, bottom=area.bottom * height
        )
    left, top = max(round(area.left), 0), max(round(area.top), 0)
    right, bottom = min(round(area.right), width), min(round(area.bottom), height)
    if right - left < 1 or bottom - top < 1:
        corners = ", ".join(f"{v:g}" for v in (area.left, area.top, area.right, area.bottom))
        raise ValueError(f"its box ({corners}) has nothing of the picture in it ({width} x {height})")
    return Box(left, top, right - left, bottom - top)


def _cut_from_video(tasks: list[_Task], margin: float) -> list[str | None]:
    """As _cut_from_picture, of all frames of one clip, read from its beginning: seeking is not exact in all of them."""
    wanted: dict[int, list[int]] = {}
    for i, task in enumerate(tasks):
        assert task.item.frame is not None
        wanted.setdefault(task.item.frame, []).append(i)
    outcomes: list[str | None] = ["the clip ends before this frame"] * len(tasks)
    for number, picture in _frames(tasks[0].item.picture, max(wanted), wanted):
        for i in wanted[number]:
            outcomes[i] = _put(tasks[i], picture, margin)
    return outcomes


def _frames(path: Path, last: int, wanted: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
    chosen = set(wanted)
    with closing(_Clip(path)) as clip:
        for number in range(last + 1):
            if not clip.capture.grab():
                return
            if number in chosen:
                good, picture = clip.capture.retrieve()
                if good:
                    yield number, picture


class _Clip:
    """An open clip; without it, OpenCV keeps the file until the garbage is collected."""

    def __init__(self, path: Path) -> None:
        self.capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)

    def close(self) -> None:
        self.capture.release()

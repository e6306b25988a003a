"""Training pictures from the simulated belt: what the line's finder would hand to the model, with its class."""

import errno
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.errors import ConfigError, SortlineError
from edge.model import cut
from edge.records import Box
from edge.simulator.arrivals import FOREIGN, class_names
from edge.simulator.cutouts import tell_left_out
from edge.simulator.scene import Scene
from edge.simulator.settings import SimulatorSettings
from edge.simulator.world import World

# Pictures of one belt under one light, before another is set up.
PICTURES_A_BELT = 4
MARGIN = 0.1
# A finder's box is off by so much of the item's size (standard deviation), and takes in some shadow.
BOX_ERROR = 0.04
SHADOW_SHARE = 0.08


def draw(
    out: Path, per_class: int, seed: int, size: int | None = None, foreign: int = 0, items: Path | None = None
) -> dict[str, int]:
    """Draws per_class crops of every class into class folders of out; returns how many of each were written.

    The crops are PNG, made by edge.model.cut from whole pictures of belts with random light, blur,
    noise, speed, direction and scale, as large as they come or size x size pixels. foreign objects go
    into the folder beside out whose name ends in -foreign, as they are no class. items is a folder of
    class folders with real pictures to cut the items from. The same seed draws the same pictures.
    A picture's name says which belt it is of, as belt0003-00012.png: pictures of one belt share its light, blur
    and noise, and a fair test is on other belts than the training (`--group '(belt[0-9]+)-'` of sortline-train).
    Raises ConfigError when out holds class folders already, SortlineError when it cannot be written to. After that,
    or an interruption, nothing of it stays.
    """
    labels = class_names(SimulatorSettings(items=items))
    if items:
        tell_left_out(items)
    folders = {label: out / label for label in labels}
    wanted = dict.fromkeys(labels, per_class)
    if foreign:
        wanted[FOREIGN] = foreign
        folders[FOREIGN] = out.with_name(f"{out.name}-{FOREIGN}")
    written: Counter[str] = Counter()
    with _all_or_nothing() as made:
        for folder in folders.values():
            _make(folder, made)
        for belt, label, crop in crops(seed, foreign / (foreign + per_class * len(labels)), items):
            if written[label] < wanted.get(label, 0):
                made.append(folders[label] / f"belt{belt:04d}-{written[label]:05d}.png")
                _write(made[-1], crop if size is None else _resized(crop, size))
                written[label] += 1
            if all(written[name] >= count for name, count in wanted.items()):
                break
    return dict(sorted(written.items()))


def crops(seed: int, foreign: float = 0.0, items: Path | None = None) -> Iterator[tuple[int, str, np.ndarray]]:
    """Endless (belt, class, crop); belts count from 1, a crop is uint8 [h, w, 3] BGR.

    foreign is the share of foreign objects.
    """
    rng = np.random.default_rng(seed)
    for belt in count(1):
        settings = SimulatorSettings.from_mapping(_belt(rng, foreign, items))
        world = World(settings)
        scene = Scene(world)
        # Each picture shows the belt one field further on, so no item is seen twice.
        field_s = settings.field_mm / settings.speed_mm_s
        for n in range(1, PICTURES_A_BELT + 1):
            picture = scene.draw(n * field_s)
            for item, box in scene.boxes(n * field_s):
                found = _as_found(box, rng, settings)
                yield belt, item.label, cut(picture, found, MARGIN).copy()


def _belt(rng: np.random.Generator, foreign: float, items: Path | None) -> dict[str, Any]:
    """A belt, lamp and camera drawn at random, wider than any one line will meet."""
    speed = float(np.exp(rng.uniform(np.log(200), np.log(3000))))
    return {
        "seed": int(rng.integers(2**31)),
        "variants": 1_000_000_000,
        "foreign": foreign,
        "items": items,
        "direction": str(rng.choice(["right", "left", "down", "up"])),
        "pixels_per_mm": float(rng.uniform(1.2, 2.4)),
        "speed_mm_s": speed,
        # Items stand close, as they do on a full belt: a neighbour's corner belongs into the picture.
        "rate": speed * float(rng.uniform(0.008, 0.018)),
        "min_gap_mm": 2.0,
        "exposure_ms": float(rng.uniform(0.1, 3.0)) * min(1.0, 1000 / speed),
        "noise": float(rng.uniform(0.5, 8.0)),
        "brightness": float(np.exp(rng.uniform(np.log(0.55), np.log(1.35)))),
        "light": float(rng.uniform(0.0, 0.5)),
    }


def _as_found(box: Box, rng: np.random.Generator, settings: SimulatorSettings) -> Box:
    """The true box as a finder would err: each side a little off, and often some shadow in it."""
    off = rng.normal(0, BOX_ERROR, 4) * max(box.width, box.height)
    shadow = rng.uniform(0, SHADOW_SHARE) * max(box.width, box.height)
    left, top = max(box.x + off[0], 0), max(box.y + off[1], 0)
    right = min(box.x + box.width + off[2] + shadow, settings.width)
    bottom = min(box.y + box.height + off[3] + shadow, settings.height)
    x, y = round(left), round(top)
    return Box(x, y, max(round(right) - x, 1), max(round(bottom) - y, 1))


def _write(path: Path, crop: np.ndarray) -> None:
    """As PNG. OpenCV's own writing would keep the reason of a failure to itself."""
    try:
        path.write_bytes(cv2.imencode(".png", crop)[1].tobytes())
    except OSError as error:
        raise SortlineError(f"{path}: cannot be written ({error.strerror})") from None


def _make(folder: Path, made: list[Path]) -> None:
    """Makes a folder that has nothing in it; it, and those above it that were not there either, are added to made."""
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise ConfigError(f"{folder}: holds pictures already; name a new folder or empty this one")
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        for one in reversed(missing):
            one.mkdir()
            made.append(one)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except OSError as error:
        raise SortlineError(f"{folder}: cannot be made ({error.strerror})") from None


@contextmanager
def _all_or_nothing() -> Iterator[list[Path]]:
    """Files and folders that are taken back after an error: a part of a dataset would be taken for the whole."""
    made: list[Path] = []
    try:
        yield made
    except BaseException:
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        raise


def _resized(crop: np.ndarray, size: int) -> np.ndarray:
    how = cv2.INTER_AREA if crop.shape[0] * crop.shape[1] > size * size else cv2.INTER_LINEAR
    return cv2.resize(crop, (size, size), interpolation=how)

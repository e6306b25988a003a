"""Pictures for the import: six scenes of two items each, whose boxes every export of tests/training/exports tells."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.model import cut
from edge.records import Box

CLASSES = ("bolt", "nut", "washer")
SCENES = tuple(f"belt_{number:02d}" for number in range(6))
PARTS = {
    "belt_00": "train",
    "belt_01": "train",
    "belt_02": "train",
    "belt_03": "train",
    "belt_04": "val",
    "belt_05": "test",
}
WIDTH, HEIGHT = 128, 96


@dataclass(frozen=True)
class Item:
    scene: str
    label: str
    box: Box


def items(scene: str) -> list[Item]:
    """The two items of a scene, the left one first."""
    n = SCENES.index(scene)
    left = Box(10 + 2 * n, 20 + n, 32, 24)
    right = Box(74 + n, 30 - n, 28, 36)
    return [Item(scene, CLASSES[n % 3], left), Item(scene, CLASSES[(n + 1) % 3], right)]


def draw_scene(scene: str) -> np.ndarray:
    """uint8 [96, 128, 3] BGR; the same for the same scene."""
    picture = np.random.default_rng(SCENES.index(scene)).integers(150, 200, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    for item in items(scene):
        b = item.box
        colour = [(40, 40, 220), (40, 200, 40), (220, 80, 40)][CLASSES.index(item.label)]
        cv2.ellipse(picture, ((b.x + b.width / 2, b.y + b.height / 2), (b.width, b.height), 0), colour, -1)
    return picture


def write_scenes(places: dict[str, Path]) -> None:
    """Writes each scene to its place, as PNG."""
    for scene, path in places.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), draw_scene(scene))


def crops(margin: float) -> dict[tuple[str, str], list[bytes]]:
    """The pixels of all items cut out as the line does it, by scene and class."""
    found: dict[tuple[str, str], list[bytes]] = {}
    for scene in SCENES:
        for item in items(scene):
            found.setdefault((scene, item.label), []).append(cut(draw_scene(scene), item.box, margin).tobytes())
    return found

"""Small folders of pictures that a small network can learn in seconds: shapes of a colour on a noisy ground."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

SHAPES = ("disc", "square", "stripe")
COLOURS = {"disc": (60, 60, 220), "square": (60, 200, 60), "stripe": (220, 100, 40)}  # BGR


def draw(shape: str, number: int, side: int = 40) -> np.ndarray:
    """One picture, uint8 [side, side, 3] BGR; the number decides everything random about it."""
    rng = np.random.default_rng([number, *shape.encode()])
    ground = rng.integers(150, 230)
    picture = np.full((side, side, 3), ground, np.uint8)
    x, y = (int(v) for v in rng.integers(side * 2 // 5, side * 3 // 5, 2))
    size = int(rng.integers(side // 5, side // 3))
    colour = tuple(int(v) for v in np.clip(np.array(COLOURS[shape]) + rng.integers(-40, 40, 3), 0, 255))
    if shape == "disc":
        cv2.circle(picture, (x, y), size, colour, -1)
    elif shape == "square":
        cv2.rectangle(picture, (x - size, y - size), (x + size, y + size), colour, -1)
    else:
        cv2.line(picture, (0, y), (side, x), colour, max(size // 2, 2))
    noise = rng.normal(0, 8, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def write_pictures(root: Path, counts: Mapping[str, int], first: int = 0, side: int = 40) -> Path:
    """Writes root/SHAPE/NNN.png, so many of each shape, numbered from first; returns root."""
    for shape, count in counts.items():
        folder = root / shape
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            cv2.imwrite(str(folder / f"{number:03d}.png"), draw(shape, number, side))
    return root

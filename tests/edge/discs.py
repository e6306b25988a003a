"""A simulated belt of coloured discs, all of one size, and a line with photo-eyes that sorts them by colour."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.config import LineConfig
from tests.edge.tiny_model import COLOURS


def write_discs(folder: Path) -> Path:
    """Class folders to cut items from: one disc of each colour on white."""
    for name, colour in COLOURS.items():
        (folder / name).mkdir()
        picture = np.full((80, 80, 3), 255, np.uint8)
        cv2.circle(picture, (40, 40), 36, colour[::-1], -1, cv2.LINE_AA)
        cv2.imwrite(str(folder / name / "disc.png"), picture)
    return folder


def disc_line(
    model: Path,
    folder: Path,
    source: str,
    trigger: dict[str, Any],
    confirm: dict[str, Any] | None = None,
    **tables: Any,
) -> LineConfig:
    """The configuration: reds and greens are pushed 260 and 330 mm behind the camera, and confirmed 120 mm further."""
    address = f"sim:?speed_mm_s=500&rate=4&seed=5&width=640&height=128&foreign=0&items={folder}{source}"
    lanes: list[dict[str, Any]] = [
        {"name": "reds", "classes": ["red"], "output": "gate", "distance_mm": 260},
        {"name": "greens", "classes": ["green"], "output": "arm", "distance_mm": 330},
        {"name": "rest", "default": True},
    ]
    if confirm is not None:
        for lane in lanes[:2]:
            lane["confirm"] = {"distance_mm": lane["distance_mm"] + 120, **confirm}
    return LineConfig.parse(
        {
            "model": {"path": str(model)},
            "camera": {"source": address},
            "belt": {"pixels_per_mm": 1.6, "speed_mm_s": 500, **tables.get("belt", {})},
            "items": {"mode": "trigger", "roi": [288, 0, 64, 128], "trigger": {"length_mm": 40, **trigger}},
            "decide": {"min_confidence": 0.0},
            "lanes": lanes,
            "outputs": {"gate": {"type": "log", "pulse_ms": 5}, "arm": {"type": "log", "pulse_ms": 5}},
            "web": tables.get("web", {"enabled": False}),
        }
    )

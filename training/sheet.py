"""The contact sheet: some training pictures as they are and as training will see them, to look at before it starts."""

from pathlib import Path

import cv2
import numpy as np
import torch

from training.augment import augmentation
from training.batches import as_input
from training.data import Dataset
from training.files import write_atomically
from training.settings import FitSettings

CLASSES, VARIANTS = 8, 7  # rows at most, and columns after the first
TILE, GAP = 128, 4


def write_sheet(path: Path, data: Dataset, settings: FitSettings) -> None:
    """Writes a PNG: a row a class, its first picture as it is, then as the run's augmentations vary it.

    Draws from a generator of its own, so that the training that follows is the same without it.
    """
    firsts = [int(np.flatnonzero(data.train.labels == i)[0]) for i in range(len(data.classes))][:CLASSES]
    whole = data.side
    rows = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        augment = augmentation(settings.augment, whole)
        for position, name in zip(firsts, data.classes, strict=False):
            picture = data.train.pixels(np.array([position]))
            varied = augment(as_input(np.repeat(picture, VARIANTS, axis=0)))
            pictures = [picture[0], *varied.permute(0, 2, 3, 1).round().byte().numpy()]
            rows.append(_row(pictures, whole, name))
    data_png = cv2.imencode(".png", np.concatenate(rows)[:, :, ::-1])[1]
    write_atomically(path, data_png.tobytes())


def _row(pictures: list[np.ndarray], whole: int, name: str) -> np.ndarray:
    """RGB pictures side by side under their class's name; smaller ones, seen through a window, stay smaller."""
    row = np.full((TILE + 20, len(pictures) * (TILE + GAP), 3), 255, np.uint8)
    for column, picture in enumerate(pictures):
        side = max(round(TILE * picture.shape[0] / whole), 1)
        left = column * (TILE + GAP)
        row[20 : 20 + side, left : left + side] = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    words = name.encode("ascii", "replace").decode()
    cv2.putText(row, words, (2, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return row

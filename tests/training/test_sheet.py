from pathlib import Path

import cv2
import numpy as np
import torch
from rich.progress import Progress

from edge.model import Resize
from training.augment import AugmentSettings
from training.data import load
from training.settings import FitSettings
from training.sheet import TILE, VARIANTS, write_sheet

STILL = AugmentSettings(rotate_deg=0, shift=0, shear_deg=0, zoom=0, flip=False, brightness=0)


def test_the_contact_sheet_shows_each_class_as_it_is_and_as_it_is_varied(
    shapes: Path, tmp_path: Path, progress: Progress
) -> None:
    data = load(shapes, 64, 64, Resize(), 0, progress)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    for name, augment in {"still": STILL, "varied": AugmentSettings()}.items():
        write_sheet(tmp_path / f"{name}.png", data, FitSettings(augment=augment))
    assert torch.equal(torch.get_rng_state(), before)  # the training that follows is the same without a sheet
    still, varied = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("still", "varied"))
    assert still.shape == varied.shape
    assert still.shape[0] > 3 * TILE
    assert still.shape[1] > (VARIANTS + 1) * TILE
    first = still[20 : 20 + TILE, :TILE].astype(int)
    shown = cv2.cvtColor(data.train.pixels(np.flatnonzero(data.train.labels == 0)[:1])[0], cv2.COLOR_RGB2BGR)
    assert np.abs(first - cv2.resize(shown, (TILE, TILE), interpolation=cv2.INTER_AREA)).mean() < 2
    assert np.array_equal(varied[:, :TILE], still[:, :TILE])
    assert np.abs(varied[:, TILE:].astype(int) - still[:, TILE:]).mean() > 3

"""What all trackers write: the figures of an epoch under the same names, settings as flat words, a drawn matrix."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edge.errors import PictureError
from edge.picture import read_picture

if TYPE_CHECKING:
    from training.checkpoint import Epoch

SAMPLES = "augmentations.png"
CELL, MOST_CLASSES, LONGEST_NAME = 40, 40, 24
DARK, LIGHT, GROUND = (20, 24, 26), (255, 255, 255), (236, 238, 233)
GREEN, RED = (21, 122, 74), (192, 42, 36)


def figures_of(line: "Epoch") -> dict[str, float]:
    """An epoch's figures by the names that every tracker shows them under."""
    return {
        "loss/train": line.train_loss,
        "loss/validation": line.val_loss,
        "accuracy/validation": line.val_accuracy,
        "learning_rate": line.lr,
        "seconds_an_epoch": line.seconds,
    }


def flat(settings: Mapping[str, Any], under: str = "") -> dict[str, str]:
    """Nested settings as one level of words: {"augment": {"flip": true}} is {"augment.flip": "True"}."""
    words: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            words |= flat(value, f"{under}{key}.")
        else:
            words[f"{under}{key}"] = str(value)
    return words


def sample_pictures(folder: Path) -> np.ndarray | None:
    """The run's contact sheet of training pictures, RGB uint8 [h, w, 3], where it has one."""
    try:
        return cv2.cvtColor(read_picture(folder / SAMPLES), cv2.COLOR_BGR2RGB)
    except PictureError:
        return None


def matrix_picture(counts: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """A confusion matrix, int [n, n], as a picture, RGB uint8 [h, w, 3]: a row what it is, a column what it is called.

    Of more than MOST_CLASSES classes it shows those that are mixed up most.
    """
    off = counts - np.diag(counts.diagonal())
    shown = np.sort(np.argsort(-(off.sum(axis=0) + off.sum(axis=1)), kind="stable")[:MOST_CLASSES])
    names = [classes[i] if len(classes[i]) <= LONGEST_NAME else classes[i][: LONGEST_NAME - 1] + "…" for i in shown]
    counts = counts[np.ix_(shown, shown)]
    font = ImageFont.load_default(13)
    room = int(max(font.getlength(name) for name in names)) + 14
    side = len(names) * CELL
    picture = Image.new("RGB", (room + side + 8, room + side + 8), LIGHT)
    draw = ImageDraw.Draw(picture)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for row in range(len(names)):
        middle = room + row * CELL + CELL // 2
        draw.text((room - 6, middle), names[row], DARK, font, anchor="rm")
        upright = Image.new("RGB", (room, CELL), LIGHT)
        ImageDraw.Draw(upright).text((6, CELL // 2), names[row], DARK, font, anchor="lm")
        picture.paste(upright.rotate(90, expand=True), (room + row * CELL, 0))
        for column in range(len(names)):
            share = float(shares[row, column])
            tone = GREEN if row == column else RED
            weight = 0.9 * share if row == column or not share else max(0.9 * share, 0.25)
            fill = tuple(round(g + (t - g) * weight) for g, t in zip(GROUND, tone, strict=True))
            left, top = room + column * CELL, room + row * CELL
            draw.rounded_rectangle((left + 1, top + 1, left + CELL - 2, top + CELL - 2), 4, fill)
            if counts[row, column]:
                colour = LIGHT if weight > 0.5 else DARK
                draw.text((left + CELL // 2, top + CELL // 2), str(counts[row, column]), colour, font, anchor="mm")
    return np.asarray(picture)


def beside(model: Path) -> list[Path]:
    """What a build writes beside its model: the page, the report and its figures, those that are there."""
    return [path for suffix in (".md", ".html", ".json") if (path := model.with_suffix(suffix)).is_file()]

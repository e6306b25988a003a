"""Items cut out of real pictures: objects on a white ground, freed from it with a soft edge and no halo."""

import logging
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np

from edge.errors import ConfigError
from edge.picture import picture_files, read_picture
from edge.simulator.relief import Specimen

_log = logging.getLogger("sortline.camera")
KEPT = 256
WHITE = 232
EDGE_PX = 2


class Cutouts:
    """The items of a folder of class folders, cut out when first asked for; the newest KEPT are kept."""

    def __init__(self, folder: Path) -> None:
        self._files = {sub.name: picture_files(sub.iterdir())[0] for sub in sorted(folder.iterdir()) if sub.is_dir()}
        self._kept: OrderedDict[Path, Specimen] = OrderedDict()

    def get(self, label: str, number: int) -> Specimen:
        """A cut-out of a class; numbers beyond the class's pictures begin again."""
        files = self._files[label]
        # Neighbouring files are often turns of one object, so consecutive numbers are spread out.
        file = files[number * 7919 % len(files)]
        if file not in self._kept:
            self._kept[file] = cut_out(read_picture(file), str(file))
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(file)
        return self._kept[file]


def tell_left_out(folder: Path) -> None:
    """Names, in the log, what is called a picture in a folder of class folders and is no file, such as a pipe."""
    for sub in sorted(folder.iterdir()):
        for path in picture_files(sub.iterdir())[1] if sub.is_dir() else ():
            _log.warning("%s: is no file; left out", path)


def cut_out(picture: np.ndarray, name: str = "the picture") -> Specimen:
    """Frees an object, uint8 [H, W, 3] BGR, from the white ground around it.

    The ground is what is nearly white and reachable from the picture's border, so light parts inside
    the object stay. At the edge, where a pixel is a mixture of object and ground, the opacity is
    what the mixture says, and the colour is that of the object just inside. Raises ConfigError when
    nothing or everything is ground.
    """
    padded = cv2.copyMakeBorder(picture, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    ground = _ground(padded)
    object_ = cv2.morphologyEx(255 - ground, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(object_)
    if count < 2:
        raise ConfigError(f"{name}: shows no object on a white ground to cut out")
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    mask = (labels == largest).astype(np.uint8)
    core = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=EDGE_PX, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    if not core.any():
        raise ConfigError(f"{name}: shows no object on a white ground that is large enough to cut out")
    colour = _spread(padded, core)
    opacity = _opacity(padded, colour, mask, core)
    points = cv2.findNonZero((opacity > 0.5).astype(np.uint8))
    _, radius = cv2.minEnclosingCircle(points)
    x, y, w, h = cv2.boundingRect((opacity > 0).astype(np.uint8))
    part = np.s_[y : y + h, x : x + w]
    solid = opacity[part][..., None]
    paint = np.round(np.concatenate([colour[part] * solid, 255 * solid], axis=2)).astype(np.uint8)
    slope = np.full((h, w, 2), 127, np.uint8)
    # The circle round it is its size: so it never reaches further than that, at whatever angle.
    return Specimen(paint, slope, metal=0.0, length_px=2 * radius, tall_px=0.12 * max(w, h))


def _ground(picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W], 255 where the picture is nearly white all the way from its border."""
    white = (picture.min(axis=2) >= WHITE).astype(np.uint8)
    flood = np.zeros((white.shape[0] + 2, white.shape[1] + 2), np.uint8)
    cv2.floodFill(white, flood, (0, 0), 2)
    return np.where(white == 2, 255, 0).astype(np.uint8)


def _spread(picture: np.ndarray, core: np.ndarray) -> np.ndarray:
    """The picture with the colours of the core carried outwards over everything beside it."""
    _, nearest = cv2.distanceTransformWithLabels(1 - core, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    inside = core.astype(bool)
    colours = np.zeros((int(nearest.max()) + 1, 3), np.uint8)
    colours[nearest[inside]] = picture[inside]
    spread = colours[nearest]
    # Outwards the nearest pixel's colour comes in streaks; a blur evens them and leaves the core alone.
    soft = cv2.GaussianBlur(spread, (0, 0), 1.5)
    return np.where(inside[..., None], picture, soft)


def _opacity(picture: np.ndarray, colour: np.ndarray, mask: np.ndarray, core: np.ndarray) -> np.ndarray:
    """float32 [H, W]: how much of each edge pixel is object, from picture = a * colour + (1 - a) * white."""
    away = 255.0 - colour.astype(np.float32)
    mixed = 255.0 - picture.astype(np.float32)
    share = (mixed * away).sum(axis=2) / np.maximum((away * away).sum(axis=2), 1.0)
    edge = cv2.dilate(mask, np.ones((3, 3), np.uint8)) & (1 - core)
    opacity = np.where(core.astype(bool), 1.0, np.where(edge.astype(bool), np.clip(share, 0, 1), 0.0))
    return opacity.astype(np.float32)

"""Items ready to be laid into a picture: turned to their angle, lit, with their shadow, at the belt's scale."""

from collections import OrderedDict
from dataclasses import dataclass
from math import ceil, cos, hypot, radians, sin

import cv2
import numpy as np

from edge.records import Box
from edge.simulator import parts
from edge.simulator.arrivals import CUTOUT_MM, FOREIGN, KINDS, TrueItem
from edge.simulator.cutouts import Cutouts
from edge.simulator.relief import Specimen
from edge.simulator.settings import SimulatorSettings

# The lamp stands at the picture's upper left; shadows fall to the lower right.
LAMP = np.array((-0.451, -0.551, 0.702))
SHADOW_DARK = 0.5
# Specimens are kept a little finer than they are shown, so that turning them does not soften them.
SPECIMEN_SCALE = 1.4
SPECIMENS_KEPT = 256
TABLE = 128
TURN_DEG = {"right": 0.0, "down": 90.0, "left": 180.0, "up": 270.0}


@dataclass(frozen=True, slots=True)
class Sprite:
    """An item as it is laid into the picture.

    light is uint8 [h, w, 3] BGR, multiplied by its opacity; through is uint8 [h, w, 3], 255 where the
    belt is seen in full. solid is the upright rectangle round the item itself, without its shadow, in
    the sprite's own pixels.
    """

    light: np.ndarray
    through: np.ndarray
    solid: Box

    def smeared(self, length_px: int, upright: bool) -> "Sprite":
        """The same item while it moves by length_px in one exposure, to the side or, upright, up or down."""
        if length_px < 2:
            return self
        dx, dy = (0, length_px) if upright else (length_px, 0)
        light = cv2.copyMakeBorder(self.light, dy, dy, dx, dx, cv2.BORDER_CONSTANT, value=(0, 0, 0))
        through = cv2.copyMakeBorder(self.through, dy, dy, dx, dx, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        solid = Box(self.solid.x + dx, self.solid.y + dy, self.solid.width, self.solid.height)
        return Sprite(smear(light, length_px, upright), smear(through, length_px, upright), solid)


def smear(picture: np.ndarray, length_px: int, upright: bool) -> np.ndarray:
    """A picture of what moves by length_px while the shutter is open: uint8 of the same shape.

    The kernel is centred for even lengths too. (cv2.blur is not used: OpenCV 5.0 leaves the last columns
    black for a kernel of 2 x 1.)
    """
    if length_px < 2:
        return picture
    kernel = np.full(length_px // 2 * 2 + 1, 1 / length_px, np.float32)
    if length_px % 2 == 0:
        kernel[0] = kernel[-1] = 0.5 / length_px
    return cv2.filter2D(picture, -1, kernel[:, None] if upright else kernel[None])


class Sprites:
    """Makes sprites. Keeps the specimens it has drawn, the newest SPECIMENS_KEPT of them."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._cutouts = Cutouts(settings.items) if settings.items else None
        self._specimens: OrderedDict[tuple[str, int], Specimen] = OrderedDict()
        self._metal, self._dull = _light_table(metal=True), _light_table(metal=False)

    def make(self, item: TrueItem) -> Sprite:
        """The sprite of one item, standing still."""
        angle = item.angle_deg + TURN_DEG[self._settings.direction]
        return self.lay(self._specimen(item), angle, item.length_mm * self._settings.pixels_per_mm)

    def lay(self, specimen: Specimen, angle_deg: float, length_px: float) -> Sprite:
        """The sprite of a specimen at an angle, clockwise from the right, its longest side length_px pixels."""
        scale = length_px / specimen.length_px
        tall = specimen.tall_px * scale
        shadow_px = np.array((-LAMP[0], -LAMP[1])) / LAMP[2] * tall
        margin = ceil(max(abs(shadow_px)) + tall) + 3
        paint, slope = _turned(specimen, angle_deg, scale, margin)
        opacity = np.ascontiguousarray(paint[..., 3]).astype(np.float32) / 255
        shadow = _shadow(opacity, shadow_px, tall)
        through = np.round((1 - opacity) * (1 - shadow) * 255).astype(np.uint8)
        light = cv2.multiply(paint, cv2.merge([self._brightness(slope, specimen.metal)] * 4), dtype=cv2.CV_8U)
        light = cv2.min(light, cv2.merge([paint[..., 3]] * 4))[..., :3]
        return _trimmed(light, through, _bounds(opacity))

    def _specimen(self, item: TrueItem) -> Specimen:
        if self._cutouts and item.label != FOREIGN:
            return self._cutouts.get(item.label, item.specimen)
        key = (item.label, item.specimen)
        if key not in self._specimens:
            usual_mm = self._settings.item_mm or (CUTOUT_MM if self._cutouts else KINDS[item.label].length_mm)
            drawn_px = usual_mm * self._settings.pixels_per_mm * SPECIMEN_SCALE
            self._specimens[key] = parts.draw(item.label, item.specimen, drawn_px)
            if len(self._specimens) > SPECIMENS_KEPT:
                self._specimens.popitem(last=False)
        self._specimens.move_to_end(key)
        return self._specimens[key]

    def _brightness(self, slope: np.ndarray, metal: float) -> np.ndarray:
        """How bright a surface with these normals is under the lamp: float32 [h, w]."""
        x, y = cv2.split(cv2.multiply(slope, (TABLE - 2) / 254))
        if metal in {0.0, 1.0}:
            return cv2.remap(self._metal if metal else self._dull, x, y, cv2.INTER_LINEAR)
        return cv2.remap(metal * self._metal + (1 - metal) * self._dull, x, y, cv2.INTER_LINEAR)


def _turned(specimen: Specimen, angle_deg: float, scale: float, margin: int) -> tuple[np.ndarray, np.ndarray]:
    """A specimen at an angle (clockwise) and scale, with a free margin in pixels: paint uint8, slope float32."""
    h, w = specimen.paint.shape[:2]
    c, s = cos(radians(angle_deg)), sin(radians(angle_deg))
    width = ceil((abs(w * c) + abs(h * s)) * scale) + 2 * margin
    height = ceil((abs(w * s) + abs(h * c)) * scale) + 2 * margin
    turn = np.array(((c, -s), (s, c)))
    middle = np.array((width - 1, height - 1)) / 2 - scale * turn @ (np.array((w - 1, h - 1)) / 2)
    matrix = np.column_stack([scale * turn, middle])
    paint = cv2.warpAffine(specimen.paint, matrix, (width, height), flags=cv2.INTER_LINEAR)
    flat = (127, 127)
    slope = cv2.warpAffine(specimen.slope, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=flat)
    # The normals turn with the thing; the lamp does not.
    turned = np.column_stack([turn, 127 - turn @ np.array(flat)])
    return paint, cv2.transform(slope.astype(np.float32), turned)


def _shadow(opacity: np.ndarray, offset_px: np.ndarray, tall_px: float) -> np.ndarray:
    """The soft shadow that an item throws: darkest where it touches the belt, float32 [h, w], 0 to 1."""
    h, w = opacity.shape
    shift = np.array(((1, 0, offset_px[0] * 0.6), (0, 1, offset_px[1] * 0.6)))
    thrown = cv2.warpAffine(opacity, shift, (w, h))
    thrown = cv2.GaussianBlur(thrown, (0, 0), max(tall_px * 0.35, 0.8))
    contact = cv2.GaussianBlur(opacity, (0, 0), max(tall_px * 0.18, 0.6))
    return np.maximum(SHADOW_DARK * thrown, 0.35 * contact)


def _trimmed(light: np.ndarray, through: np.ndarray, solid: Box) -> Sprite:
    """A sprite without the margin in which neither the item nor its shadow shows."""
    x, y, w, h = cv2.boundingRect((through < 255).astype(np.uint8))
    part = np.s_[y : y + h, x : x + w]
    return Sprite(
        np.ascontiguousarray(light[part]),
        cv2.merge([through[part]] * 3),
        Box(solid.x - x, solid.y - y, solid.width, solid.height),
    )


def _bounds(opacity: np.ndarray) -> Box:
    x, y, w, h = cv2.boundingRect((opacity > 0.5).astype(np.uint8))
    return Box(x, y, w, h)


def _light_table(metal: bool) -> np.ndarray:
    """How bright a surface is for each normal: float32 [TABLE, TABLE] over the normal's y and x.

    Bare metal mirrors its surroundings (a long lamp, a dim room, a dark floor), a dull surface
    scatters by Lambert's cosine law; both have a highlight after Blinn and Phong (1977).
    """
    axis = np.linspace(-1, 1, TABLE - 1, dtype=np.float32)
    nx, ny = np.meshgrid(axis, axis)
    nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0.0))
    cosine = np.maximum(nx * LAMP[0] + ny * LAMP[1] + nz * LAMP[2], 0)
    half = LAMP + np.array((0.0, 0.0, 1.0))
    half = half / hypot(*half)
    glint = np.maximum(nx * half[0] + ny * half[1] + nz * half[2], 0)
    if not metal:
        dull = 0.30 + 0.72 * cosine + 0.12 * glint**24
        # What lies flat shows its paint as it is: a cut-out brings the light of its own picture.
        return (dull / dull[TABLE // 2 - 1, TABLE // 2 - 1]).astype(np.float32)
    mirrored_z = 2 * nz * nz - 1
    mirrored = 2 * nz * (nx * -0.63 + ny * -0.77)
    lamp = np.exp(-np.square((mirrored - 0.66) / 0.24)) * 0.55
    fill = np.exp(-np.square((mirrored + 0.75) / 0.20)) * 0.16
    room = 0.46 + 0.24 * mirrored_z + 0.16 * mirrored
    return np.clip(room + lamp + fill + 0.75 * glint**60, 0.05, 1.5).astype(np.float32)

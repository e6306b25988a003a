"""A drawn thing as a relief: a height above the belt for every point, an outline and paint.

The light is computed from the relief once the thing lies at its angle, so a highlight stays where the
lamp is however the thing is turned.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import tau

import cv2
import numpy as np

# Points are computed this many times finer than the specimen is kept, for smooth outlines.
OVERSAMPLING = 2
OUTLINE_PLACES = 4096


@dataclass(frozen=True, slots=True)
class Specimen:
    """One thing that lies on belts, at its own angle 0.

    paint is uint8 [h, w, 4]: BGR multiplied by opacity, and opacity. slope is uint8 [h, w, 2]: the surface
    normal's x and y, from -1 to 1 as 0 to 254. metal is 1 for bare metal, 0 for a dull surface.
    length_px is its longest side, tall_px how high it stands, for its shadow.
    """

    paint: np.ndarray
    slope: np.ndarray
    metal: float
    length_px: float
    tall_px: float


@dataclass(slots=True)
class Relief:
    """A part while it is drawn. All arrays are float32 [h, w]; lengths in units of the part's longest side."""

    x: np.ndarray
    y: np.ndarray
    width: float
    rng: np.random.Generator

    @property
    def step(self) -> float:
        return float(self.x[0, 1] - self.x[0, 0])

    @property
    def distance(self) -> np.ndarray:
        return cv2.magnitude(self.x, self.y)

    @property
    def turn(self) -> np.ndarray:
        """The direction from the middle, 0 to 1 for a full turn, clockwise from the right."""
        return (np.arctan2(self.y, self.x) / np.float32(tau)) % 1

    def outline(self, turns: Sequence[float], radii: Sequence[float], repeats: int = 1) -> np.ndarray:
        """How far inside a closed outline each point lies, negative outside.

        The outline is given by its radius at some turns (0 to 1, ascending), repeated round the middle.
        """
        around = [turns[-1] - 1, *turns, turns[0] + 1], [radii[-1], *radii, radii[0]]
        # One tooth is looked up in a table: to interpolate at every point takes four times as long.
        places = (np.arange(OUTLINE_PLACES) + 0.5) / OUTLINE_PLACES
        radius = np.interp(places, *around).astype(np.float32)
        steps = np.interp(places + 1e-3, *around) - np.interp(places - 1e-3, *around)
        steepness = (steps / 2e-3 * repeats / tau).astype(np.float32)
        place = (self.turn * np.float32(repeats * OUTLINE_PLACES)).astype(np.int32) % OUTLINE_PLACES
        distance = self.distance
        # Across a sloping flank the distance is shorter than along the radius.
        slope = steepness[place] / np.maximum(distance, np.float32(0.05))
        inside: np.ndarray = (radius[place] - distance) / np.sqrt(1 + slope * slope)
        return inside

    def wear(self, size: float) -> np.ndarray:
        """Smooth random unevenness of about unit spread, with features of the given size."""
        cells = [max(round(n * self.step / size), 2) for n in self.x.shape]
        coarse = self.rng.standard_normal(cells).astype(np.float32)
        return cv2.resize(coarse, self.x.shape[::-1], interpolation=cv2.INTER_CUBIC)


@dataclass(slots=True)
class Drawn:
    """What a part's drawing gives: inside (how far inside the outline), height, dark (0 to 1), paint BGR."""

    inside: np.ndarray
    height: np.ndarray
    dark: np.ndarray
    paint: tuple[float, float, float] | np.ndarray
    metal: float = 1.0
    tall: float = 0.1
    opacity: np.ndarray | None = None


def carve(painter: "Painter", rng: np.random.Generator, width: float, length_px: float) -> Specimen:
    """Draws a thing, its longest side length_px pixels; width is the other side's share of that."""
    size = max(round(length_px * 1.08), 12), max(round(width * length_px * 1.08), 12)
    axes = [(np.arange(n * OVERSAMPLING, dtype=np.float32) + 0.5) / OVERSAMPLING - n / 2 for n in size]
    x, y = np.meshgrid(*(axis / np.float32(length_px) for axis in axes))
    relief = Relief(x, y, width, rng)
    return _finish(relief, painter(relief), size, length_px)


def rounded(inside: np.ndarray, width: float, height: float) -> np.ndarray:
    """A flat top of the given height whose edge is a quarter circle of the given width."""
    part = 1 - np.clip(inside / width, 0, 1)
    return height * np.sqrt(1 - part * part)


def _finish(relief: Relief, drawn: Drawn, size: tuple[int, int], length_px: float) -> Specimen:
    """Turns a drawing into what is kept: normals from the height, scratches, and the smooth outline."""
    step, rng = relief.step, relief.rng
    height: np.ndarray = drawn.height.astype(np.float32)
    if drawn.metal:
        height = height + 0.0006 * relief.wear(0.012) + 0.0012 * relief.wear(0.08)
    dx = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=1 / (8 * step))
    dy = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=1 / (8 * step))
    norm = 1 / np.sqrt(dx * dx + dy * dy + 1)
    alpha = np.clip(drawn.inside / step + 0.5, 0, 1).astype(np.float32)
    if drawn.opacity is not None:
        alpha = alpha * drawn.opacity
    stains = 1 - 0.10 * np.clip(relief.wear(0.15), 0, 2) - 0.05 * np.clip(relief.wear(0.03), 0, 2)
    shade = (1 - drawn.dark) * stains * alpha * float(rng.uniform(0.9, 1.05))
    opacity = _shrunk(alpha, size)
    # Paint and slope are averaged by opacity, so that no edge takes on what lies outside.
    whole = 1 / np.maximum(opacity, 1e-3)
    if isinstance(drawn.paint, tuple):
        colour = _shrunk(shade, size)[..., None] * np.array(drawn.paint, np.float32)
    else:
        colour = _shrunk(drawn.paint * shade[..., None], size)
    slope = [_shrunk(-d * norm * alpha, size) * whole for d in (dx, dy)]
    return Specimen(
        paint=np.round(np.dstack([np.minimum(colour, opacity[..., None]), opacity]) * 255).astype(np.uint8),
        slope=np.round(np.clip(np.dstack(slope), -1, 1) * 127 + 127).astype(np.uint8),
        metal=drawn.metal,
        length_px=length_px,
        tall_px=drawn.tall * length_px,
    )


def _shrunk(fine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(fine.astype(np.float32, copy=False), size, interpolation=cv2.INTER_AREA)


Painter = Callable[[Relief], Drawn]

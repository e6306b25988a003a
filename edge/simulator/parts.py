"""The drawn parts: height, outline and paint of bolts, gears, nuts, screws, washers and foreign objects.

Each is a small relief: a height above the belt for every point, from which the light is computed
once the part lies at its angle, so a highlight stays where the lamp is however the part is turned.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi, sin, tau

import cv2
import numpy as np

from edge.simulator.arrivals import FOREIGN, PART_SIZES_MM

# Points are computed this many times finer than the specimen is kept, for smooth outlines.
OVERSAMPLING = 2
METALS_BGR = {
    "steel": (0.93, 0.92, 0.90),
    "zinc": (0.78, 0.93, 0.97),
    "brass": (0.45, 0.76, 0.93),
    "black oxide": (0.38, 0.36, 0.35),
    "copper": (0.50, 0.62, 0.88),
}
METAL_SHARES = (0.46, 0.18, 0.10, 0.20, 0.06)


@dataclass(frozen=True, slots=True)
class Specimen:
    """One thing that lies on belts, at its own angle 0.

    paint is uint8 [h, w, 4]: BGR and opacity, not premultiplied. slope is uint8 [h, w, 2]: the surface
    normal's x and y, from -1 to 1 as 0 to 254. metal is 1 for bare metal, 0 for a dull surface.
    tall_px is how high it stands, for its shadow.
    """

    paint: np.ndarray
    slope: np.ndarray
    metal: float
    tall_px: float


@dataclass(slots=True)
class _Relief:
    """A part while it is drawn. All arrays are float32 [h, w]; lengths in units of the part's longest side."""

    x: np.ndarray
    y: np.ndarray
    rng: np.random.Generator

    @property
    def step(self) -> float:
        return float(self.x[0, 1] - self.x[0, 0])

    @property
    def distance(self) -> np.ndarray:
        return np.hypot(self.x, self.y)

    @property
    def turn(self) -> np.ndarray:
        """The direction from the middle, 0 to 1 for a full turn, clockwise from the right."""
        return (np.arctan2(self.y, self.x) / np.float32(tau)) % 1

    def outline(self, turns: Sequence[float], radii: Sequence[float], repeats: int = 1) -> np.ndarray:
        """How far inside a closed outline each point lies, negative outside.

        The outline is given by its radius at some turns (0 to 1, ascending), repeated round the middle.
        """
        place = self.turn * repeats % 1
        around = [turns[-1] - 1, *turns, turns[0] + 1], [radii[-1], *radii, radii[0]]
        radius = np.interp(place, *around).astype(np.float32)
        # Across a sloping flank the distance is shorter than along the radius.
        steps = np.interp(place + 1e-3, *around) - np.interp(place - 1e-3, *around)
        slope = steps / 2e-3 * repeats / tau / np.maximum(self.distance, 0.05)
        return ((radius - self.distance) / np.sqrt(1 + slope * slope)).astype(np.float32)

    def wear(self, size: float) -> np.ndarray:
        """Smooth random unevenness of about unit spread, with features of the given size."""
        cells = [max(round(n * self.step / size), 2) for n in self.x.shape]
        coarse = self.rng.standard_normal(cells).astype(np.float32)
        return cv2.resize(coarse, self.x.shape[::-1], interpolation=cv2.INTER_CUBIC)


@dataclass(slots=True)
class _Drawn:
    """What a part's drawing gives: inside (how far inside the outline), height, dark (0 to 1), paint BGR."""

    inside: np.ndarray
    height: np.ndarray
    dark: np.ndarray
    paint: tuple[float, float, float] | np.ndarray
    metal: float = 1.0
    tall: float = 0.1
    opacity: np.ndarray | None = None


def draw(label: str, specimen: int, length_px: float) -> Specimen:
    """Draws one specimen of a class, its longest side length_px pixels; the same number is the same part."""
    rng = np.random.default_rng([specimen, *label.encode()])
    length_mm, width_mm = PART_SIZES_MM[label]
    size = tuple(max(round(side * length_px * 1.08), 12) for side in (1.0, width_mm / length_mm))
    axes = [(np.arange(n * OVERSAMPLING, dtype=np.float32) + 0.5) / OVERSAMPLING - n / 2 for n in size]
    x, y = np.meshgrid(*(axis / np.float32(length_px) for axis in axes))
    relief = _Relief(x, y, rng)
    return _finish(relief, PAINTERS[label](relief), (size[0], size[1]), length_px)


def _finish(relief: _Relief, drawn: _Drawn, size: tuple[int, int], length_px: float) -> Specimen:
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
    whole = 1 / np.maximum(opacity, 1e-3)
    # Paint and slope are averaged by opacity, so that no edge takes on what lies outside.
    if isinstance(drawn.paint, tuple):
        colour = _shrunk(shade, size)[..., None] * np.array(drawn.paint, np.float32)
    else:
        colour = _shrunk(drawn.paint * shade[..., None], size)
    colour = colour * whole[..., None]
    slope = [_shrunk(-d * norm * alpha, size) * whole for d in (dx, dy)]
    return Specimen(
        paint=np.round(np.dstack([np.clip(colour, 0, 1), opacity]) * 255).astype(np.uint8),
        slope=np.round(np.clip(np.dstack(slope), -1, 1) * 127 + 127).astype(np.uint8),
        metal=drawn.metal,
        tall_px=drawn.tall * length_px,
    )


def _shrunk(fine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(fine.astype(np.float32, copy=False), size, interpolation=cv2.INTER_AREA)


def _metal(rng: np.random.Generator) -> tuple[float, float, float]:
    base = METALS_BGR[str(rng.choice(list(METALS_BGR), p=METAL_SHARES))]
    b, g, r = (channel * rng.uniform(0.98, 1.02) for channel in base)
    return b, g, r


def _rounded(inside: np.ndarray, width: float, height: float) -> np.ndarray:
    """A flat top of the given height whose edge is a quarter circle of the given width."""
    part = 1 - np.clip(inside / width, 0, 1)
    return height * np.sqrt(1 - part * part)


def _ngon(corners: int, radius: float, turn: float = 0.0) -> np.ndarray:
    angles = turn + np.arange(corners) * tau / corners
    return (radius * np.stack([np.cos(angles), np.sin(angles)], 1)).astype(np.float32)


def _ridges(phase: np.ndarray) -> np.ndarray:
    """A thread's profile, 0 to 1, over its phase in turns: a 60 degree V with rounded crest."""
    saw = np.abs((phase % 1) * 2 - 1)
    return saw * (2 - saw)


def _bolt(r: _Relief) -> _Drawn:
    """A hex bolt on its side: head on the left, shank, thread."""
    rng = r.rng
    across_corners = rng.uniform(0.40, 0.46)
    head = across_corners * rng.uniform(0.38, 0.46)
    shank = across_corners * rng.uniform(0.25, 0.29)
    threaded = rng.uniform(0.45, 1.0)
    pitch = shank * rng.uniform(0.26, 0.34)
    left, neck, tip = -0.5, -0.5 + head, 0.5
    e = across_corners / 2
    # The hexagon seen edge on: one face up, one to each side; its outer rim is turned down by a cone.
    side = np.clip((e - np.abs(r.y)) / (e / 2), 0, 1)
    prism = e * 0.866 * side
    cone = e * 0.93 + 1.6 * (r.x - left)
    turned = np.sqrt(np.maximum(cone * cone - r.y * r.y, 0))
    head_height = np.minimum(prism, np.where(cone > np.abs(r.y), turned, 0))
    in_head = np.minimum.reduce([e - np.abs(r.y), neck - r.x, r.x - left, (cone - np.abs(r.y)) * 0.6])
    start = neck + (tip - neck) * (1 - threaded)
    depth = 0.13 * shank
    thread = _ridges((r.x + r.y * 0.12) / pitch) * depth * np.clip((r.x - start) / pitch, 0, 1)
    groove = np.clip((r.x - start) / pitch, 0, 1) * depth
    radius = shank - groove + thread - np.clip(r.x - (tip - 0.5 * shank), 0, 1) * 0.8
    shaft = np.sqrt(np.maximum(radius * radius - r.y * r.y, 0))
    in_shaft = np.minimum.reduce([radius - np.abs(r.y), tip - r.x, r.x - neck + r.step])
    height = np.where(in_head >= 0, head_height, shaft)
    shadow = np.clip(1 - (r.x - neck) / (0.25 * shank), 0, 1) * (r.x > neck) * 0.45
    dark = np.clip(shadow + 0.35 * (groove - thread) / depth * (in_head < 0), 0, 0.9)
    return _Drawn(np.maximum(in_head, in_shaft), height, dark, _metal(rng), tall=e)


def _nut(r: _Relief) -> _Drawn:
    """A hex nut lying flat: chamfered hexagon, threaded hole."""
    rng = r.rng
    hole = 0.5 * rng.uniform(0.50, 0.58)
    distance = r.distance
    flats = (r.x * nx + r.y * ny for nx, ny in _ngon(6, 1.0, pi / 6))
    hexagon = np.float32(0.433) - np.maximum.reduce(list(flats))
    thick = 0.36
    flat = 0.433 * rng.uniform(0.93, 0.98)
    top = np.minimum(thick - np.clip(distance - flat, 0, 1) * 0.9, thick)
    sides = _rounded(hexagon, 0.025, thick)
    pitch = hole * 0.16
    inner = np.clip((hole - distance) / (hole * 0.22), 0, 1)
    thread = _ridges(distance / pitch * 0.9 + r.turn) * 0.035
    height = np.minimum(top, sides)
    in_hole = distance < hole
    height = np.where(in_hole, thick * (1 - inner * 0.9) + thread, height)
    core = hole * 0.78
    seen_through = np.clip((distance - core) / r.step + 0.5, 0, 1)
    dark = np.where(in_hole, 0.35 + 0.35 * inner, 0.0)
    dark = np.where(distance < core, 0.93, dark)
    opacity = 0.72 + 0.28 * seen_through
    return _Drawn(hexagon, height, dark, _metal(rng), tall=0.22, opacity=opacity)


def _washer(r: _Relief) -> _Drawn:
    """A flat washer: a thin ring with rolled edges."""
    rng = r.rng
    hole = 0.5 * rng.uniform(0.42, 0.60)
    distance = np.hypot(r.x, r.y)
    inside = np.minimum(0.5 - distance, distance - hole).astype(np.float32)
    height = _rounded(inside, rng.uniform(0.02, 0.04), 0.05) + rng.uniform(-0.03, 0.05) * distance
    # The turning marks of the tool: fine rings.
    height = height + 0.0005 * np.sin(distance * tau * 60) * rng.uniform(0, 1)
    return _Drawn(inside, height, np.zeros_like(r.x), _metal(rng), tall=0.05)


def _screw(r: _Relief) -> _Drawn:
    """A wood screw seen a little from its head: drive, countersunk cone, tapered thread, point."""
    rng = r.rng
    head = rng.uniform(0.15, 0.18)
    flat = head * rng.uniform(0.36, 0.48)
    shank = head * rng.uniform(0.46, 0.54)
    centre = -0.5 + flat
    disc = (1 - np.hypot((r.x - centre) / flat, r.y / head)) * flat
    cone_end = centre + head * 0.95
    along = np.clip((r.x - centre) / (cone_end - centre), 0, 1)
    cone = head + (shank - head) * along
    in_cone = np.minimum.reduce([cone - np.abs(r.y), r.x - centre, cone_end - r.x + r.step])
    start = cone_end + (0.5 - cone_end) * rng.uniform(0.0, 0.35)
    pitch = shank * rng.uniform(0.75, 0.95)
    taper = np.clip((0.5 - r.x) / (0.30 * (0.5 - cone_end)), 0, 1)
    core = shank * (0.25 + 0.75 * np.sqrt(taper)) * np.where(taper < 1, np.maximum(taper, 0.03) ** 0.35, 1)
    is_thread = np.clip((r.x - start) / (0.5 * pitch), 0, 1)
    ridge = np.clip(_ridges(r.x / pitch + 0.25 * np.clip(r.y / shank, -1.5, 1.5)) * 2.2 - 1.2, 0, 1)
    radius = core * (1 - 0.28 * is_thread) + ridge * is_thread * shank * 0.42 * np.minimum(taper * 1.6, 1)
    in_shaft = np.minimum.reduce([radius - np.abs(r.y), 0.5 - r.x, r.x - cone_end + 2 * r.step])
    shaft = np.sqrt(np.maximum(radius * radius - r.y * r.y, 0))
    height = np.where(in_cone >= 0, np.sqrt(np.maximum(cone * cone - r.y * r.y, 0)), shaft)
    under_head = np.clip(1 - (r.x - centre - 0.7 * flat) / flat, 0, 1)
    dark = np.clip(0.4 * is_thread * (1 - ridge) * (in_shaft > 0) + 0.35 * under_head, 0, 0.9)
    # The head's face looks back along the belt: a tilted plane with a drive cut into it.
    face = disc > 0
    u, v = (r.x - centre) / flat, r.y / head
    turn = rng.uniform(0, pi)
    p, q = u * cos(turn) + v * sin(turn), v * cos(turn) - u * sin(turn)
    width = rng.uniform(0.12, 0.16)
    slot = np.minimum(width - np.abs(p), 0.98 - np.abs(q))
    if rng.random() < 0.6:
        arms = (np.minimum(width - np.abs(a), 0.62 - np.abs(b)) for a, b in ((p, q), (q, p)))
        slot = np.maximum(*arms)
    recess = np.clip(slot / 0.08, 0, 1)
    plane = 0.55 * (r.x - centre) + head + _rounded(disc, 0.02, 0.02) - 0.02 * recess
    height = np.where(face, plane, height)
    dark = np.where(face, 0.78 * recess, dark)
    inside = np.maximum.reduce([disc.astype(np.float32), in_cone, in_shaft])
    return _Drawn(inside, height, dark, _metal(rng), tall=head)


def _gear(r: _Relief) -> _Drawn:
    """A spur gear lying flat: teeth, a recessed web, a hub with a bore and a keyway."""
    rng = r.rng
    teeth = int(rng.integers(11, 19))
    root = 0.5 * (1 - 2.6 / (teeth + 2))
    flank = root + 0.5 * (0.5 - root)
    tooth = (0.20, 0.255, 0.36, 0.64, 0.745, 0.80), (root, flank, 0.5, 0.5, flank, root)
    outline, distance = r.outline(*tooth, teeth), r.distance
    bore = root * rng.uniform(0.20, 0.30)
    hub = bore * rng.uniform(1.65, 1.95)
    rim = root * rng.uniform(0.78, 0.86)
    key = np.minimum(bore * 0.30 - np.abs(r.y), bore * 1.35 - r.x) * (r.x > 0)
    hole = np.maximum(bore - distance, np.where(r.x > 0, key, -1))
    inside = np.minimum(outline, -hole)
    thick = 0.14
    height = _rounded(inside, 0.02, thick)
    web = np.minimum(rim - distance, distance - hub)
    height = height - rng.uniform(0.03, 0.07) * np.clip(web / 0.02 + 0.5, 0, 1)
    dark = 0.18 * np.clip(web / 0.01, 0, 1) + 0.25 * np.exp(-np.square((web - 0.01) / 0.012))
    if rng.random() < 0.6:
        count = int(rng.integers(4, 7))
        size = min((rim - hub) * 0.30, pi * (rim + hub) / 2 / count * 0.36)
        for spot in _ngon(count, (rim + hub) / 2, rng.uniform(0, 1)):
            from_spot = np.hypot(r.x - spot[0], r.y - spot[1])
            inside = np.minimum(inside, from_spot - size)
            height = np.where(from_spot < size + 0.015, height - 0.02, height)
    return _Drawn(inside.astype(np.float32), height, dark, _metal(rng), tall=0.12)


def _foreign(r: _Relief) -> _Drawn:
    """Something that belongs to no class: a crown cap, a leaf, a ball of paper or a pebble."""
    kinds: tuple[Callable[[_Relief], _Drawn], ...] = (_cap, _leaf, _paper, _pebble)
    return kinds[int(r.rng.integers(len(kinds)))](r)


def _cap(r: _Relief) -> _Drawn:
    rng = r.rng
    distance, turn = np.hypot(r.x, r.y), np.arctan2(r.y, r.x)
    flutes = 0.465 + 0.03 * np.cos(21 * turn)
    inside = flutes - distance
    height = 0.16 - 0.9 * np.square(np.clip(distance - 0.36, 0, 1)) * 8 + 0.02 * np.cos(21 * turn) * (distance > 0.38)
    hue = np.array([[[int(rng.integers(180)), 210, 215]]], np.uint8)
    paint = np.zeros((*r.x.shape, 3), np.float32) + cv2.cvtColor(hue, cv2.COLOR_HSV2BGR)[0, 0] / np.float32(255)
    ring = (np.abs(distance - 0.27) < 0.02) | (np.abs(r.y) < 0.06) & (np.abs(r.x) < 0.19)
    paint[ring] = (0.92, 0.95, 0.95)
    return _Drawn(inside, height, np.zeros_like(r.x), paint, metal=0.35, tall=0.14)


def _leaf(r: _Relief) -> _Drawn:
    rng = r.rng
    bend = r.y - 0.10 * rng.uniform(-1, 1) * np.cos(r.x * pi)
    half = 0.24 * np.clip(1 - np.square((r.x + 0.06) / 0.42), 0, 1) ** 0.8 * (1 - 0.5 * r.x)
    half = half + 0.012 * np.abs(np.sin(r.x * 70)) * (half > 0.02)
    blade = half - np.abs(bend)
    stalk = np.minimum.reduce([0.013 - np.abs(bend), 0.5 - r.x, r.x + 0.45])
    veins = np.abs(np.sin((r.x - np.abs(bend) * 0.9) * 38))
    height = 0.05 * np.cos(bend * 7) + 0.010 * np.minimum(veins * 3, 1) + 0.02 * r.wear(0.12)
    autumn = rng.uniform(0, 1)
    paint = (0.16 + 0.04 * autumn, 0.52 - 0.14 * autumn, 0.28 + 0.38 * autumn)
    dark = 0.25 * np.exp(-np.square(bend / 0.012)) + 0.12 * (veins < 0.22)
    return _Drawn(np.maximum(blade, stalk).astype(np.float32), height, dark, paint, metal=0.0, tall=0.03)


def _paper(r: _Relief) -> _Drawn:
    rng = r.rng
    corners = int(rng.integers(10, 16))
    turns = (np.arange(corners) + rng.uniform(0.1, 0.9, corners)) / corners
    outline = r.outline(turns.tolist(), rng.uniform(0.36, 0.5, corners).tolist())
    # Crumples: folds at random, the finer the shallower, over a ball.
    height: np.ndarray = 0.22 * np.sqrt(np.clip(0.52 - r.distance, 0, 1))
    for depth, count in ((0.30, 8), (0.16, 14), (0.08, 20)):
        for _ in range(count):
            a, offset = rng.uniform(0, tau), rng.uniform(-0.45, 0.45)
            across = r.x * cos(a) + r.y * sin(a) - offset
            reach = np.clip(r.y * cos(a) - r.x * sin(a) + rng.uniform(-0.3, 0.3), 0, 1)
            height = height + depth * np.abs(across) * np.sign(rng.uniform(-1, 1)) * np.minimum(reach * 6, 1)
    shade = rng.uniform(0.85, 0.98)
    return _Drawn(outline, height, np.zeros_like(r.x), (shade * 0.97, shade, shade), metal=0.0, tall=0.22)


def _pebble(r: _Relief) -> _Drawn:
    rng = r.rng
    turn = np.arctan2(r.y, r.x * rng.uniform(0.75, 0.95))
    wobble = np.zeros(r.x.shape)
    for n in range(2, 5):
        wobble += rng.uniform(0, 0.035) * np.cos(n * turn + rng.uniform(0, tau))
    distance = np.hypot(r.x, r.y * rng.uniform(1.1, 1.3))
    inside = (0.44 + wobble * distance * 2 - distance).astype(np.float32)
    height = 0.8 * np.sqrt(np.clip(inside, 0, 1)) * 0.5 + 0.006 * r.wear(0.03)
    tone = rng.uniform(0.35, 0.65)
    paint = (tone * 0.88, tone * 0.95, tone)
    return _Drawn(inside, height.astype(np.float32), 0.15 * np.clip(r.wear(0.02), 0, 2), paint, metal=0.0, tall=0.2)


PAINTERS: dict[str, Callable[[_Relief], _Drawn]] = {
    "bolt": _bolt,
    "gear": _gear,
    "nut": _nut,
    "screw": _screw,
    "washer": _washer,
    FOREIGN: _foreign,
}

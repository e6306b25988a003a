"""The drawn parts: bolts, gears, nuts, screws and washers, each a little different from the next."""

from math import cos, pi, sin, tau

import numpy as np

from edge.simulator.arrivals import FOREIGN, proportions
from edge.simulator.foreign import paint_foreign
from edge.simulator.relief import Drawn, Painter, Relief, Specimen, carve, rounded

METALS_BGR = {
    "steel": (0.93, 0.92, 0.90),
    "zinc": (0.78, 0.93, 0.97),
    "brass": (0.45, 0.76, 0.93),
    "black oxide": (0.38, 0.36, 0.35),
    "copper": (0.50, 0.62, 0.88),
}
METAL_SHARES = (0.46, 0.18, 0.10, 0.20, 0.06)


def draw(label: str, number: int, length_px: float) -> Specimen:
    """Draws one specimen of a class, its longest side length_px pixels; the same number is the same part."""
    rng, width = proportions(label, number)
    return carve(PAINTERS[label], rng, width, length_px)


def _metal(rng: np.random.Generator) -> tuple[float, float, float]:
    base = METALS_BGR[str(rng.choice(list(METALS_BGR), p=METAL_SHARES))]
    b, g, r = (channel * rng.uniform(0.98, 1.02) for channel in base)
    return b, g, r


def _ngon(corners: int, radius: float, turn: float = 0.0) -> np.ndarray:
    angles = turn + np.arange(corners) * tau / corners
    return (radius * np.stack([np.cos(angles), np.sin(angles)], 1)).astype(np.float32)


def _ridges(phase: np.ndarray) -> np.ndarray:
    """A thread's profile, 0 to 1, over its phase in turns: a 60 degree V with rounded crest."""
    saw = np.abs((phase % 1) * 2 - 1)
    return saw * (2 - saw)


def _bolt(r: Relief) -> Drawn:
    """A hex bolt on its side: head on the left, shank, thread."""
    rng = r.rng
    across_corners = r.width
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
    return Drawn(np.maximum(in_head, in_shaft), height, dark, _metal(rng), tall=e)


def _nut(r: Relief) -> Drawn:
    """A hex nut lying flat: chamfered hexagon, threaded hole."""
    rng = r.rng
    hole = 0.5 * rng.uniform(0.50, 0.58)
    distance = r.distance
    flats = (r.x * nx + r.y * ny for nx, ny in _ngon(6, 1.0, pi / 6))
    hexagon = np.float32(0.433) - np.maximum.reduce(list(flats))
    thick = 0.36
    flat = 0.433 * rng.uniform(0.93, 0.98)
    top = np.minimum(thick - np.clip(distance - flat, 0, 1) * 0.9, thick)
    sides = rounded(hexagon, 0.025, thick)
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
    return Drawn(hexagon, height, dark, _metal(rng), tall=0.22, opacity=opacity)


def _washer(r: Relief) -> Drawn:
    """A flat washer: a thin ring with rolled edges."""
    rng = r.rng
    hole = 0.5 * rng.uniform(0.42, 0.60)
    distance = np.hypot(r.x, r.y)
    inside = np.minimum(0.5 - distance, distance - hole).astype(np.float32)
    height = rounded(inside, rng.uniform(0.02, 0.04), 0.05) + rng.uniform(-0.03, 0.05) * distance
    # The turning marks of the tool: fine rings.
    height = height + 0.0005 * np.sin(distance * tau * 60) * rng.uniform(0, 1)
    return Drawn(inside, height, np.zeros_like(r.x), _metal(rng), tall=0.05)


def _screw(r: Relief) -> Drawn:
    """A wood screw seen a little from its head: drive, countersunk cone, tapered thread, point."""
    rng = r.rng
    head = r.width / 2
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
    plane = 0.55 * (r.x - centre) + head + rounded(disc, 0.02, 0.02) - 0.02 * recess
    height = np.where(face, plane, height)
    dark = np.where(face, 0.78 * recess, dark)
    inside = np.maximum.reduce([disc.astype(np.float32), in_cone, in_shaft])
    return Drawn(inside, height, dark, _metal(rng), tall=head)


def _gear(r: Relief) -> Drawn:
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
    height = rounded(inside, 0.02, thick)
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
    return Drawn(inside.astype(np.float32), height, dark, _metal(rng), tall=0.12)


PAINTERS: dict[str, Painter] = {
    "bolt": _bolt,
    "gear": _gear,
    "nut": _nut,
    "screw": _screw,
    "washer": _washer,
    FOREIGN: paint_foreign,
}

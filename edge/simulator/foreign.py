"""What lies on a belt and belongs to no class: crown caps, leaves, balls of paper, pebbles; and a hand."""

from math import cos, pi, sin, tau

import cv2
import numpy as np

from edge.simulator.relief import Drawn, Painter, Relief


def paint_foreign(r: Relief) -> Drawn:
    """Something that belongs to no class: a crown cap, a leaf, a ball of paper or a pebble."""
    kinds: tuple[Painter, ...] = (_cap, _leaf, _paper, _pebble)
    return kinds[int(r.rng.integers(len(kinds)))](r)


def _cap(r: Relief) -> Drawn:
    rng = r.rng
    distance, turn = np.hypot(r.x, r.y), np.arctan2(r.y, r.x)
    flutes = 0.465 + 0.03 * np.cos(21 * turn)
    inside = flutes - distance
    height = 0.16 - 0.9 * np.square(np.clip(distance - 0.36, 0, 1)) * 8 + 0.02 * np.cos(21 * turn) * (distance > 0.38)
    hue = np.array([[[int(rng.integers(180)), 210, 215]]], np.uint8)
    paint = np.zeros((*r.x.shape, 3), np.float32) + cv2.cvtColor(hue, cv2.COLOR_HSV2BGR)[0, 0] / np.float32(255)
    ring = (np.abs(distance - 0.27) < 0.02) | (np.abs(r.y) < 0.06) & (np.abs(r.x) < 0.19)
    paint[ring] = (0.92, 0.95, 0.95)
    return Drawn(inside, height, np.zeros_like(r.x), paint, metal=0.35, tall=0.14)


def _leaf(r: Relief) -> Drawn:
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
    return Drawn(np.maximum(blade, stalk).astype(np.float32), height, dark, paint, metal=0.0, tall=0.03)


def _paper(r: Relief) -> Drawn:
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
    return Drawn(outline, height, np.zeros_like(r.x), (shade * 0.97, shade, shade), metal=0.0, tall=0.22)


def _pebble(r: Relief) -> Drawn:
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
    return Drawn(inside, height.astype(np.float32), 0.15 * np.clip(r.wear(0.02), 0, 2), paint, metal=0.0, tall=0.2)


def paint_hand(r: Relief) -> Drawn:
    """A hand and forearm in a sleeve, reaching to the right."""
    fingers = ((-0.085, -0.16, 0.24), (-0.030, -0.04, 0.28), (0.026, 0.05, 0.265), (0.078, 0.16, 0.21))
    limbs = [((0.10, y), (0.10 + long * cos(a), y + long * sin(a)), 0.031, 0.025) for y, a, long in fingers]
    limbs.append(((0.00, -0.09), (0.13, -0.185), 0.044, 0.032))
    palm, wrist = ((-0.02, 0.0), (0.08, 0.0), 0.105, 0.115), ((-0.30, 0.0), (-0.02, 0.0), 0.075, 0.080)
    inside, heights = np.full(r.x.shape, -1.0, np.float32), np.zeros(r.x.shape, np.float32)
    for start, end, thick, thin in (*limbs, palm, wrist):
        within, radius = _limb(r, start, end, thick, thin)
        inside = np.maximum(inside, within)
        deep = np.clip(within, 0, radius)
        # Fingers are round; the palm and the wrist are flatter than they are wide.
        heights = np.maximum(heights, np.sqrt(deep * (2 * radius - deep)) * min(1.0, 0.045 / thick))
    sleeve = np.minimum(0.115 - 0.03 * (r.x + 0.5) - np.abs(r.y), -0.16 - r.x)
    deep = np.clip(sleeve, 0, 0.06)
    heights = np.where(sleeve > 0, np.sqrt(deep * (0.12 - deep)) + 0.006 * r.wear(0.05), heights)
    paint = np.where((sleeve > 0)[..., None], (0.42, 0.26, 0.16), (0.55, 0.66, 0.86)).astype(np.float32)
    return Drawn(np.maximum(inside, sleeve), heights, np.zeros_like(r.x), paint, metal=0.0, tall=0.06)


def _limb(
    r: Relief, start: tuple[float, float], end: tuple[float, float], thick: float, thin: float
) -> tuple[np.ndarray, np.ndarray]:
    """A rod with round ends: how far inside it each point lies, and its radius there, from thick to thin."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    share = np.clip(((r.x - start[0]) * dx + (r.y - start[1]) * dy) / (dx * dx + dy * dy), 0, 1)
    radius = thick + (thin - thick) * share
    return radius - np.hypot(r.x - start[0] - share * dx, r.y - start[1] - share * dy), radius

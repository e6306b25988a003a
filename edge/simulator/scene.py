"""Draws what the camera over a simulated belt sees at a moment."""

from collections import OrderedDict
from dataclasses import dataclass
from math import ceil, sin, tau

import cv2
import numpy as np

from edge.records import Box
from edge.simulator.arrivals import RAIL_SHARE, TrueItem
from edge.simulator.hand import Hand
from edge.simulator.sprites import Sprite, Sprites, smear
from edge.simulator.world import World

# After so many millimetres the belt's pattern repeats, as a belt does once round.
BELT_PX = 2048
BLURS_KEPT = 2
LONGEST_BLUR_PX = 64
NOISE_PLACES = 256
SHADOW_MM = 40.0

NOISE_SIGMAS = 4.0
MOST_ROOM = 64
"""Noise brightens by at most so many levels: four standard deviations of it up to 16 levels."""

LIGHT_STEP = 0.01
"""An item is lit anew when the light along the belt has changed by so much: less than 3 levels."""

# Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4).
GOLDEN = 0x9E3779B97F4A7C15


@dataclass(slots=True)
class Laid:
    """An item that lies in the picture: where its sprite's top left pixel is while the belt stands at its start.

    light is the sprite's, under the light at its place across the belt; lit is what is added to the
    picture while the light along the belt is as it was at `step`.
    """

    sprite: Sprite
    x: int
    y: int
    light: np.ndarray
    step: int = -1
    lit: np.ndarray | None = None


class Scene:
    """The pictures of one world. Not thread-safe: one reader draws.

    Everything that can be drawn beforehand is: a long strip of belt, the light, a tile of noise, each item
    once. A frame is then a copy of a slice of the strip, a small patch an item, and one pass over the whole
    that takes the veil away: the light that is missing along the belt, and the noise. For noise that
    brightens, all that is drawn before that pass is `room` levels too bright.

    The light falls off by a part that depends on the place across the belt and one that depends on the
    place along it. The first moves with nothing, so the strip has it already; the second is taken away as
    if the belt had its mean tone everywhere, which is off by a twentieth of its texture's contrast.
    (A product of two pictures costs as much as eight such passes.)
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._settings = settings = world.settings
        self._rng = np.random.default_rng([settings.seed, 1])
        self._sprites = Sprites(settings)
        self._hand = Hand(settings, self._sprites) if settings.hand else None
        self._still: dict[int, Sprite] = {}
        self._moving: dict[int, Laid] = {}
        self._moving_px = 0
        self._upright = settings.direction in {"down", "up"}
        belt = _belt(settings.across_px, self._rng)
        self._across, self._along = across, along = self._light()
        # Drift and flicker change the noise with the light; at its usual strength it is as it was asked for.
        sigma = settings.noise / settings.brightness
        self._room = min(ceil(NOISE_SIGMAS * sigma), MOST_ROOM)
        self._strip = self._long_belt(_whole(belt * (1 - across[:, None, None]) + self._room))
        self._strips: OrderedDict[int, np.ndarray] = OrderedDict()
        self._tone = belt.mean(axis=(0, 1), dtype=np.float32)
        missing = np.round(self._tone * along[:, None]) + self._room
        self._veil = self._turned(self._noisy(missing, sigma))
        thick = max(round(settings.across_px * RAIL_SHARE), 1)
        rail, lit = _rail(thick, self._rng)[:, None].astype(np.float32), 1 - across[:, None, None] - along[:, None]
        self._rails = (
            self._turned(_whole(lit[:thick] * rail + missing)),
            self._turned(_whole(lit[-thick:] * rail[::-1] + missing)),
        )

    def draw(self, at: float) -> np.ndarray:
        """The picture at a moment on the line's clock: a new uint8 [H, W, 3] BGR that the caller owns."""
        s = self._settings
        blur_px = round(abs(self.world.speed_mm_s(at)) * s.exposure_ms * 1e-3 * s.pixels_per_mm)
        blur_px = min(blur_px, LONGEST_BLUR_PX)
        frame = self._bare_belt(at, blur_px)
        for _, laid, x, y in self._laid(at, blur_px):
            self._paste(frame, laid, x, y)
        if self._hand and (hand := self._hand.place(at - self.world.start)):
            sprite, x, y = hand
            self._paste(frame, self._under_light(sprite, x, y), x, y)
        cv2.subtract(frame, self._veil_at(at), dst=frame)
        if (brightness := self._brightness(at)) != 1:
            cv2.convertScaleAbs(frame, dst=frame, alpha=brightness)
        return frame

    def boxes(self, at: float) -> list[tuple[TrueItem, Box]]:
        """The items that are wholly in the picture at a moment, each with the box around it."""
        return [(item, box) for item, box in self.all_boxes(at) if self._inside(box)]

    def all_boxes(self, at: float) -> list[tuple[TrueItem, Box]]:
        """Every item of which a part may be in the picture; its box may reach beyond the picture's edge."""
        return [
            (item, Box(x + solid.x, y + solid.y, solid.width, solid.height))
            for item, laid, x, y in self._laid(at, 0)
            for solid in (laid.sprite.solid,)
        ]

    def _inside(self, box: Box) -> bool:
        s = self._settings
        return box.x >= 0 and box.y >= 0 and box.x + box.width <= s.width and box.y + box.height <= s.height

    def _laid(self, at: float, blur_px: int) -> list[tuple[TrueItem, Laid, int, int]]:
        """The items in view, and where each sprite's top left pixel is at a moment."""
        items = self.world.in_view(at, SHADOW_MM)
        self._still = {item.id: self._still.get(item.id) or self._sprites.make(item) for item in items}
        kept = self._moving if self._moving_px == blur_px else {}
        self._moving = {item.id: kept.get(item.id) or self._place(item, blur_px) for item in items}
        self._moving_px = blur_px
        # The belt's own shift is rounded once, so that items never slide on its texture.
        dx, dy = self._shift(at)
        return [(item, laid, laid.x + dx, laid.y + dy) for item, laid in zip(items, self._moving.values(), strict=True)]

    def _place(self, item: TrueItem, blur_px: int) -> Laid:
        sprite = self._still[item.id].smeared(blur_px, self._upright)
        x, y = self.world.centre_px(item, self.world.start)
        cx, cy = sprite.solid.centre
        return self._under_light(sprite, round(x - cx), round(y - cy))

    def _under_light(self, sprite: Sprite, x: int, y: int) -> Laid:
        """A sprite under the light at its place across the belt."""
        start, length = (x, sprite.light.shape[1]) if self._upright else (y, sprite.light.shape[0])
        share = 1 - self._across.take(np.arange(start, start + length), mode="clip")
        light = _whole(sprite.light * (share[:, None] if self._upright else share[:, None, None]))
        return Laid(sprite, x, y, light)

    def _shift(self, at: float) -> tuple[int, int]:
        """How far the belt has moved in the picture since its start, in whole pixels: x and y."""
        moved = round(self.world.belt_mm(at) * self._settings.pixels_per_mm)
        return {"right": (moved, 0), "left": (-moved, 0), "down": (0, moved), "up": (0, -moved)}[
            self._settings.direction
        ]

    def _bare_belt(self, at: float, blur_px: int) -> np.ndarray:
        s = self._settings
        strip = self._strip_at(blur_px)
        dx, dy = self._shift(at)
        near, far = self._rails
        if self._upright:
            start = -dy % BELT_PX
            frame = strip[start : start + s.height].copy()
            frame[:, : near.shape[1]], frame[:, -far.shape[1] :] = near, far
        else:
            start = -dx % BELT_PX
            frame = strip[:, start : start + s.width].copy()
            frame[: near.shape[0]], frame[-far.shape[0] :] = near, far
        return frame

    def _veil_at(self, at: float) -> np.ndarray:
        """What is taken away from the whole picture of a moment."""
        s = self._settings
        # By the moment alone: a picture does not depend on which others were drawn.
        moment = round((at - self.world.start) * 1e6)
        place = (((moment + s.seed) * GOLDEN % (1 << 64)) >> 32) % NOISE_PLACES if s.noise else 0
        return self._veil[:, place : place + s.width] if self._upright else self._veil[place : place + s.height]

    def _strip_at(self, blur_px: int) -> np.ndarray:
        """The belt's strip smeared by its motion: [H, W, 3] with BELT_PX and one picture more along the belt."""
        if blur_px not in self._strips:
            strip = smear(self._strip, blur_px, self._upright)
            self._strips[blur_px] = strip[LONGEST_BLUR_PX:] if self._upright else strip[:, LONGEST_BLUR_PX:]
            if len(self._strips) > BLURS_KEPT:
                self._strips.popitem(last=False)
        self._strips.move_to_end(blur_px)
        return self._strips[blur_px]

    def _long_belt(self, once: np.ndarray) -> np.ndarray:
        """One round of belt and as much again of it that every picture is one slice, with room to blur."""
        needed = LONGEST_BLUR_PX + BELT_PX + self._settings.along_px + LONGEST_BLUR_PX
        return self._turned(np.take(once, (np.arange(needed) - LONGEST_BLUR_PX) % BELT_PX, axis=1))

    def _turned(self, drawn: np.ndarray) -> np.ndarray:
        """What was drawn as [across, along, 3] the way it lies in the picture."""
        return np.ascontiguousarray(drawn.transpose(1, 0, 2)) if self._upright else drawn

    def _paste(self, frame: np.ndarray, laid: Laid, x: int, y: int) -> None:
        """Lays an item into the unveiled picture with its top left pixel at x, y; what lies outside is left away."""
        h, w = laid.light.shape[:2]
        left, top = max(-x, 0), max(-y, 0)
        right, bottom = min(frame.shape[1] - x, w), min(frame.shape[0] - y, h)
        if right <= left or bottom <= top:
            return
        lit = self._lit(laid, y + h // 2 if self._upright else x + w // 2)
        under = frame[y + top : y + bottom, x + left : x + right]
        cv2.multiply(under, laid.sprite.through[top:bottom, left:right], dst=under, scale=1 / 255)
        cv2.add(under, lit[top:bottom, left:right], dst=under)

    def _lit(self, laid: Laid, place_px: int) -> np.ndarray:
        """What an item adds to the unveiled picture with its middle at a place along the belt."""
        step = round(float(self._along[min(max(place_px, 0), len(self._along) - 1)]) / LIGHT_STEP)
        if laid.lit is None or laid.step != step:
            missing = step * LIGHT_STEP
            lit = cv2.convertScaleAbs(laid.light, alpha=1 - missing)
            veil = (self._tone * missing + self._room) / 255
            laid.lit, laid.step = cv2.add(lit, _whole((255 - laid.sprite.through) * veil)), step
        return laid.lit

    def _brightness(self, at: float) -> float:
        s, t = self._settings, at - self.world.start
        # A slow wander over 20 s, and the beat of mains light against the frame rate at 7 Hz.
        return s.brightness * (1 + s.light_drift * sin(tau * t / 20)) * (1 + s.flicker * sin(tau * 7 * t))

    def _light(self) -> tuple[np.ndarray, np.ndarray]:
        """How much darker it is than at the brightest spot, 0 to 1: float32 [across], and on top of it [along]."""
        s = self._settings
        bx, by = self._rng.uniform(0.3, 0.7, 2)
        x, y = np.square(np.arange(s.width) / s.width - bx), np.square(np.arange(s.height) / s.height - by)
        share = s.light / (x.max() + y.max())
        x, y = (x * share).astype(np.float32), (y * share).astype(np.float32)
        return (x, y) if self._upright else (y, x)

    def _noisy(self, missing: np.ndarray, sigma: float) -> np.ndarray:
        """What is taken away from each column, float32 [along, 3], with noise: uint8 [across, along, 3].

        It has NOISE_PLACES rows more than the picture. Noise that brightens ends at `room`.
        """
        s = self._settings
        if not sigma:
            return _whole(np.tile(missing, (s.across_px, 1, 1)))
        veil = np.empty((s.across_px + NOISE_PLACES, s.along_px, 3), np.uint8)
        # In small pieces: the tile stays for ever, but ten times its size in floats need not.
        for rows in np.array_split(veil, 32):
            noise = self._rng.standard_normal(rows.shape, dtype=np.float32) * np.float32(sigma)
            rows[:] = _whole(missing + np.maximum(noise, -self._room))
        return veil


def _whole(levels: np.ndarray) -> np.ndarray:
    return np.clip(np.round(levels), 0, 255).astype(np.uint8)


def _belt(across_px: int, rng: np.random.Generator) -> np.ndarray:
    """One round of belt, uint8 [across, BELT_PX, 3] BGR: dark woven rubber with scuffs, stains and a seam."""
    shape = (across_px, BELT_PX)
    y, x = np.arange(across_px, dtype=np.float32)[:, None], np.arange(BELT_PX, dtype=np.float32)
    weave = np.cos(y * np.float32(tau / 4)) - np.cos(x * np.float32(tau / 4))
    seam = 9.0 * np.exp(-np.square((x - BELT_PX / 2) / 4))
    tone = weave + (92 - seam).astype(np.float32)
    for smoothness_px, strength in ((1.0, 2.2), (9.0, 2.0), (60.0, 3.0)):
        tone += _ringed(rng, shape, smoothness_px) * np.float32(strength)
    tone += np.maximum(_ringed(rng, shape, (30.0, 0.8)) - 1.6, 0) * np.float32(9.0)
    return cv2.merge([cv2.convertScaleAbs(tone, alpha=tint) for tint in (0.96, 1.03, 0.86)])


def _ringed(rng: np.random.Generator, shape: tuple[int, int], sigma: float | tuple[float, float]) -> np.ndarray:
    """Smooth noise of unit spread, float32 [across, along], whose two ends along the belt meet."""
    sx, sy = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    step = max(int(min(sx, sy) / 3), 1)
    small = (max(shape[0] // step, 2), shape[1] // step)
    noise = rng.standard_normal(small, dtype=np.float32)
    pad = min(int(4 * sx / step) + 1, small[1])
    noise = np.concatenate([noise[:, -pad:], noise, noise[:, :pad]], axis=1)
    noise = cv2.GaussianBlur(noise, (0, 0), max(sx / step, 0.5), sigmaY=max(sy / step, 0.5))
    whole = cv2.resize(noise, (noise.shape[1] * step, shape[0]), interpolation=cv2.INTER_LINEAR)
    ring = whole[:, pad * step : pad * step + shape[1]]
    if ring.shape[1] < shape[1]:
        ring = cv2.resize(ring, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return ring / max(float(ring.std()), 1e-6)


def _rail(thick: int, rng: np.random.Generator) -> np.ndarray:
    """The side rail's profile from the picture's edge inwards, uint8 [thick, 3]: brushed aluminium."""
    place = (np.arange(thick, dtype=np.float32) + 0.5) / thick
    tone = 128 + 55 * np.sin(place * 2.6) + rng.normal(0, 3, thick) - 100 * (place > 0.86)
    return np.clip(np.round(tone[:, None] * np.array((1.0, 0.99, 0.97))), 0, 255).astype(np.uint8)

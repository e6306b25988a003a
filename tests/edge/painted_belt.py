"""A belt painted for one test: a noisy moving ground, and whatever the test lays on it, where it says."""

from collections.abc import Callable

import cv2
import numpy as np

from edge.records import Box, Frame

WIDTH, HEIGHT, FPS = 640, 360, 60.0
SPARE = 97  # pixels of noise beyond a picture
Painter = Callable[[np.ndarray, float], None]


class PaintedBelt:
    """Pictures of a belt that moves right by px_per_frame. Items are painters: called with the picture and the shift.

    The ground is grey-green with a pattern that travels with the belt, and the sensor adds noise.
    """

    def __init__(self, px_per_frame: float = 12.0, noise: float = 2.0, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.px_per_frame = px_per_frame
        self.rng = rng
        pattern = cv2.GaussianBlur(rng.standard_normal((HEIGHT, 4096)).astype(np.float32), (0, 0), 1.5)
        tone = 100 + pattern * (4 / pattern.std())
        self._ground = tone[..., None] * np.array((0.95, 1.05, 0.9), np.float32)
        # Each picture takes its noise from a place of its own here: to draw it anew would cost more than to find items.
        self._noise = rng.standard_normal((HEIGHT + SPARE, WIDTH + SPARE, 3), np.float32) * np.float32(noise)
        self.light = 1.0

    def frame(self, seq: int, *items: Painter, shift: float | None = None) -> Frame:
        """The picture of one moment. shift is how far the belt has moved, by default steadily."""
        moved = self.px_per_frame * seq if shift is None else shift
        start = round(-moved) % (4096 - WIDTH)
        picture = self._ground[:, start : start + WIDTH].copy()
        for paint in items:
            paint(picture, moved)
        picture *= np.float32(self.light)
        down, right = self.rng.integers(0, SPARE, 2)
        picture += self._noise[down : down + HEIGHT, right : right + WIDTH]
        pixels = np.clip(np.rint(picture, out=picture), 0, 255, out=picture).astype(np.uint8)
        return Frame(seq, seq / FPS, moved, pixels)


def disc(start: float, y: int, radius: int = 20, colour: tuple[int, int, int] = (30, 60, 210)) -> Painter:
    """A round item whose centre is at x = start before the belt has moved."""

    def paint(picture: np.ndarray, moved: float) -> None:
        centre = round((start + moved) * 16), y * 16
        cv2.circle(picture, centre, radius * 16, colour, cv2.FILLED, cv2.LINE_AA, 4)

    return paint


def block(start: float, y: int, width: int, height: int, colour: tuple[int, int, int] = (200, 190, 180)) -> Painter:
    """A rectangular item whose left edge is at x = start before the belt has moved."""

    def paint(picture: np.ndarray, moved: float) -> None:
        x = round(start + moved)
        cv2.rectangle(picture, (x, y), (x + width - 1, y + height - 1), colour, cv2.FILLED)

    return paint


def soft_shadow(start: float, y: int, width: int, height: int, depth: float = 0.45, soft_px: float = 5.0) -> Painter:
    """A shadow that travels: the belt is darker under it by up to depth, in all channels alike."""

    def paint(picture: np.ndarray, moved: float) -> None:
        mask = np.zeros(picture.shape[:2], np.float32)
        x = round(start + moved)
        cv2.rectangle(mask, (x, y), (x + width - 1, y + height - 1), 1.0, cv2.FILLED)
        picture *= 1 - depth * cv2.GaussianBlur(mask, (0, 0), soft_px)[..., None]

    return paint


def still(painter: Painter) -> Painter:
    """The same thing, but it does not travel with the belt."""
    return lambda picture, moved: painter(picture, 0.0)


def off_by(box: Box, x: float, y: float) -> float:
    """How far a box's centre is from a point, in pixels."""
    return float(np.hypot(box.centre[0] - x, box.centre[1] - y))

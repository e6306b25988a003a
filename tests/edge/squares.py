"""A camera as a user writes one: coloured squares on a grey belt, recorded, with a known truth."""

import numpy as np

from edge.camera import CameraSettings, Shot
from edge.clock import Clock
from tests.edge.tiny_model import COLOURS

PIXELS_PER_MM = 1.0
SPEED_MM_S = 300.0


class SquaresSettings(CameraSettings):
    """colours names the squares in the order in which they come, spacing_mm apart."""

    colours: str = "red green blue"
    spacing_mm: float = 120.0
    side_mm: float = 40.0
    rate: float = 30.0


class Squares:
    """Squares enter on the left and travel right at SPEED_MM_S; the source ends when all have left."""

    Settings = SquaresSettings
    live = False

    def __init__(self, settings: SquaresSettings, clock: Clock) -> None:
        self._settings = settings
        self._colours = settings.colours.split()
        self._n = 0
        noise = np.random.default_rng(7).integers(-6, 7, (240, 400, 1))
        self._belt = np.clip(110 + noise, 0, 255).astype(np.uint8).repeat(3, axis=2)

    def read(self) -> Shot | None:
        at = self._n / self._settings.rate
        s = self._settings
        if SPEED_MM_S * at > 400 + s.spacing_mm * len(self._colours) + 2 * s.side_mm:
            return None
        pixels = np.roll(self._belt, round(SPEED_MM_S * at), axis=1)
        for n, colour in enumerate(self._colours):
            front = round(SPEED_MM_S * at - n * s.spacing_mm)
            x0, x1 = max(front - int(s.side_mm), 0), min(max(front, 0), 400)
            if x1 > x0:
                pixels[100 : 100 + int(s.side_mm), x0:x1] = COLOURS[colour][::-1]
        self._n += 1
        return Shot(pixels, at)

    def close(self) -> None:
        pass

    def describe(self) -> str:
        return "coloured squares"

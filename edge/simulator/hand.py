"""A hand that reaches over the belt now and then, and is not an item."""

import numpy as np

from edge.simulator.foreign import paint_hand
from edge.simulator.relief import carve
from edge.simulator.settings import SimulatorSettings
from edge.simulator.sprites import Sprite, Sprites

LENGTH_MM, WIDTH = 420.0, 0.42
# One visit: in, a moment over the belt, and out again.
IN_S, STAY_S, OUT_S = 0.5, 0.6, 0.5
REACH_MM = 260.0
SEED = 4


class Hand:
    """The hand's visits, `hand` of them a minute at times and places that follow from the seed."""

    def __init__(self, settings: SimulatorSettings, sprites: Sprites) -> None:
        self._settings = settings
        self._every_s = 60 / settings.hand
        # It comes over the belt's far side: from the top of the picture, or from its left.
        upright = settings.direction in {"down", "up"}
        self._along, self._inwards = ((0.0, 1.0), (1.0, 0.0)) if upright else ((1.0, 0.0), (0.0, 1.0))
        specimen = carve(paint_hand, np.random.default_rng([settings.seed, SEED]), WIDTH, LENGTH_MM)
        angle = 0.0 if upright else 90.0
        self._sprite = sprites.lay(specimen, angle, LENGTH_MM * settings.pixels_per_mm)

    def place(self, t: float) -> tuple[Sprite, int, int] | None:
        """The hand, and where its sprite's top left pixel is, t seconds after the start; None while it is away."""
        visit = int(t // self._every_s)
        rng = np.random.default_rng([self._settings.seed, SEED, visit])
        begins = rng.uniform(0, max(self._every_s - IN_S - STAY_S - OUT_S, 0))
        since = t - visit * self._every_s - begins
        if not 0 < since < IN_S + STAY_S + OUT_S:
            return None
        share = min(since / IN_S, 1.0, (IN_S + STAY_S + OUT_S - since) / OUT_S)
        reach_px = REACH_MM * self._settings.pixels_per_mm * share * share * (3 - 2 * share)
        along_px = rng.uniform(0.25, 0.75) * self._settings.along_px
        solid = self._sprite.solid
        # Along the belt the hand is centred on its place; across it, its finger tips are reach_px in.
        x = self._along[0] * (along_px - solid.centre[0]) + self._inwards[0] * (reach_px - solid.x - solid.width)
        y = self._along[1] * (along_px - solid.centre[1]) + self._inwards[1] * (reach_px - solid.y - solid.height)
        return self._sprite, round(x), round(y)

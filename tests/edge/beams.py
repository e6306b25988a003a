"""Photo-eyes as a user writes them, across the belt of tests/edge/squares.py: what they see is its truth."""

import random

from pydantic import Field

from edge.clock import Clock
from edge.eyes import EyeSettings
from tests.edge.squares import PIXELS_PER_MM, SPEED_MM_S


class BeamSettings(EyeSettings):
    """The squares on the belt, and what goes wrong: bounces_ms is how long the contact bounces at each
    change, misses the squares (numbers from 0) that it does not see, silent_from and silent_to a time
    in seconds at which it cannot be read."""

    squares: int = 0
    spacing_mm: float = 120.0
    side_mm: float = 40.0
    bounces_ms: float = 0.0
    misses: tuple[int, ...] = ()
    silent_from: float = Field(default=1e9)
    silent_to: float = 1e9


class Beam:
    """A beam across the squares' belt, wherever the settings place it."""

    Settings = BeamSettings

    def __init__(self, settings: BeamSettings, clock: Clock) -> None:
        self._settings, self._clock, self._start = settings, clock, clock.now()
        self._random = random.Random(5)

    def read(self) -> bool:
        s, at = self._settings, self._clock.now() - self._start
        if s.silent_from <= at < s.silent_to:
            raise OSError("the wire is cut")
        for n in range(s.squares):
            # The front of square n is at the picture's left edge, 200 mm before its middle, at 0 mm.
            past_mm = SPEED_MM_S * at - n * s.spacing_mm - 200 / PIXELS_PER_MM - s.beam_mm
            if n not in s.misses and 0 <= past_mm <= s.side_mm:
                since_s = min(past_mm, s.side_mm - past_mm) / SPEED_MM_S
                return since_s > s.bounces_ms / 1e3 or self._random.random() < 0.5
        return False

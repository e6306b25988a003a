"""A photo-eye across the simulated belt; only for a `sim:` camera."""

from typing import Any

from edge.clock import Clock
from edge.eyes import EyeSettings


class Simulated:
    """Sees what is really on the belt, or in the branch of its lane, once its world is there."""

    Settings = EyeSettings

    def __init__(self, settings: EyeSettings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._world: Any = None
        self._lane: str | None = None

    def attach(self, world: Any, lane: str | None) -> None:
        """Puts the eye beside a belt, or into a lane's branch behind its diverter."""
        self._world, self._lane = world, lane

    def read(self) -> bool:
        if self._world is None:
            raise LookupError("the simulated belt is not there yet (camera.source must be sim:)")
        return bool(self._world.breaks_beam(self._clock.now(), self._settings.beam_mm, self._lane))

    def close(self) -> None:
        self._world = None

"""The encoder wheel of the simulated belt; only for a `sim:` camera."""

from typing import Any

from edge.clock import Clock
from edge.encoders import EncoderSettings


class Simulated:
    """Counts whole counts of the simulated belt's true position, once its world is there."""

    Settings = EncoderSettings

    def __init__(self, settings: EncoderSettings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._wheel: Any = None

    def attach(self, world: Any) -> None:
        """Puts the wheel on a belt."""
        self._wheel = world.encoder(self._clock, abs(self._settings.counts_per_mm))

    def read(self) -> int:
        if self._wheel is None:
            raise LookupError("the simulated belt is not there yet (camera.source must be sim:)")
        counts = int(self._wheel.read())
        return counts if self._settings.counts_per_mm > 0 else -counts

    def close(self) -> None:
        self._wheel = None

"""A photo-eye that another machine speaks for: one `POST /eyes/NAME` an item."""

from typing import Literal

from edge.clock import Clock
from edge.eyes import EyeSettings, Tell


class HttpSettings(EyeSettings):
    """Posts that come closer together than debounce_ms are one. There is nothing to poll or to invert."""

    inverted: Literal[False] = False


class Http:
    """Hears of broken beams from the web side, whose machine's clock is the line's own."""

    Settings = HttpSettings

    def __init__(self, settings: HttpSettings, clock: Clock) -> None:
        self._clock = clock
        self._tell: Tell | None = None

    def listen(self, tell: Tell) -> None:
        self._tell = tell
        tell(False, self._clock.now())

    def told(self, at: float) -> None:
        """An item broke the beam at a moment; that it left it again is never told, so it has left at once."""
        if self._tell is not None:
            for broken in (False, True, False):
                self._tell(broken, at)

    def close(self) -> None:
        self._tell = None

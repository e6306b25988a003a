"""A photo-eye that another machine speaks for: one `POST /eyes/NAME` an item."""

import math
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
        self._debounce_s = settings.debounce_ms / 1e3
        self._last_at = -math.inf
        self._tell: Tell | None = None

    def listen(self, tell: Tell) -> None:
        self._tell = tell
        tell(False, self._clock.now())

    def told(self, at: float) -> None:
        """An item broke the beam at a moment; that it left it again is never told, so it has left at once."""
        if self._tell is None or at - self._last_at < self._debounce_s:
            self._last_at = max(at, self._last_at)
            return
        self._last_at = at
        # Free for as long as it has to be: the next post may be a minute away, and a beam broken till then is a jam.
        for broken, moment in ((True, at), (False, at), (False, at + 2 * self._debounce_s)):
            self._tell(broken, moment)

    def close(self) -> None:
        self._tell = None

"""Encoders: where the belt is, counted by a wheel on it; one small interface, one file a kind.

An encoder of your own is one class with `read() -> counts` and `close()`, and a nested `Settings` when
it has keys of its own; `[belt.encoder] type = "plant7:Wheel"` names it. Its constructor takes the
settings and the line's clock.
"""

import logging
import math
import threading
from collections.abc import Callable
from numbers import Real
from typing import Any, Protocol

from pydantic import Field, field_validator

from edge.belt import Place, SampledBelt
from edge.clock import Clock
from edge.priority import ask_for_precedence, ask_for_real_time
from edge.settings import Settings

_log = logging.getLogger("sortline.encoders")

# After so many polls without an answer the belt's position is not known any more.
SILENT_POLLS = 10
BEHIND_THE_HAND = 48  # real-time priority: the threads that push have 49 and 50


class EncoderSettings(Settings):
    """The [belt.encoder] table. counts_per_mm is negative for a wheel that counts backwards."""

    type: str
    counts_per_mm: float
    poll_ms: float = Field(default=5.0, ge=0.5, le=1000)

    @field_validator("counts_per_mm")
    @classmethod
    def _not_zero(cls, value: float) -> float:
        if value == 0:
            raise ValueError("must not be 0")
        return value


class Encoder(Protocol):
    """A counter that a wheel on the belt drives. Ready when its constructor returns."""

    def read(self) -> int:
        """The counts now; the line unrolls nothing, so a counter that wraps must unroll itself. Raises
        any exception when it cannot be read."""
        ...


class EncoderBelt(SampledBelt):
    """A belt whose position an encoder tells, asked again and again by a thread of its own.

    Position 0 is where the belt stands at the first answer. When the encoder is silent for ten polls, or for as
    long as they take, the position is not `known` and nothing is pushed until it answers again; on_trouble is
    told of both: (recovered, sentence). on_change is called when the belt does not go on as predicted.
    """

    def __init__(
        self,
        encoder: Encoder,
        settings: EncoderSettings,
        clock: Clock,
        on_change: Callable[[], None],
        on_trouble: Callable[[bool, str], None],
    ) -> None:
        super().__init__(window_s=max(8 * settings.poll_ms / 1e3, 0.02))
        self._encoder, self._settings, self._clock = encoder, settings, clock
        self._on_change, self._on_trouble = on_change, on_trouble
        self._first: float | None = None
        self._silent = 0
        self._answered_at = -math.inf
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sortline-encoder", daemon=True)

    @property
    def period_s(self) -> float:
        """The time between two polls."""
        return self._settings.poll_ms / 1e3

    def known(self) -> bool:
        return self._first is not None and self._silent < SILENT_POLLS and self._silent_s() < self._patience_s

    def place(self, at: float) -> Place:
        """What lies between two answers too far apart, before the first, or too long after the last is a guess."""
        with self._lock:
            before, after = self._around(at)
            position_mm = self._between(at, before, after)
        told_s = (after[0] if after else at) - (before[0] if before else -math.inf)
        return Place(position_mm, sure=told_s < self._patience_s, final=after is not None)

    @property
    def _patience_s(self) -> float:
        return SILENT_POLLS * self.period_s

    def _silent_s(self) -> float:
        return self._clock.now() - self._answered_at

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if close := getattr(self._encoder, "close", None):
            close()

    def poll(self) -> None:
        """Asks the encoder once."""
        before = self._clock.now()
        try:
            counts = _counted(self._encoder.read())
        except (Exception, SystemExit) as error:  # an encoder may be the user's own and raise anything
            self._silent += 1
            if self._silent == SILENT_POLLS:
                self._on_trouble(False, f"the encoder does not answer ({type(error).__name__}: {error})")
            return
        # The counts belong to a moment within the question and its answer: the middle errs least.
        at = (before + self._clock.now()) / 2
        silent_s, failed = self._silent_s(), self._silent >= SILENT_POLLS
        hung = not failed and self._patience_s <= silent_s < math.inf
        if hung:  # meanwhile the position was not known, and nobody could say so
            self._on_trouble(False, f"the encoder did not answer for {silent_s * 1e3:.0f} ms")
        if failed or hung:
            self._on_trouble(True, "the encoder answers again")
        self._silent, self._answered_at = 0, self._clock.now()
        if self._first is None:
            self._first = counts
        self.sample(at, (counts - self._first) / self._settings.counts_per_mm)
        if not self.goes_on_as_told(at):
            self._on_change()

    def _run(self) -> None:
        # Pushes are made by what this thread knows: behind busy programs it would tell of a belt of some while ago.
        if ask_for_real_time(BEHIND_THE_HAND) is not None:
            ask_for_precedence()
        while not self._stopping.wait(self.period_s):
            self.poll()


def _counted(said: Any) -> float:
    """What an encoder said, which must be a finite number; a position that is none would push beside every item."""
    if not isinstance(said, Real) or not math.isfinite(said):
        raise ValueError(f"read() gave {said!r:.40}, which is no finite number")
    return said  # type: ignore[return-value]  # whole counts stay exact, however many there are

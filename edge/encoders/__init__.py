"""Encoders: where the belt is, counted by a wheel on it; one small interface, one file a kind.

An encoder of your own is one class with `read() -> counts` and `close()`, and a nested `Settings` when
it has keys of its own; `[belt.encoder] type = "plant7:Wheel"` names it. Its constructor takes the
settings and the line's clock.
"""

import math
from numbers import Integral, Real
from typing import Any, Protocol

from pydantic import Field, field_validator

from edge.settings import Settings


class EncoderSettings(Settings):
    """The [belt.encoder] table. counts_per_mm is negative for a wheel that counts backwards.

    max_speed_mm_s is the fastest that the belt can run, either way: counts that make it faster are not
    believed. Unless given it is five times belt.speed_mm_s.
    """

    type: str
    counts_per_mm: float
    poll_ms: float = Field(default=5.0, ge=0.5, le=1000)
    max_speed_mm_s: float | None = Field(default=None, gt=0, le=100_000)

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


def counted(said: Any) -> int | float:
    """What an encoder said, which must be a finite number; a position that is none would push beside every item."""
    if not isinstance(said, Real) or not math.isfinite(said):
        raise ValueError(f"read() gave {said!r:.40}, which is no finite number")
    # Python's own numbers: whole counts stay exact, however many there are, and numpy's would wrap when subtracted.
    return int(said) if isinstance(said, Integral) else float(said)

"""Where pictures come from: one small interface, one file a kind of source.

A camera of your own is one class with `read` and `close` and, when it needs settings, a nested
`Settings` that extends CameraSettings; `[camera] type = "plant7:Camera"` names it.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from pydantic import Field

from edge.settings import Settings


class CameraSettings(Settings):
    """The [camera] table. Sizes in pixels, times in seconds unless the name says milliseconds.

    delay_ms is the time from the middle of the exposure to the moment the picture is handed over,
    for sources without timestamps of their own.
    """

    source: str | int = Field(union_mode="left_to_right")
    type: str | None = None
    width: int | None = Field(default=None, ge=16, le=16384)
    height: int | None = Field(default=None, ge=16, le=16384)
    fps: float | None = Field(default=None, gt=0, le=1000)
    fourcc: str | None = Field(default=None, min_length=4, max_length=4)
    exposure: float | None = None
    gain: float | None = None
    delay_ms: float = Field(default=0.0, ge=0, le=10_000)
    open_timeout_s: float = Field(default=5.0, gt=0, le=120)
    read_timeout_s: float = Field(default=2.0, gt=0, le=120)


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture as a source gives it: uint8 [H, W, 3] BGR and its time.

    For a live source `at` is the moment of capture on the line's clock; for a recorded one it is
    the seconds since its first picture.
    """

    pixels: np.ndarray
    at: float


@runtime_checkable
class Source(Protocol):
    """An open camera, stream, clip or folder. Opening happens in the constructor: (settings, clock).

    live tells how it is consumed: of a live source the newest picture wins and older ones are
    skipped and counted; a recorded source (a clip, a folder) has an end and its own rate.
    """

    live: bool

    def read(self) -> Shot | None:
        """The next picture; None when a recorded source is at its end; CameraError when it is lost."""
        ...

    def close(self) -> None:
        """Releases everything; may be called twice, and from another thread while `read` blocks."""
        ...

    def describe(self) -> str:
        """One line for `sortline check`: backend, size, rate. Never a password."""
        ...

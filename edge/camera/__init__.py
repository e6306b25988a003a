"""Where pictures come from: one small interface, one file a kind of source.

A camera of your own is one class with `read` and `close` and, when it needs settings, a nested
`Settings` that extends CameraSettings; `[camera] type = "plant7:Camera"` names it.
"""

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from pydantic import Field

from edge.clock import Clock
from edge.errors import CameraError
from edge.settings import Settings

Kind = Literal["device", "stream", "simulated", "folder", "file"]


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


def kind_of(source: str | int) -> Kind:
    """What a `source` names, by its form alone; only a folder is looked up on the disk."""
    text = str(source).strip()
    if text.isdigit() or text.startswith("/dev/"):
        return "device"
    if re.match(r"(rtsps?|https?)://", text, re.IGNORECASE):
        return "stream"
    if text.startswith("sim:"):
        return "simulated"
    if any(character in text for character in "*?[") or Path(text).is_dir():
        return "folder"
    return "file"


def open_source(settings: CameraSettings, clock: Clock) -> Source:
    """Opens what [camera] names; raises CameraError within open_timeout_s, never with a password in it.

    `type` names a class of the user's own (module:Class) or a built-in driver; without it the form of
    `source` decides. There is no second driver that is tried when the first one fails.
    """
    return driver_of(settings)(settings, clock)


def driver_of(settings: CameraSettings) -> Any:
    """The class that opens this source, called with (settings, clock); imports its module only now."""
    kind = kind_of(settings.source)
    name = settings.type or (kind if kind in {"simulated", "folder"} else "opencv")
    module, _, attribute = name.partition(":")
    if not attribute:
        module, attribute = f"edge.camera.{name}", name.capitalize()
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise CameraError(f"camera.type = {name!r}: cannot be loaded ({error})") from None


def redacted(source: str | int) -> str:
    """A source as it may be shown: a URL loses its user, password and query, everything else stays."""
    text = str(source)
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*://)(.*)", text, re.DOTALL)
    if not match:
        return text
    scheme, rest = match.groups()
    authority, slash, path = rest.partition("/")
    authority = authority.rpartition("@")[2]
    path, query, _ = path.partition("?")
    return f"{scheme}{authority}{slash}{path}" + ("?…" if query else "")

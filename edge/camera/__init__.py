"""Where pictures come from: one small interface, one file a kind of source.

A camera of your own is one class with `read` and `close` and, when it needs settings, a nested
`Settings` that extends CameraSettings; `[camera] type = "plant7:Camera"` names it.
"""

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np
from pydantic import BeforeValidator, Field

from edge.clock import Clock
from edge.errors import CameraError
from edge.picture import SUFFIXES
from edge.settings import Settings

Kind = Literal["device", "stream", "aravis", "simulated", "folder", "clip"]


LEAST_PX = 16
"""No side of a picture may be shorter: nothing can be seen in it, and it is no camera's."""


def _address(source: Any) -> Any:
    """One sentence for a source of the wrong form, where a union of types would have one for each of them."""
    if isinstance(source, bool) or not isinstance(source, str | int):
        raise ValueError("must be a text, or the whole number of a camera")
    if isinstance(source, int) and source < 0:
        raise ValueError("the number of a camera must be 0 or more")
    return source


class CameraSettings(Settings):
    """The [camera] table. Sizes in pixels, times in seconds unless the name says milliseconds.

    exposure_ms and gain are set by hand when given, otherwise the camera decides; gain is in the
    driver's own unit. What a camera refuses is shown by `sortline check`. delay_ms is the time from
    the middle of the exposure to the moment the picture is handed over, for sources whose driver does
    not say when a picture was taken. The same picture for frozen_s is an incident, as is one whose
    mean level is below dark_level (0 to 255); 0 switches either off.
    """

    source: Annotated[str | int, Field(union_mode="left_to_right"), BeforeValidator(_address)] = Field(
        repr=False  # it may hold a password
    )
    type: str | None = None
    width: int | None = Field(default=None, ge=LEAST_PX, le=16384)
    height: int | None = Field(default=None, ge=LEAST_PX, le=16384)
    fps: float | None = Field(default=None, gt=0, le=1000)
    fourcc: str | None = Field(default=None, min_length=4, max_length=4)
    exposure_ms: float | None = Field(default=None, gt=0, le=10_000)
    gain: float | None = None
    delay_ms: float = Field(default=0.0, ge=0, le=10_000)
    open_timeout_s: float = Field(default=5.0, gt=0, le=120)
    read_timeout_s: float = Field(default=2.0, gt=0, le=120)
    frozen_s: float = Field(default=10.0, ge=0, le=3600)
    dark_level: float = Field(default=8.0, ge=0, le=255)


class CameraStalled(CameraError):
    """The connection stands, but no picture came within read_timeout_s."""

    incident = "camera_stalled"


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture as a source gives it: uint8 [H, W, 3] BGR and its time.

    For a live source `at` is the moment of capture on the line's clock; for a recorded one it is
    the seconds since its first picture. dropped counts the pictures that the source took before this
    one and did not hand over.
    """

    pixels: np.ndarray
    at: float
    dropped: int = 0


@runtime_checkable
class Source(Protocol):
    """An open camera, stream, clip or folder. Opening happens in the constructor: (settings, clock).

    live tells how it is consumed: of a live source the newest picture wins and older ones are
    skipped and counted; a recorded source (a clip, a folder) has an end and its own rate.

    It may also have `backend: str`, `refused: tuple[str, ...]` (settings that the camera did not take)
    and `timestamps: "driver" | "arrival" | "file"`, which `sortline check` shows; and a static
    `answers(settings) -> bool` that tells at once whether the camera can be reached, so that one that
    is back is opened before its pause is over.
    """

    live: bool

    def read(self) -> Shot | None:
        """The next picture; None when a recorded source is at its end; CameraError when it is lost."""
        ...

    def close(self) -> None:
        """Releases everything, without waiting; may be called twice, and while another thread reads."""
        ...

    def describe(self) -> str:
        """One line for `sortline check`: backend, size, rate. Never a password."""
        ...


# With one slash too: so it stands in a path that was made of it, and where somebody mistyped it.
_ADDRESS = r"[A-Za-z][A-Za-z0-9+.-]+:/+"


def is_address(source: str | int) -> bool:
    """Whether a source is written like a URL, of whatever kind."""
    return re.match(rf"\s*{_ADDRESS}", str(source)) is not None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long
        return False


def kind_of(source: str | int) -> Kind:
    """What a `source` names, by its form alone; only a folder is looked up on the disk."""
    text = str(source).strip()
    if text.isdigit() or text.startswith("/dev/"):
        return "device"
    if re.match(r"(rtsps?|https?)://", text, re.IGNORECASE):
        return "stream"
    if text.startswith("aravis:"):
        return "aravis"
    if text.startswith("sim:"):
        return "simulated"
    path = Path(text)
    if any(character in text for character in "*?[") or path.suffix.lower() in SUFFIXES or _is_folder(path):
        return "folder"
    return "clip"


def is_recorded(settings: CameraSettings) -> bool:
    """Whether a source ends by itself: a clip, a folder, a simulated belt; all others are cameras.

    Told by the form of the source; a class of the user's own says so by a class attribute `live = False`.
    """
    if settings.type is None or ":" not in settings.type:
        return (settings.type or kind_of(settings.source)) in {"clip", "folder", "simulated"}
    return getattr(driver_of(settings), "live", True) is False


def open_source(settings: CameraSettings, clock: Clock) -> Source:
    """Opens what [camera] names; CameraError with one sentence, never with a password in it.

    `type` names a class of the user's own (module:Class) or a built-in one (a file of this package);
    without it the form of `source` decides. No second driver is tried when the first one fails. Streams
    and devices open while this returns: their first `read` waits, at most open_timeout_s.
    """
    source: Source = driver_of(settings)(settings, clock)
    return source


def answers(settings: CameraSettings) -> bool | None:
    """Whether a camera can be reached at all, found out at once; None where its driver cannot tell."""
    try:
        look = getattr(driver_of(settings), "answers", None)
    except CameraError:
        return None
    return None if look is None else look(settings)


def driver_of(settings: CameraSettings) -> Any:
    """The class that opens this source, called with (settings, clock); its module is imported only now."""
    name = settings.type or kind_of(settings.source)
    module, _, attribute = name.partition(":")
    if not attribute:
        module, attribute = f"edge.camera.{name}", name.capitalize()
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise CameraError(f"camera.type = {name!r}: cannot be loaded ({error})") from None


def redacted(text: str | int) -> str:
    """A source, or a text with URLs in it, as it may be shown: without user, password and query.

    Everything before the last @ of a URL goes, because a password may itself hold a slash or an @.
    """
    text = str(text)
    if re.match(rf"\s*{_ADDRESS}", text):
        return _redacted_url(text)
    return re.sub(rf"{_ADDRESS}\S+", lambda match: _redacted_url(match[0]), text)


def told(error: Exception, source: str | int) -> str:
    """What an error of a source says, as it may be shown: its cause stays where the address before it has a query."""
    name = f"{redacted(source)}: "
    text = str(error)
    return name + redacted(text.removeprefix(name)) if text.startswith(name) else redacted(text)


def _redacted_url(url: str) -> str:
    scheme, rest = re.split(r":/+", url, maxsplit=1)
    before, at, rest = rest.rpartition("@")
    if "?" in before:  # a password with a question mark in it, or a query with an @: nothing is sure
        return f"{scheme}://…"
    rest, query, _ = rest.partition("?")
    # Some cameras want them in the path: rtsp://camera/user=admin_password=secret_channel=1
    rest = re.sub(r"(?i)(user|login|pass|pwd|token|secret|auth|key)(\w*?)=[^/&;]*", r"\1\2=…", rest)
    return f"{scheme}://{'…@' if at else ''}{rest}{'?…' if query else ''}"

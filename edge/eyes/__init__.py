"""Photo-eyes: beams across the belt that items break; one small interface, one file a kind.

A photo-eye of your own is one class with `read() -> bool`, True while its beam is broken; `type =
"plant7:Eye"` names it, in [items.trigger] or [lanes.confirm]. Its constructor takes the settings and the
line's clock; it may have `close()`, and a nested `Settings` that extends EyeSettings when it has keys of
its own. `read` is called every poll_ms in a thread of the eye's own and may raise anything.

An eye that is told of changes instead of being asked for them has `listen(tell)` in place of `read`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pydantic import Field

from edge.settings import Settings

TRIGGER = "trigger"  # the name of the photo-eye of [items.trigger]; that of [lanes.confirm] has its lane's


class EyeSettings(Settings):
    """The keys that every photo-eye has.

    poll_ms is how often it is asked. A beam that has been free for less than debounce_ms has not been
    free: a contact that bounces and an item with a hole are seen once. inverted is for an eye whose
    input is on while its beam is free.
    """

    type: str
    poll_ms: float = Field(default=2.0, ge=0.5, le=1000)
    debounce_ms: float = Field(default=5.0, ge=0, le=10_000)
    inverted: bool = False

    @property
    def beam_mm(self) -> float:
        """Where its beam is along the belt, from the camera's centre line, downstream positive."""
        return 0.0


class TriggerSettings(EyeSettings):
    """The [items.trigger] table, beside the keys of its kind of photo-eye: an item is what breaks the beam.

    position_mm is where the beam is along the belt, from the camera's centre line, downstream positive.
    length_mm is an item's length: its centre follows its front edge by half of it. window_mm is how far
    from the centre line an item may be in the picture that is classified, half its length unless given.
    """

    position_mm: float = Field(ge=-100_000, le=100_000)
    length_mm: float = Field(gt=0, le=10_000)
    window_mm: float | None = Field(default=None, gt=0, le=10_000)

    @property
    def beam_mm(self) -> float:
        return self.position_mm


class ConfirmSettings(EyeSettings):
    """A [lanes.confirm] table, beside the keys of its kind of photo-eye: it sees what was pushed into the lane.

    distance_mm is from the camera's centre line to the beam, along the belt and then the lane. An item is
    expected there when the belt has moved it so far, give or take window_mm: less than half the distance
    between two items, so that none is taken for its neighbour.
    """

    distance_mm: float = Field(gt=0, le=100_000)
    window_mm: float = Field(default=30.0, gt=0, le=10_000)

    @property
    def beam_mm(self) -> float:
        return self.distance_mm


class Eye(Protocol):
    """A photo-eye that is asked. Ready when its constructor returns."""

    def read(self) -> bool:
        """Whether the beam is broken now; any exception when that cannot be told."""
        ...


Tell = Callable[[bool, float], None]


class ListeningEye(Protocol):
    """A photo-eye that is told of each change, by an interrupt or from outside."""

    def listen(self, tell: Tell) -> None:
        """From now on tell(broken, moment on the line's clock) is called with the present state and each
        change of it, by one thread at a time. Called once, and has to return at once: an eye that waits for
        changes does so in a thread of its own."""
        ...


@dataclass(frozen=True, slots=True)
class Edge:
    """A beam was broken, or became free again, at a moment of the line's clock.

    The moment is known to within error_s seconds either way.
    """

    at: float
    error_s: float = 0.0
    broken: bool = True

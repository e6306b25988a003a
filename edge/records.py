"""The frozen types that flow through the line: Frame -> Box -> Item(views) -> Prediction -> Decision -> Actuation.

Times are seconds on the line's monotonic clock, positions are millimetres of belt. Every record
carries the time and position at which its frame was *captured*: nothing downstream reads a clock
to guess when something happened.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Reason = Literal["classified", "unknown", "overlap", "ambiguous", "late", "overload"]
Outcome = Literal["confirmed", "fired", "passed", "missed", "lost"]
Scope = Literal["camera", "belt", "item", "model", "output", "journal", "web", "line"]

REASONS: tuple[Reason, ...] = ("classified", "unknown", "overlap", "ambiguous", "late", "overload")
OUTCOMES: tuple[Outcome, ...] = ("confirmed", "fired", "passed", "missed", "lost")


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture from the camera.

    pixels is uint8 [H, W, 3] in OpenCV's order (BGR) and is never written to. seq counts every
    frame that the source produced, also those that were skipped, so a gap is visible. placed is False
    when position_mm is only a guess, since nobody knew where the belt was at the capture.
    """

    seq: int
    captured_at: float
    position_mm: float
    pixels: np.ndarray = field(repr=False, compare=False)
    placed: bool = True


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in a picture, in whole pixels; x and y are its left and top edge."""

    x: int
    y: int
    width: int
    height: int

    @property
    def centre(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def area(self) -> int:
        return self.width * self.height

    def overlap(self, other: "Box") -> int:
        """The area in pixels that both boxes cover."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(width, 0) * max(height, 0)


@dataclass(frozen=True, slots=True)
class View:
    """One look at one item: the crop that the model sees and how good a look it is.

    crop is uint8 [h, w, 3] BGR. sharpness is 0 or more: of two views of one item the one with twice as much
    tells twice as much. completeness is the share of the item inside the picture, 0 to 1. last says that no
    better view of the item is expected.
    """

    item_id: int
    frame_seq: int
    captured_at: float
    position_mm: float
    box: Box
    crop: np.ndarray = field(repr=False, compare=False)
    sharpness: float = 1.0
    completeness: float = 1.0
    last: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One thing on the belt, as the tracker knows it in one frame.

    item_mm is the belt position at which the item's centre passes the camera's centre line: the
    item is in front of a diverter when the belt stands at item_mm + distance_mm. It does not change
    while the item travels. length_mm is measured along the belt, across_mm is the distance of the
    item's centre from the picture's middle, across the belt. touching says that its outline meets
    another item's; whole that no picture edge cuts it. area_mm2 is what it usually covers, 0 where that is
    not known. placed is False when nobody knew where the belt was whenever the item was seen: item_mm is a guess.
    An item that a photo-eye announced has frame_seq -1, an empty box and the beam's moment and place until a
    picture shows it.
    """

    id: int
    frame_seq: int
    captured_at: float
    position_mm: float
    box: Box
    item_mm: float
    length_mm: float
    across_mm: float = 0.0
    whole: bool = True
    touching: bool = False
    area_mm2: float = 0.0
    placed: bool = True


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one picture.

    probabilities has one value a class, in the card's order, and sums to 1. strange says that the picture is
    unlike anything trained on; known is False when it is, or the confidence is below the class's threshold.
    """

    label: str
    confidence: float
    probabilities: tuple[float, ...]
    known: bool = True
    strange: bool = False

    def reaches(self, threshold: float) -> bool:
        """Whether it is sure enough of itself for a threshold other than the card's."""
        return not self.strange and self.confidence >= threshold


@dataclass(frozen=True, slots=True)
class Decision:
    """The one decision of an item's life. fire_at is None for a lane without a diverter.

    strange tells of an unknown item that it is unlike anything trained on; else its vote was not sure enough.
    """

    item_id: int
    lane: str
    label: str | None
    confidence: float
    probabilities: dict[str, float]
    reason: Reason
    frame_seq: int
    captured_at: float
    decided_at: float
    fire_at: float | None
    position_mm: float
    box: Box
    strange: bool = False


@dataclass(frozen=True, slots=True)
class Actuation:
    """One push of one diverter, keyed by the item it is meant for.

    within_s is how long after the call of `fire` its command may still leave: then the item's place has gone by.
    """

    item_id: int
    lane: str
    output: str
    fire_mm: float
    captured_at: float
    position_mm: float
    decision: Decision
    pulse_s: float = 0.05
    within_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Incident:
    """A named unusual event. cause says what happened, action what was done about it."""

    name: str
    scope: Scope
    at: float
    position_mm: float
    cause: str
    action: str
    item_id: int | None = None
    recovered: bool = False

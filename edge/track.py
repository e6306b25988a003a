"""Track: one thing that is followed from picture to picture, and whether it travels as an item does."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan

import numpy as np

from edge.finder import Found
from edge.places import ALONG, AREA, CUT_ENTRY, CUT_EXIT, FRONT, NOISE_PX, OTHER, REAR, SIDE, offsets

STEP_PX = 3.0  # the shortest step by which it shows whether a thing travels
STEPS = 2  # steps with a belt of known speed that make a thing an item,
FIRST_STEPS = 4  # and steady steps of its own while the belt's speed is not known
STILL_STEPS = 3  # steps of the belt through which a thing lay still that make it a part of the surroundings
ESTABLISHED = 5  # sightings of a thing whole and alone that tell what it covers,
MORE = 1.5  # and how many times that is another thing
RECENT = 15  # sightings that an item's length and place on the belt are averaged over


@dataclass(slots=True, eq=False)
class Moment:
    """When a picture was taken and where the belt was then; the same for all that it shows.

    The position is made exact as the belt becomes known; sure is False while, or when, it is only a guess.
    """

    at: float
    position_mm: float
    sure: bool = True


@dataclass(slots=True, eq=False)
class Track:
    """One thing that is followed from picture to picture; it gets an id once it has travelled.

    Places are rows of `edge.places`. A thing without an id is judged by steps that are long enough to
    tell travelling from lying still, whatever the belt's speed and the frame rate.
    """

    place: np.ndarray  # where it was last seen
    found: Found
    seen: Moment
    entered: bool  # it came in by the edge of entry, or was there from the first picture on
    id: int = 0
    since_px: float = 0.0  # how far the belt has moved since it was last seen
    speed: float | None = None  # its own, in pixels a second, until it is an item
    unseen: int = 0
    hidden: bool = False  # inside the outline of something larger
    away: bool = False  # beyond an edge of the sight; if the belt turns back, it comes back
    been_whole: bool = False
    area_px: float = 0.0  # what it usually covers
    _with_belt: int = 0  # steps in a row that it made with the belt,
    _steady: int = 0  # and that it made evenly forward by itself
    _against: int = 0  # and evenly the other way,
    _against_px: float = 0.0  # so far
    _still: int = 0
    _travelled_px: float = 0.0
    _step_from: np.ndarray = field(init=False)
    _step_at: float = field(init=False)
    _step_px: float = 0.0  # how far the belt moved in the step under way, until the thing was last seen
    _step_speed: float | None = None
    _touches: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT))
    _areas: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    _lengths: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    _passes: deque[tuple[Moment, float]] = field(default_factory=lambda: deque(maxlen=RECENT))

    def __post_init__(self) -> None:
        self._step_from, self._step_at = self.place, self.seen.at

    @property
    def expected(self) -> np.ndarray:
        """Where it must be now if it has stayed on the belt."""
        place = self.place.copy()
        place[ALONG] += self.since_px
        return place

    @property
    def cut(self) -> bool:
        """Whether an end of the sight cut it when it was last seen."""
        return bool(self.place[CUT_ENTRY] or self.place[CUT_EXIT])

    @property
    def touching(self) -> bool:
        """Whether it touches another item. What it mostly touched still lies against it when an edge hides that one."""
        return self.hidden or self.found.touching or 2 * sum(self._touches) > len(self._touches)

    @property
    def weight(self) -> float:
        """How far it is to be believed about the belt's motion, 0 to 1."""
        if not self.id:
            return 0.0 if self._still >= STILL_STEPS else 0.3
        return 0.5 if self.cut else 1.0

    @property
    def length_px(self) -> float:
        """Its length along the belt."""
        return _median(self._lengths) if self._lengths else float(self.place[FRONT] - self.place[REAR])

    @property
    def whole_area_px(self) -> float:
        """What it covers where no edge cuts it and no other item touches it; 0 while it was not seen so."""
        return _median(self._areas) if self._areas else 0.0

    def is_less_than(self, other: "Track") -> bool:
        """Whether it has been seen whole and alone so often that another, larger thing cannot be the same one."""
        return len(self._areas) >= ESTABLISHED and float(other.place[AREA]) > MORE * self.whole_area_px

    def see(self, found: Found, place: np.ndarray, offset: float, now: Moment) -> None:
        """Takes a new sighting; offset is how far along the belt it lies from the last, nan if that is hidden."""
        if not self.id:
            if not isnan(offset) and abs(offset - self.since_px) > 3 * NOISE_PX + 0.08 * abs(self.since_px):
                self._passes.clear()  # where it lay before it moved with the belt says nothing of its place on it
            self._judge(place, now.at)
            dt = now.at - self.seen.at
            self.speed = offset / dt if dt > 0 and not isnan(offset) else None
        self.area_px += 0.2 * (place[AREA] - self.area_px) if self.area_px else place[AREA]
        self.found, self.place, self.seen = found, place, now
        self.since_px, self.unseen, self.hidden, self.away = 0.0, 0, False, False
        self._touches.append(found.touching)
        if not self.cut:
            self.been_whole = True
            if not found.touching:
                self._areas.append(float(place[AREA]))
                self._lengths.append(float(place[FRONT] - place[REAR]))
                self._passes.append((now, _centre(place)))

    def lose_place(self) -> None:
        """No sighting up to now tells any more where on the belt it lies."""
        self.seen.sure = False
        for moment, _ in self._passes:
            moment.sure = False

    def travels(self, belt_known: bool) -> bool:
        """Whether it has moved enough, and as an item would; belt_known says that the belt's speed is known."""
        if not (self.been_whole or self.place[CUT_EXIT]):
            return False
        # An arm reaches in from the side, and its hand appears anywhere.
        patience = 1 if self.entered and not self.found.cut_side else 2
        if belt_known and self._with_belt >= STEPS * patience:
            return self._travelled_px >= 4 * NOISE_PX
        far_enough = max(8 * NOISE_PX, 0.5 * float(self.place[FRONT] - self.place[REAR]))
        return self._steady >= FIRST_STEPS * patience and self._travelled_px >= far_enough

    @property
    def goes_against(self) -> bool:
        """Whether it has travelled for more than its own length, evenly, against the belt's direction."""
        return self._against >= 2 * FIRST_STEPS and self._against_px > float(self.place[FRONT] - self.place[REAR])

    @property
    def placed(self) -> bool:
        """Whether it was known where the belt was at any sighting that says where on it this lies."""
        return any(moment.sure for moment, _ in self._whole)

    @property
    def _whole(self) -> Sequence[tuple[Moment, float]]:
        """The sightings that say where on the belt it lies: moments, and its centre along the picture, in pixels."""
        return self._passes or [(self.seen, _centre(self.place))]

    def item_mm(self, middle_px: float, pixels_per_mm: float) -> float:
        """Where the belt stands when its centre passes the middle: the mean of the middle half of its sightings.

        Only those count for which it is known where the belt was, unless there are none: then it is a guess.
        """
        passes = [one for one in self._whole if one[0].sure] or self._whole
        estimates = sorted(moment.position_mm - (centre - middle_px) / pixels_per_mm for moment, centre in passes)
        spare = len(estimates) // 4
        kept = estimates[spare : len(estimates) - spare]
        return float(sum(kept) / len(kept))

    def _judge(self, place: np.ndarray, now: float) -> None:
        """Counts how often it has moved as an item would, in steps long enough to tell."""
        since, dt = self._step_px + self.since_px, now - self._step_at
        offset = float(offsets(self._step_from[None], place[None])[0, 0])
        offset = since if isnan(offset) else offset
        self._step_px = since
        if max(abs(since), abs(offset)) < STEP_PX or dt <= 0:
            return
        cut = bool(self._step_from[[CUT_ENTRY, CUT_EXIT]].any() or place[[CUT_ENTRY, CUT_EXIT]].any())
        drift = abs((place[SIDE] + place[OTHER]) - (self._step_from[SIDE] + self._step_from[OTHER])) / 2
        straight = cut or drift <= 3 * NOISE_PX + 0.1 * abs(offset)
        forward, against = offset > NOISE_PX and straight, offset < -NOISE_PX and straight
        with_belt = abs(offset - since) < 2.5 * NOISE_PX + 0.08 * abs(since)
        own = self._step_speed * dt if self._step_speed is not None else offset
        even = abs(offset - own) < 2 * NOISE_PX + 0.15 * abs(own)
        self._with_belt = self._with_belt + 1 if forward and with_belt else 0
        self._steady = self._steady + 1 if forward and even else 0
        self._still = self._still + 1 if abs(offset) <= NOISE_PX else 0
        self._travelled_px = self._travelled_px + offset if forward else 0.0
        self._against = self._against + 1 if against and even else 0
        self._against_px = self._against_px - offset if self._against else 0.0
        self._step_from, self._step_at, self._step_px, self._step_speed = place, now, 0.0, offset / dt


def _centre(place: np.ndarray) -> float:
    return float(place[FRONT] + place[REAR]) / 2


def _median(values: deque[float]) -> float:
    ordered = sorted(values)
    return (ordered[len(ordered) // 2] + ordered[(len(ordered) - 1) // 2]) / 2

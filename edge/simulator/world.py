"""The truth of a simulated belt, without a single pixel: where each item is, and the lane it ended in."""

import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, inf

from edge.clock import Clock
from edge.errors import ConfigError
from edge.records import Box
from edge.simulator.arrivals import Arrivals, TrueItem
from edge.simulator.motion import motion
from edge.simulator.settings import SimulatorSettings

# How many single endings and pushes are kept to look at; the counts go on for ever.
KEPT = 2_000


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane as the belt sees it: the diverter that serves it and the stretch of belt that it sweeps."""

    name: str
    classes: tuple[str, ...] = ()
    distance_mm: float | None = None
    default: bool = False
    reach_mm: float = 20.0


@dataclass(frozen=True, slots=True)
class _Taken:
    """Into which lane a diverter took an item, and when."""

    lane: str
    at: float


@dataclass(frozen=True, slots=True)
class Push:
    """One movement of a diverter and what was really in front of it.

    hits are the ids of the items it took along, nearest to the blade first. off_mm is how far the
    belt was past the ideal place for the nearest item at the moment of the push (negative: early).
    meant is the item the push was for, and asked_mm the place of the caller's own belt at which it was
    to be made, where the caller said so.
    """

    lane: str
    at: float
    hits: tuple[int, ...]
    off_mm: float | None
    meant: int | None = None
    asked_mm: float | None = None

    @property
    def wrong(self) -> bool:
        """True when it hit nothing, more than one item, or another item than it was meant for."""
        return len(self.hits) != 1 or self.meant not in {None, self.hits[0]}


@dataclass(frozen=True, slots=True)
class Ending:
    """Where one item physically ended, and where its class belongs."""

    item: TrueItem
    expected: str
    actual: str


@dataclass(frozen=True, slots=True)
class Truth:
    """What really happened up to a moment.

    It counts the items that crossed the whole picture while the camera watched and have passed the
    last diverter since, diverted or not: so an item counts at the same place whatever became of it.
    outcomes counts them as (class, expected lane, actual lane). endings and pushes_seen hold the
    newest KEPT of them singly.
    """

    until: float
    outcomes: Mapping[tuple[str, str, str], int]
    pushes: int
    wrong_pushes: int
    default_lane: str = ""
    endings: tuple[Ending, ...] = field(repr=False, default=())
    pushes_seen: tuple[Push, ...] = field(repr=False, default=())

    @property
    def items(self) -> int:
        return sum(self.outcomes.values())

    @property
    def misplaced(self) -> int:
        """How many items ended in a lane that is not the one of their class."""
        return sum(n for (_, expected, actual), n in self.outcomes.items() if expected != actual)

    @property
    def astray(self) -> int:
        """How many items a diverter took into a lane that their class does not name."""
        return sum(
            n for (_, expected, actual), n in self.outcomes.items() if actual not in {expected, self.default_lane}
        )

    @property
    def sort_accuracy(self) -> float:
        """The share of items that ended in the lane their class belongs to; 1 when there were none."""
        return 1 - self.misplaced / self.items if self.items else 1.0

    def purity(self, lane: str) -> float | None:
        """The share of what ended in the lane that belongs there; None when nothing did."""
        return self._share(lane, 2)

    def yield_(self, lane: str) -> float | None:
        """The share of what belongs in the lane that ended there; None when nothing does."""
        return self._share(lane, 1)

    def _share(self, lane: str, side: int) -> float | None:
        of = sum(n for key, n in self.outcomes.items() if key[side] == lane)
        right = sum(n for key, n in self.outcomes.items() if key[1] == key[2] == lane)
        return right / of if of else None


class World:
    """A moving belt with items on it and diverters beside it. Everything in it follows from the settings.

    start is the moment on the line's clock at which the belt starts at position 0; all times that go
    in and out are moments on that clock. Thread-safe. Raises ConfigError when the settings do not fit
    each other.
    """

    # What `lay_out` takes, for a caller that has a world and does not import this module.
    lane = Lane

    def __init__(self, settings: SimulatorSettings, start: float = 0.0) -> None:
        self.settings = settings
        self.start = start
        self.motion = motion(settings.motion, settings.speed_mm_s * (1 + settings.speed_error), settings.period_s)
        arrivals = Arrivals(settings)
        self.labels = arrivals.labels
        self._coming = iter(arrivals)
        self._next = next(self._coming)
        self._longest_mm = arrivals.longest_mm
        self._lock = threading.Lock()
        self._items: list[TrueItem] = []
        self._places_mm: list[float] = []
        self._lanes: dict[str, Lane] = {}
        self._default = ""
        self._taken: dict[int, _Taken] = {}
        self._pushes: deque[Push] = deque(maxlen=KEPT)
        self._pushed = self._pushed_wrong = 0
        self._outcomes: Counter[tuple[str, str, str]] = Counter()
        self._endings: deque[Ending] = deque(maxlen=KEPT)
        self._first_seen_mm: float | None = None
        self._last_seen_mm = inf

    def belt_mm(self, at: float) -> float:
        """The belt's true position at a moment: the exact integral of its speed."""
        return self.motion.position_mm(at - self.start)

    def speed_mm_s(self, at: float) -> float:
        """The belt's true speed at a moment; negative when it runs backwards."""
        return self.motion.speed_mm_s(at - self.start)

    def encoder(self, clock: Clock, counts_per_mm: float = 10.0) -> "Encoder":
        """An encoder wheel on this belt."""
        return Encoder(self, clock, counts_per_mm)

    def watch(self, at: float) -> None:
        """Says that the camera took a picture: only what crosses the picture between the first and the newest counts.

        Without a camera everything counts.
        """
        seen_mm = self.motion.peak_mm(at - self.start)
        with self._lock:
            if self._first_seen_mm is None:
                self._first_seen_mm = seen_mm
            self._last_seen_mm = seen_mm

    def lay_out(self, lanes: Sequence[Lane]) -> None:
        """Places the diverters. Raises ConfigError unless exactly one lane is the default one."""
        defaults = [lane.name for lane in lanes if lane.default]
        if len(defaults) != 1:
            raise ConfigError(f"lanes: exactly one lane must have default = true; there are {len(defaults)}")
        with self._lock:
            self._lanes = {lane.name: lane for lane in lanes}
            self._default = defaults[0]

    def expected_lane(self, label: str) -> str:
        """The lane whose classes name the label, otherwise the default one."""
        return next((lane.name for lane in self._lanes.values() if label in lane.classes), self._default)

    def in_view(self, at: float, margin_mm: float = 0.0) -> list[TrueItem]:
        """The items of which any part may be in the picture at a moment, upstream last.

        What was pushed off, or has run off the belt's end, does not come back with a belt that runs backwards.
        """
        position, half = self.belt_mm(at), self.settings.field_mm / 2 + margin_mm
        peak = self.motion.peak_mm(at - self.start)
        gone = peak - self._end_mm() if position < peak else -inf
        with self._lock:
            reach = self._longest_mm / 2
            self._extend(position + half + reach)
            low = bisect_left(self._places_mm, position - half - reach)
            high = bisect_left(self._places_mm, position + half + reach)
            near = [item for item in self._items[low:high] if not self._gone_by(item, at)]
        return [i for i in near if i.item_mm > gone and abs(i.item_mm - position) < half + i.along_mm / 2]

    def centre_px(self, item: TrueItem, at: float) -> tuple[float, float]:
        """Where an item's centre is in the picture at a moment: x and y in pixels from its top left."""
        s = self.settings
        ahead = (self.belt_mm(at) - item.item_mm) * s.pixels_per_mm
        across = item.across_mm * s.pixels_per_mm
        x, y = s.width / 2, s.height / 2
        return {
            "right": (x + ahead, y + across),
            "left": (x - ahead, y + across),
            "down": (x + across, y + ahead),
            "up": (x + across, y - ahead),
        }[s.direction]

    def identify(self, at: float, box: Box) -> int | None:
        """The id of the item that a box in the picture of a moment shows: the nearest centre in the box."""
        x, y = box.centre
        found = []
        for item in self.in_view(at):
            dx, dy = (abs(a - b) for a, b in zip(self.centre_px(item, at), (x, y), strict=True))
            if dx <= box.width / 2 and dy <= box.height / 2:
                found.append((dx + dy, item.id))
        return min(found)[1] if found else None

    def breaks_beam(self, at: float, distance_mm: float, lane: str | None = None) -> bool:
        """Whether an item is in a beam across the belt, so far downstream of the camera's centre line.

        With a lane the beam crosses its branch instead, at the same distance along it: only what the
        lane's diverter took along comes by, and it comes by at the speed of the belt.
        """
        place_mm = self.belt_mm(at) - distance_mm
        with self._lock:
            reach_mm = self._longest_mm / 2
            self._extend(place_mm + reach_mm)
            first = bisect_left(self._places_mm, place_mm - reach_mm)
            last = bisect_left(self._places_mm, place_mm + reach_mm)
            near = [item for item in self._items[first:last] if abs(item.item_mm - place_mm) <= item.along_mm / 2]
            return any(self._comes_by(item.id, distance_mm, lane) for item in near)

    def push(
        self,
        lane: str,
        at: float,
        pulse_s: float = 0.05,
        meant: int | None = None,
        asked_mm: float | None = None,
    ) -> int | None:
        """Moves a lane's diverter at a moment, for pulse_s seconds.

        Every item whose centre is within the blade's reach at that time, or comes into it before the
        blade is back, goes to the lane, unless it has left the belt before. Returns the id of the one
        nearest to the blade's middle, None when there is nothing. meant and asked_mm are kept as `Push` says.
        Raises ConfigError for a lane that was not laid out with a diverter.
        """
        blade = self._lanes.get(lane)
        if blade is None or blade.distance_mm is None:
            raise ConfigError(f"lane {lane!r} has no diverter on the simulated belt")
        low, high = self.motion.span_mm(at - self.start, at - self.start + pulse_s)
        now_mm = self.belt_mm(at)
        with self._lock:
            self._extend(high)
            gone_mm = self.motion.peak_mm(at - self.start) - self._end_mm()
            first = bisect_left(self._places_mm, low - blade.distance_mm - blade.reach_mm / 2)
            last = bisect_left(self._places_mm, high - blade.distance_mm + blade.reach_mm / 2)
            near = [i for i in self._items[first:last] if i.id not in self._taken and i.item_mm > gone_mm]
            offs = sorted((now_mm - item.item_mm - blade.distance_mm, item.id) for item in near)
            offs.sort(key=lambda one: abs(one[0]))
            for _, number in offs:
                self._taken[number] = _Taken(lane, at)
            push = Push(lane, at, tuple(n for _, n in offs), offs[0][0] if offs else None, meant, asked_mm)
            self._pushes.append(push)
            self._pushed += 1
            self._pushed_wrong += push.wrong
        return push.hits[0] if push.hits else None

    def truth(self, until: float) -> Truth:
        """What really happened up to a moment, which lies behind none that was settled."""
        with self._lock:
            later = list(self._ended(until))
            outcomes = self._outcomes + Counter(_key(ending) for ending in later)
            return Truth(
                until=until,
                outcomes=dict(outcomes),
                pushes=self._pushed,
                wrong_pushes=self._pushed_wrong,
                default_lane=self._default,
                endings=(*self._endings, *later),
                pushes_seen=tuple(self._pushes),
            )

    def settle(self, until: float) -> None:
        """Counts the items that have ended by a moment and forgets them: memory stays flat for ever.

        A push or a look at an earlier moment finds them no more, so the camera that calls it leaves
        enough time for what is still under way.
        """
        with self._lock:
            passed_mm = self.motion.peak_mm(until - self.start) - self._end_mm()
            if not self._items or self._places_mm[0] >= passed_mm:
                return
            ended = list(self._ended(until))
            self._endings.extend(ended)
            self._outcomes.update(_key(ending) for ending in ended)
            count = bisect_left(self._places_mm, passed_mm)
            for item in self._items[:count]:
                self._taken.pop(item.id, None)
            del self._items[:count], self._places_mm[:count]

    def _gone_by(self, item: TrueItem, at: float) -> bool:
        """Whether a diverter had taken an item by a moment."""
        taken = self._taken.get(item.id)
        return taken is not None and taken.at <= at

    def _comes_by(self, number: int, distance_mm: float, lane: str | None) -> bool:
        """Whether an item has stayed on the belt that far, or with a lane has been pushed into it."""
        taken = self._taken.get(number)
        if taken is None:
            return lane is None
        if lane is not None:
            return taken.lane == lane
        return (self._lanes[taken.lane].distance_mm or inf) > distance_mm

    def _end_mm(self) -> float:
        """How far past the camera's centre line an item has had its last chance to be diverted or seen."""
        blades = [b.distance_mm + b.reach_mm / 2 for b in self._lanes.values() if b.distance_mm is not None]
        return max([*blades, (self.settings.field_mm + self._longest_mm) / 2])

    def _ended(self, until: float) -> Iterator[Ending]:
        """The items still kept that have passed the end of the belt by then, and count."""
        passed_mm = self.motion.peak_mm(until - self.start) - self._end_mm()
        self._extend(passed_mm)
        for item in self._items[: bisect_left(self._places_mm, passed_mm)]:
            half_mm = (self.settings.field_mm + item.along_mm) / 2
            entered, left = item.item_mm - half_mm, item.item_mm + half_mm
            if entered >= (self._first_seen_mm or 0.0) and left <= self._last_seen_mm:
                expected = self.expected_lane(item.label)
                taken = self._taken.get(item.id)
                yield Ending(item, expected, taken.lane if taken else self._default)

    def _extend(self, to_mm: float) -> None:
        """Makes the items up to a belt position; the order of the calls does not change what they are."""
        while self._next.item_mm <= to_mm:
            self._items.append(self._next)
            self._places_mm.append(self._next.item_mm)
            self._next = next(self._coming)


class Encoder:
    """An encoder wheel on a simulated belt: whole counts, forwards and back."""

    def __init__(self, world: World, clock: Clock, counts_per_mm: float) -> None:
        self._world = world
        self._clock = clock
        self.counts_per_mm = counts_per_mm

    def read(self) -> int:
        """The counts since the belt's start, now."""
        return floor(self._world.belt_mm(self._clock.now()) * self.counts_per_mm)


def _key(ending: Ending) -> tuple[str, str, str]:
    return ending.item.label, ending.expected, ending.actual

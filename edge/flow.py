"""BeltFlow: how far the belt moved between two pictures, as the things that lie on it show it."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from edge.config import BeltSettings
from edge.places import NOISE_PX

SYSTEMATIC = 0.003  # what an uneven light or a lens can make of a distance, as a share of it
CHANGE = 1.5  # how far it may be off by now, as a multiple of what the window's halves differ by
WINDOW_S = 0.5  # the observed speed is that of the last half second in which something was seen to travel
STRETCH_PX = 8.0  # the shortest stretch over which seen and promised pixels are compared
RATIO_PX = 800.0  # the ratio of seen to promised pixels is that of about the last so many
TRUSTED = 0.03  # a ratio this close to 1 says that position and pixels_per_mm are right
SLACK = 0.35  # how far from the expected distance belts are still thought likely, as a share of it,
BORNE_OUT = 0.05  # how far while what is seen bears the position out,
SLACK_PX = 3.0  # and in pixels
DOUBT = 0.25  # what each such distance from the expected counts against the word of one item
MOST_DOUBT = 3.0
ENOUGH = 0.5  # an expected distance after which this share of what must be in sight is seen needs no further search
ABSENT = 0.5  # the word of an item that is not where it must be, or of one that was not where it must have been
CLEAR = 0.75  # a distance that is better than any other by this much of one item's word is beyond doubt
FAINT = 0.2  # less of one item's word than this shows nothing
LENS = 0.01  # how far things may differ in what they show of one distance, as a share of it
ITEM = 0.5  # what is believed less is not known to be an item: it may come, go or stay
SETTLED = 4  # observed steps after which the expectation rests on what was seen


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the belt in pixels, and whether anything showed it or it is only expected.

    It is ambiguous where another distance explains what is seen about as well, and makes other things of the
    things that are seen: which is which nobody can tell.
    """

    moved_px: float
    seen: bool
    ambiguous: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """What two pictures show of things on the belt: those seen before, and the sightings of the newer one.

    proposals, float [things, sightings], holds what each thing would have moved to be each sighting, nan where
    it cannot be. weights, float [things], says how far each is to be believed: 1 for an item, less for what may
    be one, 0 for what lies still. stays, float [things, 2], are the distances from which to which each must be
    seen again, known, float [sightings, 2], those from which to which each sighting must have been seen before.
    least_px is how far apart two things lie at least.
    """

    proposals: np.ndarray
    weights: np.ndarray
    stays: np.ndarray
    known: np.ndarray
    least_px: float


class BeltFlow:
    """Finds, between two pictures, the one distance by which everything on the belt has moved.

    Every pair of an earlier thing and a later one that looks like it proposes a distance; the one
    that explains most of them wins. Expectation comes from the position that the line keeps and from
    the speed seen last, and only breaks ties: both may be wrong, or the belt may just have stopped.
    """

    def __init__(self, belt: BeltSettings) -> None:
        self._belt = belt
        self._speed = belt.speed_mm_s * belt.pixels_per_mm
        self._shown_px = self._promised_px = 0.0
        self._stretch_px = np.zeros(2)
        self._steps = 0
        self._recent: deque[tuple[float, float, float]] = deque(maxlen=600)
        self._recent_s = 0.0
        self._unproven: deque[tuple[float, float, float | None]] = deque(maxlen=SETTLED)

    @property
    def settled(self) -> bool:
        """Whether items have been seen to travel for long enough to know the belt's speed."""
        return self._steps >= SETTLED

    @property
    def ratio(self) -> float:
        """Pixels seen to travel, over those that the line's position and pixels_per_mm promise."""
        shown, promised = self._shown_px, self._promised_px
        if abs(shown - promised) > TRUSTED * promised + 2 * NOISE_PX:
            return shown / promised
        # What is seen bears the configuration out, which then is the more exact of the two.
        return (shown + RATIO_PX / 2) / (promised + RATIO_PX / 2)

    @property
    def speed_mm_s(self) -> tuple[float, float] | None:
        """The mean speed over the last half second in which items travelled, and its error (95 %).

        The error is that of the places at both ends of the window, of the steps in between, and of the
        optics; where the belt changed its speed within the window, that change is a part of it.
        """
        recent = list(self._recent.copy())  # at once: the watch asks while the eye goes on adding
        count, time = len(recent), sum(dt for _, dt, _ in recent)
        if not self.settled or count < SETTLED or time <= 0:
            return None
        speed = sum(moved for moved, _, _ in recent) / time
        half = count // 2
        early = sum(moved for moved, _, _ in recent[:half]) / sum(dt for _, dt, _ in recent[:half])
        late = sum(moved for moved, _, _ in recent[half:]) / sum(dt for _, dt, _ in recent[half:])
        spread = sum((moved - speed * dt) ** 2 for moved, dt, _ in recent) / count
        error = 2 * float(np.hypot(np.sqrt(2) * NOISE_PX, np.sqrt(spread * count) / 2)) / time
        change = abs(late - early)
        error += (CHANGE * change if change > 2 * error else 0.0) + SYSTEMATIC * abs(speed)
        return speed / self._belt.pixels_per_mm, error / self._belt.pixels_per_mm

    def promised_px(self, position_mm: float) -> float:
        """How far a step of the line's position moves what is seen, in pixels."""
        return position_mm * self._belt.pixels_per_mm * self.ratio

    def supposed_mm(self, dt: float) -> float:
        """How far the position would move in dt seconds at the speed that was seen last."""
        return self._speed * dt / (self._belt.pixels_per_mm * self.ratio)

    def step(self, sightings: Sightings, dt: float, position_mm: float, error_mm: float = 0.0) -> Step:
        """The step of dt seconds in which the line's position moved by position_mm, give or take error_mm.

        The expected distance holds until what is seen contradicts it: until most of what must then be in sight
        is not. After a long time without a picture everything seen before has left, so nothing contradicts it, and
        nobody is misled by new items that happen to lie as others lay before. Only what contradicts the
        expectation lets every distance be weighed.
        """
        by_position = self.promised_px(position_mm)
        unseen = Step(by_position, False)
        scene = _Scene(sightings, 1.5 * NOISE_PX + LENS * abs(by_position))
        if dt <= 0 or not scene.options.size:
            return unseen
        by_speed = self._speed * dt
        if not self.settled:
            step = scene.best(scene.options, self._doubt(scene.options, by_position, by_speed))
            return Step(step.moved_px, True) if step else unseen
        options = np.append(scene.options, by_position)
        expected = options[self._is_expected(options, by_position, by_speed, error_mm)]
        step = scene.best(expected, self._doubt(expected, by_position, by_speed))
        if step is None or scene.contradicts(step.moved_px):
            if not scene.contradicts(by_position):
                return unseen
            step = scene.best(options, self._doubt(options, by_position, by_speed))
        if step and step.ambiguous:
            return Step(by_position, False, ambiguous=True)
        return step or unseen

    def propose(self, moved: float, dt: float, position_mm: float | None) -> None:
        """Remembers a step that something made which may turn out to be an item."""
        self._unproven.append((moved, dt, position_mm))

    def prove(self) -> None:
        """Learns the remembered steps: what made them has become an item."""
        while self._unproven:
            self.learn(*self._unproven.popleft())

    def learn(self, moved: float, dt: float, position_mm: float | None) -> None:
        """Takes a step that known items made as the belt's own; position_mm is None where nobody knew the position."""
        if dt <= 0:
            return
        self._steps += 1
        rate = max(1 / self._steps, 1 - float(np.exp(-dt / 0.2)))
        self._speed += rate * (moved / dt - self._speed)
        # A position that the pictures tell is made with that scale, and lags while the belt changes its speed.
        if position_mm is not None and not self._belt.by_pictures:
            self._learn_ratio(moved, position_mm * self._belt.pixels_per_mm)
        if len(self._recent) == self._recent.maxlen:
            self._recent_s -= self._recent.popleft()[1]
        self._recent.append((moved, dt, moved if position_mm is None else self.promised_px(position_mm)))
        self._recent_s += dt
        while len(self._recent) > SETTLED and self._recent_s > WINDOW_S:
            self._recent_s -= self._recent.popleft()[1]

    def _learn_ratio(self, moved: float, promised: float) -> None:
        """Compares stretches long enough that a pixel more or less does not matter."""
        self._stretch_px += np.array((moved, promised))
        shown, expected = self._stretch_px
        if max(abs(shown), abs(expected)) < STRETCH_PX:
            return
        self._stretch_px[:] = 0
        # A belt that stands while its position runs on, or the other way round, says nothing of the ratio.
        if shown * expected > NOISE_PX**2:
            forget = float(np.exp(-min(abs(shown), abs(expected)) / RATIO_PX))
            self._shown_px = forget * self._shown_px + abs(shown)
            self._promised_px = forget * self._promised_px + abs(expected)

    def _doubt(self, options: np.ndarray, by_position: float, by_speed: float) -> np.ndarray:
        """How much stands against each distance before anything is seen."""
        if not self.settled:
            # Only the configured speed is known: any forward distance is nearly as good as another.
            forward = np.maximum(options, 0.05 * abs(by_speed) + 1e-6)
            unlikely = 0.05 * np.abs(np.log(forward / max(abs(by_speed), 1e-6)))
            return unlikely + np.where(options < -NOISE_PX, 0.25, 0.0)
        return DOUBT * np.minimum(self._off(options, by_position, by_speed), MOST_DOUBT)

    def _is_expected(self, options: np.ndarray, by_position: float, by_speed: float, error_mm: float) -> np.ndarray:
        """Which distances agree with the position, or while it is not borne out with the position or the speed."""
        if not self._borne_out:
            return np.asarray(self._off(options, by_position, by_speed) <= 1)
        slack = SLACK_PX + BORNE_OUT * abs(by_position) + error_mm * self._belt.pixels_per_mm
        return np.asarray(np.abs(options - by_position) <= slack)

    @property
    def _borne_out(self) -> bool:
        """Whether the newest steps were those that the position promised."""
        moved, promised = (sum(step[n] for step in self._recent) for n in (0, 2))
        return abs(moved - promised) <= BORNE_OUT * abs(promised) + SLACK_PX

    def _off(self, options: np.ndarray, by_position: float, by_speed: float) -> np.ndarray:
        """How far each distance is from the expected ones; 1 is still thought likely."""
        return np.minimum(
            np.abs(options - by_position) / (SLACK * abs(by_position) + SLACK_PX),
            np.abs(options - by_speed) / (SLACK * abs(by_speed) + SLACK_PX),
        )


class _Scene:
    """What two pictures show, to be held against one distance or another.

    What is seen speaks for a distance, and so does what is missing against it: an item that must still be in sight
    and is not, and one that is new though it must have been in sight before.
    """

    def __init__(self, sightings: Sightings, width: float) -> None:
        self._weights, self._width, self._least_px = sightings.weights, width, sightings.least_px
        possible = ~np.isnan(sightings.proposals)
        self._proposals = np.where(possible, sightings.proposals, np.inf)  # what cannot be is infinitely far off
        self._items = np.where(self._weights < ITEM, 0.0, self._weights)
        self._stays, self._known = sightings.stays.T[:, :, None], sightings.known.T[:, :, None]
        # What may not be an item may have stayed where it was.
        stayed = np.where(self._weights[:, None] < ITEM, np.abs(self._proposals), np.inf)
        self._moves = stayed.min(axis=0, initial=np.inf) > 3 * width
        believed = self._proposals[possible & (self._weights[:, None] > 0)]
        self.options = np.array(sorted(set(np.round(believed, 1).tolist())))

    def best(self, options: np.ndarray, doubt: np.ndarray) -> Step | None:
        """The distance that explains most, of some with a doubt each; None where none explains anything."""
        closeness = self._closeness(options)
        as_seen = closeness.max(axis=1, initial=0.0)
        explained = (self._weights[:, None] * as_seen).sum(axis=0)
        missing = (self._staying(options) * (1 - as_seen)).sum(axis=0)
        score = explained - ABSENT * (missing + self._new(options, closeness)) - doubt
        first = int(score.argmax())
        if explained[first] < FAINT:
            return None
        others = np.abs(options - options[first]) >= max(self._least_px, 4 * self._width)
        ambiguous = bool((others & (score > score[first] - CLEAR)).any())
        return Step(self._exactly(float(options[first])), True, ambiguous)

    def contradicts(self, distance: float) -> bool:
        """Whether most of what must be in sight after a distance is not."""
        option = np.array([distance])
        staying = self._staying(option)
        missing = staying * (1 - self._closeness(option).max(axis=1, initial=0.0))
        return bool(missing.sum() > (1 - ENOUGH) * staying.sum())

    def _closeness(self, options: np.ndarray) -> np.ndarray:
        """How well each thing is each sighting after each distance, 0 to 1, float [things, sightings, options]."""
        return np.asarray(np.exp(-0.5 * ((self._proposals[:, :, None] - options) / self._width) ** 2))

    def _staying(self, options: np.ndarray) -> np.ndarray:
        """The weights of those items that must be in sight after each distance, float [things, options]."""
        low, high = self._stays
        return np.asarray(self._items[:, None] * ((low <= options) & (options <= high)))

    def _new(self, options: np.ndarray, closeness: np.ndarray) -> np.ndarray:
        """How many sightings are new though they must have been in sight before each distance, float [options]."""
        low, high = self._known
        unexplained = 1 - closeness.max(axis=0, initial=0.0)
        return np.asarray((self._moves[:, None] * ((low <= options) & (options <= high)) * unexplained).sum(axis=0))

    def _exactly(self, distance: float) -> float:
        """The mean of what the things that moved about so far show."""
        off = np.abs(self._proposals - distance)
        nearest = np.arange(len(off)), off.argmin(axis=1)
        weights = np.where(off[nearest] < 3 * self._width, self._weights, 0.0)
        near = weights > 0
        return float((self._proposals[nearest][near] * weights[near]).sum() / weights[near].sum())

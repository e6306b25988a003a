"""BeltFlow: how far the belt moved between two pictures, as the things that lie on it show it."""

from collections import deque

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
SLACK_PX = 3.0  # and in pixels
DOUBT = 0.25  # what each such distance from the expected counts against the word of one item
MOST_DOUBT = 3.0
NEARLY_ALL = 0.75  # a distance that explains this share of what is seen needs no further search
SETTLED = 4  # observed steps after which the expectation rests on what was seen


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
        self._recent: deque[tuple[float, float]] = deque(maxlen=600)
        self._recent_s = 0.0
        self._unproven: deque[tuple[float, float, float]] = deque(maxlen=SETTLED)

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
        count, time = len(recent), sum(dt for _, dt in recent)
        if not self.settled or count < SETTLED or time <= 0:
            return None
        speed = sum(moved for moved, _ in recent) / time
        half = count // 2
        early = sum(moved for moved, _ in recent[:half]) / sum(dt for _, dt in recent[:half])
        late = sum(moved for moved, _ in recent[half:]) / sum(dt for _, dt in recent[half:])
        spread = sum((moved - speed * dt) ** 2 for moved, dt in recent) / count
        error = 2 * float(np.hypot(np.sqrt(2) * NOISE_PX, np.sqrt(spread * count) / 2)) / time
        change = abs(late - early)
        error += (CHANGE * change if change > 2 * error else 0.0) + SYSTEMATIC * abs(speed)
        return speed / self._belt.pixels_per_mm, error / self._belt.pixels_per_mm

    def promised_px(self, position_mm: float) -> float:
        """How far a step of the line's position moves what is seen, in pixels."""
        return position_mm * self._belt.pixels_per_mm * self.ratio

    def step(self, proposals: np.ndarray, weights: np.ndarray, dt: float, position_mm: float) -> tuple[float, bool]:
        """The distance in pixels of one step of dt seconds, and whether anything showed it.

        proposals, float [things, sightings], holds what each thing seen before would have moved to be
        each sighting, nan where it cannot be; weights, float [things], says how far each is to be
        believed: 1 for an item, less for what may be one, 0 for what lies still. position_mm is the
        step of the line's position.
        """
        by_position = self.promised_px(position_mm)
        by_speed = self._speed * dt
        believed = (weights > 0) & np.isfinite(proposals).any(axis=1)
        if dt <= 0 or not believed.any():
            return by_position, False
        proposals, weights = proposals[believed], weights[believed]
        options = np.unique(np.round(proposals[np.isfinite(proposals)], 1))
        width = 1.5 * NOISE_PX + 0.03 * abs(by_position)
        best = self._best_near(options, proposals, weights, width, by_position, by_speed)
        if best is None:
            agreement = _agreement(options, proposals, weights, width)
            score = agreement - self._doubt(options, by_position, by_speed)
            if score.max() <= 0:
                return by_position, False
            best = float(options[score.argmax()])
        off = np.abs(proposals - best)
        nearest = proposals[np.arange(len(proposals)), np.where(np.isnan(off), np.inf, off).argmin(axis=1)]
        near = np.abs(nearest - best) < 3 * width
        return float(np.average(nearest[near], weights=weights[near])), True

    def _best_near(
        self,
        options: np.ndarray,
        proposals: np.ndarray,
        weights: np.ndarray,
        width: float,
        by_position: float,
        by_speed: float,
    ) -> float | None:
        """The best of the expected distances, if it explains nearly all that is seen.

        There are as many options as pairs of things that look alike, so most pictures are settled here, with
        those few that are expected; None where all have to be weighed.
        """
        if not self.settled:
            return None
        options = options[self._off(options, by_position, by_speed) <= 1]
        if not options.size:
            return None
        agreement = _agreement(options, proposals, weights, width)
        best = int((agreement - self._doubt(options, by_position, by_speed)).argmax())
        return float(options[best]) if agreement[best] >= NEARLY_ALL * weights.sum() else None

    def propose(self, moved: float, dt: float, position_mm: float) -> None:
        """Remembers a step that something made which may turn out to be an item."""
        self._unproven.append((moved, dt, position_mm))

    def prove(self) -> None:
        """Learns the remembered steps: what made them has become an item."""
        while self._unproven:
            self.learn(*self._unproven.popleft())

    def learn(self, moved: float, dt: float, position_mm: float) -> None:
        """Takes a step that known items made as the belt's own."""
        if dt <= 0:
            return
        self._steps += 1
        rate = max(1 / self._steps, 1 - float(np.exp(-dt / 0.2)))
        self._speed += rate * (moved / dt - self._speed)
        self._learn_ratio(moved, position_mm * self._belt.pixels_per_mm)
        if len(self._recent) == self._recent.maxlen:
            self._recent_s -= self._recent.popleft()[1]
        self._recent.append((moved, dt))
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

    def _off(self, options: np.ndarray, by_position: float, by_speed: float) -> np.ndarray:
        """How far each distance is from the expected ones; 1 is still thought likely."""
        return np.minimum(
            np.abs(options - by_position) / (SLACK * abs(by_position) + SLACK_PX),
            np.abs(options - by_speed) / (SLACK * abs(by_speed) + SLACK_PX),
        )


def _agreement(options: np.ndarray, proposals: np.ndarray, weights: np.ndarray, width: float) -> np.ndarray:
    """How much of what is seen each distance explains, float [options]."""
    apart = np.fmin.reduce(np.abs(proposals[:, :, None] - options), axis=1)
    return np.asarray(weights @ np.exp(-0.5 * (apart / width) ** 2))

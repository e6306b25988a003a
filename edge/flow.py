"""BeltFlow: how far the belt moved between two pictures, as the things that lie on it show it."""

from collections import deque
from collections.abc import Sequence

import numpy as np

from edge.config import BeltSettings

WINDOW_S = 1.0  # the observed speed is that of the last second in which something was seen to travel
SLACK = 0.35  # how far from the expected distance belts are still thought likely, as a share of it,
SLACK_PX = 3.0  # and in pixels
DOUBT = 0.25  # what each such distance from the expected counts against the word of one item
MOST_DOUBT = 3.0
SETTLED = 4  # observed steps after which the expectation rests on what was seen
NOISE_PX = 1.0  # how far off a place may be in one picture


class BeltFlow:
    """Finds, between two pictures, the one distance by which everything on the belt has moved.

    Every pair of an earlier thing and a later one that looks like it proposes a distance; the one
    that explains most of them wins. Expectation comes from the position that the line keeps and from
    the speed seen last, and only breaks ties: both may be wrong, or the belt may just have stopped.
    """

    def __init__(self, belt: BeltSettings) -> None:
        self._belt = belt
        self._speed = belt.speed_mm_s * belt.pixels_per_mm
        self._ratio = 1.0
        self._steps = 0
        self._recent: deque[tuple[float, float]] = deque(maxlen=600)
        self._unproven: deque[tuple[float, float, float]] = deque(maxlen=SETTLED)

    @property
    def settled(self) -> bool:
        """Whether items have been seen to travel for long enough to know the belt's speed."""
        return self._steps >= SETTLED

    @property
    def ratio(self) -> float:
        """Pixels seen to travel, over those that the line's position and pixels_per_mm promise."""
        return self._ratio

    @property
    def speed_mm_s(self) -> tuple[float, float] | None:
        """The speed over the last second in which items travelled, and its error (95 %)."""
        time = sum(dt for _, dt in self._recent)
        if not self.settled or len(self._recent) < SETTLED or time <= 0:
            return None
        speed = sum(moved for moved, _ in self._recent) / time
        steps = len(self._recent)
        spread = sum((moved - speed * dt) ** 2 for moved, dt in self._recent) / steps
        # The ends of a window are each as uncertain as one sighting; what varies within adds to that.
        error = 2 * np.hypot(np.sqrt(2) * NOISE_PX, np.sqrt(spread * steps) / 2) / time
        return speed / self._belt.pixels_per_mm, float(error) / self._belt.pixels_per_mm

    def expected(self, dt: float, position_mm: float) -> tuple[float, float]:
        """The distance in pixels that the line's position and the last speed each expect of a step."""
        return position_mm * self._belt.pixels_per_mm * self._ratio, self._speed * dt

    def step(
        self, proposals: Sequence[np.ndarray], weights: Sequence[float], dt: float, position_mm: float
    ) -> tuple[float, bool]:
        """The distance in pixels of one step of dt seconds, and whether anything travelling showed it.

        proposals has one array a thing seen before, of the distances to its possible sightings now;
        weights how far each thing is to be believed: 1 for an item, less for what may be one, 0 for
        what lies still. position_mm is the step of the line's position.
        """
        by_position, by_speed = self.expected(dt, position_mm)
        believed = [(p, w) for p, w in zip(proposals, weights, strict=True) if p.size and w > 0]
        if dt <= 0 or not believed:
            return by_position, False
        options = np.concatenate([p for p, _ in believed])
        width = 1.5 * NOISE_PX + 0.03 * abs(by_position)
        score = -self._doubt(options, by_position, by_speed)
        for proposal, weight in believed:
            apart = (proposal[None, :] - options[:, None]) / width
            score += weight * np.exp(-0.5 * apart**2).max(axis=1)
        best = int(score.argmax())
        if score[best] <= 0:
            return by_position, False
        agreeing, trust = [], []
        for proposal, weight in believed:
            nearest = proposal[np.abs(proposal - options[best]).argmin()]
            if abs(nearest - options[best]) < 3 * width:
                agreeing.append(float(nearest))
                trust.append(weight)
        return float(np.average(agreeing, weights=trust)), True

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
        promised = position_mm * self._belt.pixels_per_mm
        if abs(promised) > NOISE_PX:
            self._ratio += max(1 / self._steps, min(rate, 0.1)) * (min(max(moved / promised, 0.05), 20) - self._ratio)
        self._recent.append((moved, dt))
        while len(self._recent) > SETTLED and sum(t for _, t in self._recent) > WINDOW_S:
            self._recent.popleft()

    def _doubt(self, options: np.ndarray, by_position: float, by_speed: float) -> np.ndarray:
        """How much stands against each distance before anything is seen."""
        if not self.settled:
            # Only the configured speed is known: any forward distance is nearly as good as another.
            forward = np.maximum(options, 0.05 * abs(by_speed) + 1e-6)
            unlikely = 0.05 * np.abs(np.log(forward / max(abs(by_speed), 1e-6)))
            return unlikely + np.where(options < -NOISE_PX, 0.25, 0.0)
        off = np.minimum(
            np.abs(options - by_position) / (SLACK * abs(by_position) + SLACK_PX),
            np.abs(options - by_speed) / (SLACK * abs(by_speed) + SLACK_PX),
        )
        return DOUBT * np.minimum(off, MOST_DOUBT)

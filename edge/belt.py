"""Where the belt is: millimetres of travel at any moment, and the moment at which it will be somewhere.

Positions grow in the direction in which items normally travel. A position is never derived from how
long the program took: it is a property of the belt at a moment of the line's clock.
"""

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

AHEAD_S = 0.25  # a push is planned about so far ahead
# What the pictures leave open of a way, as a share of it: what the optics and what stays in the picture make of
# a step that was seen; of one that was not, at a speed that was seen before, or only configured.
SYSTEMATIC, SUPPOSED, GUESSED = 0.005, 0.03, 0.3
SPEED_OVER_S = 0.1  # the speed that pictures show is that over so long
CHANGED = 0.1  # a change by less than this share of the configured speed is none


Sample = tuple[float, float]  # a moment and the position then


@dataclass(frozen=True, slots=True)
class Place:
    """Where the belt is at a moment: position_mm, and what it rests on.

    sure says that it is known and not only guessed, final that nothing that is learnt later changes it.
    """

    position_mm: float
    sure: bool = True
    final: bool = True


class Belt(Protocol):
    """What the rest of the line needs to know of a belt."""

    def position_mm(self, at: float) -> float:
        """The belt's position at a moment: interpolated in the past, predicted for the future."""
        ...

    def place(self, at: float) -> Place:
        """The position at a moment that is not in the future, and what it rests on."""
        ...

    def speed_mm_s(self, at: float) -> float:
        """The belt's speed at a moment; negative when it runs backwards."""
        ...

    def when(self, position_mm: float, now: float) -> float:
        """The moment at which the belt will reach a position: now or earlier when it is there already,
        infinity while the belt stands still or runs the other way."""
        ...

    def known(self) -> bool:
        """Whether the position can be relied on; while it cannot, nothing is pushed."""
        ...

    def error_mm(self, since: float, until: float) -> float:
        """How far off (95 %) the way that the belt travels between two moments may be; 0 where nobody can tell."""
        ...


class ConstantBelt:
    """A belt whose speed is configured and does not change; at position 0 when the line starts."""

    def __init__(self, speed_mm_s: float, started_at: float) -> None:
        self._speed_mm_s, self._started_at = speed_mm_s, started_at

    def position_mm(self, at: float) -> float:
        return (at - self._started_at) * self._speed_mm_s

    def place(self, at: float) -> Place:
        return Place(self.position_mm(at))

    def speed_mm_s(self, at: float) -> float:
        return self._speed_mm_s

    def when(self, position_mm: float, now: float) -> float:
        return self._started_at + position_mm / self._speed_mm_s

    def known(self) -> bool:
        return True

    def error_mm(self, since: float, until: float) -> float:
        return 0.0


class SampledBelt:
    """A belt known by samples of its position, as an encoder gives them: straight lines between them.

    The speed is the slope over the last `window_s` seconds of samples; the future is predicted with
    it. Thread-safe. keep_s bounds the past that can be asked for; older moments get the oldest sample.
    """

    def __init__(self, window_s: float = 0.05, keep_s: float = 10.0) -> None:
        self._window_s, self._keep_s = window_s, keep_s
        self._samples: deque[Sample] = deque()
        self._told: tuple[float, float, float] | None = None  # moment, place and speed when it last changed
        self._lock = threading.Lock()

    def sample(self, at: float, position_mm: float) -> None:
        """Adds a sample; one that is not newer than the last is ignored."""
        with self._lock:
            if self._samples and at <= self._samples[-1][0]:
                return
            self._samples.append((at, position_mm))
            while self._samples[0][0] < at - self._keep_s:
                self._samples.popleft()

    def position_mm(self, at: float) -> float:
        with self._lock:
            return self._between(at, *self._around(at))

    def place(self, at: float) -> Place:
        return Place(self.position_mm(at))

    def speed_mm_s(self, at: float) -> float:
        with self._lock:
            return self._slope()

    def when(self, position_mm: float, now: float) -> float:
        with self._lock:
            if not self._samples:
                return math.inf
            last_at, last_mm = self._samples[-1]
            rest = position_mm - last_mm
            if rest <= 0:
                return last_at
            slope = self._slope()
            return last_at + rest / slope if slope > 1e-6 else math.inf

    def known(self) -> bool:
        return bool(self._samples)

    def error_mm(self, since: float, until: float) -> float:
        return 0.0

    def goes_on_as_told(self, at: float) -> bool:
        """Whether the belt still goes on as it did when this last said False: what was planned then holds.

        A quarter of a millimetre beside the prediction, or a millimetre a quarter of a second ahead, is
        reason to plan anew.
        """
        place, speed = self.position_mm(at), self.speed_mm_s(at)
        if self._told is not None:
            then, place_then, speed_then = self._told
            if abs(place_then + speed_then * (at - then) - place) < 0.25 and abs(speed - speed_then) * AHEAD_S < 1.0:
                return True
        self._told = (at, place, speed)
        return False

    def _between(self, at: float, before: Sample | None, after: Sample | None) -> float:
        """The position at a moment by the samples around it; the lock is held."""
        if before and after:
            (before_at, before_mm), (after_at, after_mm) = before, after
            return before_mm + (at - before_at) / (after_at - before_at) * (after_mm - before_mm)
        if before:
            return before[1] + (at - before[0]) * self._slope()
        return after[1] if after else 0.0

    def _around(self, at: float) -> tuple[Sample | None, Sample | None]:
        """The last sample up to a moment and the first one after it, where there are; the lock is held."""
        after = None
        for sample in reversed(self._samples):
            if sample[0] <= at:
                return sample, after
            after = sample
        return None, after

    def _slope(self) -> float:
        last_at, last_mm = self._samples[-1] if self._samples else (0.0, 0.0)
        first_at, first_mm = last_at, last_mm
        for at, mm in reversed(self._samples):
            if last_at - at > self._window_s and first_at < last_at:
                break
            first_at, first_mm = at, mm
        return (last_mm - first_mm) / (last_at - first_at) if last_at > first_at else 0.0


class PictureBelt(SampledBelt):
    """A belt whose position the pictures tell: the steps by which everything on it moves, added up.

    While nothing is seen to travel it is taken to go on at its last speed; before anything has been seen,
    at the configured one. How far it may be off by then follows from how quickly it has been seen to change
    its speed: a belt that never did is trusted for longer. on_change is called when it does not go on as
    predicted.
    """

    def __init__(self, speed_mm_s: float, started_at: float, on_change: Callable[[], None]) -> None:
        super().__init__(window_s=SPEED_OVER_S)
        self._first_guess_mm_s, self._on_change = speed_mm_s, on_change
        # At each picture: its moment, the squares of its errors, what was seen and what was only supposed, added up.
        self._errors: deque[tuple[float, float, float, float]] = deque([(started_at, 0.0, 0.0, 0.0)])
        self._seen_at: float | None = None
        self._speeds: deque[tuple[float, float]] = deque()
        self._change_mm_s2 = 0.0  # the quickest change of speed that was seen
        self.sample(started_at, 0.0)

    def moved(self, at: float, step_mm: float | None, error_mm: float = 0.0) -> float:
        """Takes a picture's moment and by how much the belt has moved since the one before; None when unseen.

        error_mm (95 %) is what the step adds to the error of the way. Returns the position.
        """
        last_at, last_mm = self._samples[-1]
        if at <= last_at:
            return self.position_mm(at)
        with self._lock:
            _, squares, seen_mm, supposed_mm = self._errors[-1]
            if step_mm is None:
                step_mm = self._slope() * (at - last_at)
                supposed_mm += self._supposed_mm(at) - self._supposed_mm(last_at)
            else:
                squares, seen_mm, self._seen_at = squares + error_mm**2, seen_mm + abs(step_mm), at
            self._errors.append((at, squares, seen_mm, supposed_mm))
            while self._errors[0][0] < at - self._keep_s:
                self._errors.popleft()
        self.sample(at, last_mm + step_mm)
        if self._seen_at == at:
            self._compare_speed(at)
        if not self.goes_on_as_told(at):
            self._on_change()
        return last_mm + step_mm

    def told(self, at: float) -> bool:
        """Whether the step up to a picture's moment has been taken already."""
        return self._samples[-1][0] >= at

    def error_mm(self, since: float, until: float) -> float:
        with self._lock:
            last_at, squares, seen_mm, supposed_mm = self._errors[-1]
            first = self._errors[0]
            for first in reversed(self._errors):
                if first[0] <= since:
                    break
            blind_mm = self._supposed_mm(until) - self._supposed_mm(last_at)
        return math.sqrt(squares - first[1]) + SYSTEMATIC * (seen_mm - first[2]) + supposed_mm - first[3] + blind_mm

    def _supposed_mm(self, at: float) -> float:
        """How far it may be off at a moment because nothing was seen since it last was."""
        if self._seen_at is None:
            return GUESSED * self._first_guess_mm_s * (at - self._errors[0][0])
        blind_s = max(at - self._seen_at, 0.0)
        return SUPPOSED * abs(self._slope()) * blind_s + self._change_mm_s2 * blind_s**2 / 2

    def _compare_speed(self, at: float) -> None:
        """Remembers how quickly the belt has been seen to change its speed."""
        speed = self.speed_mm_s(at)
        self._speeds.append((at, speed))
        while self._speeds[0][0] < at - 3 * SPEED_OVER_S:
            self._speeds.popleft()
        then, before = self._speeds[0]
        if at - then > 2 * SPEED_OVER_S and abs(speed - before) > CHANGED * self._first_guess_mm_s:
            self._change_mm_s2 = max(self._change_mm_s2, abs(speed - before) / (at - then))

    def _slope(self) -> float:
        return super()._slope() if len(self._samples) > 1 else self._first_guess_mm_s

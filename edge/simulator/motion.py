"""How a simulated belt moves: its speed as straight pieces in time, its position their exact integral."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import floor, inf

from edge.simulator.settings import MotionName


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of time in which the speed goes from one value to another in a straight line."""

    seconds: float
    from_mm_s: float
    to_mm_s: float

    def moved(self, seconds: float) -> float:
        """The millimetres moved in the first seconds of the piece."""
        return self.from_mm_s * seconds + self._gain * seconds * seconds / 2

    def speed(self, seconds: float) -> float:
        return self.from_mm_s + self._gain * seconds

    @property
    def turns_at(self) -> float | None:
        """The second at which the speed passes through zero inside the piece, if it does."""
        if self.from_mm_s * self.to_mm_s >= 0:
            return None
        return -self.from_mm_s / self._gain

    @property
    def _gain(self) -> float:
        return (self.to_mm_s - self.from_mm_s) / self.seconds


class Motion:
    """A belt's position and speed at any time since its start, in closed form.

    The pieces repeat for ever. Position is 0 at time 0 and stays there before.

    >>> Motion([Piece(1.0, 500.0, 500.0)]).position_mm(2.5)
    1250.0
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = tuple(pieces)
        self._starts_s = (0.0, *accumulate(piece.seconds for piece in pieces))
        self._starts_mm = (0.0, *accumulate(piece.moved(piece.seconds) for piece in pieces))
        self.period_s = self._starts_s[-1]
        self.period_mm = self._starts_mm[-1]
        if self.period_mm <= 0:
            raise ValueError("a belt must move forward over each period")
        # Where the position can have an extreme: between pieces, and where the speed changes sign.
        turns = [start + t for start, p in zip(self._starts_s, pieces, strict=False) if (t := p.turns_at) is not None]
        self._corners_s = sorted({*self._starts_s, *turns})

    def position_mm(self, t: float) -> float:
        """Where the belt stands t seconds after its start, in mm."""
        turn, piece, rest = self._locate(t)
        return turn * self.period_mm + self._starts_mm[piece] + self._pieces[piece].moved(rest)

    def speed_mm_s(self, t: float) -> float:
        """How fast the belt runs at t; negative when it runs backwards."""
        _, piece, rest = self._locate(t)
        return self._pieces[piece].speed(rest)

    def span_mm(self, since: float, until: float) -> tuple[float, float]:
        """The least and the greatest position between two moments."""
        since, until = max(since, 0.0), max(until, since, 0.0)
        if until - since > 2 * self.period_s:
            # A period ends ahead of where it began, so the extremes lie in the first and the last one.
            first, last = (
                self.span_mm(since, since + self.period_s),
                self.span_mm(until - self.period_s, until),
            )
            return min(first[0], last[0]), max(first[1], last[1])
        found = [self.position_mm(since), self.position_mm(until)]
        for turn in range(floor(since / self.period_s), floor(until / self.period_s) + 1):
            moments = (turn * self.period_s + corner for corner in self._corners_s)
            found += [self.position_mm(moment) for moment in moments if since < moment < until]
        return min(found), max(found)

    def peak_mm(self, t: float) -> float:
        """The furthest that the belt has been up to t, in mm; a belt that runs back does not lower it."""
        return self.span_mm(t - 2 * self.period_s, t)[1]

    def reaches(self, position_mm: float) -> float:
        """The first moment at which the belt stands at a position, in seconds; 0 for what is behind its start."""
        if position_mm <= 0:
            return 0.0
        highest = self.span_mm(0.0, self.period_s)[1]
        low = max(floor((position_mm - highest) / self.period_mm), 0) * self.period_s
        high = low + self.period_s
        while self.peak_mm(high) < position_mm:
            low, high = high, high + self.period_s
        for _ in range(60):  # halving a period 60 times is below the resolution of a float
            middle = (low + high) / 2
            low, high = (low, middle) if self.peak_mm(middle) >= position_mm else (middle, high)
        return high

    def _locate(self, t: float) -> tuple[int, int, float]:
        if t <= 0 or t == inf:
            return 0, 0, 0.0
        turn = floor(t / self.period_s)
        rest = t - turn * self.period_s
        piece = min(max(bisect_right(self._starts_s, rest) - 1, 0), len(self._pieces) - 1)
        return turn, piece, rest - self._starts_s[piece]


def motion(name: MotionName, speed_mm_s: float, period_s: float) -> Motion:
    """The named way to run: at a steady speed, in ramps, with stops, or with a stretch run backwards."""
    fast, slow, back = speed_mm_s, speed_mm_s / 3, -speed_mm_s / 2
    shares_and_speeds = {
        "steady": [(1.0, fast, fast)],
        "ramps": [(0.3, fast, fast), (0.2, fast, slow), (0.3, slow, slow), (0.2, slow, fast)],
        "stop_and_go": [(0.5, fast, fast), (0.1, fast, 0.0), (0.3, 0.0, 0.0), (0.1, 0.0, fast)],
        "reverse": [(0.55, fast, fast), (0.15, fast, back), (0.15, back, back), (0.15, back, fast)],
    }
    return Motion([Piece(share * period_s, before, after) for share, before, after in shares_and_speeds[name]])

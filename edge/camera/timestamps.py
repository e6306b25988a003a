"""From a stream's own timestamps to moments on this machine's clock."""

from collections import deque

BUCKET_S = 0.5
BUCKETS = 6


class SteadyTimes:
    """Spaces pictures as the camera's clock does, anchored to the least delayed arrival of late.

    Networks only ever delay: of the offsets between arrival and timestamp, the smallest one is the
    truest (the minimum filter of NTP and of RTP jitter buffers; RFC 5905, section 10). It is taken over
    the last 3 s, so that two clocks may drift apart and a camera's clock may jump. A burst of pictures
    that waited somewhere is thus as old as it really is, and not fresh.
    """

    def __init__(self) -> None:
        self._least: deque[tuple[float, float]] = deque(maxlen=BUCKETS)  # start of bucket, smallest offset
        self._last = float("-inf")

    def arrived(self, own: float, arrival: float) -> float:
        """The moment of a picture, never after its arrival and always after the one before it.

        own is in seconds on the camera's clock, arrival and the result on this machine's.
        """
        offset = arrival - own
        if not self._least or arrival - self._least[-1][0] >= BUCKET_S:
            self._least.append((arrival, offset))
        elif offset < self._least[-1][1]:
            self._least[-1] = (self._least[-1][0], offset)
        # A better offset may move a picture back past its predecessor: the order is kept.
        at = own + min(least for _, least in self._least)
        self._last = max(at, self._last + 1e-6)
        return self._last

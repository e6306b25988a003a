"""What the empty belt looks like: a slow estimate of every pixel, its noise, and today's light on it."""

import cv2
import numpy as np

from edge.pyramid import Planes

FLOOR = 10.0  # how much more unlikeness than the moving belt shows at a pixel counts at least,
NOISES = 5.0  # and as a multiple of the belt's own mean deviation there
SEED = 1.5  # a blob needs a pixel this many times above the threshold that outlines it,
SEED_FLOOR = 40  # and this many grey levels, summed over the channels, away from the belt
SETTLING_S = 2.0  # the time constant of the estimate, once it has seen that much;
LEARN_S = 0.05  # from then on one picture in so many seconds is enough to follow it
SAMPLES = 1000  # pixels that the light is measured on
SAME_LIGHT = 0.003  # light this much weaker or stronger is the same light


class Background:
    """A picture of the belt without items, kept up to date from the parts that show no item.

    A belt looks the same along its travel, so the first picture is enough to begin with: the median
    of each line along the belt, times the slow change of light along it. Items in that first picture
    therefore stand out at once, instead of becoming a part of the background.

    All pictures are planes, three uint8 [h, w] of the size of the first. `difference` is on every
    frame's way to its decision and so does as little as it can; `learn` prepares what it needs.
    """

    def __init__(self, first: Planes, sideways: bool) -> None:
        height, width = first[0].shape
        self._picture = [np.ascontiguousarray(plane) for plane in cv2.split(_plain_belt(cv2.merge(first), sideways))]
        step = max(round((height * width / SAMPLES) ** 0.5), 1)
        self._grid = np.arange(height * width).reshape(height, width)[::step, ::step].ravel()
        self._bare = self._grid
        self._samples = self._sampled(self._picture)
        self._gain: tuple[float, ...] = (1.0, 1.0, 1.0)
        self._lit_gain: tuple[float, ...] = self._gain
        self._lit = [cv2.convertScaleAbs(plane) for plane in self._picture]
        self._seen_s = self._since_s = 0.0
        difference = unlikeness(first, self._lit)
        across = 1 if sideways else 0
        lines = np.median(difference, axis=across, keepdims=True)
        self._noise = np.full(difference.shape, lines, np.float32)
        deviation = np.median(np.abs(difference - lines), axis=across, keepdims=True)
        self._deviation = np.full(difference.shape, deviation, np.float32)
        self._covered_s = np.zeros(difference.shape, np.float32)
        self._seen_bare = np.zeros(difference.shape, np.uint8)
        self._set_thresholds()

    @property
    def lit(self) -> Planes:
        """The empty belt under the light of the picture last compared."""
        return self._lit

    def difference(self, picture: Planes) -> np.ndarray:
        """How unlike the belt each pixel is (see `unlikeness`), uint8 [h, w].

        The light's gain is measured first, as the median ratio of the two pictures, so that a
        flickering lamp or the camera's own exposure control is not taken for items.
        """
        ratios = self._sampled(picture) / self._samples
        middle = ratios.shape[1] // 2
        ratios.partition(middle, axis=1)
        self._gain = tuple(min(max(gain, 0.25), 4.0) for gain in ratios[:, middle].tolist())
        change = max(abs(now - then) for now, then in zip(self._gain, self._lit_gain, strict=True))
        if change > SAME_LIGHT * min(self._lit_gain):
            self._light()
        return unlikeness(picture, self._lit)

    def learn(
        self,
        picture: Planes,
        difference: np.ndarray,
        items: np.ndarray,
        kept: np.ndarray,
        dt: float,
        patience_s: float,
    ) -> None:
        """Takes in what the picture last compared shows of the belt.

        items is uint8 [h, w], not 0 where something lies on the belt; there nothing is learnt until
        the pixel has been covered for patience_s seconds without a break, and never where kept,
        uint8 [h, w], is not 0. dt is the time since the last picture, in seconds.
        """
        bare = cv2.compare(items, 0, cv2.CMP_EQ)
        cv2.max(self._seen_bare, bare, dst=self._seen_bare)
        cv2.max(self._seen_bare, kept, dst=self._seen_bare)
        self._since_s += dt
        if self._seen_s >= SETTLING_S and self._since_s < LEARN_S:
            return
        passed, self._since_s = self._since_s, 0.0
        self._seen_s = min(self._seen_s + passed, SETTLING_S)
        rate = min(max(passed / max(self._seen_s, 1e-3), 0.002), 0.5)
        for plane, belt in zip(picture, self._picture, strict=True):
            cv2.accumulateWeighted(plane, belt, rate, mask=bare)
        off = cv2.absdiff(difference, cv2.convertScaleAbs(self._noise))
        cv2.accumulateWeighted(difference, self._noise, rate / 2, mask=bare)
        cv2.accumulateWeighted(off, self._deviation, rate / 2, mask=bare)
        self._forget_what_lies_still(picture, passed, patience_s)
        bare_now = self._grid[self._covered_s.ravel()[self._grid] == 0]
        self._bare = bare_now if bare_now.size > self._grid.size // 4 else self._grid
        self._samples = self._sampled(self._picture)
        self._light()

    def _forget_what_lies_still(self, picture: Planes, passed: float, patience_s: float) -> None:
        self._covered_s += passed
        self._covered_s[self._seen_bare > 0] = 0
        self._seen_bare[:] = 0
        stuck = self._covered_s > patience_s
        if stuck.any():
            for plane, belt in zip(picture, self._picture, strict=True):
                belt[stuck] = plane[stuck]
            self._covered_s[stuck] = 0

    def _sampled(self, planes: Planes) -> np.ndarray:
        """A thin grid of the bare belt, float32 [3, n]; a little is added to both sides of a ratio: black is no 0."""
        return np.array([plane.ravel()[self._bare] for plane in planes], np.float32) + 4

    def _light(self) -> None:
        """The empty belt and its thresholds as the light of the picture last compared makes them."""
        self._lit_gain = self._gain
        for plane, lit, gain in zip(self._picture, self._lit, self._gain, strict=True):
            cv2.convertScaleAbs(plane, dst=lit, alpha=gain)
        self._set_thresholds()

    def _set_thresholds(self) -> None:
        """threshold is what a pixel must exceed to differ from the belt, seed what one pixel of every item exceeds."""
        # More light makes the belt's own pattern stand out more.
        more = max(sum(self._gain) / 3, 1.0)
        self.threshold = cv2.convertScaleAbs(cv2.addWeighted(self._noise, more, self._deviation, NOISES * more, FLOOR))
        self.seed = np.maximum(cv2.convertScaleAbs(self.threshold, alpha=SEED), np.uint8(SEED_FLOOR))


def unlikeness(picture: Planes, belt: Planes) -> np.ndarray:
    """How much each pixel differs from the belt, at most 255: two times three uint8 [h, w] to uint8 [h, w].

    It is the sum of the channels' differences, and twice how far these are apart: a belt's pattern is
    darker or lighter in all channels alike, so another colour of the same lightness counts for more.
    """
    total = spread = None
    for more, less in ((picture, belt), (belt, picture)):
        blue, green, red = (cv2.subtract(a, b) for a, b in zip(more, less, strict=True))
        high, low = np.maximum(blue, green), np.minimum(blue, green)
        np.maximum(high, red, out=high)
        np.minimum(low, red, out=low)
        # Of what differs upwards in one channel and downwards in another, the least of each is 0.
        apart = np.subtract(high, low, out=high)
        own = cv2.add(cv2.add(blue, green, dst=blue), red, dst=blue)
        total = own if total is None else cv2.add(total, own, dst=total)
        spread = apart if spread is None else cv2.add(spread, apart, dst=spread)
    assert total is not None
    assert spread is not None
    return cv2.add(cv2.add(total, spread, dst=total), spread, dst=total)


def _plain_belt(picture: np.ndarray, sideways: bool) -> np.ndarray:
    """The belt that best explains one picture: a profile across it, times a slow one along it."""
    along, across = (1, 0) if sideways else (0, 1)
    lines = np.median(picture, axis=along, keepdims=True).astype(np.float32) + 1
    light = np.median((picture + np.float32(1)) / lines, axis=across, keepdims=True)
    size = picture.shape[along] // 8 * 2 + 1
    kernel = (size, 1) if sideways else (1, size)
    slow = cv2.blur(np.ascontiguousarray(light), kernel, borderType=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(lines * slow.reshape(light.shape) - 1).astype(np.float32)

"""What the empty belt looks like: a slow estimate of every pixel, its noise, and today's light on it."""

import cv2
import numpy as np

FLOOR = 10.0  # how much more unlikeness than the moving belt shows at a pixel counts at least,
NOISES = 5.0  # and as a multiple of the belt's own mean deviation there
SETTLING_S = 2.0  # the time constant of the estimate, once it has seen that much
HUE = 2.0  # how much more another colour counts than another lightness


class Background:
    """A picture of the belt without items, kept up to date from the parts that show no item.

    A belt looks the same along its travel, so the first picture is enough to begin with: the median
    of each line along the belt, times the slow change of light along it. Items in that first picture
    therefore stand out at once, instead of becoming a part of the background.

    All pictures are uint8 [h, w, 3] of the size of the first.
    """

    def __init__(self, first: np.ndarray, sideways: bool) -> None:
        self._picture = _plain_belt(first, sideways)
        self._step = max(min(first.shape[:2]) // 48, 1)
        self._gain = np.ones(3)
        self._lit = cv2.convertScaleAbs(self._picture)
        self._seen_s = 0.0
        difference = unlikeness(first, self._lit)
        across = 1 if sideways else 0
        lines = np.median(difference, axis=across, keepdims=True)
        self._noise = np.full(difference.shape, lines, np.float32)
        deviation = np.median(np.abs(difference - lines), axis=across, keepdims=True)
        self._deviation = np.full(difference.shape, deviation, np.float32)
        self._covered_s = np.zeros(difference.shape, np.float32)
        self.threshold = difference

    @property
    def lit(self) -> np.ndarray:
        """The empty belt under the light of the picture last compared, uint8 [h, w, 3]."""
        return self._lit

    def difference(self, picture: np.ndarray) -> np.ndarray:
        """How unlike the belt each pixel is (see `unlikeness`), uint8 [h, w].

        The light's gain is measured first, as the median ratio of the two pictures, so that a
        flickering lamp or the camera's own exposure control is not taken for items.
        """
        step = self._step
        now = picture[::step, ::step].reshape(-1, 3).astype(np.float32) + 4
        then = self._picture[::step, ::step].reshape(-1, 3) + 4
        bare = self._covered_s[::step, ::step].ravel() == 0
        if np.count_nonzero(bare) > bare.size // 4:
            now, then = now[bare], then[bare]
        self._gain = np.clip(np.median(now / then, axis=0), 0.25, 4)
        planes = zip(cv2.split(self._picture), self._gain, strict=True)
        self._lit = cv2.merge([cv2.convertScaleAbs(plane, alpha=gain) for plane, gain in planes])
        # More light makes the belt's own pattern stand out more.
        more = max(float(self._gain.mean()), 1.0)
        self.threshold = cv2.convertScaleAbs(cv2.addWeighted(self._noise, more, self._deviation, NOISES * more, FLOOR))
        return unlikeness(picture, self._lit)

    def learn(
        self,
        picture: np.ndarray,
        difference: np.ndarray,
        items: np.ndarray,
        kept: np.ndarray,
        dt: float,
        patience_s: float,
    ) -> None:
        """Takes in what a picture shows of the belt.

        items is uint8 [h, w], not 0 where something lies on the belt; there nothing is learnt until
        the pixel has been covered for patience_s seconds without a break, and never where kept,
        uint8 [h, w], is not 0. dt is the time since the last picture, in seconds.
        """
        self._seen_s = min(self._seen_s + dt, SETTLING_S)
        rate = min(max(dt / max(self._seen_s, 1e-3), 0.002), 0.5)
        bare = cv2.compare(items, 0, cv2.CMP_EQ)
        cv2.accumulateWeighted(picture, self._picture, rate, mask=bare)
        off = cv2.absdiff(difference, cv2.convertScaleAbs(self._noise))
        cv2.accumulateWeighted(difference, self._noise, rate / 2, mask=bare)
        cv2.accumulateWeighted(off, self._deviation, rate / 2, mask=bare)
        self._covered_s += dt
        self._covered_s[bare > 0] = 0
        self._covered_s[kept > 0] = 0
        stuck = self._covered_s > patience_s
        if stuck.any():
            self._picture[stuck] = picture[stuck]
            self._covered_s[stuck] = 0


def unlikeness(picture: np.ndarray, belt: np.ndarray) -> np.ndarray:
    """How much each pixel differs from the belt, at most 255: two uint8 [h, w, 3] to uint8 [h, w].

    It is the sum of the channels' differences, and HUE times how far these are apart: a belt's pattern
    is darker or lighter in all channels alike, so another colour of the same lightness counts for more.
    """
    above, below = cv2.split(cv2.subtract(picture, belt)), cv2.split(cv2.subtract(belt, picture))
    total, spread = np.zeros(belt.shape[:2], np.uint8), np.zeros(belt.shape[:2], np.uint8)
    for blue, green, red in (above, below):
        total = cv2.add(total, cv2.add(cv2.add(blue, green), red))
        high, low = cv2.max(cv2.max(blue, green), red), cv2.min(cv2.min(blue, green), red)
        spread = cv2.add(spread, cv2.subtract(high, low))
    return cv2.addWeighted(total, 1, spread, HUE, 0)


def _plain_belt(picture: np.ndarray, sideways: bool) -> np.ndarray:
    """The belt that best explains one picture: a profile across it, times a slow one along it."""
    along, across = (1, 0) if sideways else (0, 1)
    lines = np.median(picture, axis=along, keepdims=True).astype(np.float32) + 1
    light = np.median((picture + np.float32(1)) / lines, axis=across, keepdims=True)
    size = picture.shape[along] // 8 * 2 + 1
    kernel = (size, 1) if sideways else (1, size)
    slow = cv2.blur(np.ascontiguousarray(light), kernel, borderType=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(lines * slow.reshape(light.shape) - 1).astype(np.float32)

"""BeltTexture: how far the belt moved between two pictures, as its own texture and all that lies on it show it.

Thin bands along the travel, spread across the belt, are correlated with those of an earlier picture, which
serves until the belt has moved on a little: so errors do not add up while it creeps or stands. The belt
needs no items for that, only a surface that is not the same everywhere.
"""

from dataclasses import dataclass
from math import hypot, pi, sqrt

import cv2
import numpy as np

from edge.config import BeltSettings, ItemsSettings
from edge.records import Frame
from edge.travel import Travel, sight

BANDS, BAND_PX = 8, 6
RAILS = 0.1  # the share of the sight on either side that may be a rail
SAMPLES = 640  # along the belt, at most
MARKED = 4.0  # what is so many times stronger than half of the belt's marks is no mark of it
FARTHEST = 0.6  # a longer step, as a share of the sight's length, leaves too little that both pictures show
# Shorter waves than so many pixels are noise and weave, longer ones than so many light that wanders.
FINEST_PX, COARSEST_PX = 8.0, 160.0
RIVAL = 0.8  # a second place that fits so well compared with the best makes a step doubtful,
NEAR = 0.15  # unless what was expected tells them apart: closer to it by this share, and so many samples
NEAR_SAMPLES = 4.0
SIGNIFICANT = 6.0  # deviations of what two pictures of noise have in common by chance, of which
BANDWIDTH = 0.3  # this share of the samples is independent
FINE = np.linspace(-0.75, 0.75, 13, dtype=np.float32)
BETWEEN = 0.05  # samples: what remains between two of them, whatever the noise
RENEWED_PX = 12.0  # so far from its reference a picture becomes the next one
SURE_PX = 1.0  # a step whose error (95 %) is larger is not told
STILL_RATE = 0.05  # how fast what stays in the picture is learnt, a reference
SETTLED = 4  # references until what stays is known


@dataclass(frozen=True, slots=True)
class Step:
    """How far the belt moved along its travel since the frame before, in pixels.

    error_px is what this adds to the error (95 %) of the way travelled so far: nothing while the earlier
    picture is still the same.
    """

    moved_px: float
    error_px: float


class BeltTexture:
    """Compares each picture's bands with those of the one before. Frames must come in the order of capture."""

    def __init__(self, items: ItemsSettings, belt: BeltSettings) -> None:
        self._roi, self._direction = items.roi, belt.direction
        self._travel: Travel | None = None
        self._places: list[int] = []
        self._along = slice(0)
        self._samples = self._size = 0
        self._scale = 1.0
        self._pass = np.zeros(0, np.float32)
        self._turns = self._between = np.zeros(0, np.complex64)
        self._blur = 1
        self._still: np.ndarray | None = None
        self._moving = 0
        self._most = 0.0
        self._reference: np.ndarray | None = None
        self._moved_px = 0.0  # since the reference

    def step(self, frame: Frame, expected_px: float | None) -> Step | None:
        """The step since the frame before; None where the pictures do not show it for certain.

        expected_px tells apart what repeats itself along the belt; None when nothing is expected.
        """
        height, width = frame.pixels.shape[:2]
        if self._travel is None or (self._travel.width, self._travel.height) != (width, height):
            self._begin(Travel(self._direction, width, height))
        bands = self._bands(frame.pixels)
        spectra, reference, before_px = self._spectra(bands), self._reference, self._moved_px
        since = None
        if reference is not None:
            since = self._compare(reference, spectra, None if expected_px is None else before_px + expected_px)
        renew = since is None or abs(since.moved_px) > RENEWED_PX
        self._moved_px = 0.0 if renew or since is None else since.moved_px
        if renew:
            self._reference = spectra
        if since is None:
            return None
        if renew:
            self._learn_still(bands)
        return Step(since.moved_px - before_px, since.error_px if renew else 0.0)

    def _begin(self, travel: Travel) -> None:
        self._travel, self._reference, self._still, self._moving = travel, None, None, 0
        self._moved_px = 0.0
        seen = sight(self._roi, travel.width, travel.height)
        along, across = (seen.width, seen.height) if travel.sideways else (seen.height, seen.width)
        start, first = (seen.x, seen.y) if travel.sideways else (seen.y, seen.x)
        self._along = slice(start, start + along)
        places = first + np.linspace(RAILS, 1 - RAILS, BANDS) * max(across - BAND_PX, 0)
        self._places = [round(place) for place in places.tolist()]
        self._samples = along // max(-(-along // SAMPLES), 1)
        self._scale = along / self._samples
        self._size = cv2.getOptimalDFTSize(2 * self._samples)
        waves = np.arange(self._size // 2 + 1) / self._size / self._scale  # cycles a pixel
        self._turns = (2j * pi / self._size * np.arange(self._size // 2 + 1)).astype(np.complex64)
        self._between = np.exp(FINE[:, None] * self._turns).astype(np.complex64)
        self._blur = 2 * round(COARSEST_PX / self._scale / 4) + 1
        self._pass = np.exp(-((waves * FINEST_PX) ** 2)).astype(np.float32)

    def _bands(self, pixels: np.ndarray) -> np.ndarray:
        """The bands' brightness along the travel, float32 [BANDS, samples], upstream first."""
        assert self._travel is not None
        thin = np.empty((BANDS, self._samples, 3), np.uint8)
        shape = (self._samples, 1) if self._travel.sideways else (1, self._samples)
        for n, at in enumerate(self._places):
            across = slice(at, at + BAND_PX)
            band = pixels[across, self._along] if self._travel.sideways else pixels[self._along, across]
            thin[n] = cv2.resize(band, shape, interpolation=cv2.INTER_AREA).reshape(-1, 3)
        bands = thin[..., 1].astype(np.float32)
        return np.ascontiguousarray(bands[:, ::-1]) if self._direction in {"left", "up"} else bands

    def _compare(self, before: np.ndarray, after: np.ndarray, expected_px: float | None) -> Step | None:
        cross = (np.conj(before) * after).mean(axis=0) * self._pass
        together = np.fft.irfft(cross, self._size)
        reach = int(self._samples * FARTHEST)
        places = np.arange(-reach, reach + 1)
        overlap = (self._samples - np.abs(places)).astype(np.float32)
        values = together[places] / overlap
        power = float(sqrt(max(self._power(before) * self._power(after), 1e-12))) / self._samples
        best = self._choose(values, places, expected_px)
        if best is None or not 0 < best < len(values) - 1:
            return None
        if values[best] < SIGNIFICANT * power / sqrt(BANDS * BANDWIDTH * float(overlap[best])):
            return None
        left, middle, right = (float(values[best + d]) for d in (-1, 0, 1))
        bend = left - 2 * middle + right
        if bend >= 0:
            return None
        moved = int(places[best]) + self._beyond(cross, int(places[best]))
        # The error of a shift between two noisy signals (Cramér-Rao bound): noise over slope and length;
        # bend is the mean square slope, and twice what both do not share is the noise. 2 for 95 %.
        noise = 2 * max(power - middle, 0.0)
        error = 2 * sqrt(noise / (-bend * BANDS * float(overlap[best])))
        step = Step(moved * self._scale, hypot(error, BETWEEN) * self._scale)
        return step if step.error_px < SURE_PX else None

    def _choose(self, values: np.ndarray, places: np.ndarray, expected_px: float | None) -> int | None:
        """The place that fits best; where others fit nearly as well, the one that was expected, or none."""
        best = int(values.argmax())
        peaks = np.flatnonzero((values[1:-1] > values[:-2]) & (values[1:-1] >= values[2:])) + 1
        rivals = peaks[values[peaks] >= RIVAL * values[best]]
        if len(rivals) < 2:
            return best
        if expected_px is None:
            return None
        expected = expected_px / self._scale
        nearest = int(rivals[np.abs(places[rivals] - expected).argmin()])
        near = abs(float(places[nearest]) - expected) <= NEAR * abs(expected) + NEAR_SAMPLES
        return nearest if near else None

    def _spectra(self, bands: np.ndarray) -> np.ndarray:
        """The bands without what stays and what varies slowly, as spectra, complex64 [BANDS, size // 2 + 1]."""
        if self._still is not None and self._moving >= SETTLED:
            bands = bands - self._still
        bands = bands - cv2.blur(bands, (self._blur, 1))
        # What stands out, as a hand or an item does, would count for more than all of the belt: it is left out.
        size = np.abs(bands)
        self._most = MARKED * float(np.median(size[:, ::4]))
        return np.asarray(np.fft.rfft(np.where(size > self._most, np.float32(0), bands), self._size, axis=1))

    def _beyond(self, cross: np.ndarray, whole: int) -> float:
        """How far the correlation's peak lies beyond a whole sample: it is known between samples just as well."""
        # Not a matrix product: that would wake the threads of numpy's library.
        fine = (self._between * (cross * np.exp(self._turns * whole))).sum(axis=1).real
        best = min(max(int(fine.argmax()), 1), len(fine) - 2)
        left, middle, right = fine[best - 1 : best + 2].tolist()
        bend = min(left - 2 * middle + right, -1e-12)
        return float(FINE[best]) + (left - right) / (2 * bend) * float(FINE[1] - FINE[0])

    def _power(self, spectra: np.ndarray) -> float:
        """What the correlation of the bands with themselves is where they lie upon each other."""
        each = np.einsum("bf,bf->f", spectra.real, spectra.real) + np.einsum("bf,bf->f", spectra.imag, spectra.imag)
        return 2 * float(each @ self._pass) / (self._size * len(spectra))

    def _learn_still(self, bands: np.ndarray) -> None:
        """What stays in the picture while the belt moves, uneven light or a rail, is no part of the belt."""
        self._moving += 1
        if self._still is None:
            self._still = bands.copy()
        else:
            change = np.clip(bands - self._still, -self._most, self._most)
            self._still += max(STILL_RATE, 1 / self._moving) * change

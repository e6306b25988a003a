"""Which pictures of a dataset show nearly the same: a perceptual hash proposes, a small colour picture confirms.

Two pictures are near duplicates when their hashes, of the 144 lowest cosine frequencies, differ in few
bits and their 32 x 32 colour pictures by little: one of LIMITS. The second is for smooth pictures,
where the camera's noise decides many bits. Frames of one turn of a Fruits-360
fruit that follow each other differ in 10 bits (median) and by a tenth of what any two pictures differ
by; no two kinds of fruit, and no two drawn parts, pass both tests.

The hash is pHash with a longer word: C. Zauner, "Implementation and Benchmarking of Perceptual Image
Hash Functions", 2010, section 3.2.1.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

# Bits of 144 that may differ, and the mean difference of colours that may go with them, as a share of
# the median difference between any two pictures of the dataset.
LIMITS = ((16, 0.15), (24, 0.075))
MAX_DIFFERENCE = 8.0  # of 255, however much the pictures of the dataset differ
SIDE = 32
BLOCK = 256


@dataclass(frozen=True)
class Looks:
    """What n pictures look like: hashes uint64 [n, 3], thumbs uint8 [n, 32, 32, 3]."""

    hashes: np.ndarray
    thumbs: np.ndarray

    @classmethod
    def room(cls, n: int) -> "Looks":
        """Room for n pictures, to be filled row by row with `put`."""
        return cls(np.zeros((n, 3), np.uint64), np.zeros((n, SIDE, SIDE, 3), np.uint8))

    def put(self, row: int, picture: np.ndarray) -> None:
        """Keeps what a picture, uint8 [H, W, 3], looks like."""
        grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), (64, 64), interpolation=cv2.INTER_AREA)
        low = cv2.dct(grey.astype(np.float32))[:12, :12]
        bits = np.zeros(192, bool)
        bits[:144] = (low > np.median(low)).ravel()
        self.hashes[row] = np.packbits(bits).view(np.uint64)
        self.thumbs[row] = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)

    def only(self, rows: np.ndarray) -> "Looks":
        """Some of them, by their rows."""
        return Looks(self.hashes[rows], self.thumbs[rows])

    def __len__(self) -> int:
        return len(self.hashes)


def near_pairs(looks: Looks) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """All pairs of near duplicates, block by block: rows int64 [m], later rows int64 [m], differences float32 [m].

    The time is quadratic in the number of pictures, the memory linear.
    """
    usual = _usual_difference(looks)
    limits = [(bits, min(MAX_DIFFERENCE, share * usual)) for bits, share in LIMITS]
    most_bits = max(bits for bits, _ in LIMITS)
    thumbs = looks.thumbs.reshape(len(looks), -1)
    for start in range(0, len(looks), BLOCK):
        block = looks.hashes[start : start + BLOCK]
        differing = np.zeros((len(block), len(looks) - start), np.uint8)
        for word in range(looks.hashes.shape[1]):
            differing += np.bitwise_count(block[:, None, word] ^ looks.hashes[None, start:, word])
        rows, others = np.nonzero(differing <= most_bits)
        later = others > rows
        bits = differing[rows[later], others[later]]
        rows, others = rows[later] + start, others[later] + start
        for at in range(0, len(rows), BLOCK * 16):
            first, second = rows[at : at + BLOCK * 16], others[at : at + BLOCK * 16]
            difference = cv2.absdiff(thumbs[first], thumbs[second]).mean(axis=1, dtype=np.float32)
            step = bits[at : at + BLOCK * 16]
            near = np.any([(step <= most) & (difference <= limit) for most, limit in limits], axis=0)
            if near.any():
                yield first[near], second[near], difference[near]


class Groups:
    """Pictures joined into groups, one pair at a time; whoever is joined to one is joined to all of its group."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def join(self, one: int, other: int) -> None:
        first, second = self._first(one), self._first(other)
        self._parent[max(first, second)] = min(first, second)

    def firsts(self) -> np.ndarray:
        """For each picture the lowest row of its group, int64 [n]."""
        return np.array([self._first(row) for row in range(len(self._parent))], np.int64)

    def _first(self, row: int) -> int:
        while self._parent[row] != row:
            self._parent[row] = self._parent[self._parent[row]]
            row = self._parent[row]
        return row


def similar_groups(looks: Looks) -> np.ndarray:
    """Groups of near duplicates, however long the chain from one to the next: the lowest row of each, int64 [n]."""
    groups = Groups(len(looks))
    for rows, others, _ in near_pairs(looks):
        for row, other in zip(rows.tolist(), others.tolist(), strict=True):
            groups.join(row, other)
    return groups.firsts()


def _usual_difference(looks: Looks, pairs: int = 2000) -> float:
    """The median difference of the colours of any two pictures, 0 to 255."""
    if len(looks) < 2:
        return 0.0
    draw = np.random.default_rng(0)
    one = draw.integers(0, len(looks), pairs)
    other = (one + draw.integers(1, len(looks), pairs)) % len(looks)
    flat = looks.thumbs.reshape(len(looks), -1)
    return float(np.median(cv2.absdiff(flat[one], flat[other]).mean(axis=1)))

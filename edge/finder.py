"""Finder: one picture in, the boxes of what lies on the belt out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from edge.background import Background
from edge.config import BeltSettings, ItemsSettings
from edge.outline import Outline, outlines
from edge.records import Box, Frame
from edge.travel import Travel, sight

WORK_PX = 320  # about the longer side of the picture in which items are searched,
FINE_PX = 128  # and the most that a thing's longer side measures in the picture that shows its outline
LEAST_PX = 3  # what the smallest item must still measure where items are searched,
LEAST_FULL_PX = 12  # and in the full picture, for fewer show a speck rather than an item
FILL = 0.35  # the least share of a square of that size that an item's area fills
SEED = 1.5  # a blob needs a pixel this many times above the threshold that outlines it,
SEED_FLOOR = 40  # and this many grey levels, summed over the channels, away from the belt
NARROW = 0.25  # an item is at least this much of that size wide, a scratch is not
MOST = 64  # things looked at in one picture; more than that is not a belt of items but a disturbance
SEVERAL = 3  # what is longer than an item may be is several that touch, unless it is this much longer
PATIENCE_S = 3.0  # what lies still for this long, and never travelled, belongs to the belt's surroundings


@dataclass(frozen=True, slots=True)
class Found:
    """Something on the belt in one picture.

    box is in whole pixels of the full picture, centre is its centre of gravity there, x and y.
    cut_entry, cut_exit and cut_side say which edges of the sight cut it, touching that its outline
    meets another item's. What was found in one connected blob of a picture has the same blob number.
    """

    box: Box
    area_px: float
    centre: tuple[float, float]
    touching: bool = False
    cut_entry: bool = False
    cut_exit: bool = False
    cut_side: bool = False
    blob: int = 0


class Finder:
    """Finds what lies on the belt in one picture after another, in the order they were taken.

    It searches a reduced picture for what differs from the empty belt, and then measures each box in
    a finer one. It keeps state (the empty belt's look), so each camera needs its own. A change of the
    picture's size starts it anew.
    """

    def __init__(self, settings: ItemsSettings, belt: BeltSettings) -> None:
        self._settings = settings
        self._belt = belt
        self._patience_s = max(PATIENCE_S, 2 * settings.max_mm / belt.speed_mm_s)
        self._sight: _Sight | None = None

    def find(self, frame: Frame, kept: Sequence[Box] = ()) -> list[Found]:
        """The boxes on the belt. kept are boxes of known items: they never melt into the background."""
        height, width = frame.pixels.shape[:2]
        if self._settings.mode == "frame":
            return [Found(Box(0, 0, width, height), float(width * height), (width / 2, height / 2))]
        if self._sight is None or self._sight.picture_size != (width, height):
            self._sight = _Sight(frame, self._settings, self._belt)
        return self._sight.find(frame, kept, self._patience_s)


class _Sight:
    """The part of the picture that is looked at, its scale, and what the empty belt looks like there."""

    def __init__(self, frame: Frame, settings: ItemsSettings, belt: BeltSettings) -> None:
        height, width = frame.pixels.shape[:2]
        self.picture_size = (width, height)
        seen = sight(settings.roi, width, height)
        least = max(settings.min_mm * belt.pixels_per_mm, LEAST_FULL_PX)
        halvings = round(math.log2(max(seen.width, seen.height) / WORK_PX))
        self.halvings = max(min(halvings, int(math.log2(max(least / LEAST_PX, 1)))), 0)
        self.scale = 2**self.halvings
        self.left, self.top = seen.x, seen.y
        self.width, self.height = seen.width // self.scale * self.scale, seen.height // self.scale * self.scale
        self.travel = Travel(belt.direction, self.width, self.height)
        self.least_px, self.most_px = least, settings.max_mm * belt.pixels_per_mm
        self.at = frame.captured_at
        self.background = Background(self._reduced(frame)[-1], self.travel.sideways)

    def _reduced(self, frame: Frame) -> list[np.ndarray]:
        """The sight at full size, halved, halved again and so on; items are searched in the last one."""
        pictures = [frame.pixels[self.top : self.top + self.height, self.left : self.left + self.width]]
        for _ in range(self.halvings):
            height, width = pictures[-1].shape[:2]
            pictures.append(cv2.resize(pictures[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
        return pictures

    def find(self, frame: Frame, kept: Sequence[Box], patience_s: float) -> list[Found]:
        dt = max(frame.captured_at - self.at, 0.0)
        self.at = frame.captured_at
        pictures = self._reduced(frame)
        picture = pictures[-1]
        background = self.background
        difference = background.difference(picture)
        threshold = background.threshold
        low = cv2.compare(difference, threshold, cv2.CMP_GT)
        # This algorithm of the six that OpenCV has takes a third of the default one's time at 8-connectivity.
        count, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(low, 8, cv2.CV_32S, cv2.CCL_GRANA)
        seeds = cv2.compare(difference, cv2.max(cv2.convertScaleAbs(threshold, alpha=SEED), SEED_FLOOR), cv2.CMP_GT)
        seeded = np.bincount(labels[seeds > 0], minlength=count) > 0
        seeded[0] = False
        found = []
        for label in self._candidates(stats, seeded):
            found += self._measure(label, labels, stats, difference, pictures)
        covered = cv2.dilate((seeded * np.uint8(255))[labels], np.ones((5, 5), np.uint8))
        background.learn(picture, difference, covered, self._kept(kept, covered.shape), dt, patience_s)
        return found

    def _candidates(self, stats: np.ndarray, seeded: np.ndarray) -> np.ndarray:
        """The labels of the components that stand out and are large enough to be items."""
        least = max(self.least_px / self.scale, 2)
        extent = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
        area = stats[:, cv2.CC_STAT_AREA]
        labels = np.flatnonzero(seeded & (extent >= least) & (area >= least))
        return labels if labels.size <= MOST else labels[np.argsort(-area[labels])[:MOST]]

    def _kept(self, boxes: Sequence[Box], shape: tuple[int, ...]) -> np.ndarray:
        mask = np.zeros(shape, np.uint8)
        for box in boxes:
            x, y = (box.x - self.left) // self.scale, (box.y - self.top) // self.scale
            right = (box.x + box.width - self.left) // self.scale + 3
            bottom = (box.y + box.height - self.top) // self.scale + 3
            mask[max(y - 2, 0) : max(bottom, 0), max(x - 2, 0) : max(right, 0)] = 255
        return mask

    def _measure(
        self,
        label: int,
        labels: np.ndarray,
        stats: np.ndarray,
        difference: np.ndarray,
        pictures: list[np.ndarray],
    ) -> list[Found]:
        """Measures one component in a finer picture; what is too faint or not of an item's size is left out."""
        x, y, w, h, _ = (int(v) for v in stats[label])
        left, top = max(x - 1, 0), max(y - 1, 0)
        right, bottom = min(x + w + 1, labels.shape[1]), min(y + h + 1, labels.shape[0])
        window = np.s_[top:bottom, left:right]
        own = cv2.compare(labels[window], float(label), cv2.CMP_EQ)
        contrast = difference[window]
        values = contrast[own > 0]
        usual = float(np.partition(values, values.size * 4 // 5)[values.size * 4 // 5])
        area = float(stats[label, cv2.CC_STAT_AREA]) * self.scale**2
        if usual < SEED_FLOOR * (1 + min(self.least_px**2 / area, 1)):
            return []  # a scratch or a stain on the belt: the smaller it is, the clearer it must stand out
        # The larger a thing is, the coarser a picture shows its outline well enough.
        level = min(max(math.ceil(math.log2(max(w, h) * self.scale / FINE_PX)), 0), self.halvings)
        ratio = self.scale >> level
        part = pictures[level][top * ratio : bottom * ratio, left * ratio : right * ratio]
        if level == 0:
            part = cv2.GaussianBlur(part, (3, 3), 0)  # what halving does to the noise elsewhere
        size = part.shape[1], part.shape[0]
        belt = cv2.resize(self.background.lit[window], size, interpolation=cv2.INTER_LINEAR)
        limit = cv2.resize(self.background.threshold[window], size, interpolation=cv2.INTER_NEAREST)
        own = cv2.resize(cv2.dilate(own, np.ones((3, 3), np.uint8)), size, interpolation=cv2.INTER_NEAREST)
        around = Box(x * self.scale, y * self.scale, w * self.scale, h * self.scale)
        things = [
            self._thing(outline, around, left * self.scale, top * self.scale, 1 << level)
            for outline in outlines(part, belt, limit, own, usual)
        ]
        return [replace(thing, blob=label) for thing in things if thing is not None]

    def _thing(self, outline: Outline, around: Box, left: int, top: int, scale: int) -> Found | None:
        """One outline in a window of the finer picture as a Found; None when it is not of an item's size.

        around is the blob that it is a part of, left and top are where the window begins in the sight,
        and scale is how many pixels of the sight one of the window's is.
        """
        area = outline.area * scale**2
        if area < FILL * self.least_px**2:
            return None
        own = outline.box
        box = Box(left + own.x * scale, top + own.y * scale, own.width * scale, own.height * scale)
        longer = max(box.width, box.height)
        if not self.least_px <= longer <= SEVERAL * self.most_px or area < NARROW * self.least_px * longer:
            return None
        entry, end, sides = self._cuts(box, around)
        if sides == 2:
            return None  # a seam of the belt, a shadow or an arm: no item lies across the whole sight
        x, y = left + outline.centre[0] * scale, top + outline.centre[1] * scale
        return Found(
            box=Box(box.x + self.left, box.y + self.top, box.width, box.height),
            area_px=area,
            centre=(x + self.left, y + self.top),
            touching=outline.touching or longer > self.most_px,
            cut_entry=entry,
            cut_exit=end,
            cut_side=sides > 0,
        )

    def _cuts(self, box: Box, around: Box) -> tuple[bool, bool, int]:
        """Whether the edge of entry and that of exit cut a thing, and how many of the side edges do.

        At an edge the outline of a dark thing may end a little inside; the blob that it is part of does not.
        """
        travel, near = self.travel, self.scale
        inside, blob = (*travel.along(box), *travel.across(box)), (*travel.along(around), *travel.across(around))
        ends = (0, travel.length, 0, travel.breadth)
        entry, end, side, other = (
            abs(mine - edge) < near or (abs(its - edge) < near and abs(mine - edge) < 3 * near)
            for mine, its, edge in zip(inside, blob, ends, strict=True)
        )
        return entry, end, side + other

"""Finder: one picture in, the boxes of what lies on the belt out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.background import Background
from edge.config import BeltSettings, ItemsSettings
from edge.outline import outlines
from edge.records import Box, Frame
from edge.travel import Travel

WORK_PX = 320  # the picture's longer side where items are searched
LEAST_PX = 3  # what the smallest item must still measure there,
LEAST_FULL_PX = 12  # and in the full picture, for fewer show a speck rather than an item
FILL = 0.35  # the least share of a square of that size that an item's area fills
SEED = 1.5  # a blob needs a pixel this many times above the threshold that outlines it,
SEED_FLOOR = 40  # and this many grey levels, summed over the channels, away from the belt
PATIENCE_S = 3.0  # what lies still for this long, and never travelled, belongs to the belt's surroundings


@dataclass(frozen=True, slots=True)
class Found:
    """Something on the belt in one picture.

    box is in whole pixels of the full picture; along_px and across_px are its centre of gravity on
    the belt's axes (see Travel). cut_entry, cut_exit and cut_side say which edges of the sight cut
    it; completeness estimates how much of it is inside, 0 to 1. touching says that its outline meets
    another item's.
    """

    box: Box
    area_px: float
    touching: bool = False
    along_px: float = 0.0
    across_px: float = 0.0
    cut_entry: bool = False
    cut_exit: bool = False
    cut_side: bool = False
    completeness: float = 1.0


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
        self._view: _Sight | None = None

    def find(self, frame: Frame, kept: Sequence[Box] = ()) -> list[Found]:
        """The boxes on the belt. kept are boxes of known items: they never melt into the background."""
        height, width = frame.pixels.shape[:2]
        if self._settings.mode == "frame":
            return [Found(Box(0, 0, width, height), float(width * height), along_px=width / 2, across_px=height / 2)]
        if self._view is None or self._view.picture_size != (width, height):
            self._view = _Sight(frame, self._settings, self._belt)
        return self._view.find(frame, kept, self._patience_s)


class _Sight:
    """The part of the picture that is looked at, its scale, and what the empty belt looks like there."""

    def __init__(self, frame: Frame, settings: ItemsSettings, belt: BeltSettings) -> None:
        height, width = frame.pixels.shape[:2]
        self.picture_size = (width, height)
        x, y, w, h = settings.roi or (0, 0, width, height)
        x, y = min(max(x, 0), width - 16), min(max(y, 0), height - 16)
        w, h = min(w, width - x), min(h, height - y)
        least = max(settings.min_mm * belt.pixels_per_mm, LEAST_FULL_PX)
        self.halvings = max(min(round(math.log2(max(w, h) / WORK_PX)), int(math.log2(max(least / LEAST_PX, 1)))), 0)
        self.scale = 2**self.halvings
        self.left, self.top = x, y
        self.width, self.height = w // self.scale * self.scale, h // self.scale * self.scale
        self.travel = Travel(belt.direction, self.width, self.height)
        self.least_px, self.most_px = least, settings.max_mm * belt.pixels_per_mm
        self.at = frame.captured_at
        self.background = Background(self._reduced(frame)[0], self.travel.sideways)

    def _reduced(self, frame: Frame) -> tuple[np.ndarray, np.ndarray, int]:
        """The picture to search, a finer one to measure in, and the finer one's scale."""
        pixels = frame.pixels[self.top : self.top + self.height, self.left : self.left + self.width]
        fine, scale = pixels, 1
        for step in range(self.halvings):
            size = pixels.shape[1] // 2, pixels.shape[0] // 2
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
            if step == 0:
                fine, scale = pixels, 2
        return pixels, fine, scale

    def find(self, frame: Frame, kept: Sequence[Box], patience_s: float) -> list[Found]:
        dt = max(frame.captured_at - self.at, 0.0)
        self.at = frame.captured_at
        picture, fine, fine_scale = self._reduced(frame)
        background = self.background
        difference = background.difference(picture)
        threshold = background.threshold
        low = cv2.compare(difference, threshold, cv2.CMP_GT)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(low, connectivity=8)
        seeds = cv2.compare(difference, cv2.max(cv2.convertScaleAbs(threshold, alpha=SEED), SEED_FLOOR), cv2.CMP_GT)
        seeded = np.bincount(labels[seeds > 0], minlength=count) > 0
        seeded[0] = False
        found = []
        for label in self._candidates(stats, seeded):
            found += self._measure(label, labels, stats, difference, fine, fine_scale)
        covered = cv2.dilate((seeded * np.uint8(255))[labels], np.ones((5, 5), np.uint8))
        background.learn(picture, difference, covered, self._kept(kept, covered.shape), dt, patience_s)
        return found

    def _candidates(self, stats: np.ndarray, seeded: np.ndarray) -> np.ndarray:
        """The labels of the components that stand out and are large enough to be items."""
        least = max(self.least_px / self.scale, 2)
        extent = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
        return np.flatnonzero(seeded & (extent >= least) & (stats[:, cv2.CC_STAT_AREA] >= least))

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
        fine: np.ndarray,
        fine_scale: int,
    ) -> list[Found]:
        """Measures one component in the finer picture; what is too faint or not of an item's size is left out."""
        x, y, w, h, _ = (int(v) for v in stats[label])
        left, top = max(x - 1, 0), max(y - 1, 0)
        right, bottom = min(x + w + 1, labels.shape[1]), min(y + h + 1, labels.shape[0])
        window = np.s_[top:bottom, left:right]
        own = cv2.compare(labels[window], float(label), cv2.CMP_EQ)
        contrast = difference[window]
        usual = float(np.percentile(contrast[own > 0], 80))
        area = float(stats[label, cv2.CC_STAT_AREA]) * self.scale**2
        if usual < SEED_FLOOR * (1 + min(self.least_px**2 / area, 1)):
            return []  # a scratch or a stain on the belt: the smaller it is, the clearer it must stand out
        ratio = self.scale // fine_scale
        part = fine[top * ratio : bottom * ratio, left * ratio : right * ratio]
        size = part.shape[1], part.shape[0]
        belt = cv2.resize(self.background.lit[window], size, interpolation=cv2.INTER_LINEAR)
        limit = cv2.resize(self.background.threshold[window], size, interpolation=cv2.INTER_NEAREST)
        own = cv2.resize(cv2.dilate(own, np.ones((3, 3), np.uint8)), size, interpolation=cv2.INTER_NEAREST)
        things = [
            self._thing(mask, left * self.scale, top * self.scale, fine_scale)
            for mask in outlines(part, belt, limit, own, usual)
        ]
        return [thing for thing in things if thing is not None]

    def _thing(self, mask: np.ndarray, left: int, top: int, fine_scale: int) -> Found | None:
        """One outline in a window of the finer picture as a Found; None when it is not of an item's size."""
        columns, rows = mask.sum(axis=0, dtype=np.int64), mask.sum(axis=1, dtype=np.int64)
        total = int(columns.sum())
        if total * fine_scale**2 < FILL * self.least_px**2:
            return None
        xs, ys = np.flatnonzero(columns), np.flatnonzero(rows)
        box = Box(
            left + int(xs[0]) * fine_scale,
            top + int(ys[0]) * fine_scale,
            int(xs[-1] - xs[0] + 1) * fine_scale,
            int(ys[-1] - ys[0] + 1) * fine_scale,
        )
        if not self.least_px <= max(box.width, box.height) <= self.most_px:
            return None
        centre_x = left + (float(columns @ np.arange(columns.size)) / total + 0.5) * fine_scale
        centre_y = top + (float(rows @ np.arange(rows.size)) / total + 0.5) * fine_scale
        return self._found(box, float(total * fine_scale**2), centre_x, centre_y)

    def _found(self, box: Box, area: float, x: float, y: float) -> Found | None:
        travel, near = self.travel, self.scale
        rear, front = travel.along(box)
        side, other = travel.across(box)
        cut_sides = (side < near) + (other > travel.breadth - near)
        if cut_sides == 2:
            return None  # a seam of the belt, a shadow or an arm: no item lies across the whole sight
        along, across = (x, y) if travel.sideways else (y, x)
        if travel.direction in {"left", "up"}:
            along = travel.length - along
        offset_along, offset_across = (self.left, self.top) if travel.sideways else (self.top, self.left)
        if travel.direction in {"left", "up"}:
            whole = self.picture_size[0] if travel.sideways else self.picture_size[1]
            offset_along = whole - travel.length - offset_along
        return Found(
            box=Box(box.x + self.left, box.y + self.top, box.width, box.height),
            area_px=area,
            along_px=along + offset_along,
            across_px=across + offset_across,
            cut_entry=rear < near,
            cut_exit=front > travel.length - near,
            cut_side=cut_sides > 0,
            completeness=0.7 if cut_sides else 1.0,
        )

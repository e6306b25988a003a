"""Finder: one picture in, the boxes of what lies on the belt out."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.background import SEED_FLOOR, Background
from edge.config import LEAST_FULL_PX, NARROW, BeltSettings, ItemsSettings
from edge.outline import NEAR, Outline, outlines
from edge.pyramid import Planes, Pyramid
from edge.records import Box, Frame
from edge.travel import Travel, sight

WORK_PX = 320  # about the longer side of the picture in which items are searched,
FINE_PX = 128  # and the most that a thing's longer side measures in the picture that shows its outline
LEAST_PX = 3  # what the smallest item must still measure where items are searched
FILL = 0.35  # the least share of a square of that size that an item's area fills
MOST = 64  # things looked at in one picture; more than that is not a belt of items but a disturbance
SEVERAL = 3  # what is longer than an item may be is several that touch, unless it is this much longer
FRESH = 4  # a blob that looks the same is measured anew after so many pictures;
SAME_MASS = 0.1  # it looks the same where the difference it makes changes by no more than this share,
NEARBY = 0.25  # and it lies where it must have travelled, give or take this share of its length
AROUND = np.ones((5, 5), np.uint8)  # how far around what lies on the belt nothing is learnt of it
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
        """Looks at a frame and learns from it at once; kept are boxes of known items."""
        found = self.look(frame)
        self.learn(kept)
        return found

    def look(self, frame: Frame) -> list[Found]:
        """The boxes on the belt. Before the next frame `learn` must be called, when there is time for it."""
        height, width = frame.pixels.shape[:2]
        if self._settings.mode == "frame":
            return [Found(Box(0, 0, width, height), float(width * height), (width / 2, height / 2))]
        if self._sight is None or self._sight.picture_size != (width, height):
            self._sight = _Sight(frame, self._settings, self._belt)
        return self._sight.look(frame)

    @property
    def too_long_mm(self) -> float:
        """The length of what the last frame showed and was passed over as too long for items that touch; 0 for none."""
        longest = max((blob.too_long_px for blob in self._sight.blobs), default=0) if self._sight else 0
        return longest / self._belt.pixels_per_mm

    def learn(self, kept: Sequence[Box] = ()) -> None:
        """Takes in what the last frame showed of the empty belt. kept are boxes of known items: they never melt
        into the background."""
        if self._sight is not None:
            self._sight.learn(kept, self._patience_s)


@dataclass(slots=True, eq=False)
class _Blob:
    """What hangs together in the picture where items are searched.

    Its rectangle, centre of gravity (x, y) and mass are in that picture's pixels; the mass is the sum of the
    difference. own, uint8 [height + 2, width + 2], is 255 where it lies, in its rectangle with a rim of one pixel.
    things is what it was found to show when it was last measured, `pictures` pictures ago, and measured what it
    looked like then.
    """

    own: np.ndarray
    x: int
    y: int
    width: int
    height: int
    inside: bool  # no edge of the sight is near
    centre: tuple[float, float]
    mass: float
    things: Sequence[Found] = ()
    too_long_px: int = 0  # the length of what was passed over for that in it
    measured: "_Blob | None" = None
    pictures: int = 0

    def looks_like(self, earlier: "_Blob") -> bool:
        """Whether it has the size and mass that another blob had when it was measured."""
        then = earlier.measured
        return (
            then is not None
            and self.inside
            and then.inside
            and abs(self.width - then.width) <= 1
            and abs(self.height - then.height) <= 1
            and abs(self.mass - then.mass) <= SAME_MASS * then.mass
        )


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
        self.pyramid = Pyramid(self.width, self.height, self.halvings)
        self.picture = self._load(frame)
        self.background = Background(self.picture, self.travel.sideways)
        nothing = np.zeros_like(self.picture[0])
        # How far the picture differs from the belt, where it does, where beyond doubt, and where something lies.
        self.difference, self.low, self.seeds, self.covered = nothing, nothing, nothing, nothing.copy()
        self.blobs: list[_Blob] = []
        self.position_mm = frame.position_mm
        self.pixels_per_mm = belt.pixels_per_mm / self.scale
        self.speed = (0.0, 0.0)  # how fast blobs were last seen to travel, x and y in pixels a second
        self.dt = 0.0

    def _load(self, frame: Frame) -> Planes:
        pixels = frame.pixels[self.top : self.top + self.height, self.left : self.left + self.width]
        return self.pyramid.load(pixels)

    def look(self, frame: Frame) -> list[Found]:
        dt = max(frame.captured_at - self.at, 0.0)
        promised = self.travel.vector(self.pixels_per_mm * (frame.position_mm - self.position_mm))
        expected = (promised, (self.speed[0] * dt, self.speed[1] * dt))
        self.dt += dt
        self.at, self.position_mm = frame.captured_at, frame.position_mm
        self.picture = self._load(frame)
        background = self.background
        self.difference = background.difference(self.picture)
        self.low = cv2.compare(self.difference, background.threshold, cv2.CMP_GT)
        self.seeds = cv2.compare(self.difference, background.seed, cv2.CMP_GT)
        self.covered[:] = 0
        earlier, self.blobs = self.blobs, self._blobs()
        found: list[Found] = []
        steps = []
        for number, blob in enumerate(self.blobs):
            if known := _same_as(blob, earlier, expected):
                steps.append((blob.centre[0] - known.centre[0], blob.centre[1] - known.centre[1]))
                blob.things, blob.measured, blob.pictures = known.things, known.measured, known.pictures + 1
                blob.too_long_px = known.too_long_px
            else:
                self._measure(blob)
            found += self._shown(blob, number)
        if steps and dt > 0:
            dx, dy = sorted(steps)[len(steps) // 2]
            self.speed = dx / dt, dy / dt
        return found

    def learn(self, kept: Sequence[Box], patience_s: float) -> None:
        due = sorted((blob for blob in self.blobs if blob.pictures >= FRESH), key=lambda blob: -blob.pictures)
        for blob in due[: math.ceil(len(self.blobs) / FRESH)]:
            self._measure(blob)
        covered = cv2.dilate(cv2.max(self.covered, self.seeds), AROUND)
        kept_mask = self._kept(kept, covered.shape)
        self.background.learn(self.picture, self.difference, covered, kept_mask, self.dt, patience_s)
        self.dt = 0.0

    def _blobs(self) -> list[_Blob]:
        """The blobs that are large and clear enough to be items, the largest ones of too many."""
        least = max(self.least_px / self.scale, 2)
        contours, _ = cv2.findContours(self.low, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        around = [(contour, *cv2.boundingRect(contour)) for contour in contours if len(contour) > 1]
        around = [one for one in around if max(one[3], one[4]) >= least]
        if len(around) > MOST:
            around = sorted(around, key=lambda one: -one[3] * one[4])[:MOST]
        height, width = self.low.shape
        blobs = []
        for contour, x, y, w, h in around:
            window = np.s_[y : y + h, x : x + w]
            if not cv2.countNonZero(self.seeds[window]):
                continue  # most of what is this faint
            own = np.zeros((h + 2, w + 2), np.uint8)
            cv2.drawContours(own, [contour], 0, 255, cv2.FILLED, offset=(1 - x, 1 - y))
            lies = own[1:-1, 1:-1]
            if not cv2.countNonZero(np.minimum(lies, self.seeds[window])):
                continue
            np.maximum(self.covered[window], lies, out=self.covered[window])
            np.minimum(lies, self.low[window], out=lies)
            moments = cv2.moments(np.minimum(lies, self.difference[window]))
            mass = moments["m00"]
            centre = x + moments["m10"] / mass, y + moments["m01"] / mass
            inside = x > 1 and y > 1 and x + w < width - 1 and y + h < height - 1
            blobs.append(_Blob(own, x, y, w, h, inside, centre, mass))
        return blobs

    def _shown(self, blob: _Blob, number: int) -> list[Found]:
        """What a blob shows, moved as far as the blob has since that was measured."""
        then = blob.measured or blob
        dx, dy = (self.scale * (now - before) for now, before in zip(blob.centre, then.centre, strict=True))
        x, y = round(dx), round(dy)
        return [
            Found(
                Box(one.box.x + x, one.box.y + y, one.box.width, one.box.height),
                one.area_px,
                (one.centre[0] + dx, one.centre[1] + dy),
                one.touching,
                one.cut_entry,
                one.cut_exit,
                one.cut_side,
                number,
            )
            for one in blob.things
        ]

    def _kept(self, boxes: Sequence[Box], shape: tuple[int, ...]) -> np.ndarray:
        mask = np.zeros(shape, np.uint8)
        for box in boxes:
            x, y = (box.x - self.left) // self.scale, (box.y - self.top) // self.scale
            right = (box.x + box.width - self.left) // self.scale + 3
            bottom = (box.y + box.height - self.top) // self.scale + 3
            mask[max(y - 2, 0) : max(bottom, 0), max(x - 2, 0) : max(right, 0)] = 255
        return mask

    def _measure(self, blob: _Blob) -> None:
        """Finds out in a finer picture what a blob shows; what is too faint or not of an item's size is left out."""
        blob.things, blob.too_long_px, blob.measured, blob.pictures = (), 0, blob, 0
        x, y, w, h = blob.x, blob.y, blob.width, blob.height
        left, top = max(x - 1, 0), max(y - 1, 0)
        right, bottom = min(x + w + 1, self.low.shape[1]), min(y + h + 1, self.low.shape[0])
        window = np.s_[top:bottom, left:right]
        own = blob.own[top - y + 1 : bottom - y + 1, left - x + 1 : right - x + 1]
        values = self.difference[window][own > 0]
        usual = float(np.partition(values, values.size * 4 // 5)[values.size * 4 // 5])
        area = float(values.size) * self.scale**2
        if values.size < self.least_px / self.scale or usual < SEED_FLOOR * (1 + min(self.least_px**2 / area, 1)):
            return  # a scratch or a stain on the belt: the smaller it is, the clearer it must stand out
        # The larger a thing is, the coarser a picture shows its outline well enough.
        level = min(max(math.ceil(math.log2(max(w, h) * self.scale / FINE_PX)), 0), self.halvings)
        ratio = self.scale >> level
        part = self.pyramid.part(level, top * ratio, bottom * ratio, left * ratio, right * ratio)
        if level == 0:
            part = [cv2.GaussianBlur(plane, (3, 3), 0) for plane in part]  # what halving does to the noise elsewhere
        size = part[0].shape[::-1]
        belt = [cv2.resize(plane[window], size, interpolation=cv2.INTER_LINEAR) for plane in self.background.lit]
        limit = cv2.resize(self.background.threshold[window], size, interpolation=cv2.INTER_NEAREST)
        own = cv2.resize(cv2.dilate(own, NEAR), size, interpolation=cv2.INTER_NEAREST)
        around = Box(x * self.scale, y * self.scale, w * self.scale, h * self.scale)
        things = [
            self._thing(blob, outline, around, left * self.scale, top * self.scale, 1 << level)
            for outline in outlines(part, belt, limit, own, usual)
        ]
        blob.things = [thing for thing in things if thing is not None]

    def _thing(self, blob: _Blob, outline: Outline, around: Box, left: int, top: int, scale: int) -> Found | None:
        """One outline in a window of the finer picture as a Found; None when it is not of an item's size.

        around is the rectangle of the blob that it is a part of, left and top are where the window begins in the sight,
        and scale is how many pixels of the sight one of the window's is.
        """
        area = outline.area * scale**2
        if area < FILL * self.least_px**2:
            return None
        own = outline.box
        box = Box(left + own.x * scale, top + own.y * scale, own.width * scale, own.height * scale)
        longer = max(box.width, box.height)
        if longer < self.least_px or area < NARROW * self.least_px * longer:
            return None
        entry, end, sides = self._cuts(box, around)
        if sides == 2:
            return None  # a seam of the belt, a shadow or an arm: no item lies across the whole sight
        if longer > SEVERAL * self.most_px:
            # What reaches in from the side is rather an arm.
            blob.too_long_px = 0 if sides else longer
            return None
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


def _same_as(blob: _Blob, earlier: Sequence[_Blob], steps: Iterable[tuple[float, float]]) -> _Blob | None:
    """The blob of the picture before that has travelled here and looks as it did when it was measured.

    steps are the distances, x and y, that it may have travelled: what the belt's position promises, and what was
    seen last. What it shows then need not be measured again. Where a like one is taken for it, it shows the like.
    """
    reach = NEARBY * max(blob.width, blob.height) + 2
    near = [
        (off_x + off_y, number)
        for number, one in enumerate(earlier)
        for dx, dy in steps
        if (off_x := abs(blob.centre[0] - one.centre[0] - dx)) <= reach
        and (off_y := abs(blob.centre[1] - one.centre[1] - dy)) <= reach
        and blob.looks_like(one)
    ]
    return earlier[min(near)[1]] if near else None

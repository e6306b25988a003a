"""What of a blob is the item itself: its outline without its shadow, and where one item ends and the next begins."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.background import unlikeness
from edge.records import Box

EDGE = 0.25  # an item's outline lies where the difference falls to this share of what it mostly is
SCRAP = 0.05  # parts below this share of the largest are scratches on the belt, not the item
PART = 0.2  # from this share of the whole on, a separate part is an item of its own
LIGHTER = 1.1  # what is this much lighter than the belt is no shadow,
DARKEST = 0.53  # nor what leaves less than this share of the belt's light,
TINT = 0.15  # nor what changes the belt's colour by this share,
CRISP = 0.2  # nor what changes its light by this share from one pixel to the next but one
LEAST_OWN = 0.1  # of an item, at least this share shows by those signs; a shadow alone shows none
MOSTLY = 0.5  # and mostly it makes up more than this share of the blob
THIN = 0.3  # or where it is narrower than this share of either, however small they are
SURE = 0.35  # and this share of the blob is certain where it may be divided
GAPS = 13  # gaps in the signs of one item are narrower than this part of its length
CONVEX = 0.88  # what fills this much of its own convex hull has no waist
WAIST = 0.75  # two things touch where their common outline is this much narrower than either of them,
JAGGED = 0.04  # and by this share of their length on each side: threads and teeth have narrow places of their own
ONE = 128  # how a ratio of 1 is written in 8 bits
NEAR = np.ones((3, 3), np.uint8)
FAR = np.ones((7, 7), np.uint8)


@dataclass(frozen=True, slots=True)
class Outline:
    """One thing in a window: its rectangle, area and centre of gravity in the window's pixels.

    touching says that it was divided from another thing that it meets.
    """

    box: Box
    area: float
    centre: tuple[float, float]
    touching: bool = False


def outlines(picture: np.ndarray, belt: np.ndarray, limit: np.ndarray, own: np.ndarray, usual: float) -> list[Outline]:
    """The outlines of the things that one blob shows.

    picture and belt are uint8 [h, w, 3]: what is seen and what the empty belt looks like there. limit,
    uint8 [h, w], is the difference that noise alone may show, own is 255 where the blob lies, and
    usual is the difference that most of the blob stays below.

    A shadow darkens the belt softly and keeps its colour, so only what is lighter, of another colour
    or crisp shows an item.
    """
    difference = unlikeness(picture, belt)
    clear = cv2.compare(difference, cv2.max(limit, EDGE * usual), cv2.CMP_GT)
    clear = cv2.min(clear, own)
    certain, crisp = _unlike_shade(picture, belt)
    certain = cv2.min(certain, clear)
    signs = cv2.max(cv2.min(crisp, clear), certain)
    covered = cv2.countNonZero(clear)
    if cv2.countNonZero(signs) < LEAST_OWN * covered:
        return []
    solid = _inside(signs, certain, max(signs.shape) // GAPS)
    sure = cv2.countNonZero(certain) > SURE * covered
    if not sure and cv2.countNonZero(solid) < MOSTLY * covered:
        # As dark as its own shadow: only parts of its edge show, and the item is what lies between them.
        solid = cv2.min(_inside(signs, certain, min(signs.shape) // 3), clear)
    contours, _ = cv2.findContours(solid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return []
    areas = [_area(contour) for contour in contours]
    least = min(SCRAP * max(areas), PART * sum(areas))
    parts = [contour for contour, area in zip(contours, areas, strict=True) if area > least]
    large = [contour for contour, area in zip(contours, areas, strict=True) if area > PART * sum(areas)]
    things = _gathered(large)
    if not sure:
        return [_outline(parts)]  # too much like its shadow to say where it might be divided
    if len(things) < 2:
        return _apart(parts, solid.shape)
    return [outline for thing in things for outline in _apart(thing, solid.shape)]


def _area(contour: np.ndarray) -> float:
    """The pixels that a contour holds, its own included (Pick's theorem)."""
    return float(cv2.contourArea(contour)) + len(contour) / 2 + 1


def _gathered(contours: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Puts parts together whose rectangles lie mostly in each other: a hub and its rim are one thing."""
    things: list[list[np.ndarray]] = []
    boxes: list[list[Box]] = []
    for contour in contours:
        box = Box(*cv2.boundingRect(contour))
        for thing, others in zip(things, boxes, strict=True):
            if any(box.overlap(other) > 0.5 * min(box.area, other.area) for other in others):
                thing.append(contour)
                others.append(box)
                break
        else:
            things.append([contour])
            boxes.append([box])
    return things


def _outline(contours: Sequence[np.ndarray], touching: bool = False) -> Outline:
    """The parts of one thing as an Outline."""
    points = contours[0] if len(contours) == 1 else np.concatenate(contours)
    area, x, y = 0.0, 0.0, 0.0
    for contour in contours:
        share = _area(contour)
        moments = cv2.moments(contour)
        middle = contour.reshape(-1, 2).mean(axis=0)
        if moments["m00"] > 0:
            middle = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
        area, x, y = area + share, x + share * middle[0], y + share * middle[1]
    return Outline(Box(*cv2.boundingRect(points)), area, (x / area + 0.5, y / area + 0.5), touching)


def _apart(contours: list[np.ndarray], shape: tuple[int, ...]) -> list[Outline]:
    """Divides a thing where it is much narrower than on both sides: there two things touch.

    The distance of each pixel from the outline has a summit inside each of them and a pass between
    (as in watershed division, Beucher and Lantuejoul 1979; here a pass must be low for its summits).
    """
    whole = _outline(contours)
    if len(contours) > 1 or whole.area > CONVEX * cv2.contourArea(cv2.convexHull(contours[0])):
        return [whole]
    # A rim of one pixel, for distances are measured to what is not the thing.
    mask = np.zeros((shape[0] + 2, shape[1] + 2), np.uint8)
    cv2.drawContours(mask, contours, 0, 1, cv2.FILLED, offset=(1, 1))
    outlines = _divided(mask, max(JAGGED * max(whole.box.width, whole.box.height), 1.5))
    return outlines if len(outlines) > 1 else [whole]


def _divided(mask: np.ndarray, jagged: float) -> list[Outline]:
    """The things in a mask, uint8 [h, w] of 0 and 1, whose passes are lower by jagged pixels than their summits."""
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    summits = _summits(depth, 2.0)
    for rank, summit in enumerate(summits[1:], start=1):
        height = max(min(WAIST * depth[summit], depth[summit] - jagged), THIN * depth[summit])
        _, labels = cv2.connectedComponents((depth > height).astype(np.uint8), connectivity=8)
        if all(labels[summit] != labels[higher] for higher in summits[:rank]):
            part = _nearest_to(labels, labels[summit]) & mask
            return [*_divided(mask - part, jagged), *_divided(part, jagged)]
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(-1, -1))
    return [_outline([max(contours, key=len)], touching=True)] if contours else []


def _summits(depth: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Where depth is highest around, highest first: at most four places, each outside the others' slopes."""
    tops = np.argwhere((depth >= cv2.dilate(depth, FAR)) & (depth > least))
    found: list[tuple[int, int]] = []
    for y, x in tops[np.argsort(-depth[tops[:, 0], tops[:, 1]])].tolist():
        if all((y - v) ** 2 + (x - u) ** 2 > depth[v, u] ** 2 for v, u in found):
            found.append((y, x))
        if len(found) == 4:
            break
    return found


def _nearest_to(labels: np.ndarray, label: int) -> np.ndarray:
    """Where one label is nearer than every other, uint8 [h, w] of 0 and 1; label 0 does not count."""
    _, nearest = cv2.distanceTransformWithLabels((labels == 0).astype(np.uint8), cv2.DIST_L2, 5)
    return (nearest == nearest[labels == label][0]).astype(np.uint8)


def _inside(signs: np.ndarray, certain: np.ndarray, gap: int) -> np.ndarray:
    """What the signs of an item enclose, where gaps of so many pixels are closed; uint8 [h, w], 255 there."""
    size = min(max(gap, 3), 31) | 1
    disc = NEAR if size == 3 else cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    # With room around it, so that closing does not tie what is near the window's edge to that edge.
    rim = size // 2 + 1
    roomy = cv2.copyMakeBorder(signs, rim, rim, rim, rim, cv2.BORDER_CONSTANT, value=0)
    closed = np.ascontiguousarray(cv2.morphologyEx(roomy, cv2.MORPH_CLOSE, disc)[rim:-rim, rim:-rim])
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    solid = cv2.drawContours(closed, contours, -1, 255, cv2.FILLED)
    # A crisp edge shows on both of its sides; the outer one is the shadow's.
    return cv2.max(cv2.erode(solid, NEAR), certain)


def _unlike_shade(picture: np.ndarray, belt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where something other than a shadow lies, and where one of its edges is near; uint8 [h, w], 255 there."""
    ratio = cv2.divide(picture, belt, scale=ONE)
    blue, green, red = cv2.split(ratio)
    lightest = cv2.max(cv2.max(blue, green), red)
    darkest = cv2.min(cv2.min(blue, green), red)
    tinted = cv2.compare(cv2.subtract(lightest, darkest), cv2.convertScaleAbs(lightest, alpha=TINT, beta=2), cv2.CMP_GT)
    lighter = cv2.compare(darkest, LIGHTER * ONE, cv2.CMP_GT)
    black = cv2.compare(lightest, DARKEST * ONE, cv2.CMP_LT)
    crisp = cv2.compare(cv2.morphologyEx(green, cv2.MORPH_GRADIENT, NEAR), CRISP * ONE, cv2.CMP_GT)
    return cv2.max(cv2.medianBlur(cv2.max(tinted, black), 3), lighter), crisp

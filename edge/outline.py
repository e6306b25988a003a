"""What of a blob is the item itself: its outline without its shadow, and where one item ends and the next begins."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.background import unlikeness
from edge.pyramid import Planes
from edge.records import Box

EDGE = 0.25  # an item's outline lies where the difference falls to this share of what it mostly is
HINT = 2  # what has another colour than the belt needs so many times less difference than noise may show
ONE = 128  # how a ratio of 1 is written in 8 bits
LIGHTER = 1.2 * ONE  # what is this much lighter than the belt is no shadow,
DARKEST = 0.53 * ONE - 1  # nor what leaves less than this share of the belt's light,
TINT = 0.15  # nor what changes the belt's colour by this share,
CRISP = 0.2 * ONE  # nor what changes its light by this share from one pixel to the next but one
LEAST_OWN = 0.1  # of an item, at least this share shows by those signs; a shadow alone shows none
MOSTLY = 0.5  # and mostly what they enclose makes up more than this share of the blob
GAPS = 13  # gaps in the signs of one item are narrower than this part of its length
SCRAP = 0.05  # parts below this share of the largest are scratches on the belt, not the item
PART = 0.2  # from this share of the whole on, a separate part is an item of its own
SURE = 0.35  # a blob may be divided where more than this share of it is lighter, darker or of another colour
PLAIN = 0.9  # one piece that makes up this much of its blob is the item as it is
CONVEX = 0.94  # what fills this much of its own convex hull has no waist
WAIST = 0.75  # two things touch where their common outline is this much narrower than either of them,
JAGGED = 0.04  # and by this share of their length on each side: threads and teeth have narrow places of their own,
JAGGED_PX = 3.0  # and by so many pixels;
THIN = 0.3  # or where it is narrower than this share of either,
THIN_PX = 4.0  # if they are so many pixels wide to each side that this is no accident
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


def outlines(picture: Planes, belt: Planes, limit: np.ndarray, own: np.ndarray, usual: float) -> list[Outline]:
    """The outlines of the things that one blob shows.

    picture and belt are planes, three uint8 [h, w] each: what is seen and what the empty belt looks like
    there. limit, uint8 [h, w], is the difference that noise alone may show, own is 255 where the blob lies,
    and usual is the difference that most of the blob stays below.

    A shadow darkens the belt softly and keeps its colour, so only what is lighter, of another colour
    or crisp shows an item.
    """
    difference = unlikeness(picture, belt)
    clear = cv2.compare(difference, np.maximum(limit, np.uint8(EDGE * usual)), cv2.CMP_GT)
    np.minimum(clear, own, out=clear)
    ratios = [cv2.divide(plane, under, scale=ONE) for plane, under in zip(picture, belt, strict=True)]
    coloured, other = _certain_signs(ratios)
    # Another colour than the belt's needs to stand out less than another lightness.
    hinted = cv2.compare(difference, limit // HINT, cv2.CMP_GT)
    certain = np.maximum(np.minimum(other, clear), np.minimum(coloured, np.minimum(hinted, own)))
    clear = np.maximum(clear, certain)
    covered = cv2.countNonZero(clear)
    sure = cv2.countNonZero(certain) > SURE * covered
    if sure and (plain := _plain(certain, covered)):
        return [plain]
    signs = np.maximum(np.minimum(_crisp(ratios[1]), clear), certain)
    if cv2.countNonZero(signs) < LEAST_OWN * covered:
        return []
    whole = _enclosed(signs, max(signs.shape) // GAPS)
    if sure:
        dark = _beside(certain, signs, clear, covered)
    else:
        dark = signs if cv2.countNonZero(cv2.erode(whole, NEAR)) < MOSTLY * covered else None
    if dark is not None:
        # As dark as its own shadow: only parts of its edge show, and the item is also what lies between them.
        whole = cv2.max(whole, cv2.min(_enclosed(dark, min(signs.shape) // 3), clear))
    # A crisp edge shows on both of its sides; the outer one is the shadow's.
    solid = np.maximum(cv2.erode(whole, NEAR), certain)
    if not sure:
        # Too much like its shadow to say where it might be divided.
        parts = _contours(solid, SCRAP)
        return [_outline(parts)] if parts else []
    things = _gathered(_contours(np.maximum(whole, certain), PART))
    if len(things) == 1:
        return _apart(things[0], _contours(solid, SCRAP), solid.shape)
    found = []
    for thing in things:
        alone = cv2.drawContours(np.zeros_like(solid), thing, -1, 255, cv2.FILLED)
        found += _apart(thing, _contours(cv2.min(solid, alone), SCRAP), solid.shape)
    return found


def _plain(certain: np.ndarray, covered: int) -> Outline | None:
    """The item whose certain signs are one convex piece that is nearly all of its blob: the usual case, told early."""
    contours = _contours(certain, SCRAP)
    if len(contours) != 1:
        return None
    area = _area(contours[0])
    if area < PLAIN * covered or area < CONVEX * cv2.contourArea(cv2.convexHull(contours[0])):
        return None
    return _outline(contours)


def _contours(mask: np.ndarray, share: float) -> list[np.ndarray]:
    """The outer contours in a mask whose area is at least a share of all: of the largest, for scraps."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if len(contours) < 2:
        return list(contours)
    areas = [_area(contour) for contour in contours]
    least = share * (max(areas) if share == SCRAP else sum(areas))
    return [contour for contour, area in zip(contours, areas, strict=True) if area > least]


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
            if any(_mostly_in(box, other) for other in others):
                thing.append(contour)
                others.append(box)
                break
        else:
            things.append([contour])
            boxes.append([box])
    return things


def _mostly_in(box: Box, other: Box) -> bool:
    return box.overlap(other) > 0.5 * min(box.area, other.area)


def _outline(contours: Sequence[np.ndarray], touching: bool = False) -> Outline:
    """The parts of one thing as an Outline."""
    points = contours[0] if len(contours) == 1 else np.concatenate(contours)
    area, x, y = 0.0, 0.0, 0.0
    for contour in contours:
        share = _area(contour)
        moments = cv2.moments(contour)
        if moments["m00"] > 0:
            middle = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
        else:
            middle = tuple(contour.reshape(-1, 2).mean(axis=0))
        area, x, y = area + share, x + share * middle[0], y + share * middle[1]
    return Outline(Box(*cv2.boundingRect(points)), area, (x / area + 0.5, y / area + 0.5), touching)


def _apart(thing: list[np.ndarray], parts: list[np.ndarray], shape: tuple[int, ...]) -> list[Outline]:
    """Divides a thing where it is much narrower than on both sides: there two things touch.

    thing are the contours in which it hangs together, parts those of what is surely not its shadow.
    The distance of each pixel from the outline has a summit inside each of two things and a pass between
    (as in watershed division, Beucher and Lantuejoul 1979; here a pass must be low for its summits).
    """
    if not parts:
        return []
    whole = _outline(parts)
    if len(thing) > 1 or _area(thing[0]) > CONVEX * cv2.contourArea(cv2.convexHull(thing[0])):
        return [whole]
    # A rim of one pixel, for distances are measured to what is not the thing.
    mask = np.zeros((shape[0] + 2, shape[1] + 2), np.uint8)
    cv2.drawContours(mask, thing, 0, 1, cv2.FILLED, offset=(1, 1))
    outlines = _divided(mask, max(JAGGED * max(whole.box.width, whole.box.height), JAGGED_PX))
    if any(_mostly_in(a.box, b.box) for a in outlines for b in outlines if a is not b):
        return [whole]
    return outlines if len(outlines) > 1 else [whole]


def _divided(mask: np.ndarray, jagged: float) -> list[Outline]:
    """The things in a mask, uint8 [h, w] of 0 and 1, whose passes are lower by jagged pixels than their summits."""
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    summits = _summits(depth, 2.0)
    for rank, summit in enumerate(summits[1:], start=1):
        height = min(WAIST * depth[summit], depth[summit] - jagged)
        if depth[summit] > THIN_PX:
            height = max(height, THIN * depth[summit])
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


def _enclosed(signs: np.ndarray, gap: int) -> np.ndarray:
    """What the signs of an item enclose, where gaps of so many pixels are closed; uint8 [h, w], 255 there."""
    size = min(max(gap, 3), 31) | 1
    disc = NEAR if size == 3 else cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    # With room around it, so that closing does not tie what is near the window's edge to that edge.
    rim = size // 2 + 1
    roomy = cv2.copyMakeBorder(signs, rim, rim, rim, rim, cv2.BORDER_CONSTANT, value=0)
    closed = np.ascontiguousarray(cv2.morphologyEx(roomy, cv2.MORPH_CLOSE, disc)[rim:-rim, rim:-rim])
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(closed, contours, -1, 255, cv2.FILLED)


def _certain_signs(ratios: Planes) -> tuple[np.ndarray, np.ndarray]:
    """Where another colour than the belt's lies, and where what is lighter than it or darker than a shadow.

    ratios are what is seen over what the empty belt looks like, ONE for the same; uint8 [h, w], 255 there.
    """
    blue, green, red = ratios
    lightest, darkest = np.maximum(blue, green), np.minimum(blue, green)
    np.maximum(lightest, red, out=lightest)
    np.minimum(darkest, red, out=darkest)
    tinted = cv2.compare(cv2.subtract(lightest, darkest), cv2.convertScaleAbs(lightest, alpha=TINT, beta=2), cv2.CMP_GT)
    _, black = cv2.threshold(lightest, DARKEST, 255, cv2.THRESH_BINARY_INV)
    _, lighter = cv2.threshold(darkest, LIGHTER, 255, cv2.THRESH_BINARY)
    return cv2.medianBlur(tinted, 3), np.maximum(cv2.medianBlur(black, 3), lighter)


def _beside(certain: np.ndarray, signs: np.ndarray, clear: np.ndarray, covered: int) -> np.ndarray | None:
    """The signs of something as dark as a shadow beside what certainly is an item; None where there is no such thing.

    clear covers so many pixels.
    """
    rest = np.minimum(clear, cv2.bitwise_not(cv2.dilate(certain, FAR)))
    size = cv2.countNonZero(rest)
    if size <= PART * covered:
        return None
    own = np.minimum(signs, rest)
    return own if cv2.countNonZero(own) > LEAST_OWN * size else None


def _crisp(ratio: np.ndarray) -> np.ndarray:
    """What is near a sharp edge, on both of its sides: uint8 [h, w], 255 there."""
    return cv2.threshold(cv2.morphologyEx(ratio, cv2.MORPH_GRADIENT, NEAR), CRISP, 255, cv2.THRESH_BINARY)[1]

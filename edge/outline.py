"""What of a blob is the item itself: its outline without its shadow, and where one item ends and the next begins."""

import cv2
import numpy as np

EDGE = 0.25  # an item's outline lies where the difference falls to this share of what it mostly is
SCRAP = 0.05  # parts below this share of the largest are scratches on the belt, not the item
PART = 0.2  # from this share of the whole on, a separate part is an item of its own
LIGHTER = 1.1  # what is this much lighter than the belt is no shadow,
DARKEST = 0.53  # nor what leaves less than this share of the belt's light,
TINT = 0.15  # nor what changes the belt's colour by this share,
CRISP = 0.2  # nor what changes its light by this share from one pixel to the next but one
LEAST_OWN = 0.1  # of an item, at least this share shows by those signs; a shadow alone shows none
ONE = 128  # how a ratio of 1 is written in 8 bits
NEAR = np.ones((3, 3), np.uint8)


def sum_of_channels(picture: np.ndarray) -> np.ndarray:
    """The sum of three channels, at most 255: uint8 [h, w, 3] to uint8 [h, w]."""
    blue, green, red = cv2.split(picture)
    return cv2.add(cv2.add(blue, green), red)


def outlines(
    picture: np.ndarray, belt: np.ndarray, limit: np.ndarray, own: np.ndarray, usual: float
) -> list[np.ndarray]:
    """The masks, uint8 [h, w] of 0 and 1, of the separate things that one blob shows.

    picture and belt are uint8 [h, w, 3]: what is seen and what the empty belt looks like there. limit,
    uint8 [h, w], is the difference that noise alone may show, own is 255 where the blob lies, and
    usual is the difference that most of the blob stays below.

    A shadow darkens the belt softly and keeps its colour, so only what is lighter, of another colour
    or crisp shows an item.
    """
    difference = sum_of_channels(cv2.absdiff(picture, belt))
    clear = cv2.min(cv2.compare(difference, limit, cv2.CMP_GT), cv2.compare(difference, EDGE * usual, cv2.CMP_GT))
    clear = cv2.min(clear, own)
    certain, crisp = _unlike_shade(picture, belt)
    certain = cv2.min(certain, clear)
    solid = _filled(cv2.morphologyEx(cv2.max(cv2.min(crisp, clear), certain), cv2.MORPH_CLOSE, NEAR))
    # A crisp edge shows on both of its sides; the outer one is the shadow's.
    solid = cv2.max(cv2.erode(solid, NEAR, iterations=1), certain)
    if cv2.countNonZero(solid) < LEAST_OWN * cv2.countNonZero(clear):
        return []
    _, labels, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    large = np.flatnonzero(areas > PART * areas.sum())
    if len(large) < 2:
        return [(areas > SCRAP * areas.max()).astype(np.uint8)[labels]]
    return [(labels == label).astype(np.uint8) for label in large]


def _filled(mask: np.ndarray) -> np.ndarray:
    """The mask without holes."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(mask), contours, -1, 255, cv2.FILLED)


def _unlike_shade(picture: np.ndarray, belt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where something other than a shadow lies, and where one of its edges is near; uint8 [h, w], 255 there."""
    ratio = cv2.divide(picture, belt, scale=ONE)
    planes = cv2.split(ratio)
    lightest = cv2.max(cv2.max(planes[0], planes[1]), planes[2])
    darkest = cv2.min(cv2.min(planes[0], planes[1]), planes[2])
    tinted = cv2.compare(cv2.subtract(lightest, darkest), cv2.convertScaleAbs(lightest, alpha=TINT, beta=2), cv2.CMP_GT)
    lighter = cv2.compare(darkest, LIGHTER * ONE, cv2.CMP_GT)
    light = cv2.cvtColor(ratio, cv2.COLOR_BGR2GRAY)
    crisp = cv2.compare(cv2.morphologyEx(light, cv2.MORPH_GRADIENT, NEAR), CRISP * ONE, cv2.CMP_GT)
    black = cv2.compare(lightest, DARKEST * ONE, cv2.CMP_LT)
    return cv2.max(cv2.medianBlur(cv2.max(tinted, black), 3), lighter), crisp

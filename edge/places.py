"""Where things lie on the belt's axes, as arrays, and which of them could be one and the same."""

from collections.abc import Sequence

import numpy as np

from edge.finder import Found
from edge.records import Box
from edge.travel import Travel

NOISE_PX = 1.0  # how far off a place may be in one picture

# The columns of an array of places: pixels along and across the belt, an area, and whether an edge cuts it.
REAR, FRONT, CENTRE, SIDE, OTHER, AREA, CUT_ENTRY, CUT_EXIT = range(8)
ALONG = slice(REAR, CENTRE + 1)  # rear, front and centre
COLUMNS = 8


def places_of(travel: Travel, found: Sequence[Found]) -> np.ndarray:
    """One row for each thing found, float64 [n, COLUMNS]."""
    rows = [
        (
            *travel.along(one.box),
            travel.point(*one.centre)[0],
            *travel.across(one.box),
            one.area_px,
            one.cut_entry,
            one.cut_exit,
        )
        for one in found
    ]
    return np.array(rows, np.float64).reshape(-1, COLUMNS)


def uncut(places: np.ndarray) -> np.ndarray:
    """Which places neither end of the sight cuts, bool [n]."""
    return (places[:, CUT_ENTRY] == 0) & (places[:, CUT_EXIT] == 0)


def moved_by(places: np.ndarray, along_px: np.ndarray) -> np.ndarray:
    """The places after each has travelled its own distance, in pixels."""
    places = places.copy()
    places[:, ALONG] += along_px[:, None]
    return places


def box_of(travel: Travel, place: np.ndarray) -> Box:
    """The part of a place that is inside the picture."""
    return travel.box((place[REAR], place[FRONT]), (place[SIDE], place[OTHER]))


def offsets(earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    """How far along the belt each later place lies from each earlier one, float64 [earlier, later].

    Only ends that no edge cuts are compared, in either picture; nan where there is none.
    """
    rears = (earlier[:, None, CUT_ENTRY] == 0) & (later[:, CUT_ENTRY] == 0)
    fronts = (earlier[:, None, CUT_EXIT] == 0) & (later[:, CUT_EXIT] == 0)
    apart = later[:, ALONG] - earlier[:, None, ALONG]
    # The middle one of rear, front and centre: one of them alone may be spoilt by what lies beside it. Ends are
    # told in whole pixels, the centre more finely.
    low, high = np.minimum(apart[..., 0], apart[..., 1]) - 0.5, np.maximum(apart[..., 0], apart[..., 1]) + 0.5
    middle = np.minimum(np.maximum(apart[..., 2], low), high)
    one_end = np.where(rears, apart[..., 0], np.where(fronts, apart[..., 1], np.nan))
    return np.where(rears & fronts, middle, one_end)


def alike(earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Which later places could show the same thing as each earlier one, bool [earlier, later].

    They must lie in the same row of the belt and, where no edge cuts them, be of about the same size.
    """
    common = np.minimum(earlier[:, None, OTHER], later[:, OTHER]) - np.maximum(earlier[:, None, SIDE], later[:, SIDE])
    one, other = earlier[:, OTHER] - earlier[:, SIDE], later[:, OTHER] - later[:, SIDE]
    same_row = common >= 0.5 * np.minimum(one[:, None], other)
    one, other = (earlier[:, FRONT] - earlier[:, REAR])[:, None], later[:, FRONT] - later[:, REAR]
    same_length = np.abs(one - other) <= 0.5 * np.maximum(one, other) + 3 * NOISE_PX
    same_area = np.abs(unlikeness(earlier, later)) < 1.1
    both_whole = uncut(earlier)[:, None] & uncut(later)
    return same_row & (~both_whole | (same_length & same_area))


def unlikeness(earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    """The logarithm of the areas' ratio, float64 [earlier, later]."""
    return np.log((later[:, AREA] + 1) / (earlier[:, None, AREA] + 1))


def share_inside(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """The share of each inner place's rectangle that each outer one covers, float64 [inner, outer]."""
    first, second = inner[:, None, :], outer[None, :, :]
    along = np.minimum(first[..., FRONT], second[..., FRONT]) - np.maximum(first[..., REAR], second[..., REAR])
    across = np.minimum(first[..., OTHER], second[..., OTHER]) - np.maximum(first[..., SIDE], second[..., SIDE])
    area = (inner[:, FRONT] - inner[:, REAR]) * (inner[:, OTHER] - inner[:, SIDE])
    return np.maximum(along, 0) * np.maximum(across, 0) / np.maximum(area, 1)[:, None]

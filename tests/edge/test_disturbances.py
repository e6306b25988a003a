"""What a belt and its surroundings may show beside items: each thing that travels is one item, nothing else is."""

import cv2
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edge.config import BeltSettings, ItemsSettings
from edge.items import Finder, Tracker
from edge.records import Frame
from tests.edge.painted_belt import WIDTH, PaintedBelt, Painter, disc

# The same few each time: a failing example is short enough to be read as it is.
FEW = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
# Blue, green, red: far enough from the belt's own grey-green that a person sees it.
COLOURS = st.sampled_from([(30, 60, 210), (240, 240, 240), (30, 30, 28), (190, 90, 40), (60, 200, 230), (70, 100, 150)])


class Watched:
    """Finder and Tracker on a painted belt, and the ids that were born, went out, or vanished."""

    def __init__(self) -> None:
        items, belt = ItemsSettings(), BeltSettings(pixels_per_mm=1.0, speed_mm_s=720.0)
        self.finder, self.tracker = Finder(items, belt), Tracker(items, belt)
        self.born: list[int] = []
        self.left: list[int] = []
        self.vanished: list[int] = []

    def look(self, frame: Frame) -> None:
        tracked = self.tracker.update(frame, self.finder.look(frame))
        self.finder.learn(self.tracker.boxes)
        self.born += tracked.born
        self.left += tracked.left
        self.vanished += tracked.vanished


def stripes(period_px: int, depth: float) -> Painter:
    """Bars across the belt that are printed on it and travel with it."""

    def paint(picture: np.ndarray, moved: float) -> None:
        bars = np.sin((np.arange(WIDTH) - moved) * 2 * np.pi / period_px) > 0
        picture[:, bars] *= 1 - depth

    return paint


def arm(first: int, last: int) -> Painter:
    """A sleeve that reaches in from the top, waves about, and is withdrawn; it casts a soft shadow."""

    def paint(picture: np.ndarray, moved: float) -> None:
        seq = moved / 12
        if not first <= seq < last:
            return
        reach = int(260 * np.sin(np.pi * (seq - first) / (last - first)))
        x = int(330 + 40 * np.sin(seq / 3))
        shade = np.zeros(picture.shape[:2], np.float32)
        cv2.rectangle(shade, (x + 12, 0), (x + 92, reach + 10), 1.0, cv2.FILLED)
        picture *= 1 - 0.35 * cv2.GaussianBlur(shade, (0, 0), 9)[..., None]
        cv2.rectangle(picture, (x, 0), (x + 74, reach), (120, 150, 215), cv2.FILLED)

    return paint


@FEW
@given(
    rows=st.lists(st.tuples(st.integers(-90, 0), COLOURS, st.integers(12, 26)), min_size=2, max_size=2),
    drift=st.floats(0, 0.35),
    flicker=st.floats(0, 0.15),
    lost=st.sets(st.integers(5, 75), max_size=14),
    seed=st.integers(0, 1000),
)
def test_items_of_any_colour_side_by_side_in_two_rows_keep_their_identities_while_light_drifts_and_frames_are_lost(
    rows: list[tuple[int, tuple[int, int, int], int]], drift: float, flicker: float, lost: set[int], seed: int
) -> None:
    belt, watched = PaintedBelt(seed=seed), Watched()
    items = [
        disc(start - 150 * n, 90 + 180 * row, radius, colour)
        for row, (start, colour, radius) in enumerate(rows)
        for n in range(2)
    ]
    for seq in range(92):
        belt.light = (1 + drift * np.sin(seq / 25)) * (1 + flicker * np.sin(seq * 0.9))
        frame = belt.frame(seq, *items)
        if seq not in lost:
            watched.look(frame)
    assert watched.born == [1, 2, 3, 4]
    assert sorted(watched.left) == [1, 2, 3, 4]
    assert watched.vanished == []


@FEW
@given(period=st.integers(40, 200), depth=st.floats(0.1, 0.3), seed=st.integers(0, 1000))
def test_bars_that_are_printed_on_the_belt_are_no_items(period: int, depth: float, seed: int) -> None:
    belt, watched = PaintedBelt(seed=seed), Watched()
    for seq in range(70):
        watched.look(belt.frame(seq, stripes(period, depth)))
    assert watched.born == []


@FEW
@given(first=st.integers(5, 30), lasts=st.integers(12, 40), seed=st.integers(0, 1000))
def test_an_arm_that_reaches_in_is_no_item_and_the_item_beside_it_keeps_its_own(
    first: int, lasts: int, seed: int
) -> None:
    belt, watched = PaintedBelt(seed=seed), Watched()
    for seq in range(75):
        watched.look(belt.frame(seq, disc(-40, 320, 20, (30, 60, 210)), arm(first, first + lasts)))
    assert watched.born == watched.left == [1]


@FEW
@given(stop=st.integers(24, 44), colour=COLOURS, seed=st.integers(0, 1000))
def test_items_on_a_belt_that_stands_for_a_minute_do_not_melt_into_it(
    stop: int, colour: tuple[int, int, int], seed: int
) -> None:
    belt, watched = PaintedBelt(seed=seed), Watched()
    items = [disc(-40, 100, 20, colour), disc(-120, 260, 20, colour)]
    at = moved = 0.0
    for seq in range(stop + 60 + 70):
        stands = stop <= seq < stop + 60
        at += 1.0 if stands else 1 / 60  # a frame a second is enough while nothing moves
        moved += 0 if stands else 12
        pixels = belt.frame(seq, *items, shift=moved).pixels
        watched.look(Frame(seq, at, moved, pixels))
    assert watched.born == watched.left == [1, 2]
    assert watched.vanished == []

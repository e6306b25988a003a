"""Tracker: boxes in picture after picture become Items that keep one identity while they travel."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.config import BeltSettings, ItemsSettings
from edge.finder import Finder, Found
from edge.flow import NOISE_PX, BeltFlow
from edge.records import Box, Frame, Item
from edge.travel import Travel
from edge.views import Viewer

__all__ = ["Finder", "Found", "Tracked", "Tracker", "Viewer"]

MOST = 64  # things followed at once; more than that is not a belt of items but a disturbance
STEPS = 2  # steps with a belt of known speed that make a thing an item,
FIRST_STEPS = 4  # and steady steps of its own while the belt's speed is not known
WAIT_S = 0.5  # how long an item may hide inside the picture, and in how many pictures at least,
WAIT_FRAMES = 5  # before it counts as taken away
RECENT = 15  # sightings that an item's place on the belt is averaged over


@dataclass(frozen=True, slots=True)
class Tracked:
    """What is on the belt in one frame.

    items holds every item seen in it, in the order of their ids, new ones included. born are the
    ids first reported in this frame, left those that went out by the downstream edge, vanished those
    that disappeared inside the picture (somebody took them away). moved_px is how far the belt moved
    since the frame before, and seen_moving whether known items showed it (or it is only expected).
    """

    items: tuple[Item, ...] = ()
    born: tuple[int, ...] = ()
    left: tuple[int, ...] = ()
    vanished: tuple[int, ...] = ()
    moved_px: float = 0.0
    seen_moving: bool = False


# The columns of a place: where something lies along and across the belt, in pixels, and its area.
REAR, FRONT, CENTRE, SIDE, OTHER, AREA, CUT_ENTRY, CUT_EXIT = range(8)
ALONG = [REAR, FRONT, CENTRE]


@dataclass(slots=True)
class _Track:
    """One thing that is followed from picture to picture; it gets an id once it has travelled."""

    place: np.ndarray  # where it was last seen
    found: Found
    seen_at: float
    seen_mm: float
    id: int = 0
    since_px: float = 0.0  # how far the belt has moved since then
    speed: float | None = None  # its own, in pixels a second, until it is an item
    with_belt: int = 0  # steps in a row that it made with the belt,
    steady: int = 0  # and that it made evenly forward by itself
    still: int = 0
    travelled_px: float = 0.0
    unseen: int = 0
    hidden: bool = False  # inside the outline of something larger
    been_whole: bool = False
    lengths: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    passes: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=RECENT))

    @property
    def expected(self) -> np.ndarray:
        place = self.place.copy()
        place[ALONG] += self.since_px
        return place


class Tracker:
    """Follows what the Finder found and gives each travelling thing an identity.

    Everything on a belt moves by the same distance between two pictures, so that distance is
    searched first, as the one on which most of what is seen agrees; with it, who is who is hardly
    ever in doubt. The configured speed only says where to look first: a belt that runs at half or
    twice of it, stops, or starts again is followed all the same.

    A thing becomes an item when it has travelled with the belt for a few pictures and been whole in
    one: hands, shadows and whatever lies still beside the belt do not. Ids start with 1 and are never
    used twice.
    """

    def __init__(self, settings: ItemsSettings, belt: BeltSettings) -> None:
        self._settings = settings
        self._belt = belt
        self._flow = BeltFlow(belt)
        self._next_id = 1
        self._tracks: list[_Track] = []
        self._travel: Travel | None = None
        self._sight = (0.0, 0.0)
        self._last: Frame | None = None

    @property
    def observed_speed_mm_s(self) -> tuple[float, float] | None:
        """The belt's speed as the pictures show it, and its error (95 %), or None while unknown."""
        return self._flow.speed_mm_s

    @property
    def boxes(self) -> list[Box]:
        """Where the known items were in the last frame: what the Finder must not let melt away."""
        if self._travel is None:
            return []
        places = [track.expected for track in self._tracks if track.id]
        return [self._travel.box((p[REAR], p[FRONT]), (p[SIDE], p[OTHER])) for p in places]

    def update(self, frame: Frame, found: Sequence[Found]) -> Tracked:
        """Takes the next frame and what was found in it; frames must come in the order of capture."""
        if self._settings.mode == "frame":
            return self._one_a_frame(frame)
        height, width = frame.pixels.shape[:2]
        if self._travel is None or (self._travel.width, self._travel.height) != (width, height):
            self._travel = Travel(self._belt.direction, width, height)
            self._sight = self._stretch_of_sight(self._travel)
            self._tracks = []
        last, self._last = self._last, frame
        dt = max(frame.captured_at - last.captured_at, 0.0) if last else 0.0
        step_mm = frame.position_mm - last.position_mm if last else 0.0
        found = sorted(found, key=lambda one: -one.area_px)[:MOST]
        places = np.array([_place(self._travel, one) for one in found]).reshape(-1, 8)
        moved, seen_moving = self._step(places, dt, step_mm)
        self._match(found, places, frame, moved)
        born = self._births()
        left, vanished = self._ends(frame)
        items = [self._item(track, frame) for track in self._tracks if track.id and (not track.unseen or track.hidden)]
        return Tracked(tuple(sorted(items, key=lambda i: i.id)), born, left, vanished, moved, seen_moving)

    def _one_a_frame(self, frame: Frame) -> Tracked:
        """The whole picture is the item: it comes and goes with its frame."""
        height, width = frame.pixels.shape[:2]
        length = Travel(self._belt.direction, width, height).length / self._belt.pixels_per_mm
        number, self._next_id = self._next_id, self._next_id + 1
        box = Box(0, 0, width, height)
        item = Item(number, frame.seq, frame.captured_at, frame.position_mm, box, frame.position_mm, length)
        return Tracked((item,), (number,), (number,))

    def _stretch_of_sight(self, travel: Travel) -> tuple[float, float]:
        x, y, w, h = self._settings.roi or (0, 0, travel.width, travel.height)
        return travel.along(Box(x, y, min(w, travel.width - x), min(h, travel.height - y)))

    def _step(self, places: np.ndarray, dt: float, step_mm: float) -> tuple[float, bool]:
        """How far the belt moved since the last frame; moves what every track expects by it."""
        proposals, weights = [], []
        for track in self._tracks:
            offsets = _offsets(track.place, places)
            alike = _alike(track.place, places) & np.isfinite(offsets)
            proposals.append(offsets[alike] - track.since_px)
            weights.append(1.0 if track.id else 0.0 if track.still >= 3 else 0.3)
        moved, seen = self._flow.step(proposals, weights, dt, step_mm)
        seen_moving = seen and any(track.id and not track.unseen for track in self._tracks)
        if seen_moving:
            self._flow.learn(moved, dt, step_mm)
        elif seen and not self._flow.settled:
            self._flow.propose(moved, dt, step_mm)
        for track in self._tracks:
            track.since_px += moved
        return moved, seen_moving

    def _match(self, found: Sequence[Found], places: np.ndarray, frame: Frame, moved: float) -> None:
        """Gives each thing found to the track that explains it best; the rest start tracks of their own."""
        cost = np.array([self._costs(track, places, frame, moved) for track in self._tracks])
        cost = cost.reshape(len(self._tracks), len(found))
        unmatched, free = set(range(len(self._tracks))), set(range(len(found)))
        for flat in np.argsort(cost, axis=None):
            t, s = divmod(int(flat), len(found))
            if not np.isfinite(cost[t, s]):
                break
            if t in unmatched and s in free:
                unmatched.discard(t)
                free.discard(s)
                self._see(self._tracks[t], found[s], places[s], frame)
        for t in unmatched:
            track = self._tracks[t]
            expected = track.expected
            inside = [s for s in range(len(found)) if _share_inside(expected, places[s]) > 0.6]
            track.hidden = bool(track.id and inside)
            track.unseen = 0 if track.hidden else track.unseen + 1
            free.difference_update(inside if track.hidden else ())
        items = [track.expected for track in self._tracks if track.id]
        for s in sorted(free):
            if not any(_share_inside(places[s], item) > 0.6 for item in items):
                self._tracks.append(_Track(places[s], found[s], frame.captured_at, frame.position_mm))

    def _costs(self, track: _Track, places: np.ndarray, frame: Frame, moved: float) -> np.ndarray:
        """How badly each thing found fits a track, 0 to 1, and infinite where it cannot be it."""
        offsets = _offsets(track.place, places)
        # What neither end of can be seen may be it where it lies in the same stretch of belt.
        expected = track.expected
        common = np.minimum(places[:, FRONT], expected[FRONT]) - np.maximum(places[:, REAR], expected[REAR])
        blind = np.isnan(offsets) & (common > 0.7 * (expected[FRONT] - expected[REAR]))
        offsets = np.where(blind, track.since_px, offsets)
        off = np.abs(offsets - track.since_px)
        gate = 5 * NOISE_PX + 0.2 * abs(moved) + 0.05 * abs(track.since_px)
        if not track.id:
            off = np.minimum(off, np.abs(offsets))
            if track.speed is not None:
                off = np.minimum(off, np.abs(offsets - track.speed * (frame.captured_at - track.seen_at)))
        fits = _alike(track.place, places) & (off <= gate)  # what is not a number never fits
        # A known item comes first, and of two that fit equally well the more similar one.
        likeness = np.abs(np.log((places[:, AREA] + 1) / (track.place[AREA] + 1)))
        return np.where(fits, off / gate + 0.1 * likeness + (0 if track.id else 0.5), np.inf)

    def _see(self, track: _Track, found: Found, place: np.ndarray, frame: Frame) -> None:
        offset = float(np.nan_to_num(_offsets(track.place, place[None])[0], nan=track.since_px))
        dt = frame.captured_at - track.seen_at
        if not track.id and dt > 0:
            drift = abs((place[SIDE] + place[OTHER]) - (track.place[SIDE] + track.place[OTHER])) / 2
            rigid = drift <= 3 * NOISE_PX + 0.1 * abs(offset) or bool(
                place[CUT_ENTRY] or track.place[CUT_ENTRY] or place[CUT_EXIT] or track.place[CUT_EXIT]
            )
            with_belt = abs(offset - track.since_px) < 2.5 * NOISE_PX + 0.08 * abs(track.since_px)
            moves = offset > NOISE_PX
            own = track.speed * dt if track.speed is not None else offset
            even = moves and rigid and abs(offset - own) < 2 * NOISE_PX + 0.15 * abs(own)
            track.with_belt = track.with_belt + 1 if with_belt and moves and rigid else 0
            track.steady = track.steady + 1 if even else 0
            track.still = track.still + 1 if abs(offset) <= NOISE_PX else 0
            track.travelled_px = track.travelled_px + offset if moves else 0.0
            track.speed = offset / dt
        track.found, track.place = found, place
        track.seen_at, track.seen_mm = frame.captured_at, frame.position_mm
        track.since_px, track.unseen, track.hidden = 0.0, 0, False
        if not (place[CUT_ENTRY] or place[CUT_EXIT]):
            track.been_whole = True
            if not found.touching:
                track.lengths.append(float(place[FRONT] - place[REAR]))
                track.passes.append((frame.position_mm, float(place[FRONT] + place[REAR]) / 2))

    def _births(self) -> tuple[int, ...]:
        """Gives an id to what has travelled long enough, most downstream first."""
        born = []
        for track in sorted(self._tracks, key=lambda t: -t.place[FRONT]):
            if track.id or track.unseen or not self._is_item(track):
                continue
            track.id, self._next_id = self._next_id, self._next_id + 1
            born.append(track.id)
        if born and not self._flow.settled:
            self._flow.prove()
        return tuple(born)

    def _is_item(self, track: _Track) -> bool:
        if not (track.been_whole or track.place[CUT_EXIT]):
            return False
        patience = 2 if track.found.cut_side else 1  # an arm reaches in from the side, an item rarely lies there
        if self._flow.settled and track.with_belt >= STEPS * patience:
            return track.travelled_px >= 4 * NOISE_PX
        length = track.place[FRONT] - track.place[REAR]
        far_enough = track.travelled_px >= max(8 * NOISE_PX, 0.5 * length)
        return track.steady >= FIRST_STEPS * patience and far_enough

    def _ends(self, frame: Frame) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Lets go of what has left the picture, and of what has been gone for too long inside it."""
        least = self._settings.min_mm * self._belt.pixels_per_mm
        left, vanished, tracks = [], [], []
        for track in self._tracks:
            expected = track.expected
            gone = track.unseen > 0 or track.hidden
            outside = gone and self._sight[1] - expected[REAR] < least
            back = gone and expected[FRONT] - self._sight[0] < least
            waited = frame.captured_at - track.seen_at > WAIT_S and track.unseen >= WAIT_FRAMES
            if not track.id:
                if track.unseen < 2 and not outside:
                    tracks.append(track)
            elif outside and track.unseen < WAIT_FRAMES:
                left.append(track.id)
            elif outside or back or waited:
                vanished.append(track.id)
            else:
                tracks.append(track)
        self._tracks = tracks
        return tuple(sorted(left)), tuple(sorted(vanished))

    def _item(self, track: _Track, frame: Frame) -> Item:
        assert self._travel is not None
        place = track.expected if track.hidden else track.place
        box = track.found.box
        if track.hidden:
            box = self._travel.box((place[REAR], place[FRONT]), (place[SIDE], place[OTHER]))
        scale = self._belt.pixels_per_mm
        length = float(np.median(track.lengths)) if track.lengths else float(place[FRONT] - place[REAR])
        cut = bool(place[CUT_ENTRY] or place[CUT_EXIT] or track.found.cut_side)
        return Item(
            id=track.id,
            frame_seq=frame.seq,
            captured_at=frame.captured_at,
            position_mm=frame.position_mm,
            box=box,
            item_mm=self._item_mm(track),
            length_mm=length / scale,
            across_mm=float(place[SIDE] + place[OTHER] - self._travel.breadth) / 2 / scale,
            whole=not cut and not track.hidden,
            touching=track.found.touching or track.hidden,
        )

    def _item_mm(self, track: _Track) -> float:
        """Where the belt stands when the item's centre passes the picture's: the mean of its sightings."""
        assert self._travel is not None
        middle = self._travel.length / 2
        per_mm = self._belt.pixels_per_mm * (self._flow.ratio if self._flow.settled else 1.0)
        passes = track.passes or [(track.seen_mm, float(track.place[FRONT] + track.place[REAR]) / 2)]
        estimates = sorted(position - (centre - middle) / per_mm for position, centre in passes)
        spare = len(estimates) // 4
        kept = estimates[spare : len(estimates) - spare]
        return sum(kept) / len(kept)


def _place(travel: Travel, found: Found) -> list[float]:
    rear, front = travel.along(found.box)
    side, other = travel.across(found.box)
    return [rear, front, found.along_px, side, other, found.area_px, found.cut_entry, found.cut_exit]


def _offsets(place: np.ndarray, places: np.ndarray) -> np.ndarray:
    """How far along the belt each place lies from one, by the ends that no edge cuts; nan if none is left."""
    rears = (place[CUT_ENTRY] == 0) & (places[:, CUT_ENTRY] == 0)
    fronts = (place[CUT_EXIT] == 0) & (places[:, CUT_EXIT] == 0)
    apart = places[:, ALONG] - place[ALONG]
    one_end = np.where(rears, apart[:, 0], np.where(fronts, apart[:, 1], np.nan))
    return np.where(rears & fronts, np.median(apart, axis=1), one_end)


def _alike(place: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Which places could show the same thing: in the same row of the belt, and of about the same size."""
    common = np.minimum(places[:, OTHER], place[OTHER]) - np.maximum(places[:, SIDE], place[SIDE])
    narrower = np.minimum(places[:, OTHER] - places[:, SIDE], place[OTHER] - place[SIDE])
    cut = (places[:, [CUT_ENTRY, CUT_EXIT]] > 0).any(axis=1) | bool(place[CUT_ENTRY] or place[CUT_EXIT])
    lengths, length = places[:, FRONT] - places[:, REAR], place[FRONT] - place[REAR]
    same_length = np.abs(lengths - length) <= 0.35 * np.maximum(lengths, length) + 3 * NOISE_PX
    same_area = np.abs(np.log((places[:, AREA] + 1) / (place[AREA] + 1))) < 0.9
    return (common >= 0.5 * narrower) & (cut | (same_length & same_area))


def _share_inside(place: np.ndarray, other: np.ndarray) -> float:
    """The share of one place's rectangle that another covers."""
    along = min(place[FRONT], other[FRONT]) - max(place[REAR], other[REAR])
    across = min(place[OTHER], other[OTHER]) - max(place[SIDE], other[SIDE])
    area = (place[FRONT] - place[REAR]) * (place[OTHER] - place[SIDE])
    return float(max(along, 0) * max(across, 0) / max(area, 1))

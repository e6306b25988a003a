"""Tracker: boxes in picture after picture become Items that keep one identity while they travel."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edge.belt import Place
from edge.config import BeltSettings, ItemsSettings
from edge.finder import MOST, Finder, Found
from edge.flow import BeltFlow, Sightings, Step
from edge.places import (
    AREA,
    COLUMNS,
    CUT_EXIT,
    FRONT,
    NOISE_PX,
    OTHER,
    REAR,
    SIDE,
    alike,
    box_of,
    moved_by,
    offsets,
    places_of,
    share_inside,
    uncut,
    unlikeness,
)
from edge.records import Box, Frame, Item
from edge.track import Moment, Track
from edge.travel import Travel, sight
from edge.views import Viewer

__all__ = ["Finder", "Found", "Tracked", "Tracker", "Viewer"]

WAIT_S = 0.5  # how long an item may hide inside the picture, and in how many pictures at least,
WAIT_FRAMES = 5  # before it counts as taken away
SEEN_GATE, EXPECTED_GATE = 0.02, 0.05  # how far off its place a thing may be, as a share of the way since it was seen
AGAINST = 3  # things that travel against the belt's direction say that it is set the wrong way round
MOST_OPEN = 300  # pictures that wait for a silent encoder to tell where the belt was
BACK = 0.5  # how far beyond an edge items are remembered, in lengths of the sight: a belt may turn back


@dataclass(frozen=True, slots=True)
class Tracked:
    """What is on the belt in one frame.

    items holds every item seen in it, in the order of their ids, new ones included. born are the
    ids first reported in this frame, left those that went out by the downstream edge, vanished those
    that disappeared inside the picture (somebody took them away), doubtful those of which nobody can tell any more
    which is which: too long there was no picture to follow them by. moved_px is how far the belt moved
    since the frame before, and seen_moving whether known items showed it (or it is only expected).
    too_long_mm is the length of what was passed over as longer than items that touch can be, 0 for nothing.
    wrong_way says that several things have travelled against belt.direction, and none ever along it.
    """

    items: tuple[Item, ...] = ()
    born: tuple[int, ...] = ()
    left: tuple[int, ...] = ()
    vanished: tuple[int, ...] = ()
    doubtful: tuple[int, ...] = ()
    moved_px: float = 0.0
    seen_moving: bool = False
    too_long_mm: float = 0.0
    wrong_way: bool = False


class Tracker:
    """Follows what the Finder found and gives each travelling thing an identity.

    Everything on a belt moves by the same distance between two pictures, so that distance is
    searched first, as the one on which most of what is seen agrees; with it, who is who is hardly
    ever in doubt. The configured speed only says where to look first: a belt that runs at half or
    twice of it, stops, or starts again is followed all the same.

    place, where the pictures tell the belt's position, is asked what position a frame has, by how many
    pixels the belt moved since the one before (None where no known item showed it). error_mm says how far off the
    way may be that frames' positions tell between two moments. where, where more becomes known of the belt as time
    goes on, is asked where it was at the moments of the last pictures.

    A thing becomes an item when it has travelled with the belt for a few pictures and been whole in
    one: hands, shadows and whatever lies still beside the belt do not. Ids start with 1 and are never
    used twice.
    """

    def __init__(
        self,
        settings: ItemsSettings,
        belt: BeltSettings,
        place: Callable[[Frame, float | None], Frame] | None = None,
        error_mm: Callable[[float, float], float] | None = None,
        where: Callable[[float], Place] | None = None,
    ) -> None:
        self._settings = settings
        self._belt = belt
        self._place, self._error_mm, self._where = place, error_mm, where
        self._flow = BeltFlow(belt)
        self._next_id = 1
        self._tracks: list[Track] = []
        self._travel: Travel | None = None
        self._sight = (0.0, 0.0)
        self._last: Moment | None = None
        self.shown_at = -math.inf  # when known items last showed how the belt moves
        self._open: deque[Moment] = deque()  # those of which more may become known
        self._placed: Moment | None = None  # the last one whose place is sure and final
        self._first = True
        self._against: set[Track] = set()  # what goes the wrong way, while nothing has come the right one

    @property
    def observed_speed_mm_s(self) -> tuple[float, float] | None:
        """The belt's speed as the pictures show it, and its error (95 %), or None while unknown."""
        return self._flow.speed_mm_s

    @property
    def boxes(self) -> list[Box]:
        """Where the known items were in the last frame: what the Finder must not let melt away."""
        if self._travel is None:
            return []
        travel = self._travel
        return [box_of(travel, track.expected) for track in self._tracks if track.id and not track.away]

    def update(self, frame: Frame, found: Sequence[Found]) -> Tracked:
        """Takes the next frame and what was found in it; frames must come in the order of capture."""
        if self._settings.mode == "frame":
            return self._one_a_frame(frame)
        height, width = frame.pixels.shape[:2]
        if self._travel is None or (self._travel.width, self._travel.height) != (width, height):
            self._travel = Travel(self._belt.direction, width, height)
            self._sight = self._travel.along(sight(self._settings.roi, width, height))
            self._tracks = []
        self._look_back()
        last, now = self._last, Moment(frame.captured_at, frame.position_mm, frame.placed)
        self._last, self._first = now, last is None
        if self._where:
            self._open.append(now)
        if not found and not self._tracks:
            return Tracked(moved_px=self._flow.promised_px(self._travelled(last, now)[0]) if last else 0.0)
        found = sorted(found, key=lambda one: -one.area_px)[:MOST]
        places = places_of(self._travel, found)
        earlier = np.array([track.place for track in self._tracks]).reshape(-1, places.shape[1])
        apart, could_be = offsets(earlier, places), alike(earlier, places)
        step, seen_moving = self._step(earlier, places, np.where(could_be, apart, np.nan), now, last)
        moved = step.moved_px
        if self._place:
            frame = self._place(frame, moved if seen_moving else None)
            now.position_mm = frame.position_mm
        cost = self._costs(earlier, places, apart, could_be, now.at, step)
        self._match(found, places, apart, cost, now, abs(moved))
        doubtful = self._doubted() if step.ambiguous else ()
        born = self._births()
        left, vanished = self._ends(frame)
        seen = [track for track in self._tracks if track.id and (not track.unseen or track.hidden)]
        items = tuple(self._item(track, frame) for track in sorted(seen, key=lambda track: track.id))
        return Tracked(items, born, left, vanished, doubtful, moved, seen_moving, wrong_way=self._wrong_way())

    def _wrong_way(self) -> bool:
        if self._next_id > 1:
            self._against.clear()
        elif len(self._against) < AGAINST:
            self._against.update(track for track in self._tracks if track.goes_against)
        return len(self._against) >= AGAINST

    def _one_a_frame(self, frame: Frame) -> Tracked:
        """The whole picture is the item: it comes and goes with its frame."""
        height, width = frame.pixels.shape[:2]
        length = Travel(self._belt.direction, width, height).length / self._belt.pixels_per_mm
        number, self._next_id = self._next_id, self._next_id + 1
        box = Box(0, 0, width, height)
        item = Item(
            number, frame.seq, frame.captured_at, frame.position_mm, box, frame.position_mm, length, placed=frame.placed
        )
        return Tracked((item,), (number,), (number,))

    def _step(
        self, earlier: np.ndarray, places: np.ndarray, apart: np.ndarray, now: Moment, last: Moment | None
    ) -> tuple[Step, bool]:
        """How far the belt moved since the last frame, and whether known items show it; moves what tracks expect."""
        dt = max(now.at - last.at, 0.0) if last else 0.0
        step_mm, error_mm = self._travelled(last, now) if last else (0.0, 0.0)
        told_mm = step_mm if last and last.sure and now.sure else None
        since = np.array([track.since_px for track in self._tracks])
        weights = np.array([track.weight for track in self._tracks])
        proposals = apart - since[:, None]
        sightings = Sightings(proposals, weights, self._stays(earlier, since), self._known(places), self._least_px())
        step = self._flow.step(sightings, dt, step_mm, error_mm)
        moved = step.moved_px
        # The speed is learnt only from what no edge cuts, for that is where places are exact.
        exact = uncut(earlier)[:, None] & uncut(places) & (np.abs(proposals - moved) < 3 * NOISE_PX)
        known = np.array([track.id > 0 for track in self._tracks], bool)
        seen_moving = step.seen and bool(exact[known].any())
        if seen_moving:
            self._flow.learn(moved, dt, told_mm)
            self.shown_at = now.at
        elif step.seen and not self._flow.settled:
            self._flow.propose(moved, dt, told_mm)
        for track in self._tracks:
            track.since_px += moved
        return step, seen_moving

    def _travelled(self, last: Moment, now: Moment) -> tuple[float, float]:
        """By how much the belt moved between two pictures, and how far off that may be, in mm."""
        if last.sure and now.sure:
            error_mm = self._error_mm(last.at, now.at) if self._error_mm else 0.0
            return now.position_mm - last.position_mm, error_mm
        supposed_mm = self._flow.supposed_mm(max(now.at - last.at, 0.0))
        return supposed_mm, abs(supposed_mm)

    def _look_back(self) -> None:
        """Takes in what has become known of where the belt was at the moments of earlier pictures."""
        while self._where and self._open:
            moment = self._open[0]
            place = self._where(moment.at)
            moment.position_mm, moment.sure = place.position_mm, place.sure
            if not place.final and len(self._open) < MOST_OPEN:
                break
            self._open.popleft()
            if moment.sure:
                self._placed = moment
        if self._where and self._placed and not self._where(self._placed.at).sure:
            # What was sure is not so any more: the belt is counted anew, and no earlier sighting tells a place on it.
            self._placed = None
            for track in self._tracks:
                track.lose_place()

    def _stays(self, earlier: np.ndarray, since: np.ndarray) -> np.ndarray:
        """From which distance to which more than half of each track is still in sight, float [tracks, 2].

        Empty for what may be there and not be seen: what was not seen in the last picture, or lies at an edge.
        """
        middle = (earlier[:, REAR] + earlier[:, FRONT]) / 2 + since
        stays = np.asarray(self._sight) - middle[:, None]
        stays[~uncut(earlier) | np.array([track.unseen > 0 or track.hidden for track in self._tracks], bool)] = np.nan
        return stays

    def _known(self, places: np.ndarray) -> np.ndarray:
        """From which distance to which more than half of each thing found was in sight before, float [found, 2]."""
        middle = (places[:, REAR] + places[:, FRONT]) / 2
        return np.asarray(middle[:, None] - self._sight[::-1])

    def _least_px(self) -> float:
        """How far apart the middles of two things in one row lie at least."""
        return min((track.length_px for track in self._tracks if track.weight > 0), default=0.0)

    def _doubted(self) -> tuple[int, ...]:
        """Nobody can tell which of the things in sight is which: their ids, all of them now in doubt."""
        doubted = tuple(sorted(track.id for track in self._tracks if track.id and not track.away))
        self._tracks = [track for track in self._tracks if track.id]
        return doubted

    def _costs(
        self, earlier: np.ndarray, places: np.ndarray, apart: np.ndarray, could_be: np.ndarray, now: float, step: Step
    ) -> np.ndarray:
        """How badly each thing found fits each track, float [tracks, found]; infinite where it cannot be it."""
        tracks = self._tracks
        since = np.array([track.since_px for track in tracks])[:, None]
        known = np.array([track.id > 0 for track in tracks], bool)[:, None]
        blind = np.isnan(apart)
        if blind.any():
            # What neither end of can be seen may be it where it lies in the same stretch of belt.
            blind &= share_inside(moved_by(earlier, since[:, 0]), places) > 0.7
            apart = np.where(blind, since, apart)
        off = np.abs(apart - since)
        if not known.all():
            # What is not known to travel may have stayed, or move in its own way.
            own = np.array([np.nan if t.speed is None else t.speed * (now - t.seen.at) for t in tracks])[:, None]
            off = np.where(known, off, np.fmin(np.fmin(off, np.abs(apart)), np.abs(apart - own)))
        # Once the belt's step is known, a thing lies where it must: whatever lies further off is another one.
        gate = 5 * NOISE_PX + (SEEN_GATE if step.seen else EXPECTED_GATE) * np.abs(since)
        # A known item comes first, and of two that fit equally well the more similar one.
        cost = off / gate + 0.1 * np.abs(unlikeness(earlier, places)) + np.where(known, 0.0, 0.5)
        return np.where(could_be & (off <= gate), cost, np.inf)

    def _match(
        self,
        found: Sequence[Found],
        places: np.ndarray,
        apart: np.ndarray,
        cost: np.ndarray,
        now: Moment,
        moved: float,
    ) -> None:
        """Gives each thing found to the track that explains it best; the rest start tracks of their own.

        Cheapest pair first is enough here: once the belt's own step is known, the right pair is off by
        a pixel or two and every other one by the distance between two items.
        """
        unmatched, free = set(range(len(self._tracks))), set(range(len(found)))
        for flat in np.argsort(cost, axis=None)[: np.count_nonzero(np.isfinite(cost))]:
            t, s = divmod(int(flat), len(found))
            if t in unmatched and s in free:
                unmatched.discard(t)
                free.discard(s)
                self._tracks[t].see(found[s], places[s], float(apart[t, s]), now)
        inside = self._inside([self._tracks[t] for t in unmatched], places)
        for t, covers in zip(unmatched, inside, strict=True):
            track = self._tracks[t]
            within = np.flatnonzero(covers).tolist() if track.id else []
            track.hidden = bool(within)
            track.unseen = 0 if track.hidden else track.unseen + 1
            free.difference_update(within)
        if not free:
            return
        new, items = sorted(free), [track for track in self._tracks if track.id and not track.away]
        expected = np.array([track.expected for track in items]).reshape(-1, COLUMNS)
        fragments = share_inside(places[new], expected) > 0.6
        for s, covers in zip(new, fragments, strict=True):
            if not self._is_fragment(places[s], [items[n] for n in np.flatnonzero(covers)]):
                # By the edge of entry, or so near to it that it was outside a frame ago.
                entered = self._first or places[s, REAR] - self._sight[0] <= 1.5 * moved + 10 * NOISE_PX
                self._tracks.append(Track(places[s], found[s], now, entered))

    @staticmethod
    def _inside(tracks: list[Track], places: np.ndarray) -> np.ndarray:
        """Which things found each track must lie in by now, bool [tracks, found]."""
        if not tracks or not len(places):
            return np.zeros((len(tracks), len(places)), bool)
        expected = moved_by(np.array([track.place for track in tracks]), np.array([track.since_px for track in tracks]))
        return share_inside(expected, places) > 0.6

    @staticmethod
    def _is_fragment(place: np.ndarray, items: list[Track]) -> bool:
        """Whether a thing that lies inside known items is what one of them lacks of its usual area."""
        return any(
            track.unseen or track.hidden or track.place[AREA] + place[AREA] < 1.2 * track.area_px for track in items
        )

    def _births(self) -> tuple[int, ...]:
        """Gives an id to what has travelled long enough, most downstream first."""
        born = []
        for track in sorted(self._tracks, key=lambda t: -t.place[FRONT]):
            if track.id or track.unseen or track not in self._tracks or not track.travels(self._flow.settled):
                continue
            larger, within = self._same_thing(track)
            if larger or len(within) > 1:
                continue  # a part of something, or what several items look like while they touch
            if within:
                if within[0].is_less_than(track):
                    continue  # an item that was known whole has come to lie in what is more than it
                # Its tip was seen first: it is the same item.
                track.id = within[0].id
                self._tracks.remove(within[0])
                continue
            track.id, self._next_id = self._next_id, self._next_id + 1
            born.append(track.id)
        if born and not self._flow.settled:
            self._flow.prove()
        return tuple(born)

    def _same_thing(self, track: Track) -> tuple[bool, list[Track]]:
        """Whether a track is a part of another one's blob, and the known items that are parts of its own."""
        near = [
            other
            for other in self._tracks
            if other is not track and not other.unseen and other.found.blob == track.found.blob
        ]
        places = np.array([other.place for other in near]).reshape(-1, track.place.size)
        part_of = share_inside(track.place[None], places)[0] > 0.6
        has = share_inside(places, track.place[None])[:, 0] > 0.6
        larger = any(part and other.place[AREA] > track.place[AREA] for part, other in zip(part_of, near, strict=True))
        return larger, [other for part, other in zip(has, near, strict=True) if part and other.id]

    def _ends(self, frame: Frame) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Lets go of what has left the picture, and of what has been gone for too long inside it."""
        least = self._settings.min_mm * self._belt.pixels_per_mm
        entry, end = self._sight
        reach = (end - entry) * BACK
        left, vanished, tracks = [], [], []
        for track in self._tracks:
            gone = track.unseen > 0 or track.hidden
            rear, front = track.place[REAR] + track.since_px, track.place[FRONT] + track.since_px
            if not track.id:
                if track.unseen < 2 and front - entry >= least and end - rear >= least:
                    tracks.append(track)
            elif gone and (end - rear < least or front - entry < least):
                downstream = end - rear < least
                if not track.away:
                    # What has not been seen right up to the edge did not leave by it.
                    track.away = not downstream or bool(track.place[CUT_EXIT]) or track.unseen < WAIT_FRAMES
                    if not track.away:
                        vanished.append(track.id)
                    elif downstream:
                        left.append(track.id)
                if track.away and entry - reach < front and rear < end + reach:
                    tracks.append(track)
                elif track.away and not downstream:
                    vanished.append(track.id)
            elif self._is_lost(track, frame.captured_at):
                vanished.append(track.id)
            else:
                tracks.append(track)
        self._tracks = tracks
        return tuple(sorted(left)), tuple(sorted(vanished))

    def _is_lost(self, track: Track, now: float) -> bool:
        """Whether an item has been gone for too long inside the picture; the last bit at the exit is hard to see."""
        waited = now - track.seen.at > WAIT_S and track.unseen >= WAIT_FRAMES
        return waited and not track.away and not track.place[CUT_EXIT]

    def _item(self, track: Track, frame: Frame) -> Item:
        assert self._travel is not None
        place = track.expected if track.hidden else track.place
        box = box_of(self._travel, place) if track.hidden else track.found.box
        scale = self._belt.pixels_per_mm
        cut = track.cut or track.found.cut_side
        return Item(
            id=track.id,
            frame_seq=frame.seq,
            captured_at=frame.captured_at,
            position_mm=frame.position_mm,
            box=box,
            item_mm=track.item_mm(self._travel.length / 2, scale * self._flow.ratio),
            length_mm=track.length_px / scale,
            across_mm=float(place[SIDE] + place[OTHER] - self._travel.breadth) / 2 / scale,
            whole=not cut and not track.hidden,
            touching=track.touching,
            area_mm2=track.whole_area_px / (scale * self._flow.ratio) ** 2,
            placed=track.placed,
        )

"""Items that a photo-eye announces: each edge is one item, and one picture of it is classified.

The beam stands position_mm downstream of the camera's centre line (negative: upstream). When an item breaks
it, its front edge is there, and its centre half a length_mm upstream of that, at position_mm - length_mm / 2.
The belt has to carry the centre that much less to the centre line, so the item passes the line when the belt
stands at

    item_mm = position of the belt at the edge - position_mm + length_mm / 2

and everything later is reckoned from there: it does not change however the belt runs.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edge.belt import Belt
from edge.config import LineConfig
from edge.eyes import Edge
from edge.herald import Tell
from edge.items import Tracked
from edge.ledger import Ledger
from edge.records import Box, Frame, Item, View
from edge.travel import Travel

# Pictures kept for an edge that is told after they were taken: so many at the most. An edge may be told so late.
RING = 32
LATE_S = 0.15
# A beam that stays broken for so many item lengths is broken by more than one item.
ONE_ITEM = 1.5
NO_FRAME = -1
"""The frame_seq of an item of which there is no picture yet."""


@dataclass(slots=True, eq=False)
class _Coming:
    """An item that is on its way past the camera; best is the nearest picture of it so far."""

    item: Item
    best: Frame | None = None
    settled: bool = False

    def off_mm(self, frame: Frame) -> float:
        """How far past the centre line the item's centre was in a picture; negative before it."""
        return frame.position_mm - self.item.item_mm

    def consider(self, frame: Frame) -> None:
        if self.best is None or abs(self.off_mm(frame)) <= abs(self.off_mm(self.best)):
            self.best = frame


class Trigger:
    """The eye of a line in trigger mode: items are born by `edge`, their pictures chosen by `look`.

    on_item(item, view) is told of every new item at once, also while the camera is away, and of its view
    when the right picture has been taken already. The picture in which the item is nearest to the centre
    line is classified: when the beam stands upstream it is waited for, else it is looked for among the last
    RING pictures. An item without a picture within window_mm gets no view, and so goes to the default lane.

    The crop is the roi, moved along the belt with the item, or the whole picture. An edge less than half an
    item's length behind the one before is the same item: a hole in it, or a belt that trembles; and what
    comes back on a belt that runs backwards has been seen before. Items that touch break the beam as one:
    it counts as touching, and so is not pushed, when the beam was broken for one and a half lengths of belt
    and was free again before the item was decided, as it is where the beam stands well upstream.

    Pictures are kept as the camera gave them, those of the last LATE_S and, where the beam stands downstream,
    of the belt between it and the camera: RING at the most, which are 88 MB of 1280 x 720.

    Several threads call it; it works under the ledger's lock, which is held when on_item is called.
    """

    def __init__(
        self,
        config: LineConfig,
        ledger: Ledger,
        belt: Belt,
        tell: Tell,
        on_item: Callable[[Item, View | None], None],
    ) -> None:
        settings = config.items.trigger
        assert settings is not None
        self._belt, self._tell, self._on_item, self._lock = belt, tell, on_item, ledger.lock
        self._direction, self._pixels_per_mm, self._roi = (
            config.belt.direction, config.belt.pixels_per_mm, config.items.roi,
        )  # fmt: skip
        self._beam_mm, self._length_mm = settings.position_mm, settings.length_mm
        self._window_mm = settings.window_mm or settings.length_mm / 2
        self._tolerance_mm = config.decide.tolerance_mm or config.decide.reach_mm / 4
        self._jammed_mm = max(config.items.max_mm, ONE_ITEM * settings.length_mm)
        # An item that has just broken the beam passed the centre line so far ago.
        self._back_mm = max(settings.position_mm - settings.length_mm / 2, 0.0) + self._window_mm
        self._frames: deque[Frame] = deque(maxlen=RING)
        self._coming: list[_Coming] = []
        self._born = 0
        self._last_mm = -math.inf
        self._in_beam: _Coming | None = None
        self._jammed = False

    def edge(self, edge: Edge) -> None:
        """An item has broken the beam, or left it again."""
        with self._lock:
            if not edge.broken:
                return self._free(self._belt.position_mm(edge.at))
            position_mm = self._belt.position_mm(edge.at)
            item_mm = position_mm - self._beam_mm + self._length_mm / 2
            if item_mm < self._last_mm + self._length_mm / 2 or self._belt.speed_mm_s(edge.at) < 0:
                return None
            self._last_mm = item_mm
            self._born += 1
            item = Item(
                self._born, NO_FRAME, edge.at, position_mm, Box(0, 0, 0, 0), item_mm, self._length_mm, whole=False
            )
            coming = self._in_beam = _Coming(item)
            self._coming.append(coming)
            view = None
            if self._is_placed(edge, item):
                for frame in self._frames:
                    coming.consider(frame)
                if self._frames and coming.off_mm(self._frames[-1]) >= 0:
                    view = self._settle(coming)
            else:
                coming.settled = True
            self._on_item(coming.item, view)
        return None

    def look(self, frame: Frame) -> tuple[Tracked, list[View]]:
        """Takes the next picture: the items in it, those that passed without one, and the views it settles."""
        height, width = frame.pixels.shape[:2]
        half_mm = Travel(self._direction, width, height).length / 2 / self._pixels_per_mm
        seen, views, left, coming = [], [], [], []
        with self._lock:
            self._look_for_a_jam(frame.position_mm)
            self._remember(frame)
            for one in self._coming:
                if not one.settled:
                    one.consider(frame)
                    if one.off_mm(frame) >= 0:
                        view = self._settle(one)
                        views += [view] if view else []
                        left += [] if view else [one.item.id]
                if abs(one.off_mm(frame)) < half_mm + self._length_mm / 2:
                    one.item = self._in_picture(one, frame)
                    seen.append(one.item)
                if not one.settled or one.off_mm(frame) < half_mm + self._length_mm / 2:
                    coming.append(one)
            self._coming = coming
        return Tracked(tuple(seen), left=tuple(left)), views

    def learn(self) -> None:
        """Nothing: pictures are chosen by the moment at which they were taken."""

    def observed_speed_mm_s(self, since: float = -math.inf) -> None:
        """Nothing is followed from picture to picture, so the pictures show no speed."""
        return

    def _free(self, position_mm: float) -> None:
        """The beam is free again, since the belt stood there."""
        if self._in_beam and self._broken_mm(position_mm) > ONE_ITEM * self._length_mm:
            self._in_beam.item = replace(self._in_beam.item, touching=True)
        self._in_beam = None
        if self._jammed:
            self._jammed = False
            self._tell("eye_blocked", "belt", "the beam is free again", "items are seen again", recovered=True)

    def _is_placed(self, edge: Edge, item: Item) -> bool:
        """Whether it is known well enough where the item is; if not, it must not be pushed and gets no view."""
        error_mm = edge.error_s * abs(self._belt.speed_mm_s(edge.at))
        known = self._belt.place(edge.at).sure
        if error_mm <= self._tolerance_mm and known:
            return True
        cause = (
            f"item {item.id} broke the beam at a moment known to {edge.error_s * 1e3:.0f} ms only, {error_mm:.0f} mm"
        )
        if not known:
            cause = f"item {item.id} broke the beam while nobody knew where the belt was"
        self._tell("item_unplaced", "item", cause, "not classified: sent to the default lane", item.id)
        return False

    def _settle(self, one: _Coming) -> View | None:
        """The one view of an item, from the nearest picture; None, and an incident, when that is not near."""
        one.settled = True
        frame, one.best, item = one.best, None, one.item
        if frame is None or abs(off_mm := frame.position_mm - item.item_mm) > self._window_mm:
            near = "there is none" if frame is None else f"the nearest shows it {abs(off_mm):.0f} mm off"
            cause = f"item {item.id} has no picture within {self._window_mm:g} mm of the centre line: {near}"
            self._tell("item_unseen", "item", cause, "not classified: sent to the default lane", item.id)
            return None
        box = self._crop(frame, off_mm)
        return View(
            item_id=item.id,
            frame_seq=frame.seq,
            captured_at=frame.captured_at,
            position_mm=frame.position_mm,
            box=box,
            crop=_cut(frame.pixels, box),
            last=True,
        )

    def _crop(self, frame: Frame, off_mm: float) -> Box:
        height, width = frame.pixels.shape[:2]
        if self._roi is None:
            return Box(0, 0, width, height)
        x, y, w, h = self._roi
        ahead = round(off_mm * self._pixels_per_mm)
        right, down = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}[self._direction]
        w, h = min(w, width), min(h, height)
        x, y = min(max(x + right * ahead, 0), width - w), min(max(y + down * ahead, 0), height - h)
        return Box(x, y, w, h)

    def _in_picture(self, one: _Coming, frame: Frame) -> Item:
        """The item as it lies in a picture: its length of belt, across all of the roi or the picture."""
        height, width = frame.pixels.shape[:2]
        travel = Travel(self._direction, width, height)
        centre = travel.length / 2 + one.off_mm(frame) * self._pixels_per_mm
        half = self._length_mm / 2 * self._pixels_per_mm
        across = travel.across(Box(*self._roi)) if self._roi else (0, travel.breadth)
        return replace(
            one.item,
            frame_seq=frame.seq,
            captured_at=frame.captured_at,
            position_mm=frame.position_mm,
            box=travel.box((centre - half, centre + half), across),
            whole=centre - half >= 0 and centre + half <= travel.length,
        )

    def _broken_mm(self, position_mm: float) -> float:
        """How far the belt has moved since the beam was broken."""
        assert self._in_beam is not None
        return position_mm - (self._in_beam.item.item_mm + self._beam_mm - self._length_mm / 2)

    def _look_for_a_jam(self, position_mm: float) -> None:
        if self._in_beam and not self._jammed and (broken_mm := self._broken_mm(position_mm)) > self._jammed_mm:
            self._jammed = True
            self._in_beam.item = replace(self._in_beam.item, touching=True)
            cause = f"the beam has been broken for {broken_mm:.0f} mm of belt: a jam, or a dirty photo-eye"
            self._tell("eye_blocked", "belt", cause, "what passes it is not seen and goes to the default lane")

    def _remember(self, frame: Frame) -> None:
        """Keeps what an edge may still ask for: the pictures of a stretch of belt, RING of them at the most.

        On a slow or a standing belt not every picture is worth its place, so they are thinned out.
        """
        frames = self._frames
        stretch_mm = self._back_mm + abs(self._belt.speed_mm_s(frame.captured_at)) * LATE_S
        apart_mm = min(2 * stretch_mm / RING, self._window_mm)
        if len(frames) > 1 and abs(frame.position_mm - frames[-2].position_mm) < apart_mm:
            frames.pop()
        frames.append(frame)
        # The first that lies outside is kept: it may be the nearest to what lies just inside.
        while len(frames) > 1 and abs(frame.position_mm - frames[1].position_mm) > stretch_mm:
            frames.popleft()


def _cut(pixels: np.ndarray, box: Box) -> np.ndarray:
    """A copy, so that a view does not hold a whole frame; the whole picture is never written to and is not copied."""
    if (box.height, box.width) == pixels.shape[:2]:
        return pixels
    return pixels[box.y : box.y + box.height, box.x : box.x + box.width].copy()

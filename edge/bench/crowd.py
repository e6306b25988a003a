"""What a frame costs with few and with many items in view, from its pixels to all their predictions."""

from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import cv2

from edge.bench.findings import Bar, Column, Figure, Table, milliseconds, percentile, ratio
from edge.bench.peer import Peer
from edge.bench.scenario import Bench
from edge.config import BeltSettings, ItemsSettings
from edge.eye import Eye
from edge.model import Classifier, cut
from edge.records import Frame
from edge.simulator.scene import Scene
from edge.simulator.settings import SimulatorSettings
from edge.simulator.world import World

SPEED_MM_S = 500.0
FPS = 60.0
PIXELS_PER_MM = 1.6
WIDTH, HEIGHT = 1280, 720
MOST_A_ROW = 8
SETTLING_FRAMES = 60
FRAMES = 120
COUNTS = (1, 2, 4, 8, 16)
# A mean over so few frames is uncertain by about this much; growth beyond it is more than linear.
LINEAR = 1.1
KEPT_FRAMES = 24  # pictures that are drawn at a time: drawing is not measured


@dataclass(slots=True)
class Crowded:
    """Seconds a frame: finding, following and cutting out; learning the belt; the model, one by one and together."""

    items: list[int] = field(default_factory=list)
    look_s: list[float] = field(default_factory=list)
    learn_s: list[float] = field(default_factory=list)
    singly_s: list[float] = field(default_factory=list)
    together_s: list[float] = field(default_factory=list)


class Crowd:
    """A belt with so many items in view at a time, looked at in one thread: the worst case, for every whole item in
    every frame is classified."""

    def __init__(self, model: Path, items: int) -> None:
        cv2.setNumThreads(1)
        self._classifier = Classifier(model)
        settings = SimulatorSettings(
            speed_mm_s=SPEED_MM_S,
            rate=items * SPEED_MM_S * PIXELS_PER_MM / WIDTH,
            rows=-(-items // MOST_A_ROW),
            fps=FPS,
            width=WIDTH,
            height=HEIGHT,
            pixels_per_mm=PIXELS_PER_MM,
            seed=1,
        )
        self._scene = Scene(World(settings))
        belt = BeltSettings(pixels_per_mm=PIXELS_PER_MM, speed_mm_s=SPEED_MM_S)
        self._margin = self._classifier.card.crop_margin
        self._eye = Eye(ItemsSettings(), belt, self._margin)
        self._seq = round(WIDTH / PIXELS_PER_MM / SPEED_MM_S * FPS)  # by then the belt in view is full of items
        self.measure(SETTLING_FRAMES)

    def batch(self) -> int:
        """How many pictures are best classified together here."""
        return self._classifier.batch

    def measure(self, frames: int) -> Crowded:
        """So many frames in a row; frames without a whole item are not counted."""
        found = Crowded()
        while frames > 0:
            drawn = [self._draw() for _ in range(min(frames, KEPT_FRAMES))]
            frames -= len(drawn)
            for frame in drawn:
                self._measure(frame, found)
        return found

    def _draw(self) -> Frame:
        at = self._seq / FPS
        frame = Frame(self._seq, at, at * SPEED_MM_S, self._scene.draw(at))
        self._seq += 1
        return frame

    def _measure(self, frame: Frame, found: Crowded) -> None:
        started = perf_counter()
        tracked, _ = self._eye.look(frame)
        looked = perf_counter()
        self._eye.learn()
        learnt = perf_counter()
        boxes = [item.box for item in tracked.items if item.whole and not item.touching]
        if not boxes:
            return
        batch = max(self._classifier.batch, 1)
        before = perf_counter()
        crops = [cut(frame.pixels, box, self._margin).copy() for box in boxes]
        cut_out = perf_counter()
        for crop in crops:
            self._classifier.classify([crop])
        singly = perf_counter()
        for first in range(0, len(crops), batch):
            self._classifier.classify(crops[first : first + batch])
        together = perf_counter()
        found.items.append(len(crops))
        found.look_s.append(looked - started + cut_out - before)
        found.learn_s.append(learnt - looked)
        found.singly_s.append(singly - cut_out)
        found.together_s.append(together - singly)


def crowd(bench: Bench) -> tuple[Table, list[Bar]]:
    """A row for each number of items, and the bars: linear at the most, and together no dearer than one by one."""
    rows: list[dict[str, Figure]] = []
    growth, gain = [], []
    first: float | None = None
    for count in COUNTS:
        bench.say(f"{count} items in view")
        with Peer(f"{count} items in view", Crowd, model=bench.model, items=count) as peer:
            batch = peer.call("batch", timeout_s=10)
            seen: Crowded = peer.call("measure", frames=bench.times(FRAMES), timeout_s=120)
        items = sum(seen.items) / len(seen.items) if seen.items else None
        look, learn, singly, together = (
            percentile(times, 0.5) for times in (seen.look_s, seen.learn_s, seen.singly_s, seen.together_s)
        )
        cost = look + together if look is not None and together is not None else None
        each = ratio(cost, items)
        first = first or each
        growth += [grown] if (grown := ratio(each, first)) is not None else []
        gain += [gained] if count > 1 and (gained := ratio(together, singly)) is not None else []
        rows.append(
            {
                "items": items,
                "look_ms": milliseconds(look),
                "learn_ms": milliseconds(learn),
                "singly_ms": milliseconds(singly),
                "together_ms": milliseconds(together),
                "batch": batch,
                "frame_ms": milliseconds(cost),
                "each_ms": milliseconds(each),
                "to_one": ratio(each, first),
            }
        )
    table = Table(
        "crowd",
        "Cost of a frame by items in view",
        "One thread on drawn 1280x720 pictures; every whole item in every frame is classified, one by one and then in "
        "batches of the size that pays off here; medians, and the cost of a frame is that of finding plus batches.",
        (
            Column("items", "whole items", "", 1),
            Column("look_ms", "find, follow, cut", "ms"),
            Column("learn_ms", "learn the belt", "ms"),
            Column("singly_ms", "model one by one", "ms"),
            Column("together_ms", "in batches", "ms"),
            Column("batch", "batch"),
            Column("frame_ms", "a frame", "ms"),
            Column("each_ms", "an item", "ms"),
            Column("to_one", "to the first row", "x"),
        ),
        rows,
    )
    bars = [
        Bar("linear", "cost an item, at the most of 1 to 16 in view, over that of one", max(growth, default=None),
            LINEAR, "x"),
        Bar("batching", "model in batches over one by one", max(gain, default=None), LINEAR, "x"),
    ]  # fmt: skip
    return table, bars

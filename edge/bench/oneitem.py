"""What the line adds to the bare model where one item is in view and every frame of it is classified."""

from pathlib import Path
from time import perf_counter, sleep

import numpy as np

from edge.bench.findings import Bar, Column, Figure, Table, milliseconds, percentile, ratio
from edge.bench.live import LiveLine, Stretch, content
from edge.bench.peer import Peer
from edge.bench.scenario import Bench
from edge.model import Classifier

TURNS = 5
SECONDS, BARE_S = 10.0, 5.0  # of all turns together
SETTLING_S = 2.5
FPS = 60
AT_MOST = 1.35
# The camera sees 800 mm of belt, and items lie further apart than that less an item: never two whole ones are in
# view. The 91 frames of each in view are fewer than the looks that are asked for.
SOURCE = f"sim:?speed_mm_s=500&rate=0.6&min_gap_mm=770&foreign=0&seed=1&fps={FPS}&width=1280&height=720"
MAX_VIEWS = 100


class Paced:
    """One Classifier in a process of its own that runs once a frame, as a line's does: between two runs it rests."""

    def __init__(self, model: Path) -> None:
        self._classifier = Classifier(model)
        card = self._classifier.card
        self._pixels = np.random.default_rng(1).integers(0, 256, (1, card.height, card.width, 3), np.uint8)

    def measure(self, runs: int) -> list[float]:
        """What each run took, in seconds."""
        seconds, due = [], perf_counter()
        for _ in range(runs):
            due += 1 / FPS
            sleep(max(due - perf_counter(), 0))
            started = perf_counter()
            self._classifier.run(self._pixels)
            seconds.append(perf_counter() - started)
        return seconds


def one_item(bench: Bench) -> tuple[Table, list[Bar]]:
    """A row and a bar for the bench's model, and for the file to measure beside it."""
    rows, bars = [], []
    for model in [bench.model, *([bench.against] if bench.against else [])]:
        row = _row(bench, model)
        rows.append(row)
        value = row["to_model"]
        assert value is None or isinstance(value, float)
        bars.append(
            Bar(f"one_item_{model.stem}", f"frame to vote over the bare model, {model.name}", value, AT_MOST, "x")
        )
    table = Table(
        "one_item",
        "One item a frame",
        "A whole line on a simulated 1280x720 belt at 60 fps with one item in view, whose every frame is classified: "
        "from where the eye takes a frame up to the vote of the view in it. The bare model runs once a frame too, in a "
        "process of its own, before and after each of a few turns: the ratio is the median of theirs.",
        (
            Column("model", "model"),
            Column("model_p50_ms", "bare model p50", "ms"),
            Column("p50_ms", "frame to vote p50", "ms"),
            Column("p99_ms", "p99", "ms"),
            Column("to_model", "to bare model", "x"),
            Column("to_model_least", "least", "x"),
            Column("to_model_most", "most", "x"),
            Column("finding_p50_ms", "finding p50", "ms"),
            Column("queueing_p50_ms", "queueing p50", "ms"),
            Column("classifying_p50_ms", "classifying p50", "ms"),
            Column("views", "views"),
        ),
        rows,
    )
    return table, bars


def _row(bench: Bench, model: Path) -> dict[str, Figure]:
    """The bare model and the line in turns: a processor changes its clock, and each ratio is of one short while."""
    classes = Classifier(model, "cpu").card.classes
    settings = content(model, classes, SOURCE, web=False) | {"items": {"max_views": MAX_VIEWS}}
    turns = bench.times(TURNS)
    runs = max(int(bench.seconds(BARE_S) / turns * FPS), 10)
    bare: list[list[float]] = []
    stretches: list[Stretch] = []
    with Peer("the bare model", Paced, model=model) as engine:
        for turn in range(turns):
            bench.say(f"one item a frame with {model.name}, turn {turn + 1} of {turns}")
            bare.append(engine.call("measure", runs=runs, timeout_s=60))
            with Peer("the line", LiveLine, content=settings) as line:
                sleep(SETTLING_S)
                line.call("begin", timeout_s=10)
                sleep(bench.seconds(SECONDS) / turns)
                stretches.append(line.call("stretch", timeout_s=10))
        bare.append(engine.call("measure", runs=runs, timeout_s=60))
    ratios = [
        each
        for before, stretch, after in zip(bare, stretches, bare[1:], strict=False)
        if (each := ratio(percentile(stretch.stages_s["taken_up"], 0.5), percentile(before + after, 0.5))) is not None
    ]
    pooled = Stretch.pooled(stretches)
    voted = pooled.stages_s["taken_up"]
    return {
        "model": model.name,
        "model_p50_ms": milliseconds(percentile([one for turn in bare for one in turn], 0.5)),
        "p50_ms": milliseconds(percentile(voted, 0.5)),
        "p99_ms": milliseconds(percentile(voted, 0.99)),
        "to_model": percentile(ratios, 0.5),
        "to_model_least": min(ratios, default=None),
        "to_model_most": max(ratios, default=None),
        **{
            f"{stage}_p50_ms": milliseconds(percentile(pooled.stages_s[stage], 0.5))
            for stage in ("finding", "queueing", "classifying")
        },
        "views": len(voted),
    }

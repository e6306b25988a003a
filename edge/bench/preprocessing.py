"""Scenario `preprocessing`: from a frame or a file to the model's input."""

import random
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, thread_time

import cv2

from edge.bench.findings import Column, Figure, Findings, Runs, Table, milliseconds, percentile, ratio
from edge.bench.peer import Peer
from edge.bench.pictures import belt_picture, jpeg
from edge.bench.scenario import Bench
from edge.model import Classifier, cut
from edge.picture import decode_picture
from edge.records import Box
from edge.web.pictures import decode

SECONDS = 5.0
RUNS_A_TURN = 20
CROP_PX = 300
STEPS = {
    "crop": f"{CROP_PX} px crop of a 1280x720 frame",
    "jpeg": "640x480 JPEG, decoded in full",
    "jpeg_reduced": "640x480 JPEG, decoded as /predict does",
    "model": "for comparison: the model, one picture",
}


class Steps:
    """Each way to the model's input, in one process with one thread."""

    def __init__(self, model: Path) -> None:
        cv2.setNumThreads(1)
        self._chance = random.Random(1)
        classifier = Classifier(model, "cpu")
        frame, data = belt_picture(1280, 720), jpeg()
        box = Box((1280 - CROP_PX) // 2, (720 - CROP_PX) // 2, CROP_PX, CROP_PX)
        size = (classifier.card.height, classifier.card.width)
        pixels = classifier.pixels(cut(frame, box, 0.0))[None]
        self._steps: dict[str, Callable[[], object]] = {
            "crop": lambda: classifier.pixels(cut(frame, box, 0.0)),
            "jpeg": lambda: classifier.pixels(decode_picture(data)),
            "jpeg_reduced": lambda: classifier.pixels(decode(data, "the picture", size)),
            "model": lambda: classifier.run(pixels),
        }

    def measure(self, runs: int) -> dict[str, Runs]:
        """So many runs of each step, the steps in turn."""
        measured = {name: Runs() for name in self._steps}
        order = list(self._steps)
        for _ in range(runs):
            self._chance.shuffle(order)  # else a step could keep step with the system's own scheduler
            for name in order:
                cpu, start = thread_time(), perf_counter()
                self._steps[name]()
                measured[name].add(Runs([perf_counter() - start], thread_time() - cpu))
        return measured


def measure(bench: Bench) -> Findings:
    """All steps interleaved until the time is up."""
    measured = {name: Runs() for name in STEPS}
    with Peer("preprocessing", Steps, model=bench.model) as steps:
        steps.call("measure", runs=2, timeout_s=60)
        ends = perf_counter() + bench.seconds(SECONDS)
        while not measured["crop"].seconds or perf_counter() < ends:
            bench.say(f"{max(ends - perf_counter(), 0):.0f} s left")
            for name, more in steps.call("measure", runs=RUNS_A_TURN, timeout_s=60).items():
                measured[name].add(more)
    model_s = percentile(measured["model"].seconds, 0.5)
    rows: list[dict[str, Figure]] = [
        {
            "step": name,
            "what": STEPS[name],
            "p50_ms": milliseconds(percentile(runs.seconds, 0.5)),
            "p99_ms": milliseconds(percentile(runs.seconds, 0.99)),
            "to_model": ratio(percentile(runs.seconds, 0.5), model_s),
            "cpu_ms": milliseconds(runs.cpu_each_s),
            "runs": len(runs.seconds),
        }
        for name, runs in measured.items()
    ]
    table = Table(
        "preprocessing",
        "Pre-processing",
        "Each step alone, from a frame or the bytes of a file to the model's input, in one process with one thread, "
        "the steps in turn.",
        (
            Column("what", "step"),
            Column("p50_ms", "p50", "ms", 3),
            Column("p99_ms", "p99", "ms", 3),
            Column("to_model", "to the model's p50", "x"),
            Column("cpu_ms", "processor", "CPU ms a run", 3),
            Column("runs", "runs"),
        ),
        rows,
    )
    return Findings((table,))

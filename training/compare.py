"""How good a model is and how fast: measured on pictures it has never seen, all forms side by side."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from edge.model import Classifier
from training.architectures import Network
from training.batches import as_input
from training.calibrate import Calibration, calibration_error
from training.data import Part
from training.fit import predict
from training.tta import Tta, looks_at

ROUNDS, FEWEST = 200, 50
LONGEST_S = 30.0  # from here on the fewest rounds are enough
MAX_DROP = 0.005  # of accuracy, against torch, that a faster file may cost


@dataclass(frozen=True, slots=True)
class Score:
    """One form of a model on one set of pictures.

    accuracy, agreement (the same class as torch) and calibration_error are shares, 0 to 1; the
    latencies are of one picture on one thread. size_bytes is 0 for torch, which has no file.
    """

    accuracy: float
    agreement: float
    calibration_error: float
    size_bytes: int
    p50_ms: float
    p99_ms: float


def compare(
    network: Network, calibration: Calibration, files: dict[str, Path], part: Part, tta: Tta = "none"
) -> dict[str, Score]:
    """Scores the torch network and its exported files on a part; latencies interleaved, so load hits all alike."""
    reference = calibration.probabilities(predict(network, part, tta=tta)[0])
    probabilities = {"torch": reference}
    sizes = {"torch": 0}
    threads = torch.get_num_threads()
    classifiers = {name: Classifier(path, provider="cpu", threads=threads) for name, path in files.items()}
    for name, classifier in classifiers.items():
        probabilities[name] = run(classifier, part)
        sizes[name] = files[name].stat().st_size

    picture = part.pixels(slice(0, 1))

    def through_torch() -> None:
        with torch.inference_mode():
            network(as_input(looks_at(picture, tta)))

    calls: dict[str, Callable[[], object]] = {"torch": through_torch}
    alone = {name: classifier.with_threads(1) for name, classifier in classifiers.items()}
    calls |= {name: lambda c=classifier: c.run(picture) for name, classifier in alone.items()}  # type: ignore[misc]
    torch.set_num_threads(1)
    try:
        latencies = time_interleaved(calls)
    finally:
        torch.set_num_threads(threads)
    return {
        name: Score(
            accuracy=float((its.argmax(1) == part.labels).mean()),
            agreement=float((its.argmax(1) == reference.argmax(1)).mean()),
            calibration_error=calibration_error(its, part.labels),
            size_bytes=sizes[name],
            p50_ms=latencies[name][0],
            p99_ms=latencies[name][1],
        )
        for name, its in probabilities.items()
    }


def fastest_faithful(scores: dict[str, Score], max_drop: float = MAX_DROP) -> str:
    """The file that ships: the fastest of those that lose no more than max_drop of torch's accuracy."""
    floor = scores["torch"].accuracy - max_drop - 1e-9
    faithful = [name for name, score in scores.items() if name != "torch" and score.accuracy >= floor]
    return min(faithful or ["fp32"], key=lambda name: scores[name].p50_ms)


def run(classifier: Classifier, part: Part) -> np.ndarray:
    """A file's probabilities, float32 [n, classes], for all pictures of a part."""
    return np.concatenate([classifier.run(pixels)[0] for pixels in part.batches(32)])


def time_interleaved(calls: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, tuple[float, float]]:
    """Median and 99th percentile in ms of each call, made in turns, after a tenth as many for warming up.

    Slow calls are made less often: once LONGEST_S have passed, FEWEST rounds will do.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    began = perf_counter()
    for turn in range(-rounds // 10, rounds):
        if turn >= FEWEST and perf_counter() - began > LONGEST_S:
            break
        for name, call in calls.items():
            started = perf_counter()
            call()
            if turn >= 0:
                times[name].append((perf_counter() - started) * 1e3)
    return {name: (float(np.median(ms)), float(np.percentile(ms, 99))) for name, ms in times.items()}

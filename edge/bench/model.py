"""Scenario `model`: what one inference takes, by provider, threads and batch."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from edge.bench.findings import Column, Figure, Findings, Runs, Table, milliseconds, percentile, ratio
from edge.bench.peer import Peer, PeerError
from edge.bench.scenario import Bench
from edge.engines import OPENVINO, PROVIDERS, cores, installed
from edge.model import Classifier

SECONDS = 20.0
BATCHES = (1, 4)
RUNS_A_TURN = 8
WARM_UP_RUNS = 2  # after another engine's turn the caches hold the other engine's weights


class Engine:
    """One Classifier in a process of its own."""

    def __init__(self, model: Path, provider: str = "auto", threads: int = 1) -> None:
        self._classifier = Classifier(model, provider, threads)
        card = self._classifier.card
        rng = np.random.default_rng(1)
        self._pixels = rng.integers(0, 256, (max(BATCHES), card.height, card.width, 3), np.uint8)

    def measure(self, runs: int, batch: int = 1) -> Runs:
        """So many inferences in a row, after two that do not count."""
        pixels, seconds = self._pixels[:batch], []
        for _ in range(WARM_UP_RUNS):
            self._classifier.run(pixels)
        cpu = process_time()
        for _ in range(runs):
            start = perf_counter()
            self._classifier.run(pixels)
            seconds.append(perf_counter() - start)
        return Runs(seconds, process_time() - cpu)


def measure(bench: Bench) -> Findings:
    """Every engine takes its turn, again and again, until the time is up."""
    missing = [name for name in (*PROVIDERS, OPENVINO) if name not in installed()]
    notes = [f"Not installed here, so not measured: {', '.join(missing)}."] if missing else []
    with ExitStack() as stack:
        engines: dict[tuple[str, int], Peer] = {}
        for provider, threads in _engines():
            bench.say(f"starting {provider} with {_threads(threads)}")
            try:
                name = f"{provider}, {_threads(threads)}"
                engine = Peer(name, Engine, model=bench.model, provider=provider, threads=threads)
            except PeerError as error:
                notes.append(f"{error}.")
                continue
            engines[provider, threads] = stack.enter_context(engine)
        measured = _in_turns(bench, engines)
    return Findings((_table(measured),), notes=tuple(notes))


def _engines() -> Iterator[tuple[str, int]]:
    """Each installed provider with 1, 2, 4 … threads, up to the number of cores."""
    counts = [1]
    while counts[-1] < cores():
        counts.append(min(counts[-1] * 2, cores()))
    for provider in installed():
        yield from ((provider, threads) for threads in counts)


def _in_turns(bench: Bench, engines: dict[tuple[str, int], Peer]) -> dict[tuple[str, int, int], Runs]:
    """Inferences by provider, threads and batch, in turns, so that whatever else the machine does meets all alike."""
    rows = {(*key, batch): Runs() for batch in BATCHES for key in engines}
    order, chance = list(rows), random.Random(1)
    ends = perf_counter() + bench.seconds(SECONDS)
    turns = 0
    while engines and (turns == 0 or perf_counter() < ends):
        turns += 1
        bench.say(f"{len(rows)} rows, turn {turns}, {max(ends - perf_counter(), 0):.0f} s left")
        chance.shuffle(order)  # else a row could keep step with the system's own scheduler
        for provider, threads, batch in order:
            engine = engines[provider, threads]
            rows[provider, threads, batch].add(engine.call("measure", runs=RUNS_A_TURN, batch=batch, timeout_s=120))
    return rows


def _table(measured: dict[tuple[str, int, int], Runs]) -> Table:
    rows: list[dict[str, Figure]] = []
    base: float | None = None
    for (provider, threads, batch), runs in measured.items():
        median = percentile(runs.seconds, 0.5)
        base = base or median
        rows.append(
            {
                "provider": provider,
                "threads": threads,
                "batch": batch,
                "p50_ms": milliseconds(median),
                "p99_ms": milliseconds(percentile(runs.seconds, 0.99)),
                "per_picture_ms": median and milliseconds(median / batch),
                "to_first_row": ratio(median, base),
                "cpu_ms": milliseconds(runs.cpu_each_s),
                "runs": len(runs.seconds),
            }
        )
    return Table(
        "model",
        "Model",
        f"ONNX Runtime alone on ready-made pixels, each engine in a process of its own, {RUNS_A_TURN} runs a turn "
        f"after {WARM_UP_RUNS} that do not count, in turns so that the machine's noise meets all rows alike.",
        (
            Column("provider", "provider"),
            Column("threads", "threads"),
            Column("batch", "batch", "pictures"),
            Column("p50_ms", "p50", "ms"),
            Column("p99_ms", "p99", "ms"),
            Column("per_picture_ms", "p50 a picture", "ms"),
            Column("to_first_row", "to first row", "x"),
            Column("cpu_ms", "processor", "CPU ms a run"),
            Column("runs", "runs"),
        ),
        rows,
    )


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"

"""Scenario `model`: what one inference takes, by provider, threads and batch."""

import random
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from edge.bench.eager import Eager, network_of
from edge.bench.findings import (
    WARM_UP_RUNS,
    Bar,
    Column,
    Figure,
    Findings,
    Runs,
    Table,
    milliseconds,
    percentile,
    ratio,
    timed_runs,
)
from edge.bench.floats import FloatNetwork
from edge.bench.peer import Peer, PeerError
from edge.bench.scenario import Bench
from edge.choice import Choice, busy_eye, candidates
from edge.choice import measure as choose_anew
from edge.engines import OPENVINO, PROVIDERS, installed
from edge.model import Classifier

SECONDS = 20.0
EYE_SECONDS = 16.0
AGAINST = "other file, cpu"  # what --against names
TORCH = "torch, not exported"
FLOATS = "the same network, fed ready-made floats"  # what --floats names
TO_FLOATS = 1.03
# EfficientNet-Lite0 at 224: of what a quantized file may take of the time that fp32 and torch do.
LITE0, LITE0_SIZE = "efficientnet_lite0", 224
TO_FP32, TO_TORCH = 0.60, 0.16
BATCHES = (1, 4)
RUNS_A_TURN = 8
EYE_RUNS_A_TURN = 4  # as edge.choice: threads stay for a turn where the system has put them
Key = tuple[str, int, int]  # provider, threads, batch
Turn = Callable[[int], Runs]  # RUNS_A_TURN inferences of so many pictures


class Engine:
    """One Classifier in a process of its own."""

    def __init__(self, model: Path, provider: str = "auto", threads: int = 1) -> None:
        self._classifier = Classifier(model, provider, threads)
        card = self._classifier.card
        rng = np.random.default_rng(1)
        self._pixels = rng.integers(0, 256, (max(BATCHES), card.height, card.width, 3), np.uint8)

    def measure(self, runs: int, batch: int = 1, eye: bool = False) -> Runs:
        """So many inferences in a row, after two that do not count; with a busy eye beside it where that is asked."""
        pixels = self._pixels[:batch]
        with busy_eye() if eye else nullcontext():
            return timed_runs(lambda: self._classifier.run(pixels), runs)


class Chooser:
    """What `auto` would choose for a file, measured anew in a process of its own."""

    def __init__(self, model: Path) -> None:
        self._model = model

    def choose(self) -> Choice:
        card = Classifier(self._model, "cpu").card
        return choose_anew(self._model.read_bytes(), (card.height, card.width), candidates())


def measure(bench: Bench) -> Findings:
    """Every engine takes its turn, again and again, until the time is up."""
    missing = [name for name in (*PROVIDERS, OPENVINO) if name not in installed()]
    notes = [f"Not installed here, so not measured: {', '.join(missing)}."] if missing else []
    with ExitStack() as stack:
        engines: dict[tuple[str, int], Peer] = {}
        for provider, threads in candidates():
            bench.say(f"starting {provider} with {_threads(threads)}")
            try:
                name = f"{provider}, {_threads(threads)}"
                engine = Peer(name, Engine, model=bench.model, provider=provider, threads=threads)
            except PeerError as error:
                notes.append(f"{error}.")
                continue
            engines[provider, threads] = stack.enter_context(engine)
        others: dict[tuple[str, int], Turn] = {}
        if bench.against is not None:
            other = stack.enter_context(Peer("the file to compare with", Engine, model=bench.against, provider="cpu"))
            others[AGAINST, 1] = _turn_of(other)
        card = Classifier(bench.model, "cpu").card
        if bench.floats is not None:
            size = {"height": card.height, "width": card.width}
            floats = stack.enter_context(Peer("the network of floats", FloatNetwork, path=bench.floats, **size))
            others[FLOATS, 1] = _turn_of(floats, card.looks)
        if (network := network_of(card)) is not None:
            bench.say("starting torch")
            try:
                eager = stack.enter_context(Eager(network, card.height))
            except PeerError as error:
                notes.append(f"{error}.")
            else:
                others[TORCH, 1] = lambda batch: eager.measure(RUNS_A_TURN, batch * card.looks, timeout_s=120)
        measured = _in_turns(bench, {key: _turn_of(engine) for key, engine in engines.items()} | others)
        beside = _beside_an_eye(bench, engines)
    bench.say("what auto chooses")
    with Peer("auto", Chooser, model=bench.model) as chooser:
        choice: Choice = chooser.call("choose", timeout_s=120)
    notes += [f"auto: {choice.why}.", *(f"auto left out {one}." for one in choice.left_out)]
    tables = (_table(measured), _choice_table(beside, choice))
    lite0 = card.training.get("network") == LITE0 and card.height == card.width == LITE0_SIZE
    return Findings(tables, _bars(measured, lite0), tuple(notes))


def _turn_of(engine: Peer, looks: int = 1) -> Turn:
    """An engine's turn; a network alone is fed each picture as often as the file looks at it."""

    def turn(batch: int) -> Runs:
        runs: Runs = engine.call("measure", runs=RUNS_A_TURN, batch=batch * looks, timeout_s=120)
        return runs

    return turn


def _in_turns(bench: Bench, engines: dict[tuple[str, int], Turn]) -> dict[Key, Runs]:
    """Inferences of every engine with every batch, in turns, so that whatever else the machine does meets all alike."""
    rows = {(*key, batch): Runs() for batch in BATCHES for key in engines}
    order, chance = list(rows), random.Random(1)
    ends = perf_counter() + bench.seconds(SECONDS)
    turns = 0
    while engines and (turns == 0 or perf_counter() < ends):
        turns += 1
        bench.say(f"{len(rows)} rows, turn {turns}, {max(ends - perf_counter(), 0):.0f} s left")
        chance.shuffle(order)  # else a row could keep step with the system's own scheduler
        for provider, threads, batch in order:
            rows[provider, threads, batch].add(engines[provider, threads](batch))
    return rows


def _bars(measured: dict[Key, Runs], lite0: bool) -> tuple[Bar, ...]:
    """The file on the processor with one thread and one picture a call, against each of the others that was there."""
    medians = {key: percentile(runs.seconds, 0.5) for key, runs in measured.items()}
    own = medians.get(("cpu", 1, 1))
    bars = {
        AGAINST: Bar("to_fp32", "the file to the other one, which is taken for its fp32 form", None, TO_FP32, "x"),
        TORCH: Bar("to_torch", "the file to its network in torch", None, TO_TORCH, "x"),
        FLOATS: Bar("to_floats", "the file, fed bytes, to its network fed ready-made floats", None, TO_FLOATS, "x"),
    }
    bases = {name: medians.get((name, 1, 1)) for name in bars if lite0 or name == FLOATS}
    return tuple(replace(bars[name], value=ratio(own, base)) for name, base in bases.items() if base)


def _beside_an_eye(bench: Bench, engines: dict[tuple[str, int], Peer]) -> dict[tuple[str, int], Runs]:
    """One picture a call on every engine, in turns, while a thread of its process is as busy as an eye."""
    rows = {key: Runs() for key in engines}
    ends = perf_counter() + bench.seconds(EYE_SECONDS)
    while engines and (perf_counter() < ends or not all(runs.seconds for runs in rows.values())):
        bench.say(f"beside a busy eye, {max(ends - perf_counter(), 0):.0f} s left")
        for key, engine in engines.items():
            rows[key].add(engine.call("measure", runs=EYE_RUNS_A_TURN, eye=True, timeout_s=120))
    return rows


def _choice_table(beside: dict[tuple[str, int], Runs], choice: Choice) -> Table:
    p99 = {key: percentile(runs.seconds, 0.99) for key, runs in beside.items()}
    best = min((value for value in p99.values() if value), default=None)
    rows: list[dict[str, Figure]] = [
        {
            "provider": provider,
            "threads": threads,
            "p50_ms": milliseconds(percentile(runs.seconds, 0.5)),
            "p99_ms": milliseconds(p99[provider, threads]),
            "to_best": ratio(p99[provider, threads], best),
            "chosen": "auto" if (provider, threads) == (choice.provider, choice.threads) else "",
            "runs": len(runs.seconds),
        }
        for (provider, threads), runs in beside.items()
    ]
    return Table(
        "auto",
        "What auto chooses",
        "One picture a call while another thread is as busy as the line's eye; each engine in a process of its own, "
        "in turns. `auto` has made its own, shorter measurement in one process, as at a line's first start.",
        (
            Column("provider", "provider"),
            Column("threads", "threads"),
            Column("p50_ms", "p50", "ms"),
            Column("p99_ms", "p99", "ms"),
            Column("to_best", "p99 to the best", "x"),
            Column("chosen", "chosen"),
            Column("runs", "runs"),
        ),
        rows,
    )


def _table(measured: dict[Key, Runs]) -> Table:
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

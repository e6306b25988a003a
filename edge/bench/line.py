"""Scenario `line`: from a frame to its decision on a 720p stream, what one item costs, and what many do."""

from pathlib import Path
from time import sleep
from typing import Any

from edge.bench.crowd import crowd
from edge.bench.findings import Column, Figure, Findings, Runs, Table, milliseconds, percentile, ratio
from edge.bench.live import ITEMS_A_SECOND, SETTLING_S, LiveLine, Stretch, belt, content
from edge.bench.model import Engine
from edge.bench.oneitem import one_item
from edge.bench.peer import Peer
from edge.bench.scenario import Bench
from edge.simulator.arrivals import PARTS

SECONDS = 15.0
BARE_SECONDS = 1.5
RATES_FPS = (60, 30)
# What a frame goes through until its views are in the vote, in that order.
STAGES = {
    "waiting": "capture until the eye takes the frame up",
    "finding": "items found and followed, views cut out",
    "queueing": "a view waits for the model",
    "classifying": "crop to pixels, model, prediction",
}
# Threads by how their names begin.
THREADS = {
    "camera": "camera: draws the simulated belt (a real camera's driver takes less)",
    "sortline-eye": "eye: finds and follows items",
    "sortline-mind": "mind: classifies views",
    "sortline-hand": "hand: acts at the right millimetre",
    "sortline-watch": "watch: the page and the journal",
}
SHARES = {
    **THREADS,
    "other": "other threads of the line",
    "web": "web side, nobody watching",
    "both": "both processes without the camera thread",
}


def measure(bench: Bench) -> Findings:
    """The bare model, the line at one frame rate, the bare model, the line at the other one, the bare model."""
    stretches: dict[int, Stretch] = {}
    truths: dict[int, dict[str, Any] | None] = {}
    with Peer("the bare model", Engine, model=bench.model) as engine:
        bare = [_bare(bench, engine)]
        for fps in RATES_FPS:
            bench.say(f"the line at {fps} frames a second, {bench.seconds(SECONDS):.0f} s")
            with Peer("the line", LiveLine, content=content(bench.model, bench.classes, belt(fps), web=True)) as line:
                sleep(bench.seconds(SETTLING_S))
                line.call("begin", timeout_s=10)
                sleep(bench.seconds(SECONDS))
                stretches[fps] = line.call("stretch", timeout_s=10)
                truths[fps] = line.call("truth", timeout_s=10)
            bare.append(_bare(bench, engine))
    decisions = [
        _decision_row(fps, stretches[fps], percentile(bare[n] + bare[n + 1], 0.5)) for n, fps in enumerate(RATES_FPS)
    ]
    items = [_item_row(fps, stretches[fps], truths[fps] if _knows_parts(bench) else None) for fps in RATES_FPS]
    single, added = one_item(bench)
    crowded, grown = crowd(bench)
    tables = (_decisions(decisions), single, crowded, _stages(stretches), _items(items), _processor(stretches))
    return Findings(tables, (*added, *grown), _notes(bench))


def _bare(bench: Bench, engine: Peer) -> list[float]:
    bench.say("the bare model")
    few: Runs = engine.call("measure", runs=5, timeout_s=60)
    enough = int(bench.seconds(BARE_SECONDS) / (percentile(few.seconds, 0.5) or 1e-3))
    many: Runs = engine.call("measure", runs=max(enough, 5), timeout_s=120)
    return many.seconds


def _decision_row(fps: int, one: Stretch, model_s: float | None) -> dict[str, Figure]:
    median = percentile(one.frame_to_decision_s, 0.5)
    return {
        "fps": fps,
        "p50_ms": milliseconds(median),
        "p99_ms": milliseconds(percentile(one.frame_to_decision_s, 0.99)),
        "model_p50_ms": milliseconds(model_s),
        "to_model": ratio(median, model_s),
        "views": len(one.frame_to_decision_s),
        "frames": one.frames,
        "skipped": one.skipped,
    }


def _item_row(fps: int, one: Stretch, truth: dict[str, Any] | None) -> dict[str, Figure]:
    return {
        "fps": fps,
        "decided": one.decided,
        "late": one.late,
        "pushes": len(one.push_lateness_s),
        "push_late_p50_ms": milliseconds(percentile(one.push_lateness_s, 0.5)),
        "push_late_p99_ms": milliseconds(percentile(one.push_lateness_s, 0.99)),
        "items_ended": truth["items"] if truth else None,
        "sort_accuracy_percent": truth["sort_accuracy"] * 100 if truth and truth["items"] else None,
    }


def _decisions(rows: list[dict[str, Figure]]) -> Table:
    return Table(
        "line",
        "Frame to decision",
        f"A whole line with its web side on a simulated 1280x720 belt, {ITEMS_A_SECOND} items a second at 0.5 m/s, "
        "from the capture of a frame to the vote of a view in it; the bare model is timed just before and after, in "
        "a process of its own.",
        (
            Column("fps", "stream", "fps"),
            Column("p50_ms", "p50", "ms"),
            Column("p99_ms", "p99", "ms"),
            Column("model_p50_ms", "bare model", "ms"),
            Column("to_model", "to bare model", "x"),
            Column("views", "views"),
            Column("frames", "frames"),
            Column("skipped", "skipped"),
        ),
        rows,
    )


def _items(rows: list[dict[str, Figure]]) -> Table:
    return Table(
        "items",
        "What became of the items",
        "The same stretches: items decided, those of them that were late or overloaded, and how long after its moment "
        "a push was made; and of all items since the line's start, how many ended in the lane of their class.",
        (
            Column("fps", "stream", "fps"),
            Column("decided", "decided"),
            Column("late", "late"),
            Column("pushes", "pushes"),
            Column("push_late_p50_ms", "push late p50", "ms"),
            Column("push_late_p99_ms", "push late p99", "ms"),
            Column("items_ended", "at their end"),
            Column("sort_accuracy_percent", "sorted right", "%", 1),
        ),
        rows,
    )


def _stages(stretches: dict[int, Stretch]) -> Table:
    rows: list[dict[str, Figure]] = [
        {
            "fps": fps,
            "stage": stage,
            "what": what,
            "p50_ms": milliseconds(percentile(one.stages_s[stage], 0.5)),
            "p99_ms": milliseconds(percentile(one.stages_s[stage], 0.99)),
            "count": len(one.stages_s[stage]),
        }
        for fps, one in stretches.items()
        for stage, what in STAGES.items()
    ]
    return Table(
        "stages",
        "Where the time goes",
        "The same stretches by stage: the first two for every frame, the others for every view that was classified.",
        (
            Column("fps", "stream", "fps"),
            Column("stage", "stage"),
            Column("what", "what it is"),
            Column("p50_ms", "p50", "ms"),
            Column("p99_ms", "p99", "ms"),
            Column("count", "measured"),
        ),
        rows,
    )


def _processor(stretches: dict[int, Stretch]) -> Table:
    rows: list[dict[str, Figure]] = []
    for fps, one in stretches.items():
        cores = dict.fromkeys((*THREADS, "other", "web"), 0.0)
        for name, used in one.cpu_s.items():
            cores[next((start for start in THREADS if name.startswith(start)), "other")] += used / one.seconds
        cores["web"] = one.web_cpu_s / one.seconds
        cores["both"] = sum(cores.values()) - cores["camera"]
        rows += [{"fps": fps, "thread": name, "what": what, "cores": cores[name]} for name, what in SHARES.items()]
    return Table(
        "processor",
        "Processor time",
        "The same stretches: seconds of processor time a second, by thread, as the system counts them.",
        (Column("fps", "stream", "fps"), Column("what", "thread"), Column("cores", "used", "CPU s/s", 3)),
        rows,
    )


def _knows_parts(bench: Bench) -> bool:
    return set(PARTS) <= set(bench.classes)


def _notes(bench: Bench) -> tuple[str, ...]:
    if _knows_parts(bench):
        return ("The sort accuracy is that of the model on the drawn parts, foreign objects included.",)
    return (f"{Path(bench.model).name} does not know the drawn parts, so there is no sort accuracy.",)

"""Scenario `predict`: POST /predict through the real web side, and what its clients cost the line."""

from time import sleep

from edge.bench.findings import Bar, Column, Figure, Findings, Runs, Table, milliseconds, percentile, ratio
from edge.bench.live import ITEMS_A_SECOND, SETTLING_S, LiveLine, Stretch, belt, content
from edge.bench.load import Answers, Clients
from edge.bench.model import Engine
from edge.bench.peer import Peer
from edge.bench.scenario import Bench

SECONDS_A_TURN = 5.0
TURNS = 2
CONCURRENCY = (1, 8)
FULL_LOAD = 8
WARM_UP_S = 1.0


def measure(bench: Bench) -> Findings:
    """First the server beside a line that has nothing to do, then a busy line with and without clients."""
    server = _server(bench)
    table, bars = _line(bench)
    return Findings((server, table), bars, notes=(_loopback(),))


def _server(bench: Bench) -> Table:
    turns: dict[int, list[Answers]] = {clients: [] for clients in CONCURRENCY}
    resting = content(bench.model, bench.classes, belt(fps=1, rate=0.1), web=True)
    with Peer("the line", LiveLine, content=resting) as line, _clients(bench, line) as load:
        for turn in range(TURNS):
            for clients, answers in turns.items():
                bench.say(f"{_number(clients)}, turn {turn + 1} of {TURNS}")
                answers.append(_send(bench, load, clients))
    rows: list[dict[str, Figure]] = []
    for clients, answers in turns.items():
        all_of = Answers.pooled(answers)
        rows.append(
            {
                "clients": clients,
                "requests_s": all_of.per_second,
                "p50_ms": milliseconds(percentile(all_of.seconds, 0.5)),
                "p99_ms": milliseconds(percentile(all_of.seconds, 0.99)),
                "answered": len(all_of.seconds),
                "errors": all_of.others.total(),
                "which": ", ".join(f"{what} {count}" for what, count in all_of.others.items()) or None,
                "client_cpu": ratio(all_of.cpu_s, all_of.took_s),
            }
        )
    return Table(
        "predict",
        "/predict",
        "The web side's process of a resting line (one empty picture a second), on a real socket of this machine: each "
        "client sends a 640x480 JPEG as a form, keeps its connection and sends the next as soon as it has its answer.",
        (
            Column("clients", "clients"),
            Column("requests_s", "answered", "1/s", 1),
            Column("p50_ms", "p50", "ms"),
            Column("p99_ms", "p99", "ms"),
            Column("answered", "answers"),
            Column("errors", "errors"),
            Column("which", "which"),
            Column("client_cpu", "clients' own", "CPU s/s"),
        ),
        rows,
    )


def _line(bench: Bench) -> tuple[Table, tuple[Bar, ...]]:
    bare = [_bare(bench)]
    stretches: dict[int, list[Stretch]] = {0: [], FULL_LOAD: []}
    answers: list[Answers] = []
    busy = content(bench.model, bench.classes, belt(fps=60), web=True)
    with Peer("the line", LiveLine, content=busy) as line, _clients(bench, line) as load:
        sleep(bench.seconds(SETTLING_S))
        for turn in range(TURNS):
            for clients, mine in stretches.items():
                bench.say(f"the line with {_number(clients)}, turn {turn + 1} of {TURNS}")
                line.call("begin", timeout_s=10)
                if clients:
                    answers.append(_send(bench, load, clients))
                else:
                    sleep(bench.seconds(SECONDS_A_TURN))
                mine.append(line.call("stretch", timeout_s=10))
    bare.append(_bare(bench))
    pooled = {clients: Stretch.pooled(mine) for clients, mine in stretches.items()}
    quiet = percentile(pooled[0].frame_to_decision_s, 0.99)
    rows: list[dict[str, Figure]] = [
        {
            "clients": clients,
            "requests_s": Answers.pooled(answers).per_second if clients else 0.0,
            "p50_ms": milliseconds(percentile(one.frame_to_decision_s, 0.5)),
            "p99_ms": milliseconds(percentile(one.frame_to_decision_s, 0.99)),
            "p99_to_quiet": ratio(percentile(one.frame_to_decision_s, 0.99), quiet),
            "frames": one.frames,
            "skipped": one.skipped,
            "decided": one.decided,
            "late": one.late,
            "push_late_p99_ms": milliseconds(percentile(one.push_lateness_s, 0.99)),
        }
        for clients, one in pooled.items()
    ]
    loud = percentile(pooled[FULL_LOAD].frame_to_decision_s, 0.99)
    model_s = percentile([seconds for one in bare for seconds in one], 0.5)
    growth = None if loud is None or quiet is None else loud - quiet
    bars = (
        Bar(
            "line_growth", f"Growth of the line's p99 under {FULL_LOAD} clients", ratio(growth, model_s),
            1.0, "model times",
        ),
        Bar("line_late", f"Items late under {FULL_LOAD} clients", float(pooled[FULL_LOAD].late), 0.0, "items"),
    )  # fmt: skip
    table = Table(
        "line_under_load",
        "The line while /predict is busy",
        f"One line on a simulated 1280x720 belt at 60 frames and {ITEMS_A_SECOND} items a second, in turns without "
        f"clients and with {FULL_LOAD} of them as fast as they are answered.",
        (
            Column("clients", "clients"),
            Column("requests_s", "answered", "1/s", 1),
            Column("p50_ms", "decision p50", "ms"),
            Column("p99_ms", "p99", "ms"),
            Column("p99_to_quiet", "p99 to quiet", "x"),
            Column("skipped", "skipped", "frames"),
            Column("late", "late", "items"),
            Column("push_late_p99_ms", "push late p99", "ms"),
        ),
        rows,
    )
    return table, bars


def _bare(bench: Bench) -> list[float]:
    """Single inferences on the line's model, nothing else running."""
    bench.say("the bare model")
    with Peer("the bare model", Engine, model=bench.model) as engine:
        runs: Runs = engine.call("measure", runs=bench.times(60), timeout_s=60)
    return runs.seconds


def _clients(bench: Bench, line: Peer) -> Peer:
    """The clients' process, once the web side answers them."""
    load = Peer("the clients", Clients, url=line.call("url", timeout_s=10))
    try:
        load.call("send", clients=1, seconds=bench.seconds(WARM_UP_S), timeout_s=60)
    except BaseException:
        load.close()
        raise
    return load


def _send(bench: Bench, load: Peer, clients: int) -> Answers:
    seconds = bench.seconds(SECONDS_A_TURN)
    answers: Answers = load.call("send", clients=clients, seconds=seconds, timeout_s=seconds + 60)
    return answers


def _number(clients: int) -> str:
    return {0: "no client", 1: "1 client"}.get(clients, f"{clients} clients")


def _loopback() -> str:
    return (
        "The clients run on this machine, at a lower priority than the line: their processor time is part of the load."
    )

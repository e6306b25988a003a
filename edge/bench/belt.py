"""Scenario `belt`: items sorted at speed on the twin of a line, in real time, held against what really happened."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import mean
from typing import Any

from edge.bench.cargo import Cargo, cargoes
from edge.bench.fastest import measure_fastest
from edge.bench.findings import Bar, Column, Figure, Findings, Table, milliseconds
from edge.bench.load import Clients
from edge.bench.peer import Peer
from edge.bench.scenario import Bench
from edge.bench.single import SingleViews
from edge.bench.twin import LiveTwin, Report
from edge.bench.witness import Witness

SECONDS = 12.0
LOAD_SECONDS = 20.0
SETTLING_S = 1.5
REPORT_S = 120.0
FULL_LOAD = 8
# Whether real-time priority may be asked for, and how many clients send pictures meanwhile.
PRIORITIES = ((True, FULL_LOAD), (True, 0), (False, FULL_LOAD), (False, 0))
SPEEDS_MM_S = (500, 1000, 2000, 3000)
MOTIONS = ("stop_and_go", "ramps", "reverse")
MOTION_MM_S = 1000
ENCODER = {"encoder": {"type": "simulated", "counts_per_mm": 10}}
OFF_BAR_MM = 5.0
HOST = Column("host_percent", "host", "%", 1)  # what the host of a virtual machine kept of its time
MACHINE = Column("machine_percent", "machine late", "%", 1)
KNOWN = 0.5  # of single views; a model that knows fewer has not learnt its items on such a belt
FIRED_BAR_MS, FIRED_UNGRANTED_BAR_MS, FIRED_BAR_PERCENT = 1.0, 5.0, 1.0


@dataclass(frozen=True, slots=True)
class Run:
    """One row: which belt, what came of it, and who saw meanwhile how late the machine is."""

    cargo: str
    motion: str
    sim: dict[str, Any]
    report: Report
    machine: Witness | None = None
    single_view: float | None = None


@dataclass(frozen=True, slots=True)
class Firing:
    """Another row: whether real-time priority was granted, and how many clients had how many answers a second."""

    granted: bool
    clients: int
    report: Report
    answered: float
    machine: Witness

    @property
    def most_ms(self) -> float:
        """So late, or early, a push may come."""
        return FIRED_BAR_MS if self.granted else FIRED_UNGRANTED_BAR_MS


def measure(bench: Bench) -> Findings:
    """Belts at rising speed, then uneven ones, then those whose speed nobody knows, pairs, cargo, and the fastest."""
    all_cargo = list(cargoes(bench))
    steady = [_sorted(bench, cargo, "steady", speed) for cargo in all_cargo for speed in bench.some(SPEEDS_MM_S)]
    uneven = [_sorted(bench, cargo, motion, MOTION_MM_S) for cargo in all_cargo for motion in bench.some(MOTIONS)]
    unknown = [_unknown_speed(bench, all_cargo[0], error) for error in bench.some((0.1, -0.1))]
    pairs = _pairs(bench, all_cargo[0])
    fired = [_fired(bench, all_cargo[0], *how) for how in bench.some(PRIORITIES)]
    fastest = measure_fastest(bench, all_cargo[0])
    return Findings(
        (_sorting([*steady, *uneven]), _placing(unknown), _firing(fired), _touching([pairs]), fastest),
        (
            *_sorting_bars("steady", "steady belts", steady),
            *_sorting_bars("uneven", "stop-and-go, ramps and reversal with an encoder", uneven),
            Bar(
                "placing", "speed off by 10 %, position from the pictures: firing error p99",
                max((run.report.off_mm_within(0.99) or 0.0 for run in unknown), default=None), OFF_BAR_MM, "mm",
            ),
            *(_firing_bar(one) for one in fired),
            Bar("touching", "touching pairs: items in a lane not of their class", pairs.report.astray, 0, ""),
        ),
        _notes([*steady, *uneven]),
    )  # fmt: skip


def _sorted(bench: Bench, cargo: Cargo, motion: str, speed_mm_s: float) -> Run:
    bench.say(f"{cargo.name}, {motion.replace('_', ' ')} at {speed_mm_s / 1e3:g} m/s")
    sim = cargo.sim(speed_mm_s, bench.seconds(SECONDS), motion=motion)
    whole = cargo.line(sim, ENCODER if motion != "steady" else None)
    with Peer("the twin", LiveTwin, content=whole) as twin, Witness() as machine:
        report: Report = twin.call("report", timeout_s=REPORT_S)
    with Peer("single views", SingleViews, content=whole) as single:
        return Run(cargo.name, motion, sim, report, machine, single.call("accuracy", timeout_s=REPORT_S))


def _unknown_speed(bench: Bench, cargo: Cargo, error: float) -> Run:
    bench.say(f"a belt {abs(error):.0%} {'faster' if error > 0 else 'slower'} than configured, no encoder")
    sim = cargo.sim(MOTION_MM_S, bench.seconds(SECONDS), speed_error=error)
    with Peer("the twin", LiveTwin, content=cargo.line(sim, {"position": "pictures"})) as twin:
        return Run(cargo.name, f"{error:+.0%}", sim, twin.call("report", timeout_s=REPORT_S))


def _pairs(bench: Bench, cargo: Cargo) -> Run:
    bench.say("touching pairs")
    sim = cargo.sim(500, bench.seconds(2 * SECONDS), touching=0.5, foreign=0, rate=5)
    with Peer("the twin", LiveTwin, content=cargo.line(sim, items={"max_mm": 60})) as twin:
        return Run(cargo.name, "steady", sim, twin.call("report", timeout_s=REPORT_S))


def _fired(bench: Bench, cargo: Cargo, granted: bool, clients: int) -> Firing:
    """A steady belt; clients of /predict from shortly after its start to shortly before its end."""
    bench.say(f"{'with' if granted else 'without'} real-time priority, {clients} clients of /predict")
    seconds = bench.seconds(LOAD_SECONDS)
    sim = cargo.sim(1000, seconds + 2 * SETTLING_S if clients else seconds)
    answered = 0.0
    with ExitStack() as parts:
        whole = cargo.line(sim, web=True)
        twin = parts.enter_context(Peer("the twin", LiveTwin, content=whole, real_time=granted))
        granted = granted and twin.call("granted", timeout_s=10)
        if clients:
            peer = Peer("the clients", Clients, url=twin.call("url", timeout_s=10))
            load_of = parts.enter_context(peer)
            load_of.call("send", clients=1, seconds=0.2, timeout_s=60)
        machine = parts.enter_context(Witness())
        twin.ask("report")
        if clients:
            answered = load_of.call("send", clients=clients, seconds=seconds, timeout_s=seconds + 60).per_second
        report: Report = twin.answer(REPORT_S)
    return Firing(granted, clients, report, answered, machine)


def _sorting(runs: list[Run]) -> Table:
    rows: list[dict[str, Figure]] = []
    for run in runs:
        one = run.report
        rows.append(
            {
                "cargo": run.cargo,
                "motion": run.motion.replace("_", " "),
                "speed_m_s": run.sim["speed_mm_s"] / 1e3,
                "rate": float(run.sim["rate"]),
                "items": one.items,
                "late": one.late,
                "missed": one.outcomes["missed"],
                "wrong": one.wrong_pushes,
                "pushes": one.pushes,
                "overlap": one.reasons["overlap"],
                "sorted_percent": _percent(one.sort_accuracy),
                "single_view_percent": _percent(run.single_view),
                "off_p99_mm": one.off_mm_within(0.99),
                "fired_p99_ms": milliseconds(one.fired_s_within(0.99)),
                "skipped": one.skipped,
                "host_percent": _percent(one.host),
                "machine_percent": _machine(run.machine, FIRED_BAR_MS),
                "frames": one.frames,
                "mistakes": "; ".join(one.mistakes[:2]) or None,
            }
        )
    return Table(
        "sorting",
        "Sorting at speed",
        "Real time, 1280x720 at 60 frames a second; uneven belts have an encoder. Items lie as close as a diverter can "
        "tell them apart, and smear by 1 mm at most. wrong pushes hit another item than was meant, several, or none; "
        "single views is the share of the very same items that one undisturbed picture each would have sent into the "
        "right lane. host is what the host of a virtual machine kept of its time: threads come late by that. machine "
        f"late is at how many of all moments a thread before all others, woken then, came {FIRED_BAR_MS:g} ms late.",
        (
            Column("cargo", "items"),
            Column("motion", "belt"),
            Column("speed_m_s", "speed", "m/s", 1),
            Column("rate", "rate", "1/s", 1),
            Column("items", "ended"),
            Column("late", "late"),
            Column("missed", "missed"),
            Column("wrong", "wrong", "pushes"),
            Column("pushes", "of"),
            Column("overlap", "overlap"),
            Column("sorted_percent", "sorted", "%", 1),
            Column("single_view_percent", "single views", "%", 1),
            Column("off_p99_mm", "place p99", "mm", 1),
            Column("fired_p99_ms", "time p99", "ms"),
            Column("skipped", "skipped", "frames"),
            HOST,
            MACHINE,
        ),
        rows,
    )


def _sorting_bars(name: str, what: str, runs: list[Run]) -> Iterable[Bar]:
    late = sum(run.report.late + run.report.outcomes["missed"] for run in runs)
    yield Bar(f"{name}_late", f"{what}: late or missed", late, 0, "items")
    yield Bar(f"{name}_wrong", f"{what}: wrong pushes", sum(run.report.wrong_pushes for run in runs), 0, "")
    below = [
        (run.single_view - run.report.sort_accuracy) * 100
        for run in runs
        if run.single_view is not None and run.report.sort_accuracy is not None
    ]
    worst = max(below, default=None)
    yield Bar(f"{name}_accuracy", f"{what}: sorted worse than on single views", worst, 0, "points")


def _placing(runs: list[Run]) -> Table:
    rows: list[dict[str, Figure]] = [
        {
            "error": run.motion,
            "speed_m_s": run.sim["speed_mm_s"] / 1e3,
            "pushes": run.report.pushes,
            "wrong": run.report.wrong_pushes,
            "sorted_percent": _percent(run.report.sort_accuracy),
            "off_p50_mm": run.report.off_mm_within(0.5),
            "off_p99_mm": run.report.off_mm_within(0.99),
            "off_max_mm": run.report.off_mm_within(1.0),
            "host_percent": _percent(run.report.host),
        }
        for run in runs
    ]
    return Table(
        "placing",
        "No encoder, and a speed that is wrong",
        'Real time, belt.position = "pictures": how far, early or late, the belt was beside the ideal place for the '
        "item that was pushed.",
        (
            Column("error", "true speed"),
            Column("speed_m_s", "configured", "m/s", 1),
            Column("pushes", "pushes"),
            Column("wrong", "wrong", "pushes"),
            Column("sorted_percent", "sorted", "%", 1),
            Column("off_p50_mm", "place p50", "mm"),
            Column("off_p99_mm", "p99", "mm"),
            Column("off_max_mm", "max", "mm"),
            HOST,
        ),
        rows,
    )


def _firing(runs: list[Firing]) -> Table:
    rows: list[dict[str, Figure]] = [
        {
            "priority": "real-time" if run.granted else "ordinary",
            "clients": run.clients,
            "requests_s": run.answered,
            "pushes": run.report.pushes,
            "fired_p50_ms": milliseconds(run.report.fired_s_within(0.5)),
            "fired_p99_ms": milliseconds(run.report.fired_s_within(0.99)),
            "fired_max_ms": milliseconds(run.report.fired_s_within(1.0)),
            "missed": run.report.outcomes["missed"],
            "late": run.report.late,
            "wrong": run.report.wrong_pushes,
            "over_percent": _percent(run.report.later_than(run.most_ms / 1e3)),
            "most_ms": run.most_ms,
            "machine_percent": _machine(run.machine, run.most_ms),
            "host_percent": _percent(run.report.host),
        }
        for run in runs
    ]
    return Table(
        "firing",
        "When pushes are made",
        "A steady belt at 1 m/s: the time, early or late, between the moment at which the belt's true position asked "
        "for a push and the push; ordinary means a process that may not ask for any priority. over is the share of the "
        "pushes further off than allowed, or missed; machine late is at how many of all moments a thread before all "
        "others, doing nothing but wake on each core, came so late: no push that is asked for then can be in time.",
        (
            Column("priority", "priority"),
            Column("clients", "clients"),
            Column("requests_s", "answered", "1/s", 1),
            Column("pushes", "pushes"),
            Column("fired_p50_ms", "p50", "ms"),
            Column("fired_p99_ms", "p99", "ms"),
            Column("fired_max_ms", "max", "ms"),
            Column("missed", "missed"),
            Column("late", "late"),
            Column("wrong", "wrong", "pushes"),
            Column("most_ms", "allowed", "ms", 0),
            Column("over_percent", "over", "%"),
            MACHINE,
            HOST,
        ),
        rows,
    )


def _machine(machine: Witness | None, most_ms: float) -> float | None:
    return _percent(machine.later_than(most_ms / 1e3)) if machine else None


def _firing_bar(run: Firing) -> Bar:
    """The p99 of the time beside the moment, those counted too that were not made: at most 1 % may be beyond it."""
    return Bar(
        f"fired_{'real_time' if run.granted else 'ordinary'}_{run.clients}",
        f"pushes {'with' if run.granted else 'without'} real-time priority, "
        f"{f'{run.clients} clients of /predict' if run.clients else 'idle'}: over {run.most_ms:g} ms off, or missed",
        _percent(run.report.later_than(run.most_ms / 1e3)),
        FIRED_BAR_PERCENT,
        "%",
    )


def _touching(runs: list[Run]) -> Table:
    rows: list[dict[str, Figure]] = [
        {
            "items": run.report.items,
            "pushes": run.report.pushes,
            "astray": run.report.astray,
            "wrong": run.report.wrong_pushes,
            "overlap": run.report.reasons["overlap"],
            "sorted_percent": _percent(run.report.sort_accuracy),
        }
        for run in runs
    ]
    return Table(
        "touching",
        "Touching pairs",
        "Real time, 0.5 m/s, half of the parts have another lying against them; what cannot be pushed alone passes.",
        (
            Column("items", "ended"),
            Column("pushes", "pushes"),
            Column("wrong", "wrong", "pushes"),
            Column("astray", "in a lane not theirs"),
            Column("overlap", "overlap"),
            Column("sorted_percent", "sorted", "%", 1),
        ),
        rows,
    )


def _percent(share: float | None) -> float | None:
    return None if share is None else share * 100


def _notes(runs: list[Run]) -> tuple[str, ...]:
    known: dict[str, list[float]] = {}
    for run in runs:
        known.setdefault(run.cargo, []).extend([] if run.single_view is None else [run.single_view])
    if len(known) == 1:
        return ("With --items DIR (class folders) and --model, cut-outs of pictures travel on the belt too.",)
    return tuple(
        f"{cargo}: the model knows {mean(views):.0%} of them as they look on this belt; let it learn from what "
        "python -m edge.simulator OUT --items DIR draws."
        for cargo, views in known.items()
        if views and mean(views) < KNOWN
    )

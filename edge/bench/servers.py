"""Scenario `servers`: /predict held against the servers that one would otherwise use, in turns, with one model."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from edge.bench.findings import Bar, Column, Figure, Findings, Table, milliseconds, percentile, ratio
from edge.bench.load import Answers, Clients
from edge.bench.peer import Peer, PeerError
from edge.bench.rival import Rival
from edge.bench.scenario import Bench
from edge.config import LineConfig
from edge.demo import bundled_model
from edge.errors import ModelError
from edge.facts import facts_of
from edge.model import Classifier
from edge.web.side import WebSide

SECONDS_A_TURN = 2.5
TURNS = 4
CONCURRENCY = (1, 8)
WARM_UP_S = 0.7
MAKING_S = 300.0
OURS, TUTORIAL = "sortline", "tutorial"
LITSERVE = {f"litserve, {n} worker{'s' if n > 1 else ''}": n for n in (1, 2)}

Awake = Callable[[], AbstractContextManager[str]]


class OwnServer:
    """The web side's process as a line starts it, without a line; made and called through a Peer."""

    def __init__(self, model: Path) -> None:
        lanes = [{"name": "all", "default": True}]
        content = {
            "model": {"path": str(model), "provider": "cpu"},
            "camera": {"source": "sim:"},
            "belt": {"pixels_per_mm": 1, "speed_mm_s": 1},
            "lanes": lanes,
            "web": {"port": 0},
        }
        config = LineConfig.parse(content, Path("the benchmark's line"))
        self._side = WebSide(config, facts_of(config, Classifier(model, "cpu")), lambda command: None)
        self._side.start()

    def url(self) -> str:
        """Where it answers."""
        return self._side.url

    def close(self) -> None:
        """Ends it."""
        self._side.stop()


def measure(bench: Bench) -> Findings:
    """Every server takes its turn with one client and with eight, again and again."""
    notes: list[str] = []
    with ExitStack() as stack:
        model = _model(bench, stack, notes)
        servers = _servers(bench, model, stack, notes)
        answers: dict[tuple[str, int], list[Answers]] = {}
        for turn in range(TURNS):
            for name, awake in list(servers.items()):
                bench.say(f"{name}, turn {turn + 1} of {TURNS}")
                with awake() as url, Peer("the clients", Clients, url=url) as load:
                    warm = _send(load, 1, bench.seconds(WARM_UP_S))
                    if not warm.seconds:
                        notes.append(f"{name} was not measured: it answered {', '.join(warm.others) or 'nothing'}.")
                        del servers[name]
                        continue
                    for clients in CONCURRENCY:
                        one = _send(load, clients, bench.seconds(SECONDS_A_TURN))
                        answers.setdefault((name, clients), []).append(one)
    found = {key: Answers.pooled(all_of) for key, all_of in answers.items()}
    if (OURS, 1) not in found:
        raise PeerError(f"{OURS}: answered no picture")
    return Findings((_table(found, model),), _bars(found), tuple(notes))


def _model(bench: Bench, stack: ExitStack, notes: list[str]) -> Path:
    """EfficientNet-Lite0 at 224, made where torch is installed, or the file that --model names."""
    if bench.model != bundled_model().resolve():
        return bench.model
    if find_spec("torch") is None:
        notes.append(
            "torch is not installed here, so EfficientNet-Lite0 could not be made and the bundled model was served; "
            "name another with --model."
        )
        return bench.model
    bench.say("making EfficientNet-Lite0")
    path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "lite0.onnx"
    done = subprocess.run(
        [sys.executable, "-m", "training.yardstick.network", str(path)],
        capture_output=True, text=True, timeout=MAKING_S, check=False,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ModelError(f"EfficientNet-Lite0 could not be made ({last[:200]}); name a file with --model")
    return path


def _servers(bench: Bench, model: Path, stack: ExitStack, notes: list[str]) -> dict[str, Awake]:
    bench.say(f"starting {OURS}")
    own = stack.enter_context(Peer(OURS, OwnServer, model=model))
    url: str = own.call("url", timeout_s=10)

    @contextmanager
    def never_asleep() -> Iterator[str]:
        yield url

    servers: dict[str, Awake] = {OURS: never_asleep}
    rivals: dict[str, tuple[tuple[str, ...], list[str]]] = {
        TUTORIAL: (("torch", "torchvision"), ["training.yardstick.tutorial", "PORT"])
    }
    for name, workers in LITSERVE.items():
        words = ["training.yardstick.litserver", str(model), "PORT", str(workers)]
        rivals[name] = (("litserve", "python_multipart"), words)
    for name, (packages, words) in rivals.items():
        if missing := [package for package in packages if find_spec(package) is None]:
            notes.append(f"{name} was not measured: {missing[0]} is not installed here.")
            continue
        bench.say(f"starting {name}")
        try:
            servers[name] = stack.enter_context(Rival(name, words)).awake
        except PeerError as error:
            notes.append(f"{error}.")
    return servers


def _send(load: Peer, clients: int, seconds: float) -> Answers:
    answers: Answers = load.call("send", clients=clients, seconds=seconds, timeout_s=seconds + 60)
    return answers


def _table(found: dict[tuple[str, int], Answers], model: Path) -> Table:
    rows: list[dict[str, Figure]] = []
    for (name, clients), one in found.items():
        ours = found[OURS, clients]
        median, tail = percentile(one.seconds, 0.5), percentile(one.seconds, 0.99)
        rows.append(
            {
                "server": name,
                "clients": clients,
                "requests_s": one.per_second,
                "p50_ms": milliseconds(median),
                "p99_ms": milliseconds(tail),
                "ours_to_it": ratio(ours.per_second, one.per_second),
                "p99_to_ours": ratio(tail, percentile(ours.seconds, 0.99)),
                "answered": len(one.seconds),
                "errors": one.others.total(),
            }
        )
    return Table(
        "servers",
        "/predict beside other servers",
        f"{model.stem} for all but the tutorial's server, which runs EfficientNet-Lite0 in torch; each client sends a "
        "640x480 JPEG as a form, keeps its connection and sends the next as soon as it has its answer. The servers "
        f"take turns of {SECONDS_A_TURN:g} s, run at the same niceness, and are stopped while another is measured.",
        (
            Column("server", "server"),
            Column("clients", "clients"),
            Column("requests_s", "answered", "1/s", 1),
            Column("p50_ms", "p50", "ms"),
            Column("p99_ms", "p99", "ms"),
            Column("ours_to_it", "sortline's 1/s to it", "x"),
            Column("p99_to_ours", "p99 to sortline's", "x"),
            Column("answered", "answers"),
            Column("errors", "errors"),
        ),
        rows,
    )


def _bars(found: dict[tuple[str, int], Answers]) -> tuple[Bar, ...]:
    """What issue and README promise, each as a share that has to stay small."""
    bars = []

    def bar(name: str, what: str, value: float | None, at_most: float) -> None:
        bars.append(Bar(name, what, value, at_most, "x"))

    def p(name: str, clients: int, share: float) -> float | None:
        return percentile(found[name, clients].seconds, share)

    if (TUTORIAL, 1) in found:
        slow, fast = found[TUTORIAL, 8].per_second, found[OURS, 8].per_second
        bar("tutorial_requests", "The tutorial's requests/s to sortline's, 8 clients", ratio(slow, fast), 1 / 8)
        bar(
            "tutorial_p50",
            "sortline's p50 to the tutorial's, 1 client",
            ratio(p(OURS, 1, 0.5), p(TUTORIAL, 1, 0.5)),
            0.2,
        )
    for name, workers in LITSERVE.items():
        for clients in CONCURRENCY:
            if (name, clients) not in found:
                continue
            with_clients = f"{clients} client{'s' if clients > 1 else ''}"
            key = f"litserve{workers}_{clients}"
            slow, fast = found[name, clients].per_second, found[OURS, clients].per_second
            bar(f"{key}_requests", f"{name}: its requests/s to sortline's, {with_clients}", ratio(slow, fast), 1.0)
            tails = ratio(p(OURS, clients, 0.99), p(name, clients, 0.99))
            bar(f"{key}_p99", f"{name}: sortline's p99 to its, {with_clients}", tails, 1.0)
    return tuple(bars)

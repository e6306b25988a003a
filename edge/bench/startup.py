"""Scenario `startup`: how soon the line sees, and how much memory its two processes take."""

import http.client
import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any
from urllib.parse import urlsplit

from edge.bench.findings import Bar, Column, Figure, Findings, Table, percentile
from edge.bench.live import belt, content
from edge.bench.load import Clients
from edge.bench.machine import children, proportional_mb
from edge.bench.peer import Peer, PeerError
from edge.bench.scenario import Bench
from edge.line import FIRST_FRAME

STARTS = 3
SETTLED_S = 10.0
PICTURES_S = 1.0
START_BAR_S = 2.0
STOP_BAR_S = 2.0
MEMORY_BAR_MB = 300.0
HANGS_S = 60.0
PAGE = "the page is at "


class Run:
    """`sortline run` as a person starts it, in a fresh process; end it with `stop`."""

    def __init__(self, config: Path) -> None:
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self._said = b""
        self._started = perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "edge.cli", "run", str(config), "--debug"],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def says(self, text: str) -> tuple[float, str]:
        """Waits until its log has a text: the seconds since the start, and the rest of the text's line."""
        assert self._process.stderr is not None
        wanted = text.encode()
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stderr, selectors.EVENT_READ)
            while wanted not in self._said or b"\n" not in self._said.partition(wanted)[2]:
                rest = HANGS_S - (perf_counter() - self._started)
                if not selector.select(max(rest, 0.0)):
                    raise PeerError(f"sortline run: did not say {text!r} within {HANGS_S:.0f} s")
                if not (more := os.read(self._process.stderr.fileno(), 1 << 16)):
                    last = self._said.decode("utf-8", "replace").strip().rpartition("\n")[2]
                    raise PeerError(f"sortline run: ended before it said {text!r}: {last}")
                self._said += more
        line = self._said.partition(wanted)[2].partition(b"\n")[0].decode()
        return perf_counter() - self._started, line

    def answers(self, url: str) -> float:
        """Waits until the web side answers: the seconds since the start."""
        address = urlsplit(url)
        while perf_counter() - self._started < HANGS_S:
            connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=5)
            try:
                connection.request("GET", "/healthz")
                if connection.getresponse().status == 200:
                    return perf_counter() - self._started
            except OSError:
                sleep(0.01)
            finally:
                connection.close()
        raise PeerError(f"sortline run: its page did not answer within {HANGS_S:.0f} s")

    def stop(self) -> float:
        """Asks it to end with SIGTERM; returns the seconds until it has. It is killed if it does not."""
        asked = perf_counter()
        self._process.terminate()
        try:
            self._process.communicate(timeout=10 * STOP_BAR_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        return perf_counter() - asked


def measure(bench: Bench) -> Findings:
    """Some fresh starts one after the other; the last one runs on until its memory is looked at."""
    seen: list[float] = []
    page: list[float] = []
    stopped: list[float] = []
    memory: dict[str, float | None] = {}
    with _configuration(bench) as config:
        starts = bench.times(STARTS)
        for number in range(1, starts + 1):
            bench.say(f"start {number} of {starts}")
            with _running(config, stopped) as run:
                seen.append(run.says(FIRST_FRAME)[0])
                url = run.says(PAGE)[1].split()[0]
                page.append(run.answers(url))
                if number == starts:
                    memory = _memory(bench, run, url)
    both = None if None in memory.values() else sum(value or 0.0 for value in memory.values())
    return Findings(
        (_times({"first_frame": seen, "page": page, "stop": stopped}), _memory_table({**memory, "both": both})),
        (
            Bar("start", "start to the first frame processed, median", percentile(seen, 0.5), START_BAR_S, "s"),
            Bar("memory", "memory of both processes together", both, MEMORY_BAR_MB, "MB"),
            Bar("stop", "SIGTERM to the end, longest", max(stopped), STOP_BAR_S, "s"),
        ),
        ("Program files are in the system's file cache: a start right after the machine's own start takes longer.",),
    )


def _memory(bench: Bench, run: Run, url: str) -> dict[str, float | None]:
    bench.say(f"sorting for {bench.seconds(SETTLED_S):.0f} s before memory is looked at")
    ends = perf_counter() + bench.seconds(SETTLED_S)
    with Peer("the clients", Clients, url=url) as load:
        load.call("send", clients=1, seconds=bench.seconds(PICTURES_S), timeout_s=60)
    sleep(max(ends - perf_counter(), 0.0))
    web = [proportional_mb(child) for child in children(run.pid)]
    return {"line": proportional_mb(run.pid), "web": None if not web or None in web else sum(one or 0.0 for one in web)}


def _times(seconds: dict[str, list[float]]) -> Table:
    what = {
        "first_frame": "start to the first frame processed",
        "page": "start to the page's first answer",
        "stop": "SIGTERM to the end",
    }
    rows: list[dict[str, Figure]] = [
        {"what": what[name], "median_s": percentile(values, 0.5), "longest_s": max(values), "times": len(values)}
        for name, values in seconds.items()
    ]
    return Table(
        "startup",
        "Start and stop",
        "`sortline run` on a simulated 1280x720 belt at 60 frames a second with its web side, each time in a fresh "
        "process, from before the process is made until its log says that the first frame was processed.",
        (
            Column("what", "what"),
            Column("median_s", "median", "s"),
            Column("longest_s", "longest", "s"),
            Column("times", "starts"),
        ),
        rows,
    )


def _memory_table(memory: dict[str, float | None]) -> Table:
    what = {"line": "line", "web": "web side", "both": "both processes"}
    return Table(
        "memory",
        "Memory",
        f"Proportional set size after {SETTLED_S:.0f} s of sorting and {PICTURES_S:.0f} s of pictures to /predict: a "
        "process's own pages, and its share of those that it shares with others (Linux, smaps_rollup).",
        (Column("what", "process"), Column("memory_mb", "memory", "MB", 1)),
        [{"what": what[name], "memory_mb": value} for name, value in memory.items()],
    )


@contextmanager
def _running(config: Path, stopped: list[float]) -> Iterator[Run]:
    run = Run(config)
    try:
        yield run
    finally:
        stopped.append(run.stop())


@contextmanager
def _configuration(bench: Bench) -> Iterator[Path]:
    with TemporaryDirectory(prefix="sortline-bench-") as folder:
        path = Path(folder) / "line.toml"
        path.write_text(as_toml(content(bench.model, bench.classes, belt(fps=60), web=True)), encoding="utf-8")
        yield path


def as_toml(tables: dict[str, Any]) -> str:
    """A line's content as TOML: JSON writes texts, numbers, booleans and lists the same way."""
    lines: list[str] = []

    def write(heading: str, table: dict[str, Any]) -> None:
        lines.append(heading)
        lines.extend(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items())

    for name, value in tables.items():
        if isinstance(value, list):
            for table in value:
                write(f"[[{name}]]", table)
        elif all(isinstance(inner, dict) for inner in value.values()):
            for inner, table in value.items():
                write(f"[{name}.{inner}]", table)
        else:
            write(f"[{name}]", value)
    return "\n".join(lines) + "\n"

"""A line as a service: its threads are missed when they hang, and what supervises it is told the truth."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edge.cli import _watch
from edge.clock import VirtualClock
from edge.config import LineConfig
from edge.line import Line
from edge.records import Incident
from edge.service import Supervisor
from edge.vitals import Vitals
from tests.edge.tiny_model import write_model
from tests.edge.web.test_side import wait_for

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "examples" / "sortline.service"
HELD_S = 30.0
LINE = """
[model]
path = "{model}"
[camera]
source = "sim:?speed_mm_s=300&rate=2&fps=20&width=320&height=240"
[belt]
pixels_per_mm = 1.0
speed_mm_s = 300
[[lanes]]
name = "rest"
default = true
[web]
enabled = false
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "colours.onnx", sharpness=200.0)


def squares(model: Path) -> LineConfig:
    return LineConfig.parse(
        {
            "model": {"path": str(model), "provider": "cpu"},
            "camera": {"source": "squares", "type": "tests.edge.squares:Squares", "colours": "red " * 200},
            "belt": {"pixels_per_mm": 1.0, "speed_mm_s": 300},
            "lanes": [
                {"name": "reds", "classes": ["red"], "output": "gate", "distance_mm": 260},
                {"name": "rest", "default": True},
            ],
            "outputs": {"gate": {"type": "tests.edge.own_parts:Blade"}},
            "web": {"enabled": False},
        }
    )


class Listener:
    """What systemd is to a service: a datagram socket, and all that came to it, each with the moment it came."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self.heard: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def said(self, what: str) -> list[float]:
        return [at for at, text in self.heard if text == what]

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while text := self._socket.recv(4096).decode():
            self.heard.append((time.monotonic(), text))


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    made = Listener(str(tmp_path / "notify"))
    yield made
    made.close()


@contextmanager
def held(thread: str, line: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One of a line's threads hangs in what it does while the block runs."""
    let_go = threading.Event()

    def first_wait(work: Callable[..., Any]) -> Callable[..., Any]:
        def waits(*given: Any, **named: Any) -> Any:
            let_go.wait(HELD_S)
            return work(*given, **named)

        return waits

    part, work = {
        "eye": (line, "_try_to_see"),
        "mind": (line.mind, "think"),
        "hand": (line.hand, "_hand_over"),
        "watch": (line.watch, "snapshot" if line.url else "_look_after"),
    }[thread]
    monkeypatch.setattr(part, work, first_wait(getattr(part, work)))
    try:
        yield
    finally:
        let_go.set()


@pytest.mark.parametrize(
    ("thread", "called"),
    [("eye", "finds items"), ("mind", "classifies"), ("hand", "plans the pushes"), ("watch", "looks after the others")],
)
def test_a_thread_of_the_line_that_hangs_is_missed_and_its_return_is_seen(
    model: Path, monkeypatch: pytest.MonkeyPatch, thread: str, called: str
) -> None:
    monkeypatch.setattr("edge.vitals.HANGS_S", 1.5)
    with Line(squares(model)) as line:
        assert line.health()["line"] == {"ok": True, "text": "its threads come round"}
        with held(thread, line, monkeypatch):
            wait_for(line.vitals.trouble)
            assert re.fullmatch(rf"the thread that {called} has not come round for \d+ s", line.vitals.trouble() or "")
            assert not line.health()["line"]["ok"]
            if thread != "watch":  # else nobody but the supervisor is left to be told
                wait_for(lambda: incidents(line))
                assert called in incidents(line)[-1].cause
        wait_for(lambda: line.health()["line"]["ok"])
        if thread != "watch":
            wait_for(lambda: incidents(line)[-1].recovered)


def incidents(line: Line) -> list[Incident]:
    """What was told of the threads, the newest last."""
    assert line.herald is not None
    return [one for one in line.herald.recent if one.name == "line_unwell"]


def test_a_recorded_source_that_has_ended_and_a_virtual_clock_miss_nobody() -> None:
    clock = VirtualClock()
    vitals = Vitals(clock)
    vitals.comes_round("eye")
    vitals.comes_round("hand")
    clock.advance(60)
    vitals.comes_round("hand")
    assert vitals.trouble() == "the thread that finds items has not come round for 60 s"
    vitals.ended("eye")
    assert vitals.trouble() is None


def test_a_supervisor_is_told_when_the_line_runs_what_ails_it_and_that_it_ends(
    model: Path, tmp_path: Path, listener: Listener
) -> None:
    (tmp_path / "line.toml").write_text(LINE.format(model=model))
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.cli", "run", str(tmp_path / "line.toml")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"},
    )  # fmt: skip
    wait_for(lambda: len(listener.said("WATCHDOG=1")) > 5, within_s=60)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, out + err
    told = [text for _, text in listener.heard]
    assert told[0] == "READY=1"
    assert told[1] == "STATUS=sorting"
    assert told[-1] == "STOPPING=1"
    assert told.count("READY=1") == told.count("STOPPING=1") == 1
    # Fed three times as often as it must be.
    fed = listener.said("WATCHDOG=1")
    assert max(after - before for before, after in pairwise(fed)) < 0.6


def test_a_watchdog_is_not_fed_while_a_thread_of_the_line_hangs(
    model: Path, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.vitals.HANGS_S", 1.5)
    monkeypatch.setattr("edge.service.STATUS_S", 0.1)
    stop = threading.Event()
    environment = {
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "300000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    with Line(squares(model)) as line, Supervisor(environment) as supervisor:
        watches = threading.Thread(target=_watch, args=(line, stop, 0.0, supervisor))
        watches.start()
        try:
            wait_for(lambda: listener.said("WATCHDOG=1"))
            with held("mind", line, monkeypatch):
                wait_for(lambda: any("STATUS=line: the thread that classifies" in text for _, text in listener.heard))
                fed = len(listener.said("WATCHDOG=1"))
                time.sleep(0.5)  # five times as long as it is fed after
                assert len(listener.said("WATCHDOG=1")) == fed
            wait_for(lambda: len(listener.said("WATCHDOG=1")) > fed)
        finally:
            stop.set()
            watches.join()


def test_nobody_s_supervision_and_a_socket_that_is_not_there_hold_nothing_up(tmp_path: Path) -> None:
    wrong = ["", "relative", str(tmp_path / "gone"), "/" + 200 * "x", "vsock:2:1"]
    for environment in ({}, *({"NOTIFY_SOCKET": one, "WATCHDOG_USEC": "soon"} for one in wrong)):
        with Supervisor(environment) as supervisor:
            assert not supervisor.there
            supervisor.ready()
            supervisor.alive()
            supervisor.status("sorting")
            supervisor.stopping()


def test_a_watchdog_of_another_process_is_not_fed(tmp_path: Path, listener: Listener) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}
    with Supervisor(environment) as supervisor:
        supervisor.alive()
        supervisor.ready()
    wait_for(lambda: listener.said("READY=1"))
    assert not listener.said("WATCHDOG=1")


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
def test_an_abstract_socket_and_a_supervisor_that_reads_nothing() -> None:
    name = f"sortline-{os.getpid()}"
    deaf = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    deaf.bind("\0" + name)
    with deaf, Supervisor({"NOTIFY_SOCKET": "@" + name}) as supervisor:
        assert supervisor.there
        began = time.monotonic()
        for _ in range(5000):  # more than any queue takes
            supervisor.ready()
        assert time.monotonic() - began < 5
        assert deaf.recv(100) == b"READY=1"


def test_systemd_takes_the_example_of_a_service(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        pytest.skip("systemd is not installed")
    text = UNIT.read_text()
    installed = re.search(r"^ExecStart=(\S+) run /etc/sortline/line.toml$", text, re.MULTILINE)
    assert installed
    unit = tmp_path / "sortline.service"
    unit.write_text(text.replace(installed[1], sys.executable))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(text.replace(installed[1], sys.executable).replace("WatchdogSec=", "WatchdogSecs="))
    assert (
        "WatchdogSecs"
        in subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False).stderr
    )

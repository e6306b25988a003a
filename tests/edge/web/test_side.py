"""The line's end of the web side: a real process on a real port, which the line never waits for."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import WebError
from edge.records import Incident
from edge.web import side as side_module
from edge.web.side import MAX_WAITING, WebSide
from tests.edge.web import fake_line


class Started:
    """A WebSide with what it told its line."""

    def __init__(self, folder: Path, **web: Any) -> None:
        self.commands: list[dict[str, Any]] = []
        self.incidents: list[Incident] = []
        config = fake_line.config(folder, **web)
        self.before = children()
        self.side = WebSide(config, fake_line.facts(config), self.commands.append, self.incidents.append)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.side.url + path, timeout=20) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any) -> int:
        request = urllib.request.Request(
            self.side.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)


def children() -> set[int]:
    """The web processes that any thread of this one has started and that were not waited for yet.

    Other tests may have left children of other kinds, such as multiprocessing's resource tracker.
    """
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread may end while it is looked at
            found.update(map(int, (task / "children").read_text().split()))
    return {pid for pid in found if _is_web(pid)}


def _is_web(pid: int) -> bool:
    """Whether a process is a web side; one that has ended, and was not waited for, has no command line."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"edge.web" in words or not words


def web_process(before: set[int]) -> int:
    (pid,) = wait_for(lambda: children() - before)
    return pid


def wait_for(what: Callable[[], Any], within_s: float = 20.0, every_s: float = 0.01) -> Any:
    """What a condition gives once it holds; fails when that takes longer than any machine needs."""
    deadline = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(every_s)
    return found


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Started]:
    started = Started(tmp_path)
    started.side.start()
    yield started
    started.side.stop()


def test_what_the_line_shows_is_what_the_page_is_given(line: Started) -> None:
    decision, crop = fake_line.decision_at(4, 60.0)
    line.side.state(fake_line.state_at(60.0, 100))
    line.side.decided(decision, crop)
    line.side.incident(fake_line.INCIDENT)
    everything = wait_for(lambda: (e := line.get("state.json"))["incidents"] and e["state"] and e)
    assert everything["facts"]["model"]["name"] == "colours"
    assert everything["state"]["born"] == 103
    assert everything["decisions"][0]["item_id"] == decision.item_id
    assert everything["decisions"][0]["box"]["width"] == decision.box.width
    assert everything["incidents"][0]["name"] == "camera_lost"
    with urllib.request.urlopen(f"{line.side.url}crops/{decision.item_id}.jpg", timeout=20) as answer:
        assert answer.read(3) == b"\xff\xd8\xff"


def test_pictures_flow_only_while_somebody_watches(line: Started) -> None:
    side = line.side
    line.get("healthz")
    assert not side.wants_picture
    with urllib.request.urlopen(side.url + "events", timeout=20) as events:
        assert events.headers["Content-Type"].startswith("text/event-stream")
        wait_for(lambda: side.wants_picture)
        frame = fake_line.frame_at(60.0)
        side.picture(frame, fake_line.items_at(60.0))
        for raw in events:
            if raw.startswith(b"data:") and b'"full"' in raw:
                break
        about = json.loads(raw[5:])
        assert about["seq"] == frame.seq
        assert about["full"] == [1280, 720]
        assert [item["id"] for item in about["items"]] == [item["id"] for item in fake_line.items_at(60.0)]
        with urllib.request.urlopen(side.url + "picture.jpg", timeout=20) as picture:
            about = json.loads(picture.headers["Sortline-Picture"])
            assert about["seq"] == frame.seq
            assert len(about["items"]) == len(fake_line.items_at(60.0))
    wait_for(lambda: not side.wants_picture)


def test_a_command_from_the_page_reaches_the_line(line: Started) -> None:
    assert line.post("commands", {"command": "pause", "paused": True}) == 202
    wait_for(lambda: line.commands)
    assert line.commands == [{"command": "pause", "paused": True}]


def test_a_command_that_fails_in_the_line_is_an_incident_and_the_next_one_still_comes(tmp_path: Path) -> None:
    started = Started(tmp_path)

    def obey(command: dict[str, Any]) -> None:
        started.commands.append(command)
        raise ValueError("no such gate")

    started.side._on_command = obey
    started.side.start()
    try:
        started.post("commands", {"command": "pause", "paused": True})
        started.post("commands", {"command": "pause", "paused": False})
        wait_for(lambda: len(started.commands) == 2 and len(started.incidents) == 2)
        assert started.incidents[0].name == "web_command_failed"
        assert "no such gate" in started.incidents[0].cause
    finally:
        started.side.stop()


def test_a_web_side_that_dies_comes_back_on_its_port_and_remembers(tmp_path: Path) -> None:
    before = children()
    line = Started(tmp_path)
    side, url = line.side, line.side.url
    side.start()
    try:
        first = web_process(before)
        side.state(fake_line.state_at(60.0, 100))
        side.decided(*fake_line.decision_at(4, 60.0))
        wait_for(lambda: line.get("state.json")["decisions"])
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: line.incidents)
        everything = wait_for(lambda: (e := line.get("state.json"))["state"] and e)
    finally:
        side.stop()
    assert side.url == url
    assert everything["state"]["born"] == 103
    assert [decision["item_id"] for decision in everything["decisions"]] == [5]
    assert [incident.name for incident in line.incidents] == ["web_died"]
    assert "SIGKILL" in line.incidents[0].cause or "signal 9" in line.incidents[0].cause
    assert line.incidents[0].action == "it is started again"


def test_a_web_side_that_hangs_is_ended_and_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_module, "SILENCE_S", 2.0)
    before = children()
    line = Started(tmp_path)
    line.side.start()
    try:
        first = web_process(before)
        line.get("healthz")
        os.kill(first, signal.SIGSTOP)
        wait_for(lambda: line.incidents)
        assert line.incidents[0].name == "web_stuck"
        assert "did not answer" in line.incidents[0].cause
        assert line.incidents[0].action == "it is started again"
        assert wait_for(lambda: children() - before - {first})
        assert line.get("healthz") == {"status": "ok"}
    finally:
        line.side.stop()


def test_a_web_side_that_keeps_dying_stays_down_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_module, "BACKOFF_S", (0.0,))
    monkeypatch.setattr(side_module, "RESTARTS", 2)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    line = Started(tmp_path)
    line.side.start()
    wait_for(lambda: len(line.incidents) == 3)
    line.side._supervisor.join(10)
    line.side.stop()
    assert [incident.action for incident in line.incidents] == ["it is started again"] * 2 + ["it stays down"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", line.side.port), timeout=5)


def test_the_line_never_waits_for_a_web_side_that_hangs(tmp_path: Path) -> None:
    before = children()
    line = Started(tmp_path)
    side = line.side
    side.start()
    try:
        line.get("healthz")
        pid = web_process(before)
        os.kill(pid, signal.SIGSTOP)
        side.wants_picture = True
        decision, _ = fake_line.decision_at(4, 60.0)
        crop = np.zeros((4000, 4000, 3), np.uint8)
        frame = fake_line.frame_at(60.0)
        start = time.monotonic()
        for n in range(4 * MAX_WAITING):
            side.decided(decision, crop if n % 64 == 0 else None)
            side.state(fake_line.state_at(60.0, 1))
            side.picture(frame, [])
        assert time.monotonic() - start < 10
        assert side.dropped > 0
        assert len(side._events) <= MAX_WAITING
    finally:
        start = time.monotonic()
        side.stop()
        assert time.monotonic() - start < 5
    assert children() == before


def test_stop_ends_the_process_at_any_moment_of_its_start(tmp_path: Path) -> None:
    before = children()
    for delay_s in (0.0, 0.05, 0.3, 0.6):
        line = Started(tmp_path)
        line.side.start()
        time.sleep(delay_s)
        line.side.stop()
        line.side.stop()
        assert children() == before
        assert not line.incidents


def test_a_web_side_that_was_never_started_lets_its_port_go(tmp_path: Path) -> None:
    line = Started(tmp_path)
    line.side.stop()
    with socket.socket() as again:
        again.bind(("127.0.0.1", line.side.port))


def test_a_port_in_use_is_known_before_anything_starts(tmp_path: Path) -> None:
    before = children()
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(WebError, match="in use by another program"):
        Started(tmp_path, port=other.getsockname()[1])
    assert children() == before


def test_a_line_that_is_killed_takes_its_web_side_along(tmp_path: Path) -> None:
    script = f"""
import sys, time
from pathlib import Path
from edge.web.side import WebSide
from tests.edge.web import fake_line
config = fake_line.config(Path({str(tmp_path)!r}))
side = WebSide(config, fake_line.facts(config), print)
side.start()
print(side.port, flush=True)
time.sleep(600)
"""
    root = str(Path(__file__).resolve().parents[3])
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}, text=True
    ) as line:
        assert line.stdout
        port = int(line.stdout.readline())
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=20) as answer:
            assert answer.status == 200
        line.kill()

    def refused() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    wait_for(refused)


def test_a_web_side_told_to_end_ends_well(line: Started) -> None:
    line.get("healthz")
    os.kill(web_process(line.before), signal.SIGTERM)
    wait_for(lambda: line.incidents)
    assert line.incidents[0].cause == "the web side ended with status 0"


def test_a_web_side_that_ends_while_the_line_is_ending_is_neither_told_of_nor_started_again(line: Started) -> None:
    line.get("healthz")
    line.side.line_ends()
    os.kill(web_process(line.before), signal.SIGTERM)
    line.side._supervisor.join(20)
    assert not line.side._supervisor.is_alive()
    assert line.incidents == []


def test_the_line_comes_before_the_web_side_in_every_thread(line: Started) -> None:
    line.get("healthz")
    pid = web_process(line.before)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    for thread in Path(f"/proc/{pid}/task").iterdir():
        assert os.getpriority(os.PRIO_PROCESS, int(thread.name)) >= own + 5, (thread / "comm").read_text()


def test_ctrl_c_is_left_to_the_line(tmp_path: Path) -> None:
    before = children()
    line = Started(tmp_path)
    line.side.start()
    try:
        line.get("healthz")
        os.kill(web_process(before), signal.SIGINT)
        assert line.get("healthz") == {"status": "ok"}
        assert not line.incidents
    finally:
        line.side.stop()


def test_no_secret_of_the_configuration_reaches_the_web_process(tmp_path: Path) -> None:
    line = Started(tmp_path)
    told = json.dumps(line.side._hello)
    line.side.stop()
    assert "user:secret" not in told
    assert "rtsp://camera/1" in told

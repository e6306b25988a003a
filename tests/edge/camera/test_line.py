"""Cameras under the whole line: late ones, dead ones, two at a time, and a classifier that is too slow for them."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from statistics import median

import pytest

from edge.bench.machine import children, process_cpu_s
from edge.camera.grabber import FrameGrabber
from edge.config import LineConfig
from edge.line import Line
from tests.edge.camera.age import measure
from tests.edge.camera.servers import HttpCamera, RtspServer, mute_server
from tests.edge.tiny_model import write_model

ROOT = Path(__file__).resolve().parents[3]


def config(folder: Path, source: str, **more: object) -> LineConfig:
    return LineConfig.parse(
        {
            "model": {"path": str(write_model(folder / "m.onnx"))},
            "camera": {"source": source, "open_timeout_s": 2.0, "read_timeout_s": 1.0},
            "belt": {"pixels_per_mm": 1.0, "speed_mm_s": 200},
            "lanes": [{"name": "rest", "default": True}],
            "web": {"port": 0},
            **more,
        }
    )


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def until(what: object, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_line_starts_without_its_camera_says_so_and_takes_it_up_when_it_appears(
    tmp_path: Path, rtsp: RtspServer
) -> None:
    with Line(config(tmp_path, rtsp.url)) as line:
        assert until(lambda: status(f"{line.url}healthz") == 200)
        assert until(lambda: status(f"{line.url}readyz") == 503)
        assert until(lambda: line.herald.incidents["camera_lost"] == 1)
        rtsp.start()
        assert until(lambda: line.frames > 5)
        assert until(lambda: status(f"{line.url}readyz") == 200)
        assert line.herald.recent[-1].recovered


def write_line(folder: Path, camera: str, more: str = "") -> None:
    """Writes line.toml of a line whose one lane is the default one, with these lines in its camera's table."""
    (folder / "line.toml").write_text(
        f"""
        [model]
        path = "m.onnx"
        [camera]
        {camera}
        [belt]
        pixels_per_mm = 1
        speed_mm_s = 100
        [[lanes]]
        name = "rest"
        default = true
        {more}"""
    )


@pytest.mark.parametrize("speaks", [False, True])
def test_a_line_whose_camera_is_away_leaves_the_machine_alone(speaks: bool, tmp_path: Path) -> None:
    """Both processes together, in processor time, which other programs do not lengthen: at most 2 % of a core."""
    if process_cpu_s(os.getpid()) is None:
        pytest.skip("needs Linux's /proc")
    with mute_server() as port:
        write_model(tmp_path / "m.onnx", size=96)
        write_line(tmp_path, f'source = "rtsp://127.0.0.1:{port if speaks else 9}/x"', "[web]\nport = 0\n")
        words = [sys.executable, "-m", "edge.cli", "run", str(tmp_path / "line.toml")]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=ROOT) as line:
            try:
                assert line.stderr
                url = next(
                    word for said in line.stderr if "the page is at" in said for word in said.split() if "://" in word
                )
                assert until(lambda: status(f"{url}healthz") == 200)
                assert until(lambda: status(f"{url}readyz") == 503)
                assert len(children(line.pid)) >= 1, "the web side is a process of its own"
                for _ in range(6):  # what a start still has to do comes to its end
                    before = {one: process_cpu_s(one) or 0.0 for one in (line.pid, *children(line.pid))}
                    time.sleep(2.5)
                    after = {one: process_cpu_s(one) or 0.0 for one in (line.pid, *children(line.pid))}
                    spent = sum(now - before.get(one, 0.0) for one, now in after.items())
                    if spent <= 0.02 * 2.5:
                        break
                assert spent <= 0.02 * 2.5
            finally:
                line.terminate()


def test_check_says_that_a_camera_never_answers_within_its_timeouts_and_exits_1(tmp_path: Path) -> None:
    write_model(tmp_path / "m.onnx")
    with mute_server() as port:
        write_line(tmp_path, f'source = "rtsp://user:secret@127.0.0.1:{port}/x"\nopen_timeout_s = 2.0')
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "edge.cli", "check", str(tmp_path / "line.toml")],
            capture_output=True, text=True, timeout=60, cwd=ROOT, check=False,
        )  # fmt: skip
    assert time.monotonic() - start < 20
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert "secret" not in done.stdout + done.stderr


def test_two_lines_in_one_process_do_not_feel_each_others_cameras(tmp_path: Path, rtsp: RtspServer) -> None:
    rtsp.start()
    steady = HttpCamera()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    # On a busy machine a reader needs seconds to start, and a camera may rest for one: neither is the other's doing.
    patient = {"open_timeout_s": 20.0, "read_timeout_s": 10.0}

    def rates(camera: FrameGrabber, pictures: int) -> tuple[float, float]:
        """Pictures a second that the camera sent and that its line got, over at least so many."""
        began, sent, got = time.monotonic(), steady.sent, camera.stats().frames
        assert until(lambda: camera.stats().frames - got >= pictures)
        seconds = time.monotonic() - began
        return (steady.sent - sent) / seconds, (camera.stats().frames - got) / seconds

    try:
        with (
            Line(config(tmp_path / "a", rtsp.url, camera={"source": rtsp.url, **patient})) as dying,
            Line(config(tmp_path / "b", steady.url, camera={"source": steady.url, **patient})) as living,
        ):
            assert until(lambda: dying.frames > 10 and living.frames > 10)
            sent_before, got_before = rates(living.grabber, 60)
            rtsp.kill()
            assert until(lambda: dying.grabber.stats().state == "away")
            sent_after, got_after = rates(living.grabber, 60)
            # Its own server lives in this process and slows down with the machine; its line must not beyond that.
            assert got_after / sent_after > 0.8 * got_before / sent_before
            assert got_after / sent_after > 0.8
            assert not [name for name in living.herald.incidents if name.startswith("camera")]
    finally:
        steady.close()


def test_items_on_the_belt_reach_their_end_while_the_camera_is_away(tmp_path: Path) -> None:
    source = "sim:?seed=3&rate=8&seconds=3&speed_mm_s=400"
    more = {"belt": {"pixels_per_mm": 1.6, "speed_mm_s": 400}, "web": {"enabled": False}}
    with Line(config(tmp_path, source, **more)) as line:
        assert line.wait(60)
    assert line.ledger.born > 5
    assert len(line.ledger) == 0
    assert line.ledger.balanced()


def test_a_classifier_slower_than_the_camera_never_makes_the_frames_older(tmp_path: Path, rtsp: RtspServer) -> None:
    rtsp.start()
    ages, _ = measure(8.0, rtsp.url, tmp_path)
    assert len(ages.at_classifier) > 10
    for seen in (ages.at_eye, ages.at_classifier):
        # Two frames of a 30 fps stream, and room for a machine that tests do other things on.
        assert median(seen) < median(ages.at_camera) + 0.2
        first, last = seen[: len(seen) // 2], seen[len(seen) // 2 :]
        assert median(last) < median(first) + 0.1, "the age must not grow"


@pytest.mark.parametrize("name", ["journal", "log"])
def test_a_cameras_password_is_nowhere_to_be_read(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    source = "rtsp://user:secret@127.0.0.1:1/x"
    more = {"journal": {"path": str(tmp_path / "line.db")}}
    with Line(config(tmp_path, source, **more)) as line:
        assert until(lambda: line.herald.incidents["camera_lost"] == 1)
        assert until(lambda: status(f"{line.url}readyz") == 503)
        with urllib.request.urlopen(f"{line.url}metrics", timeout=10) as answer:
            assert b"secret" not in answer.read()
        assert "secret" not in json.dumps(line.watch.snapshot())
    if name == "journal":
        assert b"secret" not in (tmp_path / "line.db").read_bytes()
    else:
        assert "secret" not in caplog.text

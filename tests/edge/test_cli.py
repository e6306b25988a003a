"""The command as a person or a script calls it: what it prints, what it writes, how it exits."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.check import check_line
from edge.config import LineConfig
from tests.edge.tiny_model import write_model

ROOT = Path(__file__).resolve().parents[2]
LINE = """
[model]
path = "{model}"
[camera]
source = "{source}"
{camera}
[belt]
pixels_per_mm = 1.6
speed_mm_s = 500
[decide]
min_confidence = 0.0
[[lanes]]
name = "reds"
classes = ["red"]
output = "gate"
distance_mm = 500
[[lanes]]
name = "rest"
default = true
[outputs.gate]
type = "log"
[web]
enabled = false
{more}
"""


def sortline(*words: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge.cli", *map(str, words)],
        capture_output=True, text=True, timeout=timeout, cwd=ROOT, check=False,
    )  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "colours.onnx")


SMALL = "width=640&height=360"  # a quarter of the pixels to draw and to look at


def line(folder: Path, model: Path, source: object = f"sim:?seed=3&{SMALL}", more: str = "", camera: str = "") -> Path:
    path = folder / "line.toml"
    path.write_text(LINE.format(model=model, source=source, more=more, camera=camera))
    return path


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr.strip()


def test_predict_prints_a_json_line_a_picture_in_the_order_given(model: Path, tmp_path: Path) -> None:
    for name, colour in (("b.png", (220, 70, 40)), ("a.jpg", (40, 40, 220))):
        cv2.imwrite(str(tmp_path / name), np.full((40, 60, 3), colour, np.uint8))
    done = sortline("predict", model, tmp_path / "b.png", tmp_path / "a.jpg")
    assert done.returncode == 0, done.stderr
    answers = [json.loads(text) for text in done.stdout.splitlines()]
    assert [(Path(one["file"]).name, one["class"]) for one in answers] == [("b.png", "blue"), ("a.jpg", "red")]
    keys = {"class", "confidence", "probabilities", "lane", "reason", "strange", "threshold", "model", "latency_ms"}
    assert set(answers[0]) == {"file", *keys}
    assert (answers[0]["reason"], answers[0]["strange"], answers[0]["threshold"]) == ("classified", False, 0.0)


def test_predict_names_a_wrong_picture_answers_the_others_and_exits_2(model: Path, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.jpg"
    cv2.imwrite(str(good), np.full((40, 60, 3), 90, np.uint8))
    bad.write_bytes(b"\xff\xd8 not a picture")
    done = sortline("predict", model, bad, good, tmp_path / "none.jpg")
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 1
    assert "bad.jpg: is not a picture" in done.stderr
    assert "none.jpg: no such file" in done.stderr


def test_predict_takes_a_picture_from_a_pipe_and_a_file_that_is_called_as_it(model: Path, tmp_path: Path) -> None:
    def predicted(data: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "edge.cli", "predict", str(model), *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            command, input=data, capture_output=True, timeout=120, cwd=tmp_path, env=environment, check=False
        )

    pictures = {
        name: cv2.imencode(".png", np.full((40, 60, 3), colour, np.uint8))[1].tobytes()
        for name, colour in (("blue", (220, 70, 40)), ("red", (40, 40, 220)))
    }
    (tmp_path / "-").write_bytes(pictures["blue"])
    done = predicted(pictures["red"], "-", "./-")
    assert done.returncode == 0, done.stderr
    answers = [json.loads(text) for text in done.stdout.splitlines()]
    assert [(one["file"], one["class"]) for one in answers] == [("-", "red"), ("-", "blue")]
    for data, says in ((b"", "is empty (0 bytes)"), (b"no picture", "is not a picture that can be decoded")):
        done = predicted(data, "-")
        assert done.returncode == 2
        assert done.stderr.decode().startswith(f"sortline: standard input: {says}")
    assert "- is one from standard input" in " ".join(sortline("predict", "--help").stdout.split())


def test_run_sorts_the_simulated_belt_and_writes_its_summary_and_decisions(model: Path, tmp_path: Path) -> None:
    summary, decisions = tmp_path / "summary.json", tmp_path / "decisions.jsonl"
    done = sortline(
        "run", line(tmp_path, model), "--fast", "--seconds", 5, "--summary", summary, "--decisions", decisions
    )
    assert done.returncode == 0, done.stderr
    content = json.loads(summary.read_text())
    assert content["items"] > 20
    assert content["items"] == sum(content["outcomes"].values()) + content["on_belt"]
    assert set(content["outcomes"]) == {"confirmed", "fired", "passed", "missed", "lost"}
    assert set(content["reasons"]) == {"classified", "unknown", "overlap", "ambiguous", "late", "overload"}
    assert set(content["latency_ms"]) == {"p50", "p99", "max"}
    assert 0 <= content["sort_accuracy"] <= 1
    assert content["misplaced"] >= 0
    assert sum(content["reasons"].values()) == len(decisions.read_text().splitlines())
    assert "sort accuracy" in done.stdout


def test_frames_ends_the_run_by_itself(model: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"
    done = sortline("run", line(tmp_path, model), "--frames", 10, "--summary", summary)
    assert done.returncode == 0, done.stderr
    assert 10 <= json.loads(summary.read_text())["frames"] <= 12


@pytest.mark.parametrize(("number", "again"), [(signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGTERM, False)])
def test_a_signal_ends_the_run_in_under_two_seconds_with_the_summary_printed_however_often_it_comes(
    model: Path, tmp_path: Path, number: signal.Signals, again: bool
) -> None:
    summary, decisions = tmp_path / "summary.json", tmp_path / "decisions.jsonl"
    more = '[journal]\npath = "line.db"'
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.cli", "run", str(line(tmp_path, model, more=more)),
         "--summary", str(summary), "--decisions", str(decisions)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (decisions.exists() and decisions.read_text().count("\n") >= 3) and time.monotonic() < deadline:
        time.sleep(0.05)
    asked = time.monotonic()
    process.send_signal(number)
    while again and not summary.exists() and process.poll() is None:
        process.send_signal(number)
        time.sleep(0.02)  # as fast as keys repeat
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - asked < 2.0
    assert "Traceback" not in err
    assert process.returncode == 0, err
    assert "outcomes" in out
    content = json.loads(summary.read_text())
    assert content["items"] == sum(content["outcomes"].values()) + content["on_belt"]
    assert sum(content["reasons"].values()) == len(decisions.read_text().splitlines()) >= 3


def test_cameras_lists_what_is_attached_or_says_that_nothing_is() -> None:
    done = sortline("cameras")
    assert done.returncode == 0, done.stderr
    assert "camera.source" in done.stdout


def test_check_says_how_each_part_is(model: Path, tmp_path: Path) -> None:
    done = sortline("check", line(tmp_path, model))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok ") == 3
    gone = sortline("check", line(tmp_path, model, source=tmp_path / "gone.mp4"))
    assert gone.returncode == 1
    assert "FAILED" in gone.stdout
    assert "gone.mp4" in "".join(gone.stdout.split())


def test_check_tells_of_a_picture_in_which_nothing_can_be_found(model: Path, tmp_path: Path) -> None:
    path = line(tmp_path, model, more="[items]\nmin_mm = 401\nmax_mm = 500")
    (camera,) = [row for row in check_line(LineConfig.load(path), path) if row.part == "camera"]
    assert not camera.ok
    assert "; the picture of 640x360 pixels has no room for an item: items.min_mm = 401 is 641.6 pixels" in camera.text


@pytest.mark.parametrize("camera", ["0", "rtsp://me:secret@127.0.0.1:9/x"])
def test_a_live_camera_is_not_replayed(model: Path, tmp_path: Path, camera: str) -> None:
    done = sortline("replay", line(tmp_path, model), camera)
    assert done.returncode == 2
    assert "is a live camera" in done.stderr
    assert "secret" not in done.stderr


def test_replay_names_the_model_that_lacks_a_class_of_the_lines(model: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other.onnx", classes=("plum", "pear", "fig"))
    path = line(tmp_path, model)
    done = sortline("replay", path, f"sim:?seed=3&seconds=1&{SMALL}", "--model", other)
    assert done.returncode == 2
    assert all(said.startswith(f"{path}: lanes") for said in done.stderr.removeprefix("sortline: ").splitlines())
    assert f"which {other} does not have (it has: plum, pear, fig)" in done.stderr


def test_replay_tells_which_decisions_differ_between_two_models(model: Path, tmp_path: Path) -> None:
    same = sortline("replay", line(tmp_path, model), f"sim:?seed=3&seconds=3&{SMALL}", "--model", model)
    assert same.returncode == 0, same.stderr
    assert "0 of " in same.stdout
    other = write_model(tmp_path / "other.onnx", {"red": (40, 70, 220), "green": (40, 190, 60), "blue": (220, 40, 40)})
    differs = sortline("replay", line(tmp_path, model), f"sim:?seed=3&seconds=3&{SMALL}", "--model", other)
    assert differs.returncode == 0, differs.stderr
    assert "decisions differ" in differs.stdout


@pytest.mark.parametrize(
    ("change", "says", "status"),
    [
        ({"model": "/nowhere.onnx"}, "/nowhere.onnx: no such model file", 2),
        ({"source": "/nowhere.mp4"}, "/nowhere.mp4", (1, 2)),
        ({"more": "[belts]\nx = 1"}, "belts is not a key of the file (did you mean belt?", 2),
        ({"source": "sim:?sped=3"}, "sped", 2),
    ],
)
def test_a_wrong_line_gets_one_sentence(
    model: Path, tmp_path: Path, change: dict[str, str], says: str, status: int | tuple[int, ...]
) -> None:
    done = sortline("run", line(tmp_path, **{"model": model, **change}), "--frames", 3)  # type: ignore[arg-type]
    assert says in one_sentence(done)
    assert done.returncode in (status if isinstance(status, tuple) else (status,))


def test_a_text_file_named_onnx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("just words")
    done = sortline("predict", tmp_path / "text.onnx", "x.jpg")
    assert "text.onnx: is not an ONNX model" in one_sentence(done)
    assert done.returncode == 2


def test_a_lane_with_an_unknown_class_names_the_lane_and_the_models_classes(model: Path, tmp_path: Path) -> None:
    path = line(tmp_path, model)
    path.write_text(path.read_text().replace('["red"]', '["mauve"]'))
    done = sortline("run", path)
    assert f"{path}: lanes[0].classes names 'mauve'" in one_sentence(done)
    assert "red, green, blue" in done.stderr
    assert done.returncode == 2


def test_a_port_in_use_is_told_before_anything_starts(model: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = line(tmp_path, model)
        path.write_text(path.read_text().replace("enabled = false", f"port = {port}"))
        done = sortline("run", path)
    assert f"{port}" in one_sentence(done)
    assert "in use" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(
    "words", [["--nonsense"], ["run"], ["fly"], ["demo", "--seconds", "-3"], ["predict"], ["demo", "--port", "99999"]]
)
def test_wrong_words_exit_2_with_one_sentence(words: list[str]) -> None:
    done = sortline(*words)
    assert done.returncode == 2
    assert "--help" in one_sentence(done)


@pytest.mark.parametrize("command", ["demo", "run", "check", "cameras", "predict", "bench", "replay"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = sortline(command, "--help")
    assert done.returncode == 0
    assert "example: sortline" in done.stdout


def test_a_summary_that_cannot_be_written_is_told_before_the_run(model: Path, tmp_path: Path) -> None:
    done = sortline("run", line(tmp_path, model), "--summary", tmp_path / "no" / "such" / "folder.json")
    assert "--summary" in one_sentence(done)
    assert done.returncode == 2


def test_fast_is_refused_for_a_live_camera(model: Path, tmp_path: Path) -> None:
    done = sortline("run", line(tmp_path, model, source="rtsp://127.0.0.1:1/x"), "--fast")
    assert "--fast needs a recorded or simulated source" in one_sentence(done)
    assert done.returncode == 2


def test_the_real_clip_of_a_bolt_gives_exactly_one_item_and_one_decision(
    model: Path, tmp_path: Path, shared_data: Path
) -> None:
    summary, decisions = tmp_path / "s.json", tmp_path / "d.jsonl"
    path = line(tmp_path, model, source=shared_data / "belt" / "bolt.gif")
    for runs, speed in ((1, ["--fast"]), (2, [])):
        done = sortline("run", path, "--summary", summary, "--decisions", decisions, *speed)
        assert done.returncode == 0, done.stderr
        assert json.loads(summary.read_text())["items"] == 1
        assert len(decisions.read_text().splitlines()) == runs


def test_check_asks_every_photo_eye(model: Path, tmp_path: Path) -> None:
    trigger = """
    [items]
    mode = "trigger"
    [items.trigger]
    type = "callable"
    function = "{function}"
    position_mm = -300
    length_mm = 40
    """
    good = sortline("check", line(tmp_path, model, more=trigger.format(function="time:time")))
    assert good.returncode == 0, good.stdout + good.stderr
    assert "photo-eye trigger" in good.stdout
    assert "its beam is broken" in good.stdout
    bad = sortline("check", line(tmp_path, model, more=trigger.format(function="os:abort_the_belt")))
    assert bad.returncode in {1, 2}
    assert "abort_the_belt" in bad.stdout + bad.stderr


@pytest.mark.parametrize("twin", [True, False])
def test_check_takes_a_simulated_eye_for_well_on_a_simulated_belt_only(model: Path, tmp_path: Path, twin: bool) -> None:
    eye = '[items]\nmode = "trigger"\n[items.trigger]\ntype = "simulated"\nposition_mm = -300\nlength_mm = 40'
    path = line(tmp_path, model, source=f"sim:?{SMALL}" if twin else "gone.mp4", more=eye)
    (row,) = [row for row in check_line(LineConfig.load(path), path) if row.part.startswith("photo-eye")]
    says = "simulated: looks at the simulated belt" if twin else 'simulated: needs a simulated belt, camera.source = "'
    assert (row.ok, says in row.text) == (twin, True), row.text


@pytest.mark.parametrize(
    ("listens", "ok", "says"),
    [
        ("tell(True, self.clock.now())", True, "its beam is broken"),
        ("self.tell = tell", True, "plant_eye:Listening"),
        ("raise OSError('no such port')", False, "listen(tell) failed (OSError: no such port)"),
        ("let_go.wait(20)", False, "listen(tell) has not come back for 0.2 s"),
    ],
)
def test_check_lets_an_eye_that_is_told_begin_to_listen(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listens: str, ok: bool, says: str
) -> None:
    monkeypatch.setattr("edge.eyes.watching.LISTEN_S", 0.2)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "plant_eye", raising=False)
    (tmp_path / "plant_eye.py").write_text(
        "import threading\nlet_go = threading.Event()\n"
        "class Listening:\n    def __init__(self, settings, clock): self.clock = clock\n"
        f"    def listen(self, tell): {listens}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    eye = '[items]\nmode = "trigger"\n[items.trigger]\ntype = "plant_eye:Listening"\nposition_mm = -300\nlength_mm = 40'
    path = line(tmp_path, model, more=eye)
    (row,) = [row for row in check_line(LineConfig.load(path), path) if row.part.startswith("photo-eye")]
    sys.modules["plant_eye"].let_go.set()
    assert (row.ok, says in row.text) == (ok, True), row.text


def test_a_clip_in_which_nothing_travels_runs_to_its_end_without_an_item(
    model: Path, tmp_path: Path, shared_data: Path
) -> None:
    summary = tmp_path / "s.json"
    done = sortline("run", line(tmp_path, model, source=shared_data / "belt" / "bottles.mp4"), "--fast",
                    "--summary", summary)  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = json.loads(summary.read_text())
    assert content["frames"] > 1180
    assert content["items"] == sum(content["outcomes"].values()) == 0


def test_a_users_module_is_found_beside_the_configuration(model: Path, tmp_path: Path) -> None:
    heard = tmp_path / "heard.txt"
    (tmp_path / "plant_of_this_test.py").write_text(
        f"def push(decision):\n    open({str(heard)!r}, 'a').write(decision.lane + '\\n')\n"
    )
    path = line(tmp_path, model)
    path.write_text(
        path.read_text().replace(
            'type = "log"', 'type = "callback"\nfunction = "plant_of_this_test:push"\non = "decision"'
        )
    )
    path.write_text(path.read_text().replace('classes = ["red"]', 'classes = ["red", "green", "blue"]'))
    done = sortline("run", path, "--fast", "--seconds", 6)
    assert done.returncode == 0, done.stderr
    assert set(heard.read_text().split()) == {"reds"}


def test_a_corrupt_picture_among_good_ones_is_skipped_and_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for n in range(3):
        cv2.imwrite(str(tmp_path / "pictures" / f"{n}.png"), np.full((40, 60, 3), 90, np.uint8))
    (tmp_path / "pictures" / "1.png").write_bytes(b"not a picture")
    done = sortline("run", line(tmp_path, model, source=tmp_path / "pictures"), "--fast")
    assert done.returncode == 0, done.stderr
    assert "1.png: is not a picture" in done.stderr
    assert "frames             2 " in done.stdout


@pytest.mark.parametrize(
    "words", [["demo", "--source", "0"], ["replay", "{line}", "sim:"], ["replay", "{line}", "sim:?seconds=0"]]
)
def test_what_would_never_end_or_never_begin_is_refused(model: Path, tmp_path: Path, words: list[str]) -> None:
    path = line(tmp_path, model)
    done = sortline(*(word.format(line=path) for word in words))
    one_sentence(done)
    assert done.returncode == 2


def test_check_tries_the_web_port_and_names_the_file(model: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        path = line(tmp_path, model)
        path.write_text(path.read_text().replace("enabled = false", f"port = {port}"))
        busy = sortline("check", path)
    assert busy.returncode == 1
    assert f"web.port {port} on 127.0.0.1 is in use" in " ".join(busy.stdout.split())
    assert busy.stderr.strip() == f"sortline: {path}: web failed"
    free = sortline("check", path)
    assert free.returncode == 0, free.stderr
    assert f"http://127.0.0.1:{port}/ is free" in free.stdout


def test_what_only_shows_while_a_line_starts_is_told_with_the_files_name(model: Path, tmp_path: Path) -> None:
    path = line(tmp_path, model, source=tmp_path / "gone.mp4")
    done = sortline("run", path)
    assert done.returncode == 1
    assert done.stderr.strip() == f"sortline: {path}: camera.source: {tmp_path / 'gone.mp4'}: no such file"


@pytest.mark.parametrize(
    ("more", "part", "says"),
    [
        ('[journal]\npath = "."', "journal", "is a folder; name a file in it"),
        ('[journal]\npath = "nix/line.db"', "journal", "there is no folder"),
        ('[journal]\npath = "line.toml"', "journal", "cannot be opened as a SQLite file"),
        ('[journal]\npictures = "line.toml"', "pictures", "is a file, not a folder"),
    ],
)
def test_check_and_run_tell_what_cannot_hold_the_journal_or_the_pictures(
    model: Path, tmp_path: Path, more: str, part: str, says: str
) -> None:
    path = line(tmp_path, model, more=more)
    key = "journal.path" if part == "journal" else "journal.pictures"
    row = next(one for one in check_line(LineConfig.load(path), path) if one.part == part)
    assert not row.ok
    assert row.text.startswith(f"{key} = ")
    assert says in row.text
    done = sortline("run", path, "--frames", 1)
    assert done.returncode == 2
    assert one_sentence(done).startswith(f"sortline: {path}: {key} = ")
    assert says in one_sentence(done)


def test_check_makes_no_journal_and_says_where_one_will_be(model: Path, tmp_path: Path) -> None:
    config = LineConfig.load(line(tmp_path, model, more='[journal]\npath = "line.db"\npictures = "kept"'))
    rows = {row.part: row for row in check_line(config)}
    assert rows["journal"].ok
    assert rows["pictures"].ok
    assert not (tmp_path / "line.db").exists()
    assert not (tmp_path / "kept").exists()


def test_check_tells_a_wrong_belt_address_in_a_sentence_and_names_the_file(model: Path, tmp_path: Path) -> None:
    path = line(tmp_path, model, source="sim:?rat=3")
    path.write_text(path.read_text().replace('classes = ["', 'classes = ["nothing", "', 1))
    rows = {row.part: row.text for row in check_line(LineConfig.load(path), path)}
    assert "Error" not in rows["camera"]
    assert "rat" in rows["camera"]
    assert rows["model"].startswith(f"{path}: lanes[0].classes names 'nothing'")


def test_the_readmes_line_sorts_a_simulated_belt_as_the_readme_says(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    (described,) = (block for block in text.split("```toml\n")[1:] if "[camera]" in block)
    described = described.split("```")[0]
    for key, instead in (("path", str(ROOT / "models/parts.onnx")), ("source", "sim:?rate=3"), ("type", "log")):
        assert f'{key} = "{instead.removeprefix(str(ROOT) + "/")}"' in text.split("**3. Try it")[1]
        described = re.sub(rf"^{key} = .*$", f'{key} = "{instead}"', described, count=1, flags=re.MULTILINE)
    (tmp_path / "line.toml").write_text(
        re.sub(r"^function = .*\n", "", described, flags=re.MULTILINE) + "\n[web]\nport = 0"
    )
    summary = tmp_path / "summary.json"
    done = sortline("run", tmp_path / "line.toml", "--fast", "--frames", 500, "--summary", summary)
    assert done.returncode == 0, done.stderr
    found = json.loads(summary.read_text())
    assert found["items"] > 20
    assert found["sort_accuracy"] > 0.9

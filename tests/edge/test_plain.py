"""Names that hold what cannot be seen: wherever a person reads them it is written out."""

import io
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.check import Check
from edge.clock import VirtualClock
from edge.config import LineConfig
from edge.errors import screen_errors
from edge.line import Line
from edge.logs import log_to_screen
from edge.plain import plain
from edge.screen import print_checks, print_summary
from tests.edge.tiny_model import write_model

STATIC = Path(__file__).parents[2] / "edge" / "web" / "static"
TURNED = "bolt\u202egpj.exe"
CLEARING = "\x1b[2J\x07nut"
SEEN = ["bolt", "größe 3", "螺栓\u3000大", "می\u200cخ", "\U0001f469\u200d\U0001f527", "", "a\u00a0b"]
UNSEEN = {
    TURNED: "bolt\\u202egpj.exe",
    CLEARING: "\\x1b[2J\\x07nut",
    "a\nb\tc": "a\\nb\\tc",
    "\u2066a\u2069\u200f\u061c\ufeff": "\\u2066a\\u2069\\u200f\\u061c\\ufeff",
    "a\u2028b\x85c\xadd": "a\\u2028b\\x85c\\xadd",
    "a\udcffb": "a\\udcffb",  # a byte that is no UTF-8, as Python has it in a file's name
    "\U000e0041": "\\U000e0041",
}


def test_what_cannot_be_seen_is_written_out_and_all_else_left() -> None:
    assert {text: plain(text) for text in UNSEEN} == UNSEEN
    assert [plain(text) for text in SEEN] == SEEN
    assert plain("a\n\u202eb", kept="\n") == "a\n\\u202eb"


def test_the_page_writes_texts_as_the_terminal_does() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node, which runs the page's script")
    texts = [*UNSEEN, *SEEN]
    script = f"""
        {(STATIC / "text.js").read_text("utf-8")}
        const document = {{ createElement: () => ({{}}) }};
        const texts = {json.dumps(texts)}.filter((text) => text.isWellFormed?.() ?? true);
        const written = texts.map((text) => {{ const to = {{}}; write(to, text); return to.textContent; }});
        const made = texts.map((text) => make("p", "", text).textContent);
        console.log(JSON.stringify([texts, written, made]));
    """
    done = subprocess.run([node, "-e", script], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    given, written, made = json.loads(done.stdout)
    assert len(given) >= len(texts) - 1
    # In JavaScript a character beyond U+FFFF is two, and is written out as such.
    expected = [plain(text).replace("\\U000e0041", "\\udb40\\udc41") for text in given]
    assert written == made == expected


def test_every_text_of_the_page_goes_through_what_writes_it_out() -> None:
    for path in sorted(STATIC.glob("*.js")):
        if path.name != "text.js":
            script = path.read_text("utf-8")
            assert "textContent = " not in script, path.name
            assert "innerHTML" not in script, path.name


@pytest.mark.parametrize("name", [TURNED, CLEARING])
def test_tables_on_the_terminal_write_names_out(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    nothing: dict[str, object] = {key: {} for key in ("outcomes", "reasons", "incidents", "rows_lost")}
    counts = dict.fromkeys(("items", "on_belt", "frames", "skipped"), 0)
    times = {key: {"p50": 0.0, "p99": 0.0, "max": 0.0} for key in ("latency_ms", "lateness_ms")}
    lanes = {f"[red]{name}": {"items": 1, "classes": {name: 1}}}
    print_summary({**nothing, **counts, **times, "seconds": 0.1, "lanes": lanes})
    print_checks([Check("model", True, f"{name}.onnx")])
    said = capsys.readouterr().out
    assert said.count(UNSEEN[name]) == 3
    assert f"[red]{UNSEEN[name]}" in said, "a name is no markup"
    assert name not in said


def test_what_is_printed_without_a_table_is_written_out_too(capsys: pytest.CaptureFixture[str]) -> None:
    with screen_errors():
        print(f"{TURNED}: 3 pictures")
    assert capsys.readouterr().out == f"{UNSEEN[TURNED]}: 3 pictures\n"


def test_a_sentence_about_a_file_writes_its_name_out(tmp_path: Path) -> None:
    broken = tmp_path / f"{CLEARING}\n{TURNED}.jpg"
    broken.write_bytes(b"no picture")
    model = write_model(tmp_path / "m.onnx")
    for words in (["predict", str(model), str(broken)], ["run", str(broken)], ["run", "line.toml", f"--{TURNED}"]):
        done = subprocess.run(
            [sys.executable, "-m", "edge.cli", *words], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 2
        assert UNSEEN[TURNED] in done.stderr
        assert "\u202e" not in done.stderr
        assert "\x1b" not in done.stderr


def test_incidents_tell_of_names_in_the_log_and_the_journal_so_that_they_can_be_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "1.png"), np.full((60, 80, 3), 120, np.uint8))
    (pictures / f"2{CLEARING}\n{TURNED}.png").write_bytes(b"no picture")
    config = LineConfig.parse(
        {
            "model": {"path": str(write_model(tmp_path / "m.onnx"))},
            "camera": {"source": str(pictures)},
            "belt": {"pixels_per_mm": 1.0, "speed_mm_s": 100},
            "lanes": [{"name": "rest", "default": True}],
            "web": {"enabled": False},
        }
    )
    told = []
    with log_to_screen(debug=False):
        line = Line(config, clock=VirtualClock())
        line.play()
        line.herald.tell("camera_odd", "camera", f"{TURNED} is odd", f"without {CLEARING}")
        told = list(line.herald.recent)
        line.stop()
        logging.getLogger("sortline").warning("a line\nof its own")
    said = capfd.readouterr().err
    assert UNSEEN[TURNED] in said
    assert "\u202e" not in said
    assert "\x1b" not in said
    assert "a line\\nof its own" in said, "a name cannot begin a line of the log"
    assert (told[-1].cause, told[-1].action) == (f"{UNSEEN[TURNED]} is odd", f"without {UNSEEN[CLEARING]}")


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", r"Schl\xfcssel \u2192 \u87ba"), ("latin-1", r"Schlüssel \u2192 \u87ba")]
)
def test_a_terminal_of_few_letters_shows_the_others_as_escapes(
    encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.TextIOWrapper(io.BytesIO(), encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", screen)
    with screen_errors():
        print("Schlüssel → 螺")
    assert screen.buffer.getvalue().decode(encoding) == f"{shown}\n"  # type: ignore[attr-defined]

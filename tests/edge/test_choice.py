"""The engine that runs a model: measured once, remembered, and the same answers whichever it is."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.choice import choose, measure
from edge.demo import bundled_model
from edge.engines import installed, open_engine
from edge.errors import ModelError
from edge.model import Classifier
from tests.edge.tiny_model import write_model


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sortline"


def test_what_was_measured_is_remembered_for_this_very_file(tmp_path: Path, cache: Path) -> None:
    path = write_model(tmp_path / "m.onnx")
    first = Classifier(path)
    (kept,) = cache.glob("*.json")
    assert {(one.provider, one.threads) for one in first.choice.measured} >= {("cpu", 1)}
    assert first.choice.provider in first.choice.why
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "batch": 3}))
    assert Classifier(path).batch == 3, "read, not measured again"
    Classifier(write_model(tmp_path / "other.onnx", sharpness=7.0))
    assert len(list(cache.glob("*.json"))) == 2


def test_the_choice_is_within_five_percent_of_the_best_that_was_measured(tmp_path: Path) -> None:
    data = write_model(tmp_path / "m.onnx", size=96).read_bytes()
    candidates = [(name, threads) for name in installed() for threads in (1, 2)]
    choice = measure(data, (96, 96), candidates)
    figures = {(one.provider, one.threads): one.p99_ms for one in choice.measured}
    assert set(figures) == set(candidates)
    assert figures[choice.provider, choice.threads] <= 1.05 * min(figures.values())


def test_an_engine_that_cannot_run_the_file_is_left_out_and_named(tmp_path: Path) -> None:
    data = write_model(tmp_path / "m.onnx").read_bytes()
    choice = measure(data, (32, 32), [("cpu", 1), ("tensorrt", 1)])
    assert choice.provider == "cpu"
    assert "'tensorrt' is not installed here" in choice.left_out[0]
    with pytest.raises(ModelError, match="'tensorrt' is not installed"):
        measure(data, (32, 32), [("tensorrt", 1)])


class Pretended:
    """An engine such as no test machine has for sure: `takes` says how long a call lasts, by its number and size."""

    def __init__(self, provider: str, takes: Callable[[int, int], float]) -> None:
        self.provider, self.threads = provider, 1
        self._takes, self._calls = takes, 0

    def run(self, pixels: np.ndarray) -> list[np.ndarray]:
        self._calls += 1
        time.sleep(self._takes(self._calls, len(pixels)))
        return []


def pretend(monkeypatch: pytest.MonkeyPatch, **engines: Callable[[int, int], float]) -> list[tuple[str, int]]:
    """Has these engines alone installed, by name; returns them as candidates."""
    monkeypatch.setattr("edge.choice.open_engine", lambda data, name, threads: Pretended(name, engines[name]))
    return [(name, 1) for name in engines]


def test_an_engine_that_is_now_and_then_slow_is_not_chosen_though_it_is_the_fastest_mostly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moody_and_steady = pretend(
        monkeypatch, moody=lambda call, _: 0.25 if call % 12 == 5 else 0.001, steady=lambda *_: 0.004
    )
    choice = measure(b"", (32, 32), moody_and_steady)
    p50 = {one.provider: one.p50_ms for one in choice.measured}
    assert p50["moody"] < p50["steady"]
    assert choice.provider == "steady"


@pytest.mark.parametrize(("each_s", "batch"), [(0.0, 8), (0.02, 1)])
def test_pictures_go_together_as_far_as_that_makes_each_of_them_cheaper(
    each_s: float, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = pretend(monkeypatch, only=lambda _, pictures: 0.02 if not each_s else each_s * pictures)
    assert measure(b"", (32, 32), only).batch == batch


def test_another_library_or_processor_is_measured_anew_and_the_first_is_still_remembered(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_model(tmp_path / "m.onnx")
    Classifier(path)
    (tmp_path / "cpuinfo").write_text("model name : another processor\nflags : fpu\n")
    for kept, place, other in (
        (2, "edge.choice.CPUINFO", tmp_path / "cpuinfo"),
        (3, "edge.choice.version", lambda name: "99.0"),
        (4, "edge.choice.cores", lambda: 1),
    ):
        monkeypatch.setattr(place, other)
        Classifier(path)
        assert len(list(cache.glob("*.json"))) == kept, place
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    Classifier(path)
    assert len(list(cache.glob("*.json"))) == 4


def test_a_remembered_engine_that_is_gone_is_measured_anew(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library still lists it, as onnxruntime-gpu does where the card was taken out or its driver taken off."""
    monkeypatch.setattr("edge.choice.installed", lambda: ("cpu", "coreml"))
    path = write_model(tmp_path / "m.onnx")
    Classifier(path)
    (kept,) = cache.glob("*.json")
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "provider": "coreml"}))
    again = Classifier(path)
    assert again.provider == again.choice.provider == "cpu"
    assert any(one.startswith("coreml with 1 thread: ") for one in again.choice.left_out)
    assert json.loads(kept.read_text())["provider"] == "cpu"


@pytest.mark.parametrize(
    "content",
    [
        *(
            b"",
            b"{",
            b'{"provider": "abacus", "threads": 1}',
            b'{"provider": "cpu"}',
            b'{"provider": "cpu", "threads": 1}',
        ),
        b'{"provider": "cpu", "threads": -3, "measured": [{"provider": "cpu", "threads": -3, "p50_ms": 1, "p99_ms": 1, '
        b'"runs": 1}]}',
        b'{"provider": "cpu", "threads": 1, "batch": 0, "measured": [{"provider": "cpu", "threads": 1, "p50_ms": 1, '
        b'"p99_ms": 1, "runs": 1}]}',
    ],
)
def test_a_damaged_memory_is_measured_again(tmp_path: Path, cache: Path, content: bytes) -> None:
    path = write_model(tmp_path / "m.onnx")
    Classifier(path)
    (kept,) = cache.glob("*.json")
    kept.write_bytes(content)
    assert Classifier(path).choice.measured
    again = json.loads(kept.read_text())
    assert again["measured"]
    assert again["batch"] >= 1
    assert list(cache.iterdir()) == [kept], "nothing half written is left"


def test_a_cache_folder_that_cannot_be_written_costs_a_measurement_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_model(tmp_path / "m.onnx").read_bytes()
    in_the_way = tmp_path / "cache"
    in_the_way.write_text("a file, not a folder")
    assert choose(data, (32, 32), "auto", 0, in_the_way).measured
    assert "cannot keep the measurement" in caplog.text


@pytest.mark.parametrize("named", ["", "not/whole"])
def test_a_user_without_a_home_has_it_measured_at_every_start(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As a container's user that is a bare number; a cache folder that is no whole path is none."""

    def none(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", none)
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    monkeypatch.chdir(tmp_path)
    assert Classifier(write_model(tmp_path / "m.onnx")).choice.measured
    assert "cannot keep the measurement of engines (the user has no home" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_threads_that_have_nothing_to_do_take_nothing_from_the_line() -> None:
    """Processor time, which other programs do not lengthen, of a model that is asked every 20 ms."""
    spent = {}
    for threads in (1, 2):
        engine = Classifier(bundled_model(), "cpu", threads)
        pixels = np.zeros((1, engine.card.height, engine.card.width, 3), np.uint8)
        began = time.process_time()
        for _ in range(30):
            engine.run(pixels)
            time.sleep(0.02)
        spent[threads] = time.process_time() - began
    assert spent[2] < 3 * spent[1], "threads that spin while they wait take many times as much"


def test_what_the_configuration_names_is_not_measured(tmp_path: Path, cache: Path) -> None:
    classifier = Classifier(write_model(tmp_path / "m.onnx"), "cpu", 2)
    assert (classifier.provider, classifier.threads, classifier.choice.measured) == ("cpu", 2, ())
    assert not cache.exists()


@pytest.mark.parametrize("provider", installed())
def test_every_engine_gives_the_same_answers_one_by_one_and_in_a_batch(provider: str) -> None:
    model = bundled_model()
    reference, other = Classifier(model, "cpu", 1), Classifier(model, provider, 2, parallel=2)
    rng = np.random.default_rng(3)
    size = (reference.card.height, reference.card.width)
    pixels = rng.integers(0, 256, (5, *size, 3), np.uint8)
    expected, features = reference.run(pixels)
    together, other_features = other.run(pixels)
    # Engines round the integers of a quantized layer each in their own way.
    assert np.abs(together - expected).max() < 0.05
    assert features is not None
    assert other_features is not None
    assert features.shape == other_features.shape
    one_by_one = np.concatenate([other.run(one[None])[0] for one in pixels])
    assert np.abs(one_by_one - together).max() < 0.01


@pytest.mark.parametrize("provider", installed())
def test_calls_from_several_threads_get_their_own_answers(tmp_path: Path, provider: str) -> None:
    engine = open_engine(write_model(tmp_path / "m.onnx", size=64).read_bytes(), provider, 1, parallel=2)
    pictures = [np.full((1, 64, 64, 3), shade, np.uint8) for shade in (0, 80, 160, 240)]
    alone = [engine.run(picture)[1] for picture in pictures]
    wrong: list[int] = []

    def ask(number: int) -> None:
        wrong.extend(number for _ in range(200) if not np.allclose(engine.run(pictures[number])[1], alone[number]))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(pictures))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


LETS_GO = """
import signal, sys, threading
from pathlib import Path
from edge.engines import open_engine

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
engines = [open_engine(Path(sys.argv[1]).read_bytes(), sys.argv[2])]
other = threading.Thread(target=engines.clear)
other.start()
other.join()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("provider", installed())
def test_ctrl_c_is_heard_after_another_thread_let_an_engine_go(tmp_path: Path, provider: str) -> None:
    words = [sys.executable, "-c", LETS_GO, str(write_model(tmp_path / "m.onnx")), provider]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr

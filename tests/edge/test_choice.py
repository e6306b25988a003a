"""The engine that runs a model: measured once, remembered, and the same answers whichever it is."""

import json
import threading
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


@pytest.mark.parametrize("content", [b"", b"{", b'{"provider": "abacus", "threads": 1}', b'{"provider": "cpu"}'])
def test_a_damaged_memory_is_measured_again(tmp_path: Path, cache: Path, content: bytes) -> None:
    path = write_model(tmp_path / "m.onnx")
    Classifier(path)
    (kept,) = cache.glob("*.json")
    kept.write_bytes(content)
    assert Classifier(path).choice.measured
    assert json.loads(kept.read_text())["measured"]


def test_a_cache_folder_that_cannot_be_written_costs_a_measurement_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_model(tmp_path / "m.onnx").read_bytes()
    in_the_way = tmp_path / "cache"
    in_the_way.write_text("a file, not a folder")
    assert choose(data, (32, 32), "auto", 0, in_the_way).measured
    assert "cannot keep the measurement" in caplog.text


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

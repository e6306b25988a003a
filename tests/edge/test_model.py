"""The model file's contract: what fits runs, what does not is refused with a sentence."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.engines import cores
from edge.errors import ModelError
from edge.model import Classifier, Resize, cut, to_pixels
from edge.records import Box
from tests.edge.tiny_model import UINT8, write_model

FLOAT = 1
GREEN = np.full((50, 80, 3), (60, 190, 40), np.uint8)  # BGR


def test_a_picture_is_named_with_probabilities_that_sum_to_one(tmp_path: Path) -> None:
    classifier = Classifier(write_model(tmp_path / "m.onnx"))
    prediction = classifier.classify([GREEN])[0]
    assert prediction.label == "green"
    assert sum(prediction.probabilities) == pytest.approx(1, abs=1e-5)
    assert prediction.known


def test_several_crops_of_different_sizes_go_in_one_call_in_order(tmp_path: Path) -> None:
    classifier = Classifier(write_model(tmp_path / "m.onnx"))
    red = np.full((9, 200, 3), (40, 40, 220), np.uint8)
    assert [p.label for p in classifier.classify([GREEN, red, GREEN])] == ["green", "red", "green"]
    assert classifier.classify([]) == []


def test_a_confidence_below_its_classes_threshold_is_not_known(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", sharpness=2.0, thresholds={"green": 0.999})
    assert not Classifier(path).classify([GREEN])[0].known


SPENT_ON_STRANGERS = """
import time
import numpy as np
from edge.model import strangeness
rng = np.random.default_rng(1)
features, centre, directions = (rng.random(shape, np.float32) for shape in ((8, 1280), 1280, (5, 16, 1280)))
strangeness(features, np.arange(8) % 5, centre, directions)
own, everyone = time.thread_time(), time.process_time()
for _ in range(50):
    strangeness(features, np.arange(8) % 5, centre, directions)
own, everyone = time.thread_time() - own, time.process_time() - everyone
print(own, everyone - own)
"""


@pytest.mark.skipif(cores() < 2, reason="numpy's library has no other threads on one processor")
def test_telling_strangers_among_many_views_wakes_no_threads_of_numpys_library() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SPENT_ON_STRANGERS], capture_output=True, text=True, check=True, timeout=120
    )
    own_s, others_s = map(float, done.stdout.split())
    assert others_s < 0.2 * own_s + 1e-3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"card": False}, "has no model card"),
        ({"card": "{"}, "its card is not JSON"),
        ({"card": json.dumps({"format": 1})}, r"its card's name: field required"),
        ({"format": 99}, "its card has format 99"),
        ({"softmax": False}, "softmax must be part of the graph"),
        ({"scores": 2}, r"names 3 classes, its graph gives \[1, 2\] probabilities"),
        ({"input_name": "image"}, "one input `pixels`"),
        ({"input_type": FLOAT}, "one input `pixels`, uint8"),
        ({"input_shape": (1, 32, 32, 3), "input_type": UINT8}, "N must be dynamic"),
        ({"input_shape": ("N", 64, 32, 3)}, "its card says H = 32, its graph takes 64"),
        ({"thresholds": {"mauve": 0.5}}, "threshold for 'mauve'"),
        ({"thresholds": {"red": 1.5}}, "threshold outside 0 to 1"),
        ({"height": 3}, "its card's height"),
        ({"novelty": {"centre": "AAAA", "means": "AAAA", "limits": [1, 1, 1]}}, "novelty is damaged"),
        ({"novelty": {"centre": "", "means": "", "limits": [1]}}, "novelty is of 1 classes, not of 3"),
        ({"novelty": {"centre": "AAAAAA==", "means": "AAAAAAAAAAAAAAAA", "limits": [1, 1, 1]}}, "features that its"),
    ],
)
def test_a_file_that_breaks_the_contract_is_refused_with_its_own_sentence(
    tmp_path: Path, options: dict[str, object], says: str
) -> None:
    path = write_model(tmp_path / "broken.onnx", **options)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=says) as caught:
        Classifier(path)
    assert "broken.onnx" in str(caught.value)


def test_a_provider_that_is_not_installed_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'tensorrt' is not installed here \(installed: cpu"):
        Classifier(write_model(tmp_path / "m.onnx"), provider="tensorrt")


@given(
    x=st.integers(-20, 110), y=st.integers(-20, 70), width=st.integers(1, 60), height=st.integers(1, 60),
    margin=st.floats(0, 1),
)  # fmt: skip
def test_a_cut_is_never_empty_never_outside_and_square_where_the_picture_allows(
    x: int, y: int, width: int, height: int, margin: float
) -> None:
    picture = np.zeros((80, 120, 3), np.uint8)
    crop = cut(picture, Box(x, y, width, height), margin)
    side = max(round(max(width, height) * (1 + 2 * margin)), 1)
    assert crop.shape[0] == min(side, 80)
    assert crop.shape[1] == min(side, 120)


@given(h=st.integers(1, 300), w=st.integers(1, 300), mode=st.sampled_from(["letterbox", "stretch"]))
def test_pixels_have_the_models_size_whatever_the_crop(h: int, w: int, mode: str) -> None:
    crop = np.full((h, w, 3), (10, 20, 30), np.uint8)
    pixels = to_pixels(crop, 32, 48, Resize(mode=mode))  # type: ignore[arg-type]
    assert pixels.shape == (32, 48, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == (30, 20, 10)).all(), "RGB, with border pixels repeated: no black corners"

"""How old frames are under a classifier that is too slow for its camera: a whole line on a real RTSP stream.

python -m tests.edge.camera.age [SECONDS] [SIZE]        from the root of the project; 60 s of 1280x720 at 30 fps

Ages are true ones: each picture carries the moment at which it was made (see rtsp_server.py).
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from edge.config import LineConfig
from edge.line import Line
from edge.records import Frame, Prediction
from tests.edge.camera.servers import RtspServer, made_at
from tests.edge.tiny_model import write_model

CLASSIFIER_S = 0.3
FPS = 30


@dataclass
class Ages:
    """Seconds from the making of a picture to a moment, in the order of these moments."""

    at_camera: list[float] = field(default_factory=list)  # a look at the slot at once: encoder, network and decoder
    at_eye: list[float] = field(default_factory=list)  # the line begins with the frame
    at_classifier: list[float] = field(default_factory=list)  # the classifier begins with it


def measure(seconds: float, url: str, folder: Path) -> tuple[Ages, int]:
    """Runs a line on the stream with every frame one item; how old its frames were, and how many were skipped."""
    config = LineConfig.parse(
        {
            "model": {"path": str(write_model(folder / "m.onnx"))},
            "camera": {"source": url},
            "belt": {"pixels_per_mm": 1.0, "speed_mm_s": 200},
            "items": {"mode": "frame"},
            "lanes": [{"name": "rest", "default": True}],
            "web": {"enabled": False},
        }
    )
    ages, line = Ages(), Line(config)
    see, classify, deliver = line.see, line.classifier.classify, line.grabber._offer

    def offer(pixels: np.ndarray, *rest: object) -> None:
        ages.at_camera.append(time.monotonic() - made_at(pixels))
        deliver(pixels, *rest)  # type: ignore[arg-type]

    def look(frame: Frame) -> None:
        ages.at_eye.append(time.monotonic() - made_at(frame.pixels))
        see(frame)

    def slow(crops: Sequence[np.ndarray]) -> list[Prediction]:
        ages.at_classifier.append(time.monotonic() - max(made_at(crop) for crop in crops))
        time.sleep(CLASSIFIER_S * len(crops))
        return classify(crops)

    line.see = look  # type: ignore[method-assign]
    line.classifier.classify = slow  # type: ignore[method-assign, assignment]
    line.grabber._offer = offer  # type: ignore[method-assign, assignment]
    with line:
        while not ages.at_eye:
            time.sleep(0.05)
        line.wait(seconds)
    return ages, line.grabber.stats().skipped


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    size = sys.argv[2] if len(sys.argv) > 2 else "1280x720"
    server = RtspServer()
    server.start("--size", size, "--fps", str(FPS))
    try:
        with TemporaryDirectory() as folder:
            ages, skipped = measure(seconds, server.url, Path(folder))
    finally:
        server.kill()
    print(f"{size} at {FPS} fps for {seconds:g} s, classifier {CLASSIFIER_S * 1e3:g} ms; {skipped} frames skipped")
    decode = float(np.median(ages.at_camera))
    for name, seen in vars(ages).items():
        ms = np.array(seen) * 1e3
        first, last = (np.median(half) for half in np.array_split(ms, 2))
        p50, p99 = np.percentile(ms, (50, 99))
        print(f"{name:14s} {len(ms):5d} frames: p50 {p50:.1f}, p99 {p99:.1f} ms; halves {first:.1f}, {last:.1f} ms")
    bar = 2e3 / FPS + decode * 1e3
    print(f"bar: two frame intervals and {decode * 1e3:.1f} ms of encoder, network and decoder: {bar:.1f} ms")


if __name__ == "__main__":
    main()

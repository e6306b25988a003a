"""A line that never was, for the web side's tests: plausible facts, states, decisions, incidents and pictures.

Everything follows from the time since its start, so a test can ask for any moment. Run as a program it
serves the page for a look: `python -m tests.edge.web.fake_line PORT`.
"""

import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.config import LineConfig
from edge.records import Box, Decision, Frame, Incident
from tests.edge.tiny_model import write_model

WIDTH, HEIGHT, PIXELS_PER_MM, SPEED_MM_S = 1280, 720, 1.6, 300.0
SPACING_MM = 150.0
KINDS = (("red", "left", (60, 60, 205)), ("green", "right", (80, 165, 70)), ("blue", "left", (200, 110, 60)))
CLASSES = tuple(kind for kind, _, _ in KINDS)


def config(folder: Path, shadow: bool = False, **web: Any) -> LineConfig:
    """A line with three lanes around the tiny model, which is written into the folder; so are labelled pictures."""
    model = write_model(folder / "colours.onnx")
    return LineConfig.parse(
        {
            "model": {"path": str(model), **({"shadow": str(model)} if shadow else {})},
            "journal": {"pictures": str(folder / "pictures")},
            "camera": {"source": "rtsp://user:secret@camera/1"},
            "belt": {"pixels_per_mm": PIXELS_PER_MM, "speed_mm_s": SPEED_MM_S},
            "lanes": [
                {"name": "left", "classes": ["red", "blue"], "output": "gate", "distance_mm": 330},
                {"name": "right", "classes": ["green"], "output": "gate", "distance_mm": 520},
                {"name": "rest", "default": True},
            ],
            "outputs": {"gate": {"type": "log"}},
            "web": {"port": 0, **web},
        }
    )


def facts(line: LineConfig) -> dict[str, Any]:
    """What WebSide is told once."""
    return {
        "model": {
            "name": "colours", "version": "1", "sha256": "0" * 64, "provider": "cpu", "threads": 1,
            "why": "it was asked for",
            "classes": list(CLASSES),
        },
        "lanes": [lane.model_dump() for lane in line.lanes],
        "belt": line.belt.model_dump(),
        "camera": {"source": "rtsp://camera/1"},
        "shadow": line.model.shadow is not None,
        "labels": line.journal.pictures is not None,
        "version": "0.1.0",
    }  # fmt: skip


def kind_of(item: int) -> int:
    """Which of KINDS an item is: fixed, but without a pattern that the eye finds."""
    return (item * 2654435761 >> 7) % 5 % 3


def items_at(t: float) -> list[dict[str, Any]]:
    """The items in view t seconds after the start, as WebSide.picture takes them."""
    found = []
    first = int(t * SPEED_MM_S / SPACING_MM)
    for item in range(max(first - 8, 0), first + 1):
        x = (t * SPEED_MM_S - item * SPACING_MM) * PIXELS_PER_MM
        side = 96 + 14 * (item % 3)
        y = HEIGHT / 2 + 70 * math.sin(item * 2.3)
        if side / 2 < x < WIDTH - side / 2:
            decided = x > WIDTH * 0.55
            label, lane, _ = KINDS[kind_of(item)]
            found.append(
                {
                    "id": item + 1,
                    "box": [round(x - side / 2), round(y - side / 2), side, side],
                    "label": label if x > WIDTH * 0.25 else None,
                    "confidence": 0.99 - 0.03 * (item % 4),
                    "lane": lane if decided else None,
                }
            )
    return found


def frame_at(t: float) -> Frame:
    """The picture t seconds after the start: a belt with texture and coloured parts."""
    shade = np.linspace(96, 126, WIDTH, dtype=np.float32)[None, :, None] * np.ones((HEIGHT, 1, 3), np.float32)
    offset = round(t * SPEED_MM_S * PIXELS_PER_MM)
    noise = np.random.default_rng(1).normal(0, 5, (HEIGHT // 4, WIDTH // 4)).astype(np.float32)
    shade += np.roll(cv2.resize(noise, (WIDTH, HEIGHT)), offset % WIDTH, 1)[..., None]
    pixels = np.clip(shade, 0, 255).astype(np.uint8)
    pixels[:54] = pixels[-54:] = (52, 50, 48)
    for item in items_at(t):
        x, y, side, _ = item["box"]
        middle, colour = (x + side // 2, y + side // 2), KINDS[kind_of(item["id"] - 1)][2]
        angle = item["id"] * 37
        points = [
            (middle[0] + round(side * 0.46 * math.cos(math.radians(angle + 60 * k))),
             middle[1] + round(side * 0.46 * math.sin(math.radians(angle + 60 * k))))
            for k in range(6)
        ]  # fmt: skip
        shadow = np.add(np.array(points, np.int32), (5, 7))
        cv2.fillPoly(pixels, [shadow], (70, 70, 70), cv2.LINE_AA)
        cv2.fillPoly(pixels, [np.array(points, np.int32)], colour, cv2.LINE_AA)
        light = tuple(min(round(c * 1.25), 255) for c in colour)
        cv2.circle(pixels, middle, side // 4, light, -1, cv2.LINE_AA)
        cv2.circle(pixels, middle, side // 7, (70, 70, 72), -1, cv2.LINE_AA)
    return Frame(round(t * 30), t, t * SPEED_MM_S, pixels)


def decision_at(item: int, t: float) -> tuple[Decision, np.ndarray]:
    """The decision of an item and its crop."""
    label, lane, _ = KINDS[kind_of(item)]
    latency = 0.011 + 0.006 * abs(math.sin(item * 12.9)) + (0.012 if item % 17 == 0 else 0)
    reason: Any = "overlap" if item % 29 == 11 else "unknown" if item % 23 == 7 else "classified"
    lane = lane if reason == "classified" else "rest"
    box = next((i["box"] for i in items_at(t) if i["id"] == item + 1), [600, 300, 100, 100])
    sure = 0.61 if reason == "unknown" else 0.99 - 0.02 * (item % 4)
    others = (1 - sure) / 2
    probabilities = {name: sure if name == label else others for name in CLASSES}
    decision = Decision(
        item + 1, lane, label, sure, probabilities, reason, round(t * 30), t, t + latency,
        t + 0.5 if lane != "rest" else None, t * SPEED_MM_S, Box(*box),
    )  # fmt: skip
    x, y, w, h = box
    return decision, frame_at(t).pixels[max(y - 10, 0) : y + h + 10, max(x - 10, 0) : x + w + 10]


SPENT_S = {
    "waiting": 0.0021,
    "finding": 0.0034,
    "queueing": 0.0008,
    "classifying": 0.0062,
    "voting": 0.0001,
    "margin": 0.41,
}


def state_at(t: float, decided: int, paused: bool = False, armed: bool = True) -> dict[str, Any]:
    """A snapshot after so many decided items."""
    lanes: dict[str, dict[str, Any]] = {name: {"items": 0, "classes": {}} for name in ("left", "right", "rest")}
    reasons = {"classified": 0, "unknown": 0, "overlap": 0, "ambiguous": 0, "late": 0, "overload": 0}
    for item in range(decided):
        label, lane, _ = KINDS[kind_of(item)]
        reason = "overlap" if item % 29 == 11 else "unknown" if item % 23 == 7 else "classified"
        reasons[reason] += 1
        lane = lane if reason == "classified" else "rest"
        lanes[lane]["items"] += 1
        lanes[lane]["classes"][label] = lanes[lane]["classes"].get(label, 0) + 1
    fired = lanes["left"]["items"] + lanes["right"]["items"]
    stages = SPENT_S | {"output": 0.0011}
    return {
        "at": t, "uptime_s": t, "frames": round(t * 30), "skipped": 0, "fps": 30.0,
        "position_mm": t * SPEED_MM_S, "speed_mm_s": SPEED_MM_S,
        "born": decided + 3, "on_belt": 3,
        "outcomes": {"confirmed": 0, "fired": fired, "passed": decided - fired, "missed": 0, "lost": 0},
        "reasons": reasons, "lanes": lanes,
        "latency_ms": {"p50": 13.9, "p99": 26.4, "max": 31.0},
        "latency": {
            "count": decided,
            "sum_s": 0.0141 * decided,
            "buckets": [
                [upper, round(decided * share)]
                for upper, share in (
                    (0.003, 0.0), (0.005, 0.0), (0.0075, 0.01), (0.01, 0.12), (0.015, 0.6), (0.02, 0.9), (0.03, 0.99),
                    (0.05, 1.0), (0.1, 1.0),
                )
            ],
        },
        "stages": {
            name: {
                "count": decided, "sum_s": seconds * decided,
                "buckets": [[0.001, 0], [0.005, decided // 2], [0.025, decided]],
            }
            for name, seconds in stages.items()
        },
        "health": {
            "camera": {"ok": True, "text": "30.0 frames a second"},
            "line": {"ok": True, "text": "its threads come round"},
            "model": {"ok": True, "text": "colours 1"},
            "outputs": {"ok": True, "text": "1 ready"},
        },
        "incidents": {"camera_lost": 1}, "rows_lost": {"journal": 2}, "paused": paused, "armed": armed, "held": None,
        "checked": {
            "items": 0,
            "lanes": {
                name: {m: {"of": 0, "right": 0, "low": None, "high": None} for m in ("purity", "yield")}
                for name in ("left", "right", "rest")
            },
        },
        "drift": {
            "window": 400, "have": 800,
            "things": {
                "confidence": {"psi": 0.02, "chance": 0.12, "before": 0.97, "now": 0.97, "drifted": False},
                "brightness": {"psi": 0.61, "chance": 0.12, "before": 96.0, "now": 121.0, "drifted": True},
                "unknown": {"psi": 0.001, "chance": 0.05, "before": 0.01, "now": 0.012, "drifted": False},
                "classes": {"psi": 0.03, "chance": 0.08, "before": 0.0, "now": 0.0, "drifted": False},
            },
        },
        "simulated": {
            "items": decided, "sort_accuracy": 0.994, "misplaced": 1, "pushes": fired, "wrong_pushes": 0,
            "lanes": {
                "left": {"purity": 0.998, "yield": 0.991}, "right": {"purity": 1.0, "yield": 0.987},
                "rest": {"purity": 0.92, "yield": 1.0},
            },
        },
    }  # fmt: skip


INCIDENT = Incident(
    "camera_lost", "camera", 3.0, 900.0, "the camera gave no picture for 2.0 s", "it was opened again", recovered=True
)


def main(port: int, host: str = "127.0.0.1") -> None:
    """Serves the page until it is interrupted."""
    from edge.web.side import WebSide

    with tempfile.TemporaryDirectory() as folder:
        line = config(Path(folder), port=port, host=host)
        paused = [False]

        def obey(command: dict[str, Any]) -> None:
            print(command, flush=True)
            if command["command"] == "pause":
                paused[0] = command["paused"]

        side = WebSide(line, facts(line), obey, lambda incident: print(incident, flush=True))
        side.start()
        print(side.url, flush=True)
        start, decided, told = time.monotonic() - 60, 0, False
        try:
            while True:
                t = time.monotonic() - start
                items = items_at(t)
                for item in items:
                    if item["lane"] and item["id"] > decided:
                        decided = item["id"]
                        side.decided(*decision_at(decided - 1, t))
                if side.wants_picture:
                    side.picture(frame_at(t), items)
                side.state(state_at(t, decided, paused[0]))
                if not told:
                    side.incident(INCIDENT)
                    told = True
                time.sleep(0.05)
        finally:
            side.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])

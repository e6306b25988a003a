"""A line that is stopped tells of nothing that only the stopping brought about."""

import signal
import threading
import time
from math import inf
from pathlib import Path

import pytest

from edge.clock import Clock
from edge.config import LineConfig
from edge.encoders import EncoderSettings
from edge.eyes import EyeSettings
from edge.interrupts import Wish
from edge.line import Line
from tests.edge.squares import SPEED_MM_S
from tests.edge.tiny_model import write_model

HANG_S = 20.0


class Wheel:
    """Turns with the squares' belt."""

    def __init__(self, settings: EncoderSettings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock

    def read(self) -> int:
        return int(self._clock.now() * SPEED_MM_S * self._settings.counts_per_mm)


class Clinging:
    """A photo-eye that answers, until it is told to hang in whatever it is asked."""

    hangs, let_go = threading.Event(), threading.Event()
    asked = threading.Event()

    def __init__(self, settings: EyeSettings, clock: Clock) -> None: ...

    def read(self) -> bool:
        if self.hangs.is_set():
            self.asked.set()
            self.let_go.wait(HANG_S)
        return False

    def close(self) -> None:
        self.let_go.wait(HANG_S)


@pytest.fixture(autouse=True)
def at_rest() -> None:
    for event in (Clinging.hangs, Clinging.let_go, Clinging.asked):
        event.clear()


def test_a_photo_eye_that_hangs_at_the_stop_makes_no_incident_of_the_belt_or_of_what_is_on_it(tmp_path: Path) -> None:
    config = LineConfig.parse(
        {
            "model": {"path": str(write_model(tmp_path / "colours.onnx", sharpness=200.0)), "provider": "cpu"},
            "camera": {"source": "squares", "type": "tests.edge.squares:Squares", "colours": "red " * 20},
            "belt": {
                "pixels_per_mm": 1.0,
                "speed_mm_s": SPEED_MM_S,
                "encoder": {"type": f"{__name__}:Wheel", "counts_per_mm": 10, "poll_ms": 20},
            },
            "lanes": [
                {
                    "name": "reds",
                    "classes": ["red"],
                    "output": "gate",
                    "distance_mm": 350,
                    "confirm": {"type": f"{__name__}:Clinging", "distance_mm": 400},
                },
                {"name": "rest", "default": True},
            ],
            "outputs": {"gate": {"type": "log"}},
            "web": {"enabled": False},
        }
    )
    line = Line(config)
    line.start()
    try:
        until = time.monotonic() + HANG_S
        while not any(life.todo == "fire" for life in line.ledger) and time.monotonic() < until:
            time.sleep(0.01)
        assert line.herald is not None
        Clinging.hangs.set()
        assert Clinging.asked.wait(HANG_S)
        threading.Timer(0.7, Clinging.let_go.set).start()  # late, and before it is given up
        before = line.herald.incidents.copy()  # on a busy machine something may really have been late
        line.stop()
        assert set(line.herald.incidents - before) <= {"stopped_with_items"}
    finally:
        Clinging.let_go.set()
        line.stop()


class Torn(Wish):
    """Is interrupted once more just when it has found its first interruption to be new."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "_said_at" and getattr(self, name, None) == -inf and not hasattr(self, "torn"):
            self.torn = True
            signal.raise_signal(signal.SIGINT)
        super().__setattr__(name, value)


def test_a_second_ctrl_c_in_the_midst_of_the_first_one_s_handling_does_not_end_the_program_at_once() -> None:
    with Torn().to_stop() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()

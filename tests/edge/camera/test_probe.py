import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.camera import CameraSettings, Source, open_source
from edge.camera.probe import probe
from edge.clock import Clock
from edge.errors import CameraError
from tests.edge.camera.servers import RtspServer


def test_a_clip_is_reported_as_it_is(make_clip: Callable[..., Path]) -> None:
    report = probe(CameraSettings(source=str(make_clip(pictures=50, fps=20.0))))
    assert (report.width, report.height, report.timestamps, report.refused) == (320, 240, "file", ())
    assert report.fps == pytest.approx(20)
    assert report.jitter_ms == pytest.approx(0, abs=0.5)
    assert report.backend == "OpenCV FFMPEG"


def test_a_clip_that_is_shorter_than_the_probe_is_fine(make_clip: Callable[..., Path]) -> None:
    assert probe(CameraSettings(source=str(make_clip(pictures=5, fps=25.0)))).fps == pytest.approx(25)


def test_a_network_camera_is_measured(rtsp: RtspServer) -> None:
    rtsp.start("--size", "320x240", "--fps", "20")
    report = probe(CameraSettings(source=rtsp.url))
    assert (report.width, report.height, report.timestamps) == (320, 240, "driver")
    assert report.fps == pytest.approx(20, rel=0.1)
    assert 0 < report.open_to_first_frame_s < 10


def test_a_camera_of_ones_own_is_probed_too() -> None:
    report = probe(CameraSettings(source="x", type="tests.edge.camera.sources:Still"), seconds=0.2)
    assert (report.backend, report.timestamps) == ("Still", "arrival")
    assert (report.width, report.height) == (64, 36)


def test_a_driver_that_hangs_for_ever_does_not_hang_the_probe() -> None:
    settings = CameraSettings(
        source="rtsp://admin:secret@camera/1",
        type="tests.edge.camera.sources:HangsForEver",
        open_timeout_s=0.2,
        read_timeout_s=0.2,
    )
    began = time.monotonic()
    with pytest.raises(CameraError, match=r"rtsp://…@camera/1: hangs, beyond its timeouts"):
        probe(settings, seconds=0.1)
    assert time.monotonic() - began < 4


QUICK: dict[str, Any] = {"open_timeout_s": 0.05, "read_timeout_s": 0.3}


def test_a_camera_whose_pictures_still_come_when_its_time_is_up_is_slow_and_not_broken() -> None:
    report = probe(CameraSettings(source="x", type="tests.edge.camera.sources:Slow", **QUICK), seconds=0.2)
    assert report.fps == pytest.approx(1000)  # by the times that its pictures carry


def test_a_simulated_belt_that_a_busy_machine_is_slow_to_lay_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(settings: CameraSettings, clock: Clock) -> Source:
        time.sleep(1.5)  # longer than the timeouts of a camera, the probe's time and a second
        return open_source(settings, clock)

    monkeypatch.setattr("edge.camera.probe.open_source", slowly)
    assert probe(CameraSettings(source="sim:?width=640&height=360", **QUICK), seconds=0.1).width == 640

"""What the camera tests share: real servers, a running grabber, clips made on the spot."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge.camera import CameraSettings, open_source
from edge.camera.grabber import FrameGrabber
from edge.clock import MonotonicClock
from edge.records import Frame, Incident
from tests.edge.camera.servers import HttpCamera, RtspServer, picture, rtsp_is_missing

HANG_S = 20.0


@pytest.fixture(scope="session")
def rtsp_parts() -> None:
    """Skips where GStreamer's RTSP server is not installed."""
    if reason := rtsp_is_missing():
        pytest.skip(reason)


@pytest.fixture
def rtsp(rtsp_parts: None) -> Iterator[RtspServer]:
    """An RTSP camera that is not started yet."""
    server = RtspServer()
    yield server
    server.kill()


@pytest.fixture
def http_camera() -> Iterator[HttpCamera]:
    camera = HttpCamera()
    yield camera
    camera.close()


class Rig:
    """A grabber with its incidents, stopped at the end of its test, within the 2 s that it promises."""

    def __init__(self, settings: CameraSettings, opener: Callable[..., Any] = open_source) -> None:
        self.incidents: list[Incident] = []
        self.grabber = FrameGrabber(settings, MonotonicClock(), lambda at: at * 500, self.incidents.append, opener)

    def names(self) -> list[tuple[str, bool]]:
        return [(incident.name, incident.recovered) for incident in self.incidents]

    def take(self) -> Frame:
        frame = self.grabber.take(HANG_S)
        assert frame is not None, self.grabber.stats()
        return frame

    def take_after(self, moment: float) -> Frame:
        """The first frame that was captured after a moment."""
        while (frame := self.take()).captured_at < moment:
            pass
        return frame

    def wait_for(self, name: str, recovered: bool = False) -> Incident:
        """The first such incident."""
        until = time.monotonic() + HANG_S
        while time.monotonic() < until:
            for incident in self.incidents:
                if (incident.name, incident.recovered) == (name, recovered):
                    return incident
            time.sleep(0.005)
        raise AssertionError(f"no {name}: {self.names()}, {self.grabber.stats()}")

    def stop(self) -> float:
        """Stops it; how long that took, in seconds."""
        began = time.monotonic()
        self.grabber.stop()
        return time.monotonic() - began


@pytest.fixture
def grab() -> Iterator[Callable[..., Rig]]:
    """Starts a grabber: grab(opener, **settings), or grab(**settings) for a real source."""
    rigs: list[Rig] = []

    def start(opener: Callable[..., Any] = open_source, **settings: Any) -> Rig:
        rig = Rig(CameraSettings.model_validate({"source": "0", **settings}), opener)
        rigs.append(rig)
        rig.grabber.start()
        return rig

    yield start
    took = [rig.stop() for rig in rigs]
    assert all(seconds < 2.0 for seconds in took), took


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """Writes a clip: make_clip("name.avi", pictures=50, fps=25.0)."""

    def make(name: str = "clip.avi", pictures: int = 50, fps: float = 25.0, fourcc: str = "MJPG") -> Path:
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*fourcc), fps, (320, 240))
        assert writer.isOpened()
        for number in range(pictures):
            writer.write(picture(number, 320, 240))
        writer.release()
        return path

    return make

"""V4L2: what was asked for, what the camera made of it, and what is said of that."""

from pathlib import Path

import pytest

from edge.camera import CameraSettings
from edge.camera.device import Device
from edge.camera.probe import probe
from edge.check import check_line
from edge.config import LineConfig
from edge.errors import CameraError
from tests.edge.tiny_model import write_model

ASKED = {"width": 1920, "height": 720, "fps": 60.0, "fourcc": "MJPG", "exposure_ms": 5.0, "gain": 12.0}
REFUSED = ("width 1920 (it has 1280)", "fps 60 (it has 30)", "exposure_ms 5 (it cannot)")


@pytest.fixture
def camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A camera's address; the process that reads it finds the made-up driver there."""
    monkeypatch.setattr(Device, "module", "tests.edge.camera.v4l2_camera")
    node = tmp_path / "video7"
    node.touch()
    return {"source": str(node), "type": "device"}


def test_what_a_camera_refuses_is_read_back_with_what_it_has_instead(camera: dict[str, str]) -> None:
    report = probe(CameraSettings.model_validate({**camera, **ASKED}), 0.3)
    assert report.refused == REFUSED
    assert (report.backend, report.width, report.height) == ("OpenCV V4L2", 1280, 720)
    assert report.timestamps == "driver"


def test_a_camera_that_takes_all_that_is_asked_has_refused_nothing(camera: dict[str, str]) -> None:
    taken = {"width": 640, "height": 480, "fps": 15.0, "fourcc": "MJPG", "gain": 3.0}
    report = probe(CameraSettings.model_validate({**camera, **taken}), 0.3)
    assert report.refused == ()
    assert (report.width, report.height) == (640, 480)


def test_check_names_the_keys_that_the_camera_refused(camera: dict[str, str], tmp_path: Path) -> None:
    config = LineConfig.parse(
        {
            "model": {"path": str(write_model(tmp_path / "m.onnx"))},
            "camera": {**camera, **ASKED},
            "belt": {"pixels_per_mm": 1.0, "speed_mm_s": 200},
            "lanes": [{"name": "rest", "default": True}],
            "web": {"enabled": False},
        }
    )
    said = next(check for check in check_line(config) if check.part == "camera")
    assert said.ok
    assert f"the camera refused {', '.join(REFUSED)}" in said.text


def test_a_device_that_is_not_attached_is_told_without_starting_a_reader() -> None:
    with pytest.raises(CameraError, match=r"/dev/video63: no such device \(`sortline cameras` lists"):
        Device(CameraSettings(source=63), None)  # type: ignore[arg-type]

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.camera import CameraSettings, Source, driver_of, is_recorded, kind_of, open_source, redacted
from edge.clock import MonotonicClock
from edge.config import LineConfig
from edge.errors import CameraError, ConfigError
from tests.edge.camera.sources import Still, Three


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (0, "device"),
        ("2", "device"),
        ("/dev/video0", "device"),
        ("rtsp://camera/1", "stream"),
        ("RTSPS://camera/1", "stream"),
        ("http://camera/video.mjpg", "stream"),
        ("https://camera/video", "stream"),
        ("aravis:192.168.1.20", "aravis"),
        ("sim:?rate=10", "simulated"),
        ("pictures/*.jpg", "folder"),
        ("pictures/one.JPG", "folder"),
        ("clip.mp4", "clip"),
        ("belt.gif", "clip"),
        ("no/such/thing", "clip"),
    ],
)
def test_the_form_of_a_source_decides_its_driver(source: str | int, kind: str) -> None:
    assert kind_of(source) == kind


def test_a_folder_on_the_disk_is_a_folder(tmp_path: Path) -> None:
    assert kind_of(str(tmp_path)) == "folder"


def test_every_kind_of_source_names_a_class_that_exists() -> None:
    for source in (0, "rtsp://camera/1", "aravis:", "sim:", "x/*.jpg", "clip.mp4"):
        driver = driver_of(CameraSettings(source=source))
        assert callable(driver.read) and callable(driver.close) and callable(driver.describe)


def test_a_class_of_ones_own_is_named_by_module_and_class() -> None:
    settings = CameraSettings(source="whatever", type="tests.edge.camera.sources:Still")
    source = open_source(settings, MonotonicClock())
    assert isinstance(source, Still)
    assert isinstance(source, Source)


def test_a_class_of_ones_own_brings_its_own_keys_to_the_configuration() -> None:
    table = {"source": "x", "type": "tests.edge.camera.sources:Still", "brightness": 7}
    config = LineConfig.parse(
        {
            "model": {"path": "m.onnx"},
            "camera": table,
            "belt": {"pixels_per_mm": 1, "speed_mm_s": 1},
            "lanes": [{"name": "rest", "default": True}],
        }
    )
    assert isinstance(config.camera, Still.Settings)
    assert config.camera.brightness == 7


def test_a_class_of_ones_own_says_itself_whether_it_is_recorded() -> None:
    assert is_recorded(CameraSettings(source="x", type="tests.edge.camera.sources:Three"))
    assert not is_recorded(CameraSettings(source="x", type="tests.edge.camera.sources:Still"))
    assert Three.live is False


@pytest.mark.parametrize("name", ["no.such.module:Camera", "tests.edge.camera.sources:Nobody", "polaroid"])
def test_a_type_that_cannot_be_loaded_is_named(name: str) -> None:
    with pytest.raises(CameraError, match=r"camera\.type = .*cannot be loaded") as error:
        open_source(CameraSettings(source="x", type=name), MonotonicClock())
    assert name in str(error.value)


def test_a_device_that_is_not_there_is_told_with_the_way_to_find_one() -> None:
    with pytest.raises(CameraError, match=r"/dev/video97: no such device .*sortline cameras"):
        open_source(CameraSettings(source=97), MonotonicClock())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://camera:554/belt", "rtsp://camera:554/belt"),
        ("rtsp://admin:secret@camera:554/belt", "rtsp://…@camera:554/belt"),
        ("rtsp://admin:sec/ret@camera/belt", "rtsp://…@camera/belt"),
        ("rtsp://admin:sec@ret@camera/belt", "rtsp://…@camera/belt"),
        ("rtsp://admin:sec?ret@camera/belt", "rtsp://…"),
        ("http://camera/video?pwd=sec@ret", "http://…"),
        ("rtsp://admin:12/34@camera/belt", "rtsp://…@camera/belt"),
        ("http://camera/video?user=admin&pwd=secret", "http://camera/video?…"),
        ("rtsp://camera/user=admin_password=secret_channel=1.sdp", "rtsp://camera/user=…"),
        ("it was rtsp://a:b@c/d, twice", "it was rtsp://…@c/d, twice"),
        ("rtsp:/admin:secret@camera/belt", "rtsp://…@camera/belt"),  # mistyped, or made a path
        (" rtsp://admin:sec ret@camera/belt", " rtsp://…@camera/belt"),
        ("/dev/video0", "/dev/video0"),
        ("pictures/a@b?c/*.jpg", "pictures/a@b?c/*.jpg"),
    ],
)
def test_a_source_is_shown_without_its_credentials(url: str, shown: str) -> None:
    assert redacted(url) == shown


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20),
)
def test_no_password_is_ever_shown(user: str, password: str) -> None:
    marked = f"¤{password}¤"
    for url in (f"rtsp://{user}:{marked}@camera/belt", f"https://camera/x?user={user}&password={marked}"):
        assert "¤" not in redacted(url)


def test_settings_do_not_show_their_source() -> None:
    assert "secret" not in repr(CameraSettings(source="rtsp://admin:secret@camera/belt"))


def test_the_processes_that_hold_a_camera_import_nothing_slow() -> None:
    code = "import sys, edge.capture.opencv; print(sorted({'pydantic', 'flask', 'onnxruntime'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "source", ["rtmp://admin:secret@camera/belt", "rtsp:/admin:secret@camera/belt", "file:///a.mp4"]
)
def test_an_address_that_is_not_read_is_refused_with_those_that_are(source: str) -> None:
    with pytest.raises(
        CameraError, match=r"is no kind of address that is read \(there are rtsp://.*by their path"
    ) as error:
        open_source(CameraSettings(source=source), MonotonicClock())
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("source", [["rtsp://a:secret@camera/1"], {"url": "rtsp://a:secret@camera/1"}])
def test_a_source_of_the_wrong_form_is_refused_without_being_shown(source: object) -> None:
    content = {
        "model": {"path": "m.onnx"},
        "camera": {"source": source},
        "belt": {"pixels_per_mm": 1, "speed_mm_s": 1},
        "lanes": [{"name": "rest", "default": True}],
    }
    with pytest.raises(ConfigError, match=r"camera\.source: must be a text") as error:
        LineConfig.parse(content)
    assert "secret" not in str(error.value)

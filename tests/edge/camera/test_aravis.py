"""GigE Vision, against Aravis' own fake camera (apt-get install aravis-tools gir1.2-aravis-0.8 python3-gi)."""

import fcntl
import importlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.camera import CameraSettings
from edge.camera.attached import list_cameras
from edge.camera.probe import probe
from edge.capture import Failure, genicam
from edge.errors import CameraError
from tests.edge.camera.conftest import Rig

FAKE = "arv-fake-gv-camera-0.8"
DEBIAN = Path("/usr/lib/python3/dist-packages/gi")
GVCP = " 0100007F:0F74 "  # 127.0.0.1, port 3956, as the system's table of UDP sockets has it

pytestmark = pytest.mark.skipif(shutil.which(FAKE) is None, reason="no fake camera: apt-get install aravis-tools")


@pytest.fixture
def bindings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `gi` importable, here and in the reader's process: Debian's own, where this Python can load it."""
    if importlib.util.find_spec("gi") is None:
        (tmp_path / "bindings").mkdir()
        (tmp_path / "bindings" / "gi").symlink_to(DEBIAN)
        monkeypatch.syspath_prepend(tmp_path / "bindings")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "bindings"))
    code = "import gi; gi.require_version('Aravis', '0.8'); from gi.repository import Aravis"
    if subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode:
        pytest.skip("this Python cannot load Aravis: apt-get install gir1.2-aravis-0.8 python3-gi")


@pytest.fixture
def turn() -> Iterator[None]:
    """The suites of one machine take turns: GigE Vision knows one port, and the fake one address of the interface.

    What they lock is the program itself, which each of them may read.
    """
    with Path(str(shutil.which(FAKE))).open("rb") as program:
        until = time.monotonic() + 120
        while True:
            try:
                fcntl.flock(program, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                assert time.monotonic() < until, "another suite has the fake camera and does not come back"
                time.sleep(0.02)
        yield


@pytest.fixture
def fake(bindings: None, turn: None) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts the fake camera on the loopback address."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        command = [FAKE, "-i", "127.0.0.1", "-s", "SORTLINE"]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        until = time.monotonic() + 20
        while GVCP not in Path("/proc/net/udp").read_text():
            assert time.monotonic() < until, "the fake camera does not listen"
            time.sleep(0.02)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


Fake = Callable[[], subprocess.Popen]


def test_a_gige_camera_is_measured(fake: Fake) -> None:
    fake()
    report = probe(CameraSettings(source="aravis:127.0.0.1", fps=20, exposure_ms=5), seconds=1.0)
    assert (report.backend, report.width, report.height, report.timestamps) == ("Aravis", 512, 512, "driver")
    assert report.fps == pytest.approx(20, rel=0.15)
    assert report.refused == ()


def test_a_gige_camera_gives_the_size_that_is_asked_for(fake: Fake) -> None:
    fake()
    report = probe(CameraSettings(source="aravis:127.0.0.1", width=256, height=128, gain=2), seconds=0.2)
    assert (report.width, report.height, report.refused) == (256, 128, ())


def test_a_gige_camera_that_dies_is_picked_up_again(fake: Fake, grab: Callable[..., Rig]) -> None:
    camera = fake()
    rig = grab(source="aravis:127.0.0.1", read_timeout_s=0.7)
    frame = rig.take()
    assert frame.pixels.shape == (512, 512, 3)
    camera.kill()
    camera.wait()
    rig.wait_for("camera_stalled")
    fake()
    rig.wait_for("camera_stalled", recovered=True)
    assert rig.take().seq > frame.seq


def test_stop_does_not_wait_for_a_gige_camera_that_fell_silent(fake: Fake, grab: Callable[..., Rig]) -> None:
    camera = fake()
    rig = grab(source="aravis:127.0.0.1", read_timeout_s=60)
    rig.take()
    camera.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    assert rig.stop() < 1.0


def test_a_gige_camera_that_is_not_there_is_told(bindings: None) -> None:
    with pytest.raises(CameraError, match=r"aravis:127\.0\.0\.99: cannot be opened \(.*127\.0\.0\.99"):
        probe(CameraSettings(source="aravis:127.0.0.99"))


def test_the_modes_of_a_gige_camera_are_listed(fake: Fake) -> None:
    fake()
    time.sleep(0.5)
    modes = [mode for mode in list_cameras() if mode.source == "aravis:Aravis-Fake-SORTLINE"]
    assert {mode.fourcc for mode in modes} >= {"Mono8", "RGB8", "BayerRG8"}
    assert all(mode.width and mode.height and mode.fps for mode in modes)


def test_without_aravis_there_is_a_sentence_that_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    with pytest.raises(Failure, match=r"needs Aravis: apt-get install gir1\.2-aravis-0\.8 python3-gi"):
        genicam.modes()

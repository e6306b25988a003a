import threading
import time

import numpy as np
import pytest

from edge.camera import CameraSettings, Source
from edge.camera.simulated import Simulated
from edge.clock import MonotonicClock, VirtualClock
from edge.errors import CameraError, ConfigError
from edge.simulator.world import Lane


def a_camera(query: str = "", clock=None, **keys) -> Simulated:
    settings = CameraSettings(source=f"sim:?width=320&height=240&{query or 'rate=2'}", **keys)
    return Simulated(settings, clock or VirtualClock())


def times(camera: Simulated, count: int) -> list[float]:
    return [shot.at for _ in range(count) if (shot := camera.read())]


def test_it_is_a_source():
    camera = a_camera()
    assert isinstance(camera, Source)
    assert "320x240" in camera.describe()
    assert "drawn parts" in camera.describe()


def test_the_camera_table_sets_size_and_rate():
    camera = a_camera(fps=25, width=400, exposure_ms=3)
    assert camera.world.settings.exposure_ms == 3.0
    assert camera.read().pixels.shape == (240, 400, 3)
    assert camera.read().at == pytest.approx(1 / 25)


def test_on_a_virtual_clock_every_picture_comes_without_waiting():
    clock = VirtualClock(start=50.0)
    camera = a_camera("fps=50", clock)
    assert not camera.live
    began = time.monotonic()
    assert times(camera, 500) == pytest.approx(np.arange(500) / 50)
    assert time.monotonic() - began < 10.0
    assert camera.world.start == clock.now() == 50.0


def test_on_the_real_clock_a_picture_comes_at_its_moment():
    clock = MonotonicClock()
    camera = a_camera("fps=50", clock)
    assert camera.live
    for _ in range(10):
        shot = camera.read()
        number = (shot.at - camera.world.start) * 50
        assert number == pytest.approx(round(number), abs=1e-6)
        assert clock.now() >= shot.at


def test_a_reader_that_comes_late_gets_the_newest_picture():
    clock = MonotonicClock()
    camera = a_camera("fps=100", clock)
    first = camera.read().at
    threading.Event().wait(0.2)
    before = clock.now()
    second = camera.read()
    assert second.at - first > 0.15
    assert before - second.at <= 0.01 + 1e-6
    assert second.dropped == round((second.at - first) * 100) - 1


def test_real_and_virtual_time_draw_the_same_pictures():
    live, played = a_camera("fps=20", MonotonicClock()), a_camera("fps=20")
    shots = [live.read() for _ in range(3)]
    by_time = {round(shot.at, 6): shot for shot in (played.read() for _ in range(60))}
    for shot in shots:
        twin = by_time[round(shot.at - live.world.start, 6)]
        assert np.array_equal(twin.pixels, shot.pixels)


def test_closing_ends_a_read_that_waits():
    camera = a_camera("fps=0.05", MonotonicClock())
    camera.read()
    got = []
    reader = threading.Thread(target=lambda: got.append(camera.read()))
    reader.start()
    camera.close()
    reader.join(5.0)
    assert got == [None]
    camera.close()
    assert camera.read() is None


def test_it_ends_after_its_seconds():
    camera = a_camera("fps=10&seconds=2")
    assert len(times(camera, 100)) == 20
    assert camera.read() is None


def test_lost_pictures_are_as_many_and_come_in_bursts_as_told():
    lost = np.ones(3000, bool)
    taken = np.round(np.array(times(a_camera("fps=100&drop=0.1&drop_burst=5"), 2600)) * 100).astype(int)
    lost[taken[taken < 3000]] = False
    assert lost[: taken[-1]].mean() == pytest.approx(0.1, abs=0.04)
    begins = np.flatnonzero(np.diff(lost[: taken[-1]].astype(int)) == 1) + 1
    assert len(begins) > 10
    assert all(begin % 5 == 0 for begin in begins)
    assert all(lost[begin : begin + 5].all() for begin in begins)


def test_a_frozen_camera_gives_no_picture_for_a_while():
    at = np.array(times(a_camera("fps=10&freeze_at=1&freeze_s=0.5"), 30))
    assert not ((at >= 1.0) & (at < 1.5)).any()
    assert np.diff(at).max() == pytest.approx(0.6)


def test_a_camera_that_never_gives_a_picture_again_says_so():
    camera = a_camera("fps=1000&freeze_at=0.01&freeze_s=3600")
    times(camera, 10)
    with pytest.raises(CameraError, match="lower drop or freeze_s"):
        camera.read()


def test_a_wrong_address_is_refused_when_it_is_opened():
    with pytest.raises(ConfigError, match="did you mean rate"):
        Simulated(CameraSettings(source="sim:?rat=3"), VirtualClock())


def test_the_truth_counts_what_the_camera_saw_and_forgets_what_has_ended():
    camera = a_camera("fps=20&rate=5&speed_mm_s=400")
    world = camera.world
    world.lay_out([Lane("all", ("bolt", "gear", "nut", "screw", "washer"), 150.0), Lane("rest", default=True)])
    last = 0.0
    for _ in range(20 * 60):
        last = camera.read().at
    truth = world.truth(last)
    assert truth.items == pytest.approx(5 * 60, rel=0.15)
    assert len(world._items) < 100

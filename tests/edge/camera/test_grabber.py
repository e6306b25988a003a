"""FrameGrabber with cameras of a user's own, which do what a test scripts."""

import gc
import math
import threading
import time
import weakref
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest

from edge.camera import CameraSettings, Shot
from edge.camera.grabber import FrameGrabber
from edge.clock import MonotonicClock
from edge.errors import CameraError
from edge.records import Incident
from tests.edge.camera.conftest import HANG_S, Rig
from tests.edge.camera.sources import Hanging, Opener, Scripted, Still, camera, noise

Grab = Callable[..., Rig]


def endless(**words: object) -> Opener:
    return Opener(lambda: Scripted(camera(**words)))  # type: ignore[arg-type]


def test_the_newest_frame_wins_and_the_others_are_counted(grab: Grab) -> None:
    gate = threading.Event()
    first_at = time.monotonic() - 5
    shots = [Shot(noise(number), first_at + number) for number in range(5)]
    rig = grab(Opener(lambda: Scripted([*shots, gate.wait])))
    while rig.grabber.stats().frames < 5:
        time.sleep(0.005)
    frame = rig.take()
    assert (frame.seq, frame.captured_at) == (4, first_at + 4)
    assert np.array_equal(frame.pixels, shots[4].pixels)
    assert rig.grabber.stats().skipped == 4
    assert rig.grabber.take(0.01) is None
    gate.set()


def test_pictures_that_the_source_dropped_leave_a_gap_and_are_counted(grab: Grab) -> None:
    gate = threading.Event()
    at = time.monotonic()
    rig = grab(Opener(lambda: Scripted([Shot(noise(0), at - 2), Shot(noise(1), at - 1, dropped=3), gate.wait])))
    while rig.grabber.stats().frames < 5:
        time.sleep(0.005)
    assert rig.take().seq == 4
    assert rig.grabber.stats().skipped == 4
    gate.set()


def test_a_frame_lies_where_the_belt_was_when_it_was_captured(grab: Grab) -> None:
    rig = grab(endless())
    frame = rig.take()
    assert frame.position_mm == frame.captured_at * 500


def test_rate_and_jitter_are_those_of_the_captures(grab: Grab) -> None:
    gate = threading.Event()
    first_at = time.monotonic() - 2
    times = [first_at + number * 0.04 + 0.004 * (number % 2) for number in range(40)]
    rig = grab(Opener(lambda: Scripted([*(Shot(noise(i), at) for i, at in enumerate(times)), gate.wait])))
    while rig.grabber.stats().frames < 40:
        time.sleep(0.005)
    stats = rig.grabber.stats()
    assert stats.fps == pytest.approx(25, rel=0.01)
    assert stats.jitter_ms == pytest.approx(4.0, rel=0.1)
    assert (stats.width, stats.height, stats.state) == (64, 36, "running")
    assert stats.last_captured_at == times[-1]
    gate.set()


# Recorded sources


def test_a_clip_is_paced_at_its_own_rate_and_ends(grab: Grab, make_clip: Callable[..., Path]) -> None:
    began = time.monotonic()
    rig = grab(source=str(make_clip(pictures=20, fps=25.0)))
    frames = []
    while not rig.grabber.ended:
        if frame := rig.grabber.take(0.2):
            frames.append(frame)
    assert time.monotonic() - began >= 19 / 25
    first = frames[0]
    assert frames[-1].seq == 19
    for frame in frames:
        assert frame.captured_at - first.captured_at == pytest.approx((frame.seq - first.seq) / 25, abs=1e-3)
    assert rig.grabber.stats().state == "ended"
    assert rig.grabber.take(5.0) is None
    assert rig.incidents == []
    assert rig.grabber.error is None


def test_a_slow_consumer_of_a_clip_skips_frames_as_with_a_camera(grab: Grab, make_clip: Callable[..., Path]) -> None:
    rig = grab(source=str(make_clip(pictures=30, fps=50.0)))
    taken = 0
    while not rig.grabber.ended:
        taken += rig.grabber.take(0.1) is not None
        time.sleep(0.1)
    stats = rig.grabber.stats()
    assert stats.frames == 30
    assert stats.skipped == 30 - taken > 0


def test_the_end_is_only_reached_when_the_last_frame_was_taken(grab: Grab) -> None:
    rig = grab(source="x", type="tests.edge.camera.sources:Three")
    while rig.grabber.stats().state != "ended":
        time.sleep(0.005)
    assert not rig.grabber.ended
    assert rig.take().seq == 2
    assert rig.grabber.ended


def test_the_source_is_there_from_the_start_on(make_clip: Callable[..., Path]) -> None:
    """The line puts its encoder on a simulated belt right then, before the first picture."""
    begun, go_on = threading.Event(), threading.Event()

    class Halting(MonotonicClock):
        def now(self) -> float:
            if threading.current_thread().name == "camera":
                begun.set()
                go_on.wait(HANG_S)
            return super().now()

    settings = CameraSettings(source=str(make_clip()))
    grabber = FrameGrabber(settings, Halting(), lambda at: at, lambda incident: None)
    grabber.start()
    try:
        assert begun.wait(HANG_S)
        assert grabber.source is not None
    finally:
        go_on.set()
        grabber.stop()


def test_a_wrong_file_is_refused_by_start(grab: Grab, tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"no\.mp4: no such file"):
        grab(source=str(tmp_path / "no.mp4"))


def test_a_clip_that_breaks_off_ends_the_line_with_its_last_good_picture(
    grab: Grab, make_clip: Callable[..., Path]
) -> None:
    path = make_clip(pictures=40, fps=100.0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    rig = grab(source=str(path))
    while not rig.grabber.ended:
        rig.grabber.take(0.2)
    assert "is cut or damaged" in str(rig.grabber.error)
    assert rig.names() == [("camera_lost", False)]


def test_a_paused_clip_is_stopped_at_once(grab: Grab, make_clip: Callable[..., Path]) -> None:
    rig = grab(source=str(make_clip(pictures=3, fps=25.0)), fps=0.01)
    rig.take()
    assert rig.stop() < 0.5
    assert rig.grabber.take(5.0) is None


# Live sources that go away


def test_a_lost_camera_is_opened_again_and_both_ends_of_the_outage_are_told(grab: Grab) -> None:
    opener = Opener(lambda: Scripted(camera(pictures=3)), lambda: Scripted(camera()))
    rig = grab(opener)
    incident = rig.wait_for("camera_lost", recovered=True)
    assert rig.names() == [("camera_lost", False), ("camera_lost", True)]
    assert rig.incidents[0].cause == "the script is at its end"
    assert incident.position_mm == pytest.approx(incident.at * 500)
    assert rig.take_after(incident.at).seq >= 3
    assert len(opener.opened) == 2
    assert opener.opened[0].closed >= 1
    stats = rig.grabber.stats()
    assert (stats.state, stats.trouble) == ("running", ())


@pytest.mark.parametrize("ahead_s", [1.7e9, 10.0, math.nan])
def test_a_picture_of_another_clock_s_moment_is_not_taken(grab: Grab, ahead_s: float) -> None:
    """time.time() for the line's clock: items would be born that never come to their diverters."""
    wrong = Opener(lambda: Scripted([Shot(noise(0), time.monotonic() + ahead_s)]), lambda: Scripted(camera()))
    rig = grab(wrong)
    assert "its moments must be the line's clock's" in rig.wait_for("camera_lost").cause
    assert abs(rig.take().captured_at - time.monotonic()) < 30


def test_a_camera_that_is_absent_at_first_is_waited_for_and_picked_up(grab: Grab) -> None:
    def absent() -> Scripted:
        raise CameraError("rtsp://admin:secret@camera/1: cannot be opened")

    rig = grab(Opener(absent, absent, lambda: Scripted(camera())), source="rtsp://admin:secret@camera/1")
    rig.wait_for("camera_lost")
    assert rig.grabber.take(0.01) is None
    stats = rig.grabber.stats()
    assert (stats.state, stats.trouble) == ("away", ("camera_lost",))
    assert "secret" not in stats.text + repr(rig.incidents)
    rig.wait_for("camera_lost", recovered=True)
    assert rig.take() is not None
    assert rig.names() == [("camera_lost", False), ("camera_lost", True)]


def test_a_camera_that_can_be_reached_again_is_opened_before_its_pause_is_over(
    grab: Grab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.camera.grabber.FIRST_RETRY_S", 60.0)
    there = threading.Event()
    monkeypatch.setattr(Still, "answers", staticmethod(lambda settings: there.is_set()), raising=False)

    def open_it() -> Scripted:
        if not there.is_set():
            raise CameraError("cannot be reached")
        return Scripted(camera())

    rig = grab(Opener(open_it), source="x", type="tests.edge.camera.sources:Still")
    rig.wait_for("camera_lost")
    assert rig.grabber.take(0.6) is None
    there.set()
    rig.take()


def test_whatever_a_camera_class_raises_it_is_lost_and_not_the_line(grab: Grab) -> None:
    boom = Scripted([Shot(noise(0), 1.0), ZeroDivisionError("division by zero")])
    rig = grab(Opener(lambda: boom, lambda: Scripted(camera())))
    assert rig.wait_for("camera_lost").cause == "ZeroDivisionError: division by zero"
    rig.wait_for("camera_lost", recovered=True)


@pytest.mark.parametrize(
    ("pixels", "named"),
    [
        (np.zeros((9, 9), np.uint8), r"uint8 \[9, 9\]"),
        (np.zeros((9, 9, 3), np.float32), r"float32 \[9, 9, 3\]"),
        (np.zeros((9, 9, 4), np.uint8), r"uint8 \[9, 9, 4\]"),
        (np.zeros((2, 900, 3), np.uint8), "900x2; at least 16x16 pixels are needed"),
        (None, "NoneType"),
    ],
)
def test_something_that_is_no_picture_is_refused_in_words(pixels: np.ndarray, named: str, grab: Grab) -> None:
    rig = grab(Opener(lambda: Scripted([Shot(pixels, 1.0)])))
    with pytest.raises(AssertionError, match=named):
        raise AssertionError(rig.wait_for("camera_lost").cause)


def test_readings_that_are_over_leave_no_picture_behind(grab: Grab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a failed attempt held, its last picture above all, is freed at once, not by the next collection."""
    lost: list[weakref.ref[np.ndarray]] = []

    def short() -> Scripted:
        pixels = noise(len(lost))
        lost.append(weakref.ref(pixels))
        return Scripted([Shot(pixels, time.monotonic())])

    monkeypatch.setattr("edge.camera.grabber.LAST_RETRY_S", 0.1)
    gc.collect()
    gc.disable()
    try:
        rig = grab(Opener(short))
        while len(lost) < 5:
            rig.grabber.take(0.1)
        assert [picture() for picture in lost[:2]] == [None, None]
    finally:
        gc.enable()


def test_one_who_fails_to_listen_to_an_incident_does_not_cost_the_line_its_camera(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge.camera.grabber.LAST_RETRY_S", 0.1)
    told: list[str] = []

    def deaf(incident: Incident) -> None:
        told.append(incident.name)
        if len(told) == 1:
            raise OSError("the journal's disk is full")

    opener = Opener(lambda: Scripted(camera(pictures=1)), lambda: Scripted(camera()))
    grabber = FrameGrabber(CameraSettings(source=0), MonotonicClock(), lambda at: at, deaf, opener)
    grabber.start()
    try:
        while len(opener.opened) < 2:
            grabber.take(0.1)
        assert grabber.take(HANG_S) is not None
    finally:
        grabber.stop()


# Sources that hang


def test_a_reader_that_hangs_is_given_up_and_closes_its_source_when_it_comes_back(grab: Grab) -> None:
    release = threading.Event()
    hanging = Hanging(release)
    rig = grab(Opener(lambda: hanging, lambda: Scripted(camera())), read_timeout_s=0.2)
    rig.wait_for("camera_stalled", recovered=True)
    assert rig.names() == [("camera_stalled", False), ("camera_stalled", True)]
    assert "has been blocking for" in rig.incidents[0].cause
    told_to_close = hanging.closed
    release.set()
    while hanging.closed == told_to_close:
        time.sleep(0.005)


def test_readers_that_hang_for_ever_do_not_pile_up(grab: Grab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.camera.grabber.LAST_RETRY_S", 0.1)
    release = threading.Event()
    opener = Opener(lambda: Hanging(release))
    before = threading.active_count()
    try:
        rig = grab(opener, read_timeout_s=0.05)
        while len(opener.opened) < 3 or rig.grabber.stats().state != "away":
            time.sleep(0.01)
        time.sleep(1.0)  # ten pauses
        assert len(opener.opened) == 3
        assert threading.active_count() - before == 4
        assert rig.grabber.stats().state == "away"
    finally:
        release.set()
    while len(opener.opened) == 3:
        time.sleep(0.01)


def test_an_opening_that_hangs_does_not_keep_the_line_from_stopping(grab: Grab) -> None:
    release = threading.Event()

    def hang() -> Scripted:
        release.wait()
        return late

    late = Scripted([])
    rig = grab(Opener(hang))
    assert rig.grabber.take(0.05) is None
    assert rig.grabber.stats().state == "opening"
    assert rig.stop() < 2.0
    release.set()
    while not late.closed:
        time.sleep(0.005)


def test_stop_works_while_the_camera_is_away_and_may_be_called_twice(grab: Grab) -> None:
    def absent() -> Scripted:
        raise CameraError("cannot be opened")

    rig = grab(Opener(absent))
    rig.wait_for("camera_lost")
    assert rig.stop() < 0.5
    assert rig.stop() < 0.1
    assert rig.grabber.stats().state == "stopped"


def test_stop_before_start_does_nothing(grab: Grab) -> None:
    grabber = FrameGrabber(CameraSettings(source=0), MonotonicClock(), lambda at: at, lambda incident: None)
    grabber.stop()
    assert grabber.take(1.0) is None


# What pictures say about their camera


def still(seconds: float) -> chain:
    """A camera that gives the same picture for so long, a hundred times a second."""
    return chain(camera(pictures=3), camera(pictures=round(seconds * 100), make=lambda number: noise(7)))


def test_a_frozen_camera_is_told_and_opened_again_once(grab: Grab) -> None:
    opener = Opener(lambda: Scripted(still(9.0)))
    rig = grab(opener, frozen_s=0.2)
    incident = rig.wait_for("camera_frozen")
    assert incident.cause == "its picture has not changed in a single pixel for 0.2 s"
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        rig.grabber.take(0.1)
    # The second camera begins with pictures that differ, so it recovers; then it freezes as the first did.
    assert rig.names()[:3] == [("camera_frozen", False), ("camera_frozen", True), ("camera_frozen", False)]


def test_a_camera_that_stays_frozen_is_not_opened_again_and_again(grab: Grab) -> None:
    moves = threading.Event()

    def frozen() -> Scripted:
        return Scripted(camera(make=lambda number: noise(number if moves.is_set() else 7)))

    opener = Opener(frozen)
    rig = grab(opener, frozen_s=0.2)
    rig.wait_for("camera_frozen")
    while len(opener.opened) < 2:
        time.sleep(0.005)
    time.sleep(1.0)
    assert rig.names() == [("camera_frozen", False)]
    assert len(opener.opened) == 2
    assert rig.grabber.stats().trouble == ("camera_frozen",)
    moves.set()
    rig.wait_for("camera_frozen", recovered=True)
    assert rig.grabber.stats().trouble == ()


def test_a_driver_whose_timestamps_stand_still_is_frozen_and_its_pictures_are_not_used(grab: Grab) -> None:
    def stuck_clock() -> Scripted:
        return Scripted(
            chain.from_iterable((lambda: time.sleep(0.01), Shot(noise(number), 5.0)) for number in range(999))
        )

    rig = grab(Opener(stuck_clock, stuck_clock), frozen_s=0.2)
    assert rig.take().seq == 0
    rig.wait_for("camera_frozen")
    assert rig.grabber.stats().frames == 1


def test_freezing_can_be_switched_off(grab: Grab) -> None:
    rig = grab(endless(make=lambda number: noise(7)), frozen_s=0)
    for _ in range(30):
        rig.take()
    assert rig.incidents == []


def test_a_dark_camera_is_told_and_so_is_the_light(grab: Grab) -> None:
    steps = chain(
        camera(pictures=10),
        camera(pictures=130, make=lambda number: noise(number, level=0) // 8),
        camera(pictures=1000),
    )
    rig = grab(Opener(lambda: Scripted(steps)))
    incident = rig.wait_for("camera_dark")
    assert "lens covered, or light out" in incident.cause
    assert rig.grabber.stats().trouble == ("camera_dark",)
    assert "lens covered, or light out" in rig.grabber.stats().text, "which /readyz gives as its reason"
    rig.wait_for("camera_dark", recovered=True)
    assert rig.grabber.stats().trouble == ()
    assert "lens" not in rig.grabber.stats().text


def test_a_flicker_is_not_darkness(grab: Grab) -> None:
    def flicker(number: int) -> np.ndarray:
        return noise(number, level=90) if number % 50 == 0 else noise(number) // 90

    rig = grab(endless(make=flicker))
    while rig.grabber.stats().frames < 140:  # a hundred are more than a second, which is darkness
        rig.take()
    assert rig.incidents == []


def test_another_size_of_the_same_shape_is_scaled_so_that_the_calibration_holds(grab: Grab) -> None:
    opener = Opener(
        lambda: Scripted(camera(pictures=5)),
        lambda: Scripted(camera(pictures=5, make=lambda number: noise(number, 72, 128))),
        lambda: Scripted(camera()),
    )
    rig = grab(opener)
    incident = rig.wait_for("camera_changed")
    assert incident.cause == "its pictures are 128x72 now, not 64x36"
    frame = rig.take()
    assert frame.pixels.shape == (36, 64, 3)
    rig.wait_for("camera_changed", recovered=True)
    assert rig.take().pixels.shape == (36, 64, 3)


def test_a_camera_that_came_back_another_and_is_used_is_well_and_its_text_tells_of_it(grab: Grab) -> None:
    opener = Opener(
        lambda: Scripted(camera(pictures=5)),
        lambda: Scripted(camera(pictures=5, make=lambda number: noise(number, 64, 36))),  # of another shape: refused
        lambda: Scripted(camera(make=lambda number: noise(number, 72, 128))),
    )
    rig = grab(opener)
    rig.wait_for("camera_changed", recovered=True)
    rig.take()
    rig.take()  # by now all that the first one showed has been told
    assert rig.names()[-1] == ("camera_changed", False)
    stats = rig.grabber.stats()
    assert (stats.state, stats.trouble) == ("running", ())
    assert "its pictures are 128x72 now, not 64x36" in stats.text


def test_another_shape_is_refused_in_words_until_the_camera_is_set_back(grab: Grab) -> None:
    opener = Opener(
        lambda: Scripted(camera(pictures=5)),
        lambda: Scripted(camera(make=lambda number: noise(number, 64, 36))),
        lambda: Scripted(camera(make=lambda number: noise(number, 64, 36))),
        lambda: Scripted(camera()),
    )
    rig = grab(opener)
    assert "36x64" in rig.wait_for("camera_changed").cause
    assert "another shape shows another piece of belt" in rig.grabber.stats().text
    assert rig.grabber.stats().trouble == ("camera_lost", "camera_changed")
    rig.wait_for("camera_changed", recovered=True)
    assert rig.take().pixels.shape == (36, 64, 3)
    assert sorted(rig.names()) == [
        (name, recovered) for name in ("camera_changed", "camera_lost") for recovered in (False, True)
    ]


def test_another_rate_after_an_outage_is_told(grab: Grab) -> None:
    opener = Opener(
        lambda: Scripted(spaced(0.04)),
        lambda: Scripted(spaced(0.08)),
        lambda: Scripted(chain(spaced(0.04), repeat(lambda: time.sleep(0.01)))),
    )
    rig = grab(opener)
    assert rig.wait_for("camera_changed").cause == "it gives 12.5 pictures a second, not 25.0"
    assert "camera_changed" not in rig.grabber.stats().trouble
    assert rig.wait_for("camera_changed", recovered=True).cause == "it gives 25.0 pictures a second, again 25.0"


def spaced(interval_s: float) -> list:
    """Four seconds of pictures at once, whose own times are so far apart."""
    began = time.monotonic() - 4  # all of them have been taken by now
    return [Shot(noise(number), began + number * interval_s) for number in range(round(4 / interval_s))]

"""FrameGrabber: owns the source's thread, reconnects for ever, and hands out the newest frame."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import edge.camera
from edge.camera import CameraSettings, Shot, Source, kind_of, redacted
from edge.clock import Clock
from edge.errors import CameraError
from edge.records import Frame, Incident

State = Literal["opening", "running", "away", "ended", "stopped"]

FIRST_RETRY_S = 0.25
LAST_RETRY_S = 5.0
STOP_S = 1.5


@dataclass(frozen=True, slots=True)
class CameraStats:
    """What /readyz and the metrics show of a camera. frames counts all, skipped those nobody took."""

    state: State
    frames: int
    skipped: int
    fps: float
    jitter_ms: float
    width: int
    height: int
    last_captured_at: float | None
    text: str


class FrameGrabber:
    """Keeps a source open in a thread of its own and offers its newest frame, each at most once.

    The slot holds one frame: a newer one replaces it and the older one is counted as skipped. A live
    source that is lost is opened again, for ever. A recorded source is opened by `start` itself, so
    that a wrong file is a CameraError there, and is paced at its own rate until its end.
    """

    def __init__(
        self,
        settings: CameraSettings,
        clock: Clock,
        position_at: Callable[[float], float],
        on_incident: Callable[[Incident], None],
        open_source: Callable[[CameraSettings, Clock], Source] = edge.camera.open_source,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._position_at = position_at
        self._on_incident = on_incident
        self._open = open_source
        self._name = redacted(settings.source)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._source: Source | None = None
        self._stopping = False
        self._state: State = "opening"
        self._slot: Frame | None = None
        self._frames = 0
        self._skipped = 0
        self._interval_s = 0.0
        self._jitter_s = 0.0
        self._size = (0, 0)
        self._last_at: float | None = None
        self._text = "opening"

    def start(self) -> None:
        """Starts the thread; a file, folder or simulator is opened here: CameraError for a wrong one."""
        if kind_of(self._settings.source) not in {"device", "stream"} and self._settings.type is None:
            self._source = self._open(self._settings, self._clock)
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def take(self, timeout_s: float) -> Frame | None:
        """The newest frame not yet taken; None when none came in time, or when nothing more will come."""
        until = self._clock.now() + timeout_s
        with self._changed:
            while self._slot is None:
                if self._state in {"ended", "stopped"} or self._clock.now() >= until:
                    return None
                self._clock.wait(self._changed, until)
            frame, self._slot = self._slot, None
            return frame

    def stop(self) -> None:
        """Ends the thread and closes the source; may be called twice, from any state."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._source is not None:
            self._source.close()
        if self._thread is not None:
            self._thread.join(STOP_S)
        with self._changed:
            self._state = "stopped"
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether a recorded source came to its end and its last frame was taken."""
        with self._changed:
            return self._state == "ended" and self._slot is None

    @property
    def source(self) -> Source | None:
        """The source that is open now."""
        return self._source

    def stats(self) -> CameraStats:
        with self._changed:
            return CameraStats(
                self._state,
                self._frames,
                self._skipped,
                1 / self._interval_s if self._interval_s > 0 else 0.0,
                self._jitter_s * 1e3,
                *self._size,
                self._last_at,
                f"{self._name}: {self._text}",
            )

    def _run(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                if self._source is None:
                    self._source = self._open(self._settings, self._clock)
                if failures:
                    self._tell("camera_lost", "it answers again", "frames flow again", recovered=True)
                failures = 0
                self._read_all(self._source)
                break
            except CameraError as error:
                if self._source is not None:
                    self._source.close()
                    self._source = None
                if self._stopping:
                    break
                failures += 1
                pause = min(FIRST_RETRY_S * 2 ** (failures - 1), LAST_RETRY_S) * random.uniform(0.8, 1.0)
                self._set_state("away", str(error))
                if failures == 1:
                    self._tell("camera_lost", str(error), "it is opened again until it answers")
                self._sleep_until(self._clock.now() + pause)
        if self._stopping:
            self._set_state("stopped", "stopped")
        else:
            self._set_state("ended", "at its end")

    def _read_all(self, source: Source) -> None:
        start: float | None = None
        while not self._stopping:
            shot = source.read()
            if shot is None:
                return
            at = shot.at
            if not source.live:
                start = self._clock.now() - shot.at if start is None else start
                at += start
                self._sleep_until(at)
            self._offer(shot, at)

    def _offer(self, shot: Shot, at: float) -> None:
        frame = Frame(self._frames, at, self._position_at(at), shot.pixels)
        with self._changed:
            if self._last_at is not None and at > self._last_at:
                interval = at - self._last_at
                weight = 0.1 if self._interval_s else 1.0
                self._jitter_s += weight * (abs(interval - (self._interval_s or interval)) - self._jitter_s)
                self._interval_s += weight * (interval - self._interval_s)
            self._last_at = at
            self._frames += 1
            self._skipped += self._slot is not None
            self._slot = frame
            self._size = (shot.pixels.shape[1], shot.pixels.shape[0])
            self._state, self._text = "running", "frames flow"
            self._changed.notify_all()

    def _sleep_until(self, until: float) -> None:
        with self._changed:
            while not self._stopping and self._clock.now() < until:
                self._clock.wait(self._changed, until)

    def _set_state(self, state: State, text: str) -> None:
        with self._changed:
            self._state, self._text = state, text
            self._changed.notify_all()

    def _tell(self, name: str, cause: str, action: str, recovered: bool = False) -> None:
        at = self._clock.now()
        position = self._position_at(at)
        self._on_incident(Incident(name, "camera", at, position, cause, action, recovered=recovered))

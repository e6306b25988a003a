"""FrameGrabber: keeps a source open for ever, and hands out its newest frame."""

import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

import edge.camera
from edge.camera import CameraSettings, CameraStalled, Shot, Source, answers, is_recorded, redacted, told
from edge.camera.health import CameraChanged, CameraFrozen, Health, Sign, Size
from edge.camera.reading import Reading
from edge.clock import Clock
from edge.errors import CameraError, SortlineError
from edge.records import Frame, Incident

State = Literal["opening", "running", "away", "ended", "stopped"]

FIRST_RETRY_S = 0.25
LAST_RETRY_S = 5.0
KNOCK_S = 0.5
"""So often a camera that could not be reached is looked for during a pause."""

STEADY = 10
"""After so many pictures a source that is lost is tried again after the shortest pause."""

GRACE_S = 0.5
"""How long past its own timeouts a source may block before its thread is given up."""

MOST_STUCK = 3
"""Threads that were given up and still hang: with so many, none is added until one comes back."""

AHEAD_S = 1.0
"""A live picture from later has another clock's time: its items would never come to their diverters."""

STOP_S = 1.8
CAPTURES = 60
"""Over so many frames rate and jitter are measured."""


@dataclass(frozen=True, slots=True)
class CameraStats:
    """How a camera fares, for /readyz and the metrics. text says it in words, without credentials.

    frames counts all pictures that the source produced, skipped those of them that nobody took because
    a newer one came, dropped included. jitter_ms is the standard deviation of the times between
    captures. trouble names the incidents that are not over yet and for which its pictures cannot be used; where
    pictures come all the same, text tells of every one that is not over.
    """

    state: State
    frames: int
    skipped: int
    fps: float
    jitter_ms: float
    width: int
    height: int
    last_captured_at: float | None
    text: str
    trouble: tuple[str, ...] = ()


class FrameGrabber:
    """Reads a source in a thread of its own and offers its newest frame, each at most once.

    The slot holds one frame: a newer one replaces it, and the older one counts as skipped.

    A live source that is lost is opened again, for ever, after pauses that double from 0.25 to 5 s; the
    outage is one incident, named after how it began, and its recovery another. One that blocks beyond
    its timeouts is given up: its thread closes it when it comes back. A recorded source is opened by
    `start`, so that a wrong file is a CameraError right there; it is paced at its own rate, and ends.
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
        self._finite = False
        self._health = Health(settings)
        self._size = Size()
        self._start_at: float | None = None
        self._thread: threading.Thread | None = None
        self._reading: Reading | None = None
        self._first_source: Source | None = None
        # The reader and the consumer meet at _frame; _watch is apart, so that no frame wakes the keeper.
        self._watch = threading.Condition()
        self._frame = threading.Condition()
        self._stopping = False
        self._state: State = "opening"
        self._text = "is being opened"
        self._standing: dict[str, Sign] = {}
        self._outages: list[str] = []
        self._slot: Frame | None = None
        self._frames = 0
        self._skipped = 0
        self._captures: deque[float] = deque(maxlen=CAPTURES)
        self._last_at: float | None = None
        self._shape = (0, 0)
        self.error: CameraError | None = None
        """Why a recorded source ended before its end."""

    def start(self) -> None:
        """Starts the thread. Opens a clip, folder or simulated belt at once: CameraError for a wrong one."""
        if is_recorded(self._settings):
            self._finite = True
            try:
                self._first_source = self._open(self._settings, self._clock)
            except SortlineError as error:
                self._set("stopped", str(error))
                raise
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def take(self, timeout_s: float) -> Frame | None:
        """The newest frame not yet taken; None when none came in time, or when nothing more will come."""
        until = self._clock.now() + timeout_s
        with self._frame:
            while self._slot is None:
                if self._state in {"ended", "stopped"} or self._clock.now() >= until:
                    return None
                self._clock.wait(self._frame, until)
            frame, self._slot = self._slot, None
            return frame

    def stop(self) -> None:
        """Ends the threads and closes the source, from any state, in less than 2 s; may be called twice."""
        with self._frame:
            self._stopping = True
            self._frame.notify_all()
        with self._watch:
            self._watch.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(STOP_S)
        self._set("stopped", "is stopped")

    @property
    def ended(self) -> bool:
        """Whether a recorded source came to its end (or broke off: see error) and its last frame was taken."""
        with self._frame:
            return self._state == "ended" and self._slot is None

    @property
    def source(self) -> Source | None:
        """The source that is open now."""
        reading = self._reading
        return reading.source if reading is not None else self._first_source

    def stats(self) -> CameraStats:
        """A snapshot; safe from any thread."""
        with self._frame:
            intervals = np.diff(np.array(self._captures)) if len(self._captures) > 2 else np.zeros(0)
            width, height = self._shape
            running = self._state == "running"
            standing = [sign.cause for sign in self._standing.values()]
            return CameraStats(
                state=self._state,
                frames=self._frames,
                skipped=self._skipped,
                fps=float(1 / intervals.mean()) if running and intervals.any() else 0.0,
                jitter_ms=float(intervals.std() * 1e3) if running and intervals.any() else 0.0,
                width=width,
                height=height,
                last_captured_at=self._last_at,
                text=f"{self._name}: {'; '.join([self._text, *(standing if running else ())])}",
                trouble=tuple(name for name, sign in self._standing.items() if not sign.usable),
            )

    # The keeper's thread: one reading after the other.

    def _run(self) -> None:
        """The camera is kept whatever happens to those who are told of it: a journal, a page."""
        while not self._stopping and self._state != "ended":
            try:
                self._keep()
            except Exception as error:
                self._set("away", f"its keeper failed and begins again ({type(error).__name__}: {error})")
                if self._reading is not None:
                    self._reading.abandon()
                self._sleep_until(self._clock.now() + LAST_RETRY_S)

    def _keep(self) -> None:
        pause_s = FIRST_RETRY_S
        stuck: list[Reading] = []
        source = self._first_source
        while not self._stopping:
            stuck = [reading for reading in stuck if reading.alive]
            if len(stuck) < MOST_STUCK:
                reading = self._reading = Reading(self._opened, self._deliver, self._clock, self._watch, source)
                source = self._first_source = None
                error = self._await(reading)
                if reading.alive:
                    stuck.append(reading)
                if self._stopping or (self._finite and self._end(error)):
                    break
                self._lost(error or CameraError("it ended"))
                if reading.pictures >= STEADY:
                    pause_s = FIRST_RETRY_S
            # Full pauses would bring all cameras behind one switch back at the same moment.
            self._pause(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(pause_s * 2, LAST_RETRY_S)

    def _await(self, reading: Reading) -> CameraError | None:
        """Waits until a reading is over, gives it up when it hangs or is no longer wanted; why it ended."""
        settings = self._settings
        hung: CameraError | None = None
        with self._watch:
            while not reading.over and not self._stopping and hung is None:
                now = self._clock.now()
                limit_s = settings.read_timeout_s + GRACE_S
                limit_s += 0.0 if reading.pictures else settings.open_timeout_s
                since = None if self._finite else reading.blocked_since
                if since is not None and now - since > limit_s:
                    hung = CameraStalled(f"it has been blocking for {now - since:.1f} s")
                else:
                    self._clock.wait(self._watch, now + settings.read_timeout_s)
        if not reading.over:
            reading.abandon()
            reading.join(STOP_S - GRACE_S if self._stopping else GRACE_S)
        return hung or reading.error

    def _end(self, error: CameraError | None) -> bool:
        """A recorded source ended, well or not."""
        self.error = error
        if error is not None:
            self._tell(Sign("camera_lost", str(error), "the line ends with the last good picture"))
        self._set("ended", "came to its end" if error is None else str(error))
        return True

    def _lost(self, error: CameraError) -> None:
        name = getattr(error, "incident", "camera_lost")
        cause = told(error, self._settings.source).removeprefix(f"{self._name}: ")
        self._set("away", cause)
        with self._frame:
            self._captures.clear()  # the gap is no part of the rate
        self._health.reopened()
        # One outage, one name: how it began. That the camera came back another is told all the same.
        if not self._outages or (name == CameraChanged.incident and name not in self._outages):
            self._outages.append(name)
            self._tell(Sign(name, cause, "it is opened again until pictures come that can be used"))

    def _pause(self, seconds: float) -> None:
        """Waits, but not on when a camera that could not be reached at all can be reached again."""
        until = self._clock.now() + seconds
        gone = False
        while not self._stopping and (left_s := until - self._clock.now()) > 0:
            there = answers(self._settings) if left_s > KNOCK_S else None
            if there and gone:
                return
            gone = gone or there is False
            self._sleep_until(min(until, self._clock.now() + KNOCK_S))

    def _opened(self) -> Source:
        return self._open(self._settings, self._clock)

    # The reader's thread: one picture after the other.

    def _deliver(self, reading: Reading, source: Source, shot: Shot) -> bool:
        """Turns a shot into the newest frame; False when it is not wanted any more."""
        at = shot.at
        if not source.live:
            if self._start_at is None:
                self._start_at = self._clock.now() - shot.at
            at += self._start_at
            self._sleep_until(at)
        if self._stopping or reading.abandoned:
            return False
        if source.live and not (ahead_s := at - self._clock.now()) <= AHEAD_S:  # nor is nan
            raise CameraError(f"it gave a picture of {ahead_s:+.6g} s from now; its moments must be the line's clock's")
        pixels, signs = self._size.fit(shot.pixels)
        repeated = self._last_at is not None and at <= self._last_at
        if source.live:
            signs += self._health.look(pixels, at, self._clock.now(), repeated)
            if self._outages and not (CameraFrozen.incident in self._outages and self._health.frozen):
                # First, for it may have come back another: that outlives the outage.
                signs = [Sign(n, "pictures come again", "they are used again", True) for n in self._outages] + signs
                self._outages = []
        if not repeated:
            self._offer(pixels, at, shot.dropped, source)
        for sign in signs:
            self._tell(sign)
        return True

    def _offer(self, pixels: np.ndarray, at: float, dropped: int, source: Source) -> None:
        frame = Frame(self._frames + dropped, at, self._position_at(at), pixels)
        with self._frame:
            self._frames += 1 + dropped
            self._skipped += dropped + (self._slot is not None)
            self._captures.append(at)
            self._last_at = at
            self._slot = frame
            self._shape = (pixels.shape[1], pixels.shape[0])
            if self._state != "running":
                self._state, self._text = "running", source.describe()
            self._frame.notify_all()

    def _sleep_until(self, until: float) -> None:
        with self._frame:
            while not self._stopping and self._clock.now() < until:
                self._clock.wait(self._frame, until)

    def _set(self, state: State, text: str) -> None:
        with self._frame:
            self._state, self._text = state, text
            self._frame.notify_all()

    def _tell(self, sign: Sign) -> None:
        with self._frame:
            if sign.recovered:
                self._standing.pop(sign.name, None)
            else:
                self._standing[sign.name] = sign
        at = self._clock.now()
        self._on_incident(
            Incident(
                sign.name,
                "camera",
                at,
                self._position_at(at),
                sign.cause,
                sign.action,
                recovered=sign.recovered,
            )
        )

"""The photo-eyes of a line at work: asked or told, debounced, their silence noticed, their threads joined."""

import logging
import math
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from edge.bounded import NotBack, close_all, within
from edge.clock import Clock
from edge.errors import ConfigError, pass_interrupt
from edge.eyes import TRIGGER, Edge, EyeSettings
from edge.herald import Tell
from edge.parts import open_eye
from edge.priority import ask_for_precedence

_log = logging.getLogger("sortline.eyes")

# A photo-eye that has not answered for so long, and for so many polls, is silent.
SILENT_S = 0.25
SILENT_POLLS = 10
# In so long a gap between two answers, and so many polls, an item could have passed unseen.
BLINK_S = 0.03
BLINK_POLLS = 5
# What is told from outside may be so old: the belt's past is not kept much longer.
OLDEST_S = 5.0
AHEAD_S = 0.1  # and no edge lies in the future; so much is a matter of rounding
CLOSE_S = 0.5
LISTEN_S = 5.0  # an eye is given so long to begin to listen


class PhotoEye:
    """One beam. on_edge is called when an item breaks it, and once it has been free for debounce_ms with the
    moment since when, in the thread that asks or is told.

    An edge lies between the last two answers, and is taken to lie half way. A beam that was broken already
    at the first answer, or when the eye answers again after a silence, has no edge: nobody knows since when
    it is broken. A silence is told once, as `eye_silent`, and so is its end; blindness says what it means.
    """

    def __init__(
        self,
        name: str,
        eye: Any,
        settings: EyeSettings,
        clock: Clock,
        tell: Tell,
        blindness: str,
        on_edge: Callable[[Edge], None],
    ) -> None:
        self.name, self.eye = name, eye
        self.polled = not hasattr(eye, "listen")
        self.period_s = settings.poll_ms / 1e3
        self._settings, self._clock, self._tell, self._blindness = settings, clock, tell, blindness
        self._on_edge = on_edge
        self._silent_after_s = max(SILENT_S, SILENT_POLLS * self.period_s)
        self._blink_s = max(BLINK_S, BLINK_POLLS * self.period_s)
        self._silent = False
        self._watching_since = math.inf
        self._answered_at = clock.now()
        self._broken: bool | None = None  # None while nobody knows
        self._free_since: float | None = None
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sortline-eye-{name}", daemon=True)

    @property
    def watching_since(self) -> float:
        """Since when nothing can have passed it unseen: it has answered without a gap; infinity while it does not."""
        blinks = self.polled and self._clock.now() - self._answered_at > self._blink_s
        return math.inf if blinks else self._watching_since

    def start(self, threaded: bool) -> None:
        """Listens, or starts to ask; without threads the owner calls `poll` every period_s.

        Raises ConfigError for an eye that cannot listen, or does not come back from it.
        """
        self._answered_at = self._clock.now()
        if not self.polled:
            self._watching_since = self._answered_at
            begin_to_listen(self.name, self.eye, self._told)
        elif threaded:
            self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Waits for the thread, which ends when `stopping` is set."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def trouble(self) -> str | None:
        """What is wrong with it, in a few words; None when it is well."""
        silent_s = self._clock.now() - self._answered_at
        if self.polled and (self._silent or silent_s > self._silent_after_s):
            return f"photo-eye {self.name} has not answered for {silent_s:.1f} s"
        return None

    def poll(self) -> None:
        """Asks the eye once."""
        asked_at = self._clock.now()
        try:
            broken = bool(self.eye.read())
        except BaseException as error:  # an eye may be the user's own and raise anything
            pass_interrupt(error)
            if asked_at - self._answered_at > self._silent_after_s and not self.stopping.is_set():
                self._fall_silent(f"does not answer ({type(error).__name__}: {error})")
            return
        if self.stopping.is_set():
            return  # it came back late from a question that nobody asks any more
        # The answer belongs to a moment within the question and its end: the middle errs least.
        at = (asked_at + self._clock.now()) / 2
        gap_s, self._answered_at = at - self._answered_at, at
        if gap_s > self._silent_after_s:
            self._fall_silent(f"did not answer for {gap_s:.2f} s")
        if self._silent:
            self._silent = False
            self._tell("eye_silent", "belt", f"photo-eye {self.name} answers again", "its beam counts", recovered=True)
        if gap_s > self._blink_s or self._watching_since == math.inf:
            self._watching_since = at
        self._sample(at, broken != self._settings.inverted, gap_s / 2)

    def _told(self, broken: bool, at: float) -> None:
        try:
            broken, now = broken != self._settings.inverted, self._clock.now()
            if broken and not now - OLDEST_S <= at <= now + AHEAD_S:
                raise ValueError(
                    f"it told of a moment {at - now:+.6g} s from now; moments are those of the line's clock"
                )
            self._sample(at, broken, 0.0)
        except Exception as error:  # the thread is not ours, and must go on whatever an item leads to
            self._failed(error)

    def _sample(self, at: float, broken: bool, error_s: float) -> None:
        """Takes the beam's state at a moment; a change of it happened within error_s of the middle before it."""
        if self._broken and self._free_since is not None and at - self._free_since >= self._settings.debounce_ms / 1e3:
            self._broken, free_since, self._free_since = False, self._free_since, None
            self._on_edge(Edge(free_since, broken=False))
        if broken:
            before, self._broken, self._free_since = self._broken, True, None
            if before is False:
                self._on_edge(Edge(at - error_s, error_s))
        elif self._broken is None:
            self._broken = False
        elif self._broken and self._free_since is None:
            self._free_since = at - error_s

    def _fall_silent(self, how: str) -> None:
        self._watching_since, self._broken, self._free_since = math.inf, None, None
        if not self._silent:
            self._silent = True
            self._tell("eye_silent", "belt", f"photo-eye {self.name} {how}", self._blindness)

    def _failed(self, error: Exception) -> None:
        _log.debug("photo-eye %s failed", self.name, exc_info=True)
        cause = f"photo-eye {self.name}: {type(error).__name__}: {error}"
        self._tell("photo_eye_failed", "line", cause, "this edge is lost, it goes on")

    def _run(self) -> None:
        ask_for_precedence()
        while not self.stopping.wait(self.period_s):
            try:
                self.poll()
            except Exception as error:  # the outermost loop: what an edge leads to must not blind the eye
                self._failed(error)


class PhotoEyes:
    """All photo-eyes of a line by name: `trigger`, and each confirmed lane's.

    The constructor opens them and raises ConfigError, naming the table, when one cannot be; they are quiet
    until `start`. on_edge(name, edge) is called by several threads.
    """

    def __init__(
        self,
        settings: Mapping[str, EyeSettings],
        clock: Clock,
        tell: Tell,
        on_edge: Callable[[str, Edge], None],
    ) -> None:
        self._clock = clock
        self._eyes: dict[str, PhotoEye] = {}
        try:
            for name, one in settings.items():
                self._eyes[name] = self._open(name, one, tell, on_edge)
        except BaseException:
            self.stop()
            raise

    @property
    def polled(self) -> list[PhotoEye]:
        """Those that are asked: who runs without threads polls each of them every period_s."""
        return [eye for eye in self._eyes.values() if eye.polled]

    def watching_since(self, name: str) -> float:
        """Since when an eye has answered without a gap; infinity while it does not, or is not there."""
        return self._eyes[name].watching_since if name in self._eyes else math.inf

    def start(self, threaded: bool) -> None:
        for eye in self._eyes.values():
            eye.start(threaded)

    def stop(self, timeout_s: float = 1.0) -> None:
        """Ends all threads at once and lets go of every eye; may be called twice, or without `start`."""
        for eye in self._eyes.values():
            eye.stopping.set()
        until = self._clock.now() + timeout_s
        for eye in self._eyes.values():
            eye.join(max(until - self._clock.now(), 0.01))
        closes = {name: close for name, one in self._eyes.items() if (close := getattr(one.eye, "close", None))}
        for name, how in close_all(closes, CLOSE_S).items():
            _log.warning("photo-eye %s: %s", name, how)

    def attach(self, world: Any) -> None:
        """Tells the simulated ones which belt they look at."""
        for name, one in self._eyes.items():
            if attach := getattr(one.eye, "attach", None):
                attach(world, None if name == TRIGGER else name)

    def told(self, name: str, at: float) -> None:
        """Somebody outside says that an item broke a beam at a moment; ConfigError for an eye that is not told so."""
        one, now = self._eyes.get(name), self._clock.now()
        told = getattr(one.eye, "told", None) if one else None
        if told is None:
            raise ConfigError(f'there is no photo-eye {name!r} of type = "http"')
        if now - at > OLDEST_S:
            raise ConfigError(
                f"photo-eye {name!r} was told {now - at:.1f} s late; at most {OLDEST_S:g} s can be made up"
            )
        told(min(at, now))

    def trouble(self) -> str | None:
        """Which of them do not answer; None when all are well."""
        return "; ".join(filter(None, (eye.trouble() for eye in self._eyes.values()))) or None

    def _open(self, name: str, settings: EyeSettings, tell: Tell, on_edge: Callable[[str, Edge], None]) -> PhotoEye:
        table = _table(name)
        try:
            eye = open_eye(settings, self._clock, table)
        except ConfigError as error:
            said = str(error)
            raise ConfigError(said if said.startswith(table) else f"{table}: {said}") from None
        if name == TRIGGER:
            blindness = "no item is seen until it answers again: everything goes to the default lane"
        else:
            blindness = "pushes are made and not confirmed until it answers again"
        return PhotoEye(name, eye, settings, self._clock, tell, blindness, partial(on_edge, name))


def begin_to_listen(name: str, eye: Any, tell: Callable[[bool, float], None]) -> None:
    """Lets an eye that is told of changes tell of them from now on.

    Raises ConfigError, naming the eye's table, when it cannot listen or does not come back from it.
    """
    try:
        within(LISTEN_S, lambda: eye.listen(tell), "listen(tell)")
    except BaseException as error:  # an eye may be the user's own and raise anything
        pass_interrupt(error)
        how = f"listen(tell) failed ({type(error).__name__}: {error})"
        if isinstance(error, NotBack):
            how = f"{error}: it has to return at once, and tell from a thread of its own"
        raise ConfigError(f"{_table(name)}: {how}") from None


def _table(name: str) -> str:
    """The table of the configuration that describes an eye."""
    return "items.trigger" if name == TRIGGER else f"the photo-eye of lane {name!r}"

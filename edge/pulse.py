"""Outputs that hold their diverter out for a while: out at once, back at rest when the pulse is over, come what may."""

import logging
import threading
from collections.abc import Callable, Mapping
from math import inf
from time import monotonic, sleep
from typing import ClassVar, TypeVar

from edge.errors import OutputError, OutputRefused
from edge.outputs import Output, OutputSettings, Report
from edge.priority import ask_for_real_time
from edge.records import Actuation, Decision

_log = logging.getLogger("sortline.pulse")

RETRY_S = 0.25  # what failed is tried again after so long: bringing the diverter back, reaching the other side
LOOK_S = 0.25  # and so often it is seen whether the connection still stands
# A push that was not answered may be made yet, when a device that was stuck goes on: so long it is told to be at rest.
DOUBT_S = 5.0
CLOSE_S = 0.4  # so long `close` tries; a line waits a little longer for all its outputs together
LAST_RETRY_S = 0.02  # and so often
LAST_PULSE_S = CLOSE_S / 2  # a pulse that is under way is let come to its end for so long: its item was pushed

Answer = TypeVar("Answer")


class PulsedOutput(Output):
    """A diverter that is set out and set back: a subclass says how, by `_set_out` and `_set_back`.

    `fire` returns as soon as the diverter is out. A thread of the output's own brings it back when the pulse is
    over, and tries until it is back: meanwhile it is the incident `diverter_out`. A push that comes while it is
    out sets it out again, and the pulse counts from there. The same thread keeps the connection, where there is
    one, and makes it anew when it was lost (`output_unreachable`), so that the next push finds it.

    A push never waits for longer than its item has: what cannot leave within actuation.within_s, because
    the connection is away or something else is on it, raises OutputError and is not made.
    """

    connects: ClassVar[bool] = False
    """Whether there is a connection that can be lost."""

    def __init__(
        self, name: str, settings: OutputSettings, *, answer_s: float = 1.0, brings_back: bool = True,
        alive_s: float = inf, must_answer: bool = True,
    ) -> None:  # fmt: skip
        """Answers are waited for up to answer_s. brings_back is false where the other side ends the pulse by itself.

        Every alive_s seconds the other side is told what holds anyway. With must_answer OutputError is raised when it
        cannot be reached; without, that is left to the thread.
        """
        super().__init__(name, settings)
        self._answer_s, self._brings_back, self._alive_s = answer_s, brings_back, alive_s
        self._changed = threading.Condition(threading.Lock())
        self._rest_at = inf  # when the diverter has to be back at rest; infinite while it is
        self._try_at, self._alive_at, self._doubt_until = -inf, 0.0, 0.0
        self._begun = self._closing = self._closed = False
        self._stray = False  # whether it was found out although nobody pushes
        self._slipped = self._deaf = False  # whether what it was last told went unheard, and whether that has been told
        self._report: Report | None = None
        self._troubles: dict[str, tuple[str, str]] = {}
        self._why = ""
        self._thread = threading.Thread(target=self._run, name=f"sortline-pulse-{name}", daemon=True)
        try:
            self._ready = self._reached()
        except OutputError as error:
            if must_answer:
                self._let_go()
                raise OutputError(f"outputs.{name}: {error}") from None
            self._ready, self._why = False, str(error)
        self._thread.start()

    def _set_out(self, until: float) -> None:
        """Sets the diverter out before a moment of time.monotonic(); OutputError, or OutputRefused, when it did not."""
        raise NotImplementedError

    def _set_back(self, until: float) -> None:
        """Brings it back at rest; raises OutputError."""
        raise NotImplementedError

    def _at_rest(self) -> bool:
        """Whether it is at rest, asked of the other side, which is reached for that; raises OutputError."""
        return True

    def _is_lost(self) -> bool:
        """Whether the connection has ended; returns at once."""
        return False

    def _keep_alive(self, until: float) -> None:
        """Tells the other side what holds anyway; raises OutputError."""
        self._set_back(until)

    def _wake(self) -> None:
        """Ends, from any thread, a wait for the other side's answer."""

    def _let_go(self) -> None:
        """Lets go of what the output holds."""

    def begin(self, about: Mapping[str, str]) -> None:
        super().begin(about)
        with self._changed:
            self._begun = True
            self._take_in_stray()
            self._changed.notify_all()

    def fire(self, actuation: Actuation) -> None:
        if self.settings.on == "fire":
            self._push(actuation.pulse_s, actuation.within_s)

    def decided(self, decision: Decision) -> None:
        self._push(self.settings.pulse_ms / 1e3, inf)

    def report_to(self, report: Report) -> None:
        with self._changed:
            self._report = report
            for name, (cause, action) in self._troubles.items():
                report(name, cause, action)

    def _asked(self, question: Callable[[], Answer]) -> Answer:
        """The other side's answer, in the calling thread; raises OutputError when it cannot be reached."""
        with self._changed:
            self._be_ready_by(monotonic() + self._answer_s)
            return question()

    def close(self) -> None:
        until = monotonic() + CLOSE_S
        self._closing = True
        if self._changed.acquire(timeout=CLOSE_S / 4):
            self._changed.notify_all()
            self._changed.release()
            self._thread.join(CLOSE_S / 4)
        if self._thread.is_alive():
            self._wake()
            self._thread.join(max(until - monotonic(), 0.0))
        if self._closed:
            return
        self._closed = True
        try:
            self._bring_back_by(until)
        finally:
            if not self._thread.is_alive():
                self._let_go()

    def _bring_back_by(self, until: float) -> None:
        """The last tries, once the thread has ended."""
        if not self._thread.is_alive() and self._rest_at < inf:
            sleep(max(min(self._rest_at, until - CLOSE_S + LAST_PULSE_S) - monotonic(), 0.0))
        while self._rest_at < inf:
            if self._thread.is_alive():
                raise OutputError("the other side does not come back; its diverter is still out")
            try:
                self._set_back(until)
                self._rest_at = inf
            except OutputError as error:
                if monotonic() + LAST_RETRY_S > until:
                    raise OutputError(f"{error}; its diverter is still out") from None
                sleep(LAST_RETRY_S)

    def _push(self, pulse_s: float, within_s: float) -> None:
        """In the calling thread: out, unless that cannot leave in time."""
        begun = monotonic()
        until = begun + self._answer_s
        leave_by = min(begun + within_s, until)
        if not (free := self._changed.acquire(blocking=False)):
            free = self._changed.acquire(timeout=max(leave_by - monotonic(), 0.0))
            if not free or monotonic() > leave_by:
                if free:
                    self._changed.release()
                raise OutputError(self._why or "still waited for an answer to something else while the item went by")
        try:
            self._be_ready_by(leave_by)
            try:
                self._set_out(until)
            except BaseException as error:
                if self._brings_back and not isinstance(error, OutputRefused):
                    self._rest_at = min(self._rest_at, monotonic())  # it may be out, or come out yet
                    self._doubt_until = monotonic() + DOUBT_S
                raise
            if self._brings_back:
                # From now: an answer takes its time, but no pulse is shorter than it should be.
                self._rest_at, self._try_at = monotonic() + pulse_s, -inf
        finally:
            self._changed.notify_all()
            self._changed.release()

    def _be_ready_by(self, leave_by: float) -> None:
        """Waits for the connection, as long as the push has time; the lock is held."""
        if self._ready and self._is_lost():
            self._ready = False
            self._changed.notify_all()
        if self._ready and not self._closing:
            return
        self._changed.wait_for(lambda: self._ready or self._closing, max(leave_by - monotonic(), 0.0))
        if self._closing:
            raise OutputError("is closed")
        if not self._ready or monotonic() > leave_by:
            raise OutputError(self._why or "the connection was lost, and is not back while the item goes by")

    def _run(self) -> None:
        """In the output's own thread, which holds the lock except where it waits, or connects."""
        ask_for_real_time(49)
        stumbled = False
        with self._changed:
            while not self._closing:
                try:
                    self._step()
                except Exception as error:  # the outermost loop: without it nothing would come back to rest
                    self._is_ill("output_unreachable", f"{type(error).__name__}: {error}", "tried again")
                    stumbled = True
                    self._changed.wait(RETRY_S)
                else:
                    if stumbled and self._ready and not self._deaf:
                        stumbled = False
                        self._is_well("output_unreachable", "goes on")

    def _step(self) -> None:
        """What is due now, one thing at a time; else sleeps until the next."""
        now = monotonic()
        if self._ready and self.connects and self._is_lost():
            self._ready = False
        if not self._ready:
            self._reach_again()
        elif max(self._rest_at, self._try_at) <= now:
            self._bring_back(now)
        elif self._rest_at == inf and self._tell_at(now) <= now:
            self._stay_alive(now)
        else:
            self._changed.wait(self._next(now) - now)

    def _next(self, now: float) -> float:
        """When there is something to do next."""
        at = max(self._rest_at, self._try_at)
        if self.connects:
            at = min(at, now + LOOK_S)
        if self._rest_at == inf:
            at = min(at, self._tell_at(now))
        return min(at, now + threading.TIMEOUT_MAX / 2)

    def _tell_at(self, now: float) -> float:
        """When the other side is told next what holds anyway."""
        if not self._begun:
            return inf
        hurried = self._deaf or now < self._doubt_until
        return self._alive_at + (min(RETRY_S, self._alive_s) if hurried else self._alive_s)

    def _reached(self) -> bool:
        """Reaches the other side, and sees what stands out there although nobody pushes."""
        self._stray = not self._at_rest() and self._brings_back and self._rest_at == inf
        return True

    def _take_in_stray(self) -> None:
        """What stands out is brought back; not before a line begins, for another one may run."""
        if self._begun and self._stray:
            _log.warning("outputs.%s: not at rest though nothing is pushed, as a killed program leaves it", self.name)
            self._stray, self._rest_at = False, monotonic()

    def _reach_again(self) -> None:
        """Without the lock, so that a push that comes meanwhile can give up in time."""
        self._changed.release()
        try:
            self._reached()
            failed = None
        except OutputError as error:
            failed = error
        finally:
            self._changed.acquire()
        if failed is None:
            self._ready, self._why, self._try_at = True, "", -inf
            self._take_in_stray()
            self._changed.notify_all()
            if not self._deaf:
                self._is_well("output_unreachable", "is reached again")
        else:
            self._why = str(failed)
            if self._closing:
                return  # it may be given up for that
            self._is_ill("output_unreachable", self._why, "tried again until it is; nothing is pushed meanwhile")
            if self._rest_at <= monotonic():
                self._stays_out(failed)
            self._changed.wait(RETRY_S)

    def _bring_back(self, now: float) -> None:
        try:
            self._set_back(now + self._answer_s)
        except OutputError as error:
            self._try_at = monotonic() + RETRY_S
            self._stays_out(error)
        else:
            self._rest_at, self._try_at, self._alive_at = inf, -inf, now
            self._is_well("diverter_out", "its diverter is back at rest")

    def _stays_out(self, error: OutputError) -> None:
        if "diverter_out" in self._troubles:
            return  # it is the same blade for whatever reason
        cause = f"{error}: its diverter was told to push, and nobody knows it back at rest"
        self._is_ill("diverter_out", cause, "tried again until it is back; what passes it goes into its lane")

    def _stay_alive(self, now: float) -> None:
        self._alive_at = now
        try:
            self._keep_alive(now + self._answer_s)
        except OutputError as error:
            if lost := self._is_lost():
                self._ready, self._why = False, str(error)
            # What was lost with its connection may be heard on the next one; a refusal stays one.
            if self._slipped or not lost:
                self._deaf = True
                action = "told again until it takes it; pushes are tried meanwhile"
                self._is_ill("output_unreachable", str(error), action)
            self._slipped = True
        else:
            if self._deaf:
                self._is_well("output_unreachable", "takes again what it is told")
            self._slipped = self._deaf = False

    def _is_ill(self, name: str, cause: str, action: str) -> None:
        if self._troubles.get(name) != (cause, action):
            self._troubles[name] = cause, action
            if self._report:
                self._report(name, cause, action)

    def _is_well(self, name: str, cause: str) -> None:
        if self._troubles.pop(name, None) and self._report:
            self._report(name, cause, "pushes are made again", recovered=True)

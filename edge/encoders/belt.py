"""The belt whose position an encoder tells, its silence noticed and what it cannot mean not believed."""

import logging
import math
import threading
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edge.belt import Place, SampledBelt
from edge.bounded import close_all
from edge.clock import Clock
from edge.encoders import Encoder, EncoderSettings, counted
from edge.errors import pass_interrupt
from edge.priority import ask_for_precedence, ask_for_real_time

_log = logging.getLogger("sortline.encoders")

# After so many polls without an answer the belt's position is not known any more.
SILENT_POLLS = 10
FIRST_S = 1.0  # the first answer may take longer: something has to be connected to
BEHIND_THE_HAND = 48  # real-time priority: the threads that push have 49 and 50
FASTEST = 5.0  # times belt.speed_mm_s: no belt runs faster, unless max_speed_mm_s says so
SCAN_S = 0.01  # what hands on a counter renews it so often at the most: the step then seems made in one poll
RENEWED_S = 0.5  # a counter that was set to another value is taken anew once it has gone on evenly for so long
ANSWERS = 2000  # so many answers show how long one takes: to get used to slower ones takes longer than an item's way
CALM_S = 1.0  # jumps are over when there was none for so long
REPEATED_S = 10.0  # and a silence that follows another so soon stands until there was none for so long
STOP_S, CLOSE_S = 0.5, 0.5

Trouble = Literal["encoder_silent", "encoder_jump", "encoder_reset"]
OnTrouble = Callable[[Trouble, bool, str], None]


class _Usual:
    """How long an answer usually takes: the median of the newest ones, in seconds."""

    def __init__(self) -> None:
        self._newest: deque[float] = deque()
        self._ordered: list[float] = []

    def with_one_more(self, took_s: float) -> float:
        """Takes in how long one more has taken, and tells the median."""
        if len(self._newest) == ANSWERS:
            del self._ordered[bisect_left(self._ordered, self._newest.popleft())]
        self._newest.append(took_s)
        insort(self._ordered, took_s)
        return self._ordered[len(self._ordered) // 2]


@dataclass(slots=True)
class _Other:
    """Counts that do not follow from what was known and may be a counter that was set anew."""

    since: float
    at: float
    counts: int | float
    answers: int = 1


class EncoderBelt(SampledBelt):
    """A belt whose position an encoder tells, asked again and again by a thread of its own.

    Position 0 is where the belt stands at the first answer. When the encoder is silent for ten polls, or for ten
    times poll_ms, the position is not `known` and nothing is pushed until it answers again. Silences that follow one
    another within REPEATED_S are told as two: the first, and all others.

    Counts for which the belt would have to run faster than fastest_mm_s are no answer. If they go on evenly from
    there, for ten answers and half a second, the counter was set anew: on_anew is called, for where the things on
    the belt are is not known any more, and counting goes on from where the belt should be by then.

    Nor is one that took so much more or less time than others do that the belt may have been tolerance_mm from there.

    on_trouble is told of it: the incident, whether it is over, and a sentence. on_change is called when the belt
    does not go on as predicted.
    """

    def __init__(
        self,
        encoder: Encoder,
        settings: EncoderSettings,
        clock: Clock,
        on_change: Callable[[], None],
        on_trouble: OnTrouble,
        on_anew: Callable[[], None] = lambda: None,
        fastest_mm_s: float = math.inf,
        tolerance_mm: float = math.inf,
    ) -> None:
        super().__init__(window_s=max(8 * settings.poll_ms / 1e3, 0.02))
        self._encoder, self._settings, self._clock = encoder, settings, clock
        self._on_change, self._on_trouble, self._on_anew = on_change, on_trouble, on_anew
        self._fastest_mm_s, self._tolerance_mm = fastest_mm_s, tolerance_mm
        self._usual = _Usual()
        self._anchor: tuple[int | float, float] | None = None  # the counts from which on, and the position there
        self._counts: int | float = 0
        self._anew_at = -math.inf
        self._other: _Other | None = None
        self._failed = 0
        self._why = ""
        self._answered_at = self._heard_at = self._asked_at = clock.now()  # believed; at all; last asked
        self._jumped_at = self._silent_at = -math.inf
        self._restless = False  # it falls silent again and again,
        self._silence = ""  # and how that was noticed last
        self._telling = threading.RLock()
        self._standing: set[Trouble] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sortline-encoder", daemon=True)

    @property
    def period_s(self) -> float:
        """The time between two polls."""
        return self._settings.poll_ms / 1e3

    def known(self) -> bool:
        return (
            self._anchor is not None
            and self._failed < SILENT_POLLS
            and self._clock.now() - self._answered_at < self._patience_s
        )

    def place(self, at: float) -> Place:
        """What lies between two answers too far apart, before the first, or too long after the last is a guess.

        So is what lies before the counter was taken anew: nothing that was seen then has a place any more.
        """
        with self._lock:
            before, after = self._around(at)
            position_mm = self._between(at, before, after)
            anew = at < self._anew_at
        told_s = (after[0] if after else at) - (before[0] if before else -math.inf)
        return Place(position_mm, sure=told_s < self._patience_s and not anew, final=after is not None)

    @property
    def _patience_s(self) -> float:
        return SILENT_POLLS * self.period_s

    def start(self) -> None:
        self._answered_at = self._heard_at = self._clock.now()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and lets go of the encoder; one that hangs is left behind."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)
            if self._thread.is_alive():
                _log.warning("the encoder has not come back for %.1f s, left behind", self._silent_s())
        if close := getattr(self._encoder, "close", None):
            for name, how in close_all({"the encoder": close}, CLOSE_S).items():
                _log.warning("%s: %s", name, how)

    def trouble(self) -> str | None:
        """Why it is not known where the belt is, or is not again and again; None when it is."""
        if self._anchor is not None and self.known():
            again = self._restless and "encoder_silent" in self._standing
            return f"it falls silent again and again ({self._silence})" if again else None
        if self._other is not None and not self._failed and not self._hangs():
            return f"its counts jump and are not believed{self._because()}"
        if self._anchor is None:
            return f"it has not answered yet{self._because()}"
        return f"it has not answered for {self._silent_s():.1f} s{self._because()}"

    def look_after(self) -> None:
        """Tells of an encoder that does not come back from being asked, while it does not; called again and again."""
        with self._telling:
            if self._hangs():
                self._fall_silent(f"the encoder has not answered for {self._silent_s():.1f} s{self._because()}")

    def poll(self) -> None:
        """Asks the encoder once."""
        asked_at = self._clock.now()
        try:
            counts = counted(self._encoder.read())
        except BaseException as error:  # an encoder may be the user's own and raise anything
            pass_interrupt(error)
            self._unanswered(f"{type(error).__name__}: {error}")
            return
        if self._stopping.is_set():
            return  # it came back late from a question that nobody asks any more
        # The counts belong to a moment within the question and its answer: the middle errs least.
        now = self._clock.now()
        at, elapsed_s = (asked_at + now) / 2, now - self._asked_at
        if (off_mm := self._off_mm(at, counts, now - asked_at)) > self._tolerance_mm:
            took_ms = (now - asked_at) * 1e3
            self._unanswered(f"an answer took {took_ms:.0f} ms: the belt may be {off_mm:.0f} mm from where it says")
            return
        self._asked_at = asked_at
        with self._telling:
            if self._hangs():
                allowed = f"belt.encoder.poll_ms = {self._settings.poll_ms:g} allows for {self._patience_s * 1e3:g}"
                self._fall_silent(f"the encoder did not answer for {self._silent_s() * 1e3:.0f} ms; {allowed}")
            self._failed, self._heard_at = 0, now
            if not self._restless or now - self._silent_at > REPEATED_S:
                self._over("encoder_silent", "the encoder answers again")
        if not self._believed(at, counts, elapsed_s):
            return
        self._answered_at, self._why = now, ""
        if at - self._jumped_at > CALM_S:
            self._over("encoder_jump", "the encoder's counts go on without a jump")
        if not self.goes_on_as_told(at):
            self._on_change()

    def _unanswered(self, why: str) -> None:
        self._failed, self._why = self._failed + 1, why
        if self._failed >= SILENT_POLLS and (self._anchor is not None or self._hangs()):
            self._fall_silent(f"the encoder does not answer ({why})")

    def _off_mm(self, at: float, counts: int | float, took_s: float) -> float:
        """How far off the place may be for the answer's having taken another time than usual.

        When in that time the counts were taken nobody knows. Where it is always the same, every place is off by the
        same way, which does not matter.
        """
        odd_s = abs(took_s - self._usual.with_one_more(took_s))
        if not self._samples:
            return 0.0
        last_at, last_mm = self._samples[-1]
        ran_mm_s = abs(self._mm(counts) - last_mm) / max(at - last_at, SCAN_S)
        return odd_s / 2 * min(max(ran_mm_s, abs(self.speed_mm_s(at))), self._fastest_mm_s)

    def _believed(self, at: float, counts: int | float, elapsed_s: float) -> bool:
        """Takes counts for where the belt is, unless no belt could have come there; elapsed_s since it was last asked.

        elapsed_s is reckoned from question to answer, so that it is never less than what really lay between.
        """
        if self._anchor is None:
            self._anchor = counts, 0.0
        position_mm = self._mm(counts)
        if self._samples:
            # While it was silent the belt may have run on. That it ran back as far is less likely than a counter
            # that was set to 0.
            last_mm, forward_mm = self._samples[-1][1], self._reach_mm(elapsed_s)
            back_mm = self._reach_mm(min(elapsed_s, self._patience_s))
            if self._other is not None:
                # After a jump only what goes on as before is believed: else it seemed slower with every answer.
                last_mm, forward_mm = self.position_mm(at), back_mm
            if not -back_mm <= position_mm - last_mm <= forward_mm:
                if not self._renewed(at, counts, position_mm - last_mm, elapsed_s):
                    return False
                position_mm = self._mm(counts)
        self._other, self._counts = None, counts
        self.sample(at, position_mm)
        return True

    def _renewed(self, at: float, counts: int | float, jump_mm: float, elapsed_s: float) -> bool:
        """Whether counts that do not follow have gone on evenly for so long that the counter was set anew."""
        other, self._jumped_at = self._other, at
        if other is None:
            cause = (
                f"the encoder went from {self._counts:.10g} to {counts:.10g} counts in {elapsed_s * 1e3:.0f} ms, "
                f"{jump_mm:.4g} mm of belt; no belt is believed to run faster than {self._fastest_mm_s:g} mm/s "
                "(belt.encoder.max_speed_mm_s)"
            )
            self._why = f"from {self._counts:.10g} to {counts:.10g}"
            with self._telling:
                self._tell("encoder_jump", cause)
        reach_mm = self._reach_mm(min(elapsed_s, self._patience_s))
        if other is None or abs((counts - other.counts) / self._settings.counts_per_mm) > reach_mm:
            self._other = _Other(at, at, counts)
            return False
        other.at, other.counts, other.answers = at, counts, other.answers + 1
        if other.answers < SILENT_POLLS or at - other.since < RENEWED_S:
            return False
        self._on_anew()
        with self._lock:
            self._anew_at = at
        self._anchor = counts, self.position_mm(at)
        cause = f"the encoder's counter was set to another value: it goes on evenly, and is at {counts:.10g} now"
        self._on_trouble("encoder_reset", False, cause)
        return True

    def _mm(self, counts: int | float) -> float:
        assert self._anchor is not None
        first, position_mm = self._anchor
        return position_mm + (counts - first) / self._settings.counts_per_mm

    def _reach_mm(self, seconds: float) -> float:
        """How far the belt can have come: a count more or less at either end does not matter."""
        return self._fastest_mm_s * max(seconds, SCAN_S) + 2 / abs(self._settings.counts_per_mm)

    def _because(self) -> str:
        return f" ({self._why})" if self._why else ""

    def _silent_s(self) -> float:
        return self._clock.now() - self._heard_at

    def _hangs(self) -> bool:
        return self._silent_s() >= (self._patience_s if self._anchor is not None else max(FIRST_S, self._patience_s))

    def _fall_silent(self, how: str) -> None:
        now = self._clock.now()
        if "encoder_silent" not in self._standing:
            self._restless = now - self._silent_at <= REPEATED_S
        self._silent_at, self._silence = now, how
        self._tell("encoder_silent", how)

    def _tell(self, name: Trouble, cause: str) -> None:
        """Tells of a trouble once, until it is over."""
        with self._telling:
            if name not in self._standing:
                self._standing.add(name)
                self._on_trouble(name, False, cause)

    def _over(self, name: Trouble, cause: str) -> None:
        with self._telling:
            if name in self._standing:
                self._standing.remove(name)
                self._on_trouble(name, True, cause)

    def _run(self) -> None:
        # Pushes are made by what this thread knows: behind busy programs it would tell of a belt of some while ago.
        if ask_for_real_time(BEHIND_THE_HAND) is not None:
            ask_for_precedence()
        while not self._stopping.wait(self.period_s):
            self.poll()

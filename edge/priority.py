"""Who runs first: real-time priority for the hand, precedence for the line's other threads.

Python threads share one interpreter lock. A real-time thread that waits for a lock whose holder has
been set aside for some other process waits as long as that process likes, so the line's other threads
need precedence too: not real-time, which could take a whole core, but a lower nice value.
"""

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.bounded import Done, within

NICE = -15
WEB_NICENESS = 10  # of every thread of the web side
# How long a thread may keep the interpreter when another one waits for it; Python's default is 5 ms.
SWITCH_S = 0.002
# So long a thread can keep the interpreter in its sleep before another one makes it hand over.
IN_HAND_S = 0.9 * SWITCH_S


def ask_for_real_time(priority: int = 50) -> str | None:
    """Asks the system to run the calling thread before all ordinary ones (Linux SCHED_FIFO).

    Returns None when it was granted, else one sentence that says why not and what would grant it.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except (AttributeError, OSError) as error:
        reason = getattr(error, "strerror", None) or "this system has none"
        return (
            f"real-time priority was not granted ({reason}): under load a push can come some milliseconds "
            "late; grant it with the capability CAP_SYS_NICE or an rtprio limit"
        )
    return None


def ask_for_precedence() -> None:
    """Asks that the calling thread runs before ordinary ones; where that is not granted it stays ordinary.

    On Linux a nice value belongs to a thread, so the rest of the process keeps its own.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    except (AttributeError, OSError):
        return


def with_precedence(work: Callable[[], Done]) -> Done:
    """Does a piece of work in a thread of its own that has precedence; what it raises is raised here.

    Threads that the work starts, as the pool of a model's engine, inherit the precedence: a classifying
    thread that waits for a pool that ordinary programs hold back would gain nothing by its own.
    """

    def favoured() -> Done:
        ask_for_precedence()
        return work()

    return within(None, favoured, "work with precedence")


@contextmanager
def session_precedence() -> Iterator[None]:
    """Gives the calling thread, and what it starts, precedence while the block runs.

    Linux may share the processor out between login sessions first (autogroups, see sched(7)); a nice
    value then counts only within its session. So the session gets precedence too, until the block ends.
    """
    ask_for_precedence()
    group = Path("/proc/self/autogroup")
    before = None
    try:
        before = group.read_text().rpartition(" ")[2]
        group.write_text(str(NICE))
    except OSError:
        before = None
    try:
        yield
    finally:
        if before is not None:
            with suppress(OSError):
                group.write_text(before)


def hand_over_quickly() -> None:
    """Makes this process's threads hand the interpreter over sooner than by default."""
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_S))


class _Timespec(ctypes.Structure):
    """C's struct timespec where a long has 64 bits."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def _sleep_that_holds() -> Callable[..., int] | None:
    """The system's clock_nanosleep, called without letting go of the interpreter; None where there is none."""
    if ctypes.sizeof(ctypes.c_long) != 8:
        return None
    try:
        function: Callable[..., int] = ctypes.PyDLL(None).clock_nanosleep
    except (AttributeError, OSError, TypeError):  # TypeError: Windows has no handle for the program itself
        return None
    return function


_ABSOLUTE = 1  # TIMER_ABSTIME
_clock_nanosleep = _sleep_that_holds()


def sleep_in_hand(until: float) -> None:
    """Sleeps up to a moment of time.monotonic(), not further than IN_HAND_S away, and keeps the interpreter.

    Whoever sleeps without it may have to wait for a thread that computes, after the moment. What other
    threads do outside of the interpreter, as finding items and classifying, goes on meanwhile. Where the
    system cannot do that (Linux with 64 bits can) this is an ordinary sleep.
    """
    if _clock_nanosleep is None:
        time.sleep(max(until - time.monotonic(), 0.0))
        return
    seconds = int(until)
    moment = _Timespec(seconds, int((until - seconds) * 1e9))
    # A signal ends it early, with an error: the rest is slept then.
    while _clock_nanosleep(time.CLOCK_MONOTONIC, _ABSOLUTE, ctypes.byref(moment), None):
        if time.monotonic() >= until:
            return

"""A call of somebody's own code that need not come back: it is waited for so long, and no longer."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from time import monotonic
from typing import TypeVar

from edge.errors import pass_interrupt

Done = TypeVar("Done")


class NotBack(Exception):
    """What was called has not come back in time."""


def within(seconds: float | None, work: Callable[[], Done], name: str) -> Done:
    """Does a piece of work in a thread of its own and returns its result, or raises what it raised.

    Raises NotBack, which calls it by its name, when it has not come back after so many seconds; None waits for
    ever. Nobody can end it from outside: its thread is a daemon and is left behind.
    """
    done = begun(work)
    try:
        return done.result(seconds)
    except TimeoutError:
        if done.done():  # the work itself has raised it
            raise
        raise NotBack(f"{name} has not come back for {seconds:g} s") from None


def close_all(closes: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, str]:
    """Lets go of several parts, all at once: which of them failed, and how, as words that follow their names.

    Raises nothing and takes no longer than so many seconds: a part that does not let go keeps no line from ending.
    """
    until, failed = monotonic() + seconds, {}
    for name, done in [(name, begun(close)) for name, close in closes.items()]:
        try:
            done.result(max(until - monotonic(), 0.0))
        except BaseException as error:
            pass_interrupt(error)
            late = isinstance(error, TimeoutError) and not done.done()
            how = f"has not come back for {seconds:g} s" if late else f"failed ({type(error).__name__}: {error})"
            failed[name] = f"close() {how}"
    return failed


def begun(work: Callable[[], Done]) -> "Future[Done]":
    """Does a piece of work in a thread of its own, a daemon; its result, or what it raised, is in the Future."""
    done: Future[Done] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="sortline-bounded", daemon=True).start()
    return done

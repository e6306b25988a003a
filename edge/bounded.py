"""A call of somebody's own code that need not come back: it is waited for so long, and no longer."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Done = TypeVar("Done")


class NotBack(Exception):
    """What was called has not come back in time."""


def within(seconds: float | None, work: Callable[[], Done], name: str) -> Done:
    """Does a piece of work in a thread of its own and returns its result, or raises what it raised.

    Raises NotBack, which calls it by its name, when it has not come back after so many seconds; None waits for
    ever. Nobody can end it from outside: its thread is a daemon and is left behind.
    """
    done: Future[Done] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="sortline-bounded", daemon=True).start()
    try:
        return done.result(seconds)
    except TimeoutError:
        if done.done():  # the work itself has raised it
            raise
        raise NotBack(f"{name} has not come back for {seconds:g} s") from None

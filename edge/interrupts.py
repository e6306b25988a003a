"""Ctrl-C: ends a command in good order, from which the same key, pressed again at once, does not tear it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic

AGAIN_S = 2.0  # a line has ended within this


class Wish:
    """That a command may end: raises KeyboardInterrupt at Ctrl-C, but not again within AGAIN_S seconds.

    A key that bounces, or an impatient hand, would else interrupt the very steps that end it: writing what waits,
    ending its processes, the closing table.
    """

    def __init__(self) -> None:
        self._said_at = -inf

    def __call__(self, number: int, frame: object) -> None:
        if self.is_new():
            raise KeyboardInterrupt

    def is_new(self) -> bool:
        """Whether it was not said within AGAIN_S seconds; it is said now."""
        now = monotonic()
        new = now - self._said_at >= AGAIN_S
        self._said_at = now if new else self._said_at
        return new

    @contextmanager
    def heard(self) -> Iterator[None]:
        """In the block Ctrl-C is this wish, unless the program was told to ignore it; once said, it stays in force."""
        before = signal.getsignal(signal.SIGINT)
        listens = before is signal.default_int_handler or isinstance(before, Wish)
        if listens and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self)
        else:
            listens = False
        try:
            yield
        finally:
            if listens and self._said_at == -inf:
                signal.signal(signal.SIGINT, before)

    @contextmanager
    def told_as_itself(self) -> Iterator[None]:
        """The block's ImportError, once the wish was said, is it: pybind11 blames the library that was loading."""
        try:
            yield
        except ImportError:
            if self._said_at == -inf:
                raise
            raise KeyboardInterrupt from None

    @contextmanager
    def to_stop(self) -> Iterator[threading.Event]:
        """An event that Ctrl-C and SIGTERM set; Ctrl-C once more, AGAIN_S seconds later, ends the program at once."""
        stop = threading.Event()
        previous = {}

        def asked(number: int, _: object) -> None:
            again = stop.is_set()  # asked first: a second signal may come in the midst of this
            if self.is_new() and again and number == signal.SIGINT:
                raise KeyboardInterrupt
            stop.set()

        if threading.current_thread() is threading.main_thread():
            previous = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield stop
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

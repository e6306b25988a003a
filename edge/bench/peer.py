"""A part of a measurement in a process of its own, so that what measures and what is measured do not meet.

A waiting thread pool, a garbage collector or the interpreter's lock in one engine would otherwise be
felt by the next.
"""

import logging
import multiprocessing
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from edge.errors import SortlineError

START_S = 60.0
END_S = 5.0


class PeerError(SortlineError):
    """A measuring process that failed, hung or died; the sentence says which and why."""


class Peer:
    """An object of class `kind`, made with the given arguments in a fresh Python process.

        with Peer("engine", Engine, model=path, threads=2) as engine:
            seconds = engine.call("measure", runs=10, timeout_s=30)

    Ready when the constructor returns; raises PeerError when the object cannot be made. Arguments and
    results are plain values that can be pickled. The process ends with the `with` block, and with this
    process at the latest; an object that has `close` is closed.
    """

    def __init__(self, name: str, kind: type[Any], **arguments: Any) -> None:
        self._name = name
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, kind, arguments), name=name, daemon=True)
        self._process.start()
        theirs.close()
        try:
            self.answer(START_S)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, method: str, *, timeout_s: float, **arguments: Any) -> Any:
        """Calls a method of the object and waits for its result; raises PeerError."""
        self.ask(method, **arguments)
        return self.answer(timeout_s)

    def ask(self, method: str, **arguments: Any) -> None:
        """Sets a call going and returns at once; `answer` waits for its result."""
        try:
            self._ours.send((method, arguments))
        except OSError:
            raise PeerError(f"{self._name}: its process has ended") from None

    def answer(self, timeout_s: float) -> Any:
        """The result of the call that `ask` set going; raises PeerError."""
        try:
            if not self._ours.poll(timeout_s):
                raise PeerError(f"{self._name}: gave no answer within {timeout_s:.0f} s")
            good, result = self._ours.recv()
        except (EOFError, OSError):
            self._process.join(END_S)
            raise PeerError(f"{self._name}: its process ended with status {self._process.exitcode}") from None
        if not good:
            raise PeerError(f"{self._name}: {result}")
        return result

    def close(self) -> None:
        """Ends the process; may be called twice."""
        self._ours.close()
        self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(channel: Connection, kind: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """The new process: makes the object and answers calls until the other end of the channel closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the benchmark, which then ends its peers
    logging.getLogger("sortline").addHandler(logging.NullHandler())
    made: Any = None
    job: Callable[[], Any] = partial(kind, **arguments)
    try:
        while True:
            try:
                result = job()
            except Exception as error:  # the outermost loop: the other side raises it as a PeerError
                said = str(error) if isinstance(error, SortlineError) else f"{type(error).__name__}: {error}"
                channel.send((False, said))
            else:
                if made is None:
                    made, result = result, None
                channel.send((True, result))
            method, arguments = channel.recv()
            job = partial(getattr(made, method), **arguments)
    except (EOFError, OSError):
        return
    finally:
        if hasattr(made, "close"):
            made.close()

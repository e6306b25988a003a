"""The few threads that look at pictures: jobs in the order of asking, a short queue, and no more."""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import TypeVar

from edge.engines import cores

Done = TypeVar("Done")
MAX_RUNNING = min(cores(), 4)
MAX_WAITING = 8
MAX_WAIT_S = 10.0


class Overloaded(Exception):
    """More pictures wait than can be answered soon; the client should come back."""


class Workers:
    """A pool of threads with a bounded queue. `close` it, or use it as a context manager.

    As many jobs run at once as there are processors, for what a job does in native code needs no interpreter;
    a worker that has ended one job begins the next without waiting for anybody to fetch the result.
    """

    def __init__(self, running: int = MAX_RUNNING, waiting: int = MAX_WAITING) -> None:
        self._pool = ThreadPoolExecutor(running, "web-pictures")
        self._lock = threading.Lock()
        self._limit = running + waiting
        self._closed = False
        self.inside = 0

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def do(self, job: Callable[[bool], Done]) -> Done:
        """Has a job done and returns its result, or raises what it raised.

        The job is told whether it is alone, so that it may use all processors. Raises Overloaded at once when
        the queue is full, for a job that has not been begun within MAX_WAIT_S seconds, and once this is closed.
        """
        with self._lock:
            if self.inside >= self._limit or self._closed:
                raise Overloaded
            self.inside += 1
        try:
            with self._lock:
                if self._closed:  # meanwhile: the pool takes nothing any more
                    raise Overloaded
                future = self._pool.submit(lambda: job(self.inside == 1))
            try:
                return future.result(MAX_WAIT_S)
            except TimeoutError:
                if future.cancel():
                    raise Overloaded from None
                return future.result()
            except CancelledError:
                raise Overloaded from None
        finally:
            with self._lock:
                self.inside -= 1

    def close(self) -> None:
        """Ends the threads once they are done with what they have begun, the rest is refused; may be called twice."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(cancel_futures=True)

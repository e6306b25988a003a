"""A named thread with one bounded queue in front of it: what is slow waits here and delays nobody else."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

from edge.errors import pass_interrupt

_log = logging.getLogger("sortline.worker")

Job = TypeVar("Job")


class Worker(Generic[Job]):
    """Hands jobs, in order, to one function in a thread of its own.

    When `most` jobs wait already, a further one is refused: `put` answers False and the caller says
    what that means. handle must deal with the errors that it expects; anything else goes to
    on_error and the worker goes on with the next job. With threaded=False there is no thread and
    `put` does the job at once: a line on a virtual clock runs so.
    """

    def __init__(
        self,
        name: str,
        handle: Callable[[Job], None],
        most: int,
        on_error: Callable[[BaseException], None],
        *,
        threaded: bool = True,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        self.name = name
        self._handle, self._most, self._on_error, self._prepare = handle, most, on_error, prepare
        self._jobs: deque[Job] = deque()
        self._ready = threading.Condition()
        self._stopping = False
        # When the job that is being done was begun (time.monotonic); None between two jobs.
        self.since: float | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True) if threaded else None
        if self._thread:
            self._thread.start()

    def put(self, job: Job) -> bool:
        """Queues a job; False when the queue is full or the worker is stopping."""
        if self._thread is None:
            self._do(job)
            return True
        with self._ready:
            if self._stopping or len(self._jobs) >= self._most:
                return False
            self._jobs.append(job)
            self._ready.notify()
        return True

    @property
    def alive(self) -> bool:
        """Whether its thread runs; after `stop`, that it was left behind."""
        return self._thread is not None and self._thread.is_alive()

    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._jobs)

    def stop(self, timeout_s: float = 1.0) -> list[Job]:
        """Finishes what waits, for at most timeout_s, and joins; returns the jobs that were not done."""
        if self._thread is None:
            return []
        with self._ready:
            self._stopping = True
            self._ready.notify()
        self._thread.join(timeout_s)
        with self._ready:
            left = list(self._jobs)
            self._jobs.clear()
        if self._thread.is_alive():
            # A user's function that never returns cannot be ended from outside; the thread is a daemon.
            _log.warning("%s: still busy after %.1f s, left behind", self.name, timeout_s)
        return left

    def _run(self) -> None:
        if self._prepare:
            self._prepare()
        while True:
            with self._ready:
                while not self._jobs and not self._stopping:
                    self._ready.wait()
                if not self._jobs:
                    return
                job = self._jobs.popleft()
            self._do(job)

    def _do(self, job: Job) -> None:
        self.since = monotonic()
        try:
            self._handle(job)
        except BaseException as error:  # the outermost loop: becomes an incident of the owner
            pass_interrupt(error)
            self._on_error(error)
        finally:
            self.since = None

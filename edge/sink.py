"""A file that rows are written to while the line sorts: what its disk refuses waits, and is counted when it is lost.

Each file has a worker of its own, so a disk that is full or hangs under one keeps nothing from another.
"""

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, Generic, Literal, Protocol, TypeVar

from edge.worker import Worker

QUEUE = 10_000  # rows that may wait for a disk; then the oldest are given up
BATCH = 500  # with so many rows at hand nobody waits for more
RETRY_S = 1.0  # a disk that refuses is asked again so often: each time costs the machine that sorts

Trouble = Literal["journal_failed", "journal_rows_lost"]
OnTrouble = Callable[[Trouble, bool, str], None]
Row = TypeVar("Row")


class Store(Protocol[Row]):
    """What a Sink writes to. Its methods are called from one thread at a time."""

    path: Path

    def row(self, job: Any) -> Row:
        """What will be written of something that was put."""
        ...

    def write(self, rows: deque[Row]) -> None:
        """Writes rows, the left one first, and takes those away that are written; raises when the disk refuses."""
        ...

    def close(self) -> None: ...


class Sink(Generic[Row]):
    """Hands what is put to a store, which it closes in the end; gathers for every_s before it writes.

    on_trouble is told once when writing begins to fail (`journal_failed`) and once when the first row is given
    up (`journal_rows_lost`), and of the end of each, when all that waited is written: (name, recovered, sentence).
    lost counts the rows that could not be kept.
    """

    def __init__(
        self, name: str, store: Store[Row], on_trouble: OnTrouble, *, every_s: float = 0.0, threaded: bool = True
    ) -> None:
        self.lost = 0
        self._store, self._on_trouble, self._every_s = store, on_trouble, every_s
        self._pending: deque[Row] = deque()
        self._tried_at = monotonic()
        self._tried = False
        self._standing: set[Trouble] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._worker: Worker[Any] = Worker(name, self._handle, QUEUE, self._broke, threaded=threaded)

    def put(self, job: Any) -> None:
        """Takes one more row; never waits."""
        if not self._closed and not self._worker.put(job):
            self._lose(1, f"{QUEUE} rows wait, and the disk takes none")

    def tick(self) -> None:
        """Called now and then, so that a quiet belt's last rows reach the disk too.

        The first time without rows as well: that a store could not be opened is told before the first item.
        """
        if self._pending or not self._tried:
            self._worker.put(None)

    def hurry(self) -> None:
        """Writes what waits as soon as may be."""
        self._worker.put(None)

    def stop(self, timeout_s: float) -> None:
        """Writes what waits and closes; what is not written within timeout_s is lost."""
        self._worker.put(None)
        left = sum(job is not None for job in self._worker.stop(timeout_s))
        self._closed = True
        if not self._worker.alive:  # else the disk hangs, and the store is still its thread's
            try:
                if self._pending and "journal_failed" not in self._standing:
                    self._write()
                self._store.close()
            except Exception as error:
                self._failed(error)
        if left := left + len(self._pending):
            self._lose(left, "the line stopped before its disk took them", again=True)

    def _handle(self, job: Any) -> None:
        if job is not None:
            self._pending.append(self._store.row(job))
        refused = "journal_failed" in self._standing
        wait_s = RETRY_S if refused else self._every_s
        if job is None or monotonic() - self._tried_at >= wait_s or (len(self._pending) >= BATCH and not refused):
            self._write()
        if (excess := len(self._pending) - QUEUE) > 0:
            for _ in range(excess):
                self._pending.popleft()
            self._lose(excess, f"{QUEUE} rows wait for its disk, and the oldest are given up")

    def _write(self) -> None:
        refusal: Exception | None = None
        try:
            self._store.write(self._pending)
        except Exception as error:  # whatever the disk or its driver says: the rows wait
            refusal = error
        self._tried_at, self._tried = monotonic(), True
        if refusal is None:
            self._over()
        else:
            self._failed(refusal)

    def _broke(self, error: BaseException) -> None:
        """Something that was put is no row: it is lost, and the next one is taken."""
        self._lose(1, f"{type(error).__name__}: {error}")

    def _failed(self, error: BaseException) -> None:
        if self._stands("journal_failed"):
            reason = getattr(error, "strerror", None) or error
            self._on_trouble("journal_failed", False, f"{self._store.path}: cannot be written ({reason})")

    def _lose(self, rows: int, why: str, *, again: bool = False) -> None:
        with self._lock:
            self.lost += rows
        if self._stands("journal_rows_lost") or again:
            self._on_trouble("journal_rows_lost", False, f"{self._store.path}: {self._how_many()} lost: {why}")

    def _how_many(self) -> str:
        return "1 row is" if self.lost == 1 else f"{self.lost} rows are"

    def _stands(self, name: Trouble) -> bool:
        """Whether a trouble begins now."""
        with self._lock:
            new = name not in self._standing
            self._standing.add(name)
        return new

    def _over(self) -> None:
        with self._lock:
            over = sorted(self._standing)
            self._standing.clear()
        for name in over:
            lost = f"; {self._how_many()} lost" if name == "journal_rows_lost" else ""
            self._on_trouble(name, True, f"{self._store.path}: all that waited is written{lost}")

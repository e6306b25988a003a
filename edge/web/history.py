"""The shift so far, from the line's journal: how many items went to each lane, ten minutes by ten minutes."""

import sqlite3
import threading
import time
from calendar import timegm
from contextlib import closing
from pathlib import Path
from typing import Any

STEP_S = 600
FRESH_S = 30.0


class History:
    """Reads a journal that the line is writing, without ever writing to it or holding it up."""

    def __init__(self, path: Path | None, lanes: tuple[str, ...]) -> None:
        self._path, self._lanes = path, lanes
        self._lock = threading.Lock()
        self._newest: tuple[float, int, dict[str, Any]] | None = None

    def shift(self, hours: int) -> dict[str, Any]:
        """Items a lane in steps of STEP_S seconds, the oldest first; `lanes` is empty without a journal.

        Read at most once in FRESH_S seconds, however many ask. `from` is seconds since 1970.
        """
        with self._lock:
            now = time.monotonic()
            if self._newest is None or self._newest[1] != hours or now - self._newest[0] > FRESH_S:
                self._newest = (now, hours, self._read(hours))
            return self._newest[2]

    def _read(self, hours: int) -> dict[str, Any]:
        steps = hours * 3600 // STEP_S
        begin = (int(time.time()) // STEP_S + 1 - steps) * STEP_S
        content: dict[str, Any] = {"from": begin, "step_s": STEP_S, "lanes": {}}
        if self._path is None:
            return content
        lanes = {name: [0] * steps for name in self._lanes}
        try:
            with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=0.5)) as journal:
                for run, offset in _runs(journal, begin):
                    for lane, step, items in _counts(journal, run, begin - offset):
                        if lane in lanes and 0 <= step < steps:
                            lanes[lane][step] += items
        except sqlite3.Error:
            return content  # locked, full or gone: the line itself raises an incident about its journal
        return {**content, "lanes": lanes}


def _runs(journal: sqlite3.Connection, begin: float) -> list[tuple[int, float]]:
    """The runs that reach into the time since begin, and what turns each one's monotonic times into wall time."""
    found = []
    newest = None
    for run, started, latest in journal.execute(
        "SELECT id, started_utc, MAX(started_utc) OVER (ORDER BY id) FROM runs ORDER BY id DESC"
    ):
        if newest is None:
            newest = run  # the line's own: its clock is this machine's, as it runs now
            found.append((run, time.time() - time.monotonic()))
        else:
            first = journal.execute(
                "SELECT decided_at FROM decisions WHERE run = ? ORDER BY item_id LIMIT 1", (run,)
            ).fetchone()
            if first:
                found.append((run, _seconds(started) - first[0]))
        # Earlier runs had ended before this one began; unless one claims to be later, and a clock was wrong.
        if _seconds(started) < begin and started == latest:
            break
    return found


def _counts(journal: sqlite3.Connection, run: int, since: float) -> list[tuple[str, int, int]]:
    """Items by lane and step since a monotonic time. Only that part is read: item ids grow with time."""
    low, high = journal.execute("SELECT MIN(item_id), MAX(item_id) + 1 FROM decisions WHERE run = ?", (run,)).fetchone()
    if low is None:
        return []
    while low < high:
        middle = (low + high) // 2
        row = journal.execute(
            "SELECT decided_at FROM decisions WHERE run = ? AND item_id >= ? ORDER BY item_id LIMIT 1", (run, middle)
        ).fetchone()
        low, high = (middle + 1, high) if row and row[0] < since else (low, middle)
    return journal.execute(
        "SELECT lane, CAST((decided_at - ?) / ? AS INTEGER) AS step, COUNT(*) FROM decisions "
        "WHERE run = ? AND item_id >= ? AND decided_at >= ? GROUP BY lane, step",
        (since, STEP_S, run, low, since),
    ).fetchall()


def _seconds(utc: str) -> float:
    return float(timegm(time.strptime(utc, "%Y-%m-%dT%H:%M:%SZ")))

"""Log lines reach the screen through a queue: a terminal that stands still never holds up the line.

Nor do incidents flood it: IncidentLog says which of them get a line.
"""

import logging
import logging.handlers
import queue
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from edge.plain import plain
from edge.records import Incident

LINES_WAITING = 2000
SPAN_S = 60.0
MOST_LINES = 10  # of one name in SPAN_S seconds
MOST_REPEATS = 3  # of these, so many of what goes on happening


class _DropWhenFull(logging.handlers.QueueHandler):
    """Policy of the queue: when it is full the new line is dropped; incidents are counted elsewhere too."""

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            return


class _Plain(logging.Formatter):
    """A message is one line, in which all can be seen; a traceback behind it keeps its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return plain(super().formatMessage(record))


@contextmanager
def log_to_screen(debug: bool) -> Iterator[None]:
    """Sends the program's log to stderr while the block runs; with debug, all of it, and what libraries complain of."""
    log = logging.getLogger("sortline")
    heard = [log, *([logging.getLogger("pymodbus")] if debug else [])]
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(LINES_WAITING)
    screen = logging.StreamHandler(sys.stderr)
    screen.setFormatter(_Plain("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    listener = logging.handlers.QueueListener(waiting, screen)
    handler = _DropWhenFull(waiting)
    for one in heard:
        one.addHandler(handler)
    log.setLevel(logging.DEBUG if debug else logging.WARNING)
    listener.start()
    try:
        yield
    finally:
        for one in heard:
            one.removeHandler(handler)
        listener.stop()


@dataclass(slots=True)
class _Told:
    """What the log has of one name: when its newest lines were written, and what was left out since."""

    lines: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_LINES))
    ended: bool = True  # whether the newest incident was an end, so that the next one begins something
    left_out: int = 0
    left_out_since: float = 0.0
    newest: Incident | None = None


class IncidentLog:
    """Writes incidents to a log: every beginning and every end, as long as there are few of them.

    Of one name there are at most 10 lines a minute. Repeats of what has not ended (an item that is late, and the
    next one, and the next) get 3 of them; beginnings and ends as many as there are, so that a part that comes and
    goes is told each time. What was left out is said with its number and the newest of it, before the name's next
    line or a minute later. Times are seconds on any clock that never goes back. Thread-safe.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._told: dict[str, _Told] = {}

    def add(self, incident: Incident, now: float) -> None:
        """One more incident, which happened now."""
        with self._lock:
            told = self._told.setdefault(incident.name, _Told())
            repeat = not (incident.recovered or told.ended)
            told.ended = incident.recovered
            # What was left out comes first, as a line of its own; for repeats it waits.
            lines = sum(now - at < SPAN_S for at in told.lines) + bool(told.left_out)
            said = lines < MOST_LINES and not (repeat and (told.left_out or lines >= MOST_REPEATS))
            earlier = self._left_out(told, now) if said else []
            if said:
                told.lines.append(now)
            else:
                told.left_out_since = told.left_out_since if told.left_out else now
                told.left_out, told.newest = told.left_out + 1, incident
        for line in [*earlier, *([_sentence(incident)] if said else ())]:
            self._log.warning("%s", line)

    def tell_left_out(self, now: float, *, all_of_it: bool = False) -> None:
        """Says what was left out for a minute, or all of it; called now and then."""
        with self._lock:
            due = [told for told in self._told.values() if all_of_it or now - told.left_out_since >= SPAN_S]
            lines = [line for told in due for line in self._left_out(told, now)]
        for line in lines:
            self._log.warning("%s", line)

    @staticmethod
    def _left_out(told: _Told, now: float) -> list[str]:
        """The line that tells of what was left out, if anything was. The lock is held."""
        if not told.left_out or told.newest is None:
            return []
        line = f"{told.newest.name}: {told.left_out} more in {now - told.left_out_since:.0f} s, not told singly"
        if told.left_out > 1:
            line += "; the newest"
        line += f": {_sentence(told.newest)}"
        told.left_out, told.newest = 0, None
        told.lines.append(now)
        return [line]


def _sentence(incident: Incident) -> str:
    over = " is over" if incident.recovered else ""
    return f"{incident.name}{over}: {incident.cause}; {incident.action}"

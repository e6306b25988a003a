"""Log lines reach the screen through a queue: a terminal that stands still never holds up the line."""

import logging
import logging.handlers
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LINES_WAITING = 2000


class _DropWhenFull(logging.handlers.QueueHandler):
    """Policy of the queue: when it is full the new line is dropped; incidents are counted elsewhere too."""

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            return


@contextmanager
def log_to_screen(debug: bool) -> Iterator[None]:
    """Sends the program's log to stderr while the block runs; with debug, all of it."""
    log = logging.getLogger("sortline")
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(LINES_WAITING)
    screen = logging.StreamHandler(sys.stderr)
    screen.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    listener = logging.handlers.QueueListener(waiting, screen)
    handler = _DropWhenFull(waiting)
    log.addHandler(handler)
    log.setLevel(logging.DEBUG if debug else logging.WARNING)
    listener.start()
    try:
        yield
    finally:
        log.removeHandler(handler)
        listener.stop()

"""One attempt at a source: a thread that opens it, reads it to its end or failure, and closes it."""

import threading
from collections.abc import Callable

from edge.camera import Shot, Source
from edge.clock import Clock
from edge.errors import CameraError, SortlineError


class Reading:
    """Whatever blocks, blocks in this thread, and only this thread closes what it opened in the end.

    deliver(source, shot) returns False when no more pictures are wanted, and may raise CameraError.
    changed is notified when the attempt is over.
    """

    def __init__(
        self,
        open_: Callable[[], Source],
        deliver: Callable[["Reading", Source, Shot], bool],
        clock: Clock,
        changed: threading.Condition,
        source: Source | None = None,
    ) -> None:
        self._open = open_
        self._deliver = deliver
        self._clock = clock
        self._changed = changed
        self.source = source
        self.error: CameraError | None = None
        self.over = False
        self.abandoned = False
        self.pictures = 0
        self.blocked_since: float | None = clock.now()
        self._thread = threading.Thread(target=self._run, name="camera reader", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def abandon(self) -> None:
        """Tells the thread to end, and wakes it where its source can be closed from outside."""
        self.abandoned = True
        if self.source is not None:
            self.source.close()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._read()
        except CameraError as error:
            self.error = _bare(error)
        except SortlineError as error:  # an address that is wrong says so in a sentence already
            self.error = CameraError(str(error))
        except BaseException as error:  # a source of the user's own may raise anything: it is lost all the same
            self.error = CameraError(f"{type(error).__name__}: {error}")
        try:
            if self.source is not None:
                self.source.close()
        except BaseException as error:
            self.error = self.error or CameraError(f"while closing: {type(error).__name__}: {error}")
        with self._changed:
            self.over = True
            self._changed.notify_all()

    def _read(self) -> None:
        if self.source is None:
            self.source = self._open()
        while not self.abandoned:
            self.blocked_since = self._clock.now()
            shot = self.source.read()
            self.blocked_since = None
            if shot is None or self.abandoned:
                return
            self.pictures += 1
            if not self._deliver(self, self.source, shot):
                return


def _bare(error: CameraError) -> CameraError:
    """The error without its traceback, whose frames would keep the last picture, and this reading, alive."""
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)

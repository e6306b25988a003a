"""The file of `--decisions`: a JSON line a decision, appended, and every line of it whole."""

import errno
import json
import os
import stat
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge.decide import rounded
from edge.errors import ConfigError, SortlineError
from edge.files import hold, identity
from edge.records import Decision

BLOCK = 64 * 1024
LONGEST = 1024 * 1024  # bytes: a decision among a thousand classes takes a thirtieth of it


def decision_as_dict(decision: Decision) -> dict[str, Any]:
    """A Decision as it is written to JSON: its own keys, the box as x, y, width, height."""
    content = asdict(decision)
    content["probabilities"] = rounded(decision.probabilities)
    return content


def decision_as_json(decision: Decision, about: Mapping[str, str]) -> bytes:
    """A Decision as it is written to files and sent to other machines: one JSON object, with the keys of about."""
    return json.dumps({**decision_as_dict(decision), **about}).encode()


class DecisionFile:
    """Appends to a file, which it locks: an earlier run's decisions stay, and no second line writes between them.

    A last line that a crash has torn is cut off; a line that the disk took half of is taken back. Each line is a
    Decision's keys and those of about. A pipe or a device is written to as it is. Raises ConfigError when the
    file cannot be opened or holds something else, SortlineError when another line writes it. One that is moved away
    or removed meanwhile is begun anew at its place.
    """

    def __init__(self, path: Path, about: Mapping[str, str]) -> None:
        self.path, self._about = path, about
        self._open()

    def _open(self) -> None:
        path = self.path
        self._torn = False
        self._identity: tuple[int, int] | None = None
        try:
            self._regular = not path.exists() or stat.S_ISREG(path.stat().st_mode)
            # The system gives the lock back however this process ends. Unbuffered: a refused write is known at once.
            self._file = path.open("a+b" if self._regular else "ab", buffering=0)
        except (OSError, ValueError) as error:
            raise _unfit(path, f"cannot be written ({getattr(error, 'strerror', None) or error})") from None
        try:
            if self._regular:
                self._lock()
                self._mend()
        except OSError as error:
            self._file.close()
            raise _unfit(path, f"cannot be read ({error.strerror})") from None
        except BaseException:
            self._file.close()
            raise
        self._identity = identity(path)

    def row(self, job: Decision) -> bytes:
        return decision_as_json(job, self._about) + b"\n"

    def write(self, rows: deque[bytes]) -> None:
        """Writes one line after the other; OSError when the disk takes no more."""
        if self._regular and (self._identity is None or identity(self.path) != self._identity):
            self._file.close()
            self._open()
        while rows:
            self._append(rows[0])
            rows.popleft()

    def close(self) -> None:
        self._file.close()

    def _append(self, line: bytes) -> None:
        start = os.fstat(self._file.fileno()).st_size
        line, written = (b"\n" if self._torn else b"") + line, 0
        try:
            while written < len(line):
                taken = self._file.write(line[written:])
                if taken is None:
                    raise BlockingIOError(errno.EAGAIN, "its reader does not read")
                written += taken
        except OSError:
            if written:
                self._torn = not self._cut(start)
            raise
        self._torn = False

    def _cut(self, size: int) -> bool:
        """Takes back what stands behind the first `size` bytes; False where that cannot be done."""
        try:
            if self._regular:
                os.ftruncate(self._file.fileno(), size)
        except OSError:
            return False
        return self._regular

    def _lock(self) -> None:
        if not hold(self._file):
            raise SortlineError(
                f"--decisions {self.path}: another line is writing this file; give each line a file of its own"
            )

    def _mend(self) -> None:
        """Makes the file end with a whole line. What a power cut left of the last one may be half of it, or zeros."""
        fd = self._file.fileno()
        size = os.fstat(fd).st_size
        whole = _end_of_lines(fd, size)
        tail = os.pread(fd, LONGEST, whole)
        if os.pread(fd, 1, 0) not in {b"", b"{", b"\0"} or (len(tail) == LONGEST and any(tail)):
            raise _unfit(self.path, "is another kind of file, for its lines are no decisions; name a new one")
        if not tail:
            return
        try:
            json.loads(tail)
        except ValueError:
            os.ftruncate(fd, whole)
        else:
            self._torn = True  # only its line feed is missing


def _end_of_lines(fd: int, size: int) -> int:
    """How many of a file's bytes come before its last line feed, and with it."""
    at = size
    while at > 0:
        start = max(at - BLOCK, 0)
        if (found := os.pread(fd, at - start, start).rfind(b"\n")) >= 0:
            return start + found + 1
        at = start
    return 0


def _unfit(path: Path, why: str) -> ConfigError:
    return ConfigError(f"--decisions {path}: {why}")

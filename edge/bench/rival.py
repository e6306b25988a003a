"""A server of somebody else's, in processes of its own, that sleeps while it is not its turn."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from edge.bench.peer import PeerError
from edge.priority import WEB_NICENESS

START_S = 90.0
END_S = 5.0
PR_SET_CHILD_SUBREAPER = 36


class Rival:
    """Runs a Python module that serves /predict on a port of this machine; ready when the constructor returns.

    words are the module's name and its arguments, with "PORT" where its port belongs. It runs at the
    niceness of the web side. `awake` lets it run: in between all its processes are stopped (SIGSTOP), so
    that an idle rival takes nothing from the one that is measured. Raises PeerError.
    """

    def __init__(self, name: str, words: Sequence[str]) -> None:
        self.name = name
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}/"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (close ends it)
        self._process = subprocess.Popen(
            ["nice", "-n", str(WEB_NICENESS), sys.executable, "-m", *(str(port) if w == "PORT" else w for w in words)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        try:
            self._await()
        except BaseException:
            self.close()
            raise
        self._signal(signal.SIGSTOP)

    def __enter__(self) -> "Rival":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def awake(self) -> Iterator[str]:
        """Lets it run for the block; gives its address."""
        self._signal(signal.SIGCONT)
        try:
            yield self.url
        finally:
            self._signal(signal.SIGSTOP)

    def close(self) -> None:
        """Ends all its processes; may be called twice."""
        self._signal(signal.SIGCONT)
        with _adopting_orphans():
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
            self._signal(signal.SIGKILL)
            self._process.wait()
        with suppress(ChildProcessError):
            while True:  # its workers, which it has left without waiting for them
                os.waitpid(-self._process.pid, 0)
        self._log.close()

    def _await(self) -> None:
        ends = monotonic() + START_S
        while monotonic() < ends:
            if (status := self._process.poll()) is not None:
                raise PeerError(f"{self.name}: ended with status {status} ({self._last_line()})")
            try:
                with urlopen(self.url, timeout=5):
                    return
            except HTTPError:
                return  # it answers, if only that there is no page
            except (URLError, OSError):
                sleep(0.1)
        raise PeerError(f"{self.name}: did not answer within {START_S:.0f} s ({self._last_line()})")

    def _last_line(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:200] if lines else "it said nothing"

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


@contextmanager
def _adopting_orphans() -> Iterator[None]:
    """Makes this process the parent of what its children leave behind meanwhile, on Linux: what a server's workers
    took of the machine then counts as the benchmark's own, and not as that of other programs."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

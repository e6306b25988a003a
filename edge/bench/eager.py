"""The network of a model file in torch, in a process of its own, where the training side is installed.

The edge imports nothing of torch: it asks `python -m training.yardstick.eager` through a pipe.
"""

import json
import selectors
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec

from edge.bench.findings import Runs
from edge.bench.peer import PeerError
from edge.card import ModelCard

START_S = 90.0
END_S = 5.0


class Eager:
    """Ready to be timed when the constructor returns; raises PeerError, with the reason, where it cannot be."""

    def __init__(self, network: str, size: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "training.yardstick.eager", network, str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            while self._line(START_S) != "ready":
                pass
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Eager":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def measure(self, runs: int, batch: int, timeout_s: float) -> Runs:
        """So many runs on one thread, one behind the other."""
        assert self._process.stdin
        with suppress(OSError):  # it has ended, as the answer will say
            self._process.stdin.write(f"{runs} {batch}\n")
            self._process.stdin.flush()
        answer = json.loads(self._line(timeout_s))
        return Runs(answer["seconds"], answer["cpu_s"])

    def close(self) -> None:
        """Ends the process; may be called twice."""
        self._process.kill()
        self._process.communicate(timeout=END_S)

    def _line(self, timeout_s: float) -> str:
        out = self._process.stdout
        assert out
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            if not selector.select(timeout_s):
                raise PeerError(f"torch gave no answer within {timeout_s:.0f} s")
        line = out.readline()
        if not line:
            raise PeerError(f"torch's process ended with status {self._process.wait(END_S)}")
        return line.strip()


def network_of(card: ModelCard) -> str | None:
    """The network of a file that was trained here, if torch is there to run it."""
    name = card.training.get("network")
    return name if isinstance(name, str) and find_spec("torch") and find_spec("training") else None

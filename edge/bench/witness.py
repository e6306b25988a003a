"""How late a machine comes by itself: on each core a thread that runs before all others and does nothing but wake.

The host of a virtual machine may take a core away for some milliseconds; then nothing on it can be in time, whoever
asks. How late a line's threads come means little without that.
"""

import os
import threading
import time

from edge.priority import ask_for_real_time

PERIOD_S = 0.0005
WORTH_S = 0.0002  # an ordinary wake takes less
PRIORITY = 90  # before the line's own real-time threads


class Witness:
    """Watches all cores that this process may use while its `with` block runs.

    with Witness() as machine:
        ...
    print(machine.later_than(0.001))
    """

    def __init__(self) -> None:
        cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
        self._wakers = [_Waker(core) for core in cores]
        self._seconds = 0.0

    def __enter__(self) -> "Witness":
        for waker in self._wakers:
            waker.start()
        self._seconds = -time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._seconds += time.monotonic()
        for waker in self._wakers:
            waker.stop()

    def later_than(self, seconds: float) -> float | None:
        """The share of all moments at which a thread of the highest priority, woken on one core, comes later than that.

        To be asked after the block; None where the system granted no such priority.
        """
        if not self._wakers or not all(waker.granted for waker in self._wakers):
            return None
        beyond_s = sum(late - seconds for waker in self._wakers for late in waker.late_s if late > seconds)
        return beyond_s / (self._seconds * len(self._wakers))


class _Waker:
    """Wakes on one core twice a millisecond; late_s is by how much it came late whenever that is worth telling."""

    def __init__(self, core: int) -> None:
        self._core = core
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"bench-waker-{core}", daemon=True)
        self.granted = False
        self.late_s: list[float] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        os.sched_setaffinity(0, {self._core})
        self.granted = ask_for_real_time(PRIORITY) is None
        due = time.monotonic() + PERIOD_S
        while self.granted and not self._stopping.is_set():
            time.sleep(max(due - time.monotonic(), 0.0))
            woke = time.monotonic()
            if woke - due > WORTH_S:
                self.late_s.append(woke - due)
            due = woke + PERIOD_S

"""Who runs first: what a piece of work starts has its precedence; who sleeps in hand has the interpreter after it."""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.engines import OnnxRuntime
from edge.priority import IN_HAND_S, NICE, hand_over_quickly, sleep_in_hand, with_precedence
from tests.edge.tiny_model import write_model


def nices() -> dict[int, int]:
    """The nice value of every thread of this process."""
    threads = [int(one.name) for one in Path("/proc/self/task").iterdir()]
    return {number: os.getpriority(os.PRIO_PROCESS, number) for number in threads}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed by Linux only")
def test_the_pool_of_an_engine_made_with_precedence_has_it_and_the_caller_stays_ordinary(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.onnx").read_bytes()
    own, before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), set(nices())
    engine = with_precedence(lambda: OnnxRuntime(model, threads=3))
    pool = [nice for number, nice in nices().items() if number not in before]
    assert engine.threads == 3
    assert len(pool) >= 2
    if NICE not in pool:
        pytest.skip("this system grants no precedence to this user")
    assert set(pool) == {NICE}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own


def test_what_the_work_raises_reaches_the_caller() -> None:
    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        with_precedence(fails)


@pytest.mark.skipif(sys.platform != "linux" or sys.maxsize < 2**32, reason="Linux with 64 bits can")
def test_who_sleeps_with_the_interpreter_in_hand_still_has_it_at_the_moment() -> None:
    interval = sys.getswitchinterval()
    hand_over_quickly()
    rounds, ends = [0], threading.Event()

    def compute() -> None:
        while not ends.is_set():
            rounds[0] += 1

    def rounds_during(sleep: Callable[[float], None]) -> int:
        """How far the other thread gets from before a sleep of 0.3 ms to what follows it."""
        time.sleep(0)
        until, before = time.monotonic() + IN_HAND_S * 2 / 3, rounds[0]
        sleep(until)
        after, woke = rounds[0], time.monotonic()
        assert woke >= until
        return after - before

    def let_go(until: float) -> None:
        time.sleep(max(until - time.monotonic(), 0.0) + 1e-6)

    other = threading.Thread(target=compute)
    other.start()
    try:
        free = sorted(rounds_during(let_go) for _ in range(99))
        held = sorted(rounds_during(sleep_in_hand) for _ in range(99))
    finally:
        ends.set()
        other.join()
        sys.setswitchinterval(interval)
    assert held[50] == 0
    assert free[50] > 100

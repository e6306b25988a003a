"""Who runs first: threads that a piece of work starts have the precedence that it was given."""

import os
import threading
from pathlib import Path

import pytest

from edge.engines import OnnxRuntime
from edge.priority import NICE, with_precedence
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

"""What every test shares: the real pictures where they are at hand, and a watch for leaked threads."""

import compileall
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Hundreds of processes import this tree, and where PYTHONDONTWRITEBYTECODE is set, as in many containers, each of
# them would compile it anew.
for folder in ("edge", "training", "tests"):
    compileall.compile_dir(ROOT / folder, quiet=2)

NICENESS, PATIENCE = os.getpriority(os.PRIO_PROCESS, 0), 10  # of the tests, and of the patient ones among them
SHARED = ROOT.parent / "shared" / "data"
# What asks for much of the processor and not for its moments.
PATIENT = tuple(
    ROOT / "tests" / name
    for name in ("training", "edge/simulator", "edge/test_bench.py", "test_docs.py", "test_quality.py")
)


def _is_patient(path: Path) -> bool:
    return any(one == path or one in path.parents for one in PATIENT)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n 2` the patient tests run beside those that live in real time, each side in a process of its own."""
    from xdist.scheduler import LoadScopeScheduling

    class TwoSides(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "patient" if _is_patient(ROOT / nodeid.partition("::")[0]) else "prompt"

    return TwoSides(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The patient tests take what the others leave of the processor."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        with suppress(PermissionError):  # only root may come back from patience, when few tests share one process
            niceness = max(NICENESS, PATIENCE) if _is_patient(item.path) else NICENESS
            os.setpriority(os.PRIO_PROCESS, 0, niceness)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures and clips; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the real pictures (../shared/data) are not beside this checkout")
    return SHARED


@pytest.fixture(autouse=True)
def no_thread_outlives_its_test() -> Iterator[None]:
    """Fails a test that leaves a Python thread behind: a thread has an owner, and the owner joins it."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 2.0
    while left := [t for t in threading.enumerate() if t not in before and t.is_alive()]:
        if time.monotonic() > deadline:
            pytest.fail(f"threads left running: {', '.join(t.name for t in left)}")
        left[0].join(0.05)

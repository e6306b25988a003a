"""What every test shares: the real pictures where they are at hand, and a watch for leaked threads."""

import compileall
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

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


def _is_patient(item: pytest.Item) -> bool:
    return any(path == item.path or path in item.path.parents for path in PATIENT)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n 2` the patient tests run beside those that live in real time: two groups, a process for each."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group("patient" if _is_patient(item) else "prompt"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The patient tests take what the others leave of the processor."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        with suppress(PermissionError):  # only root may come back from patience, when few tests share one process
            os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, PATIENCE) if _is_patient(item) else NICENESS)


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

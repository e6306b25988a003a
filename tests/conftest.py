"""What every test shares: the real pictures where they are at hand, and a watch for leaked threads."""

import compileall
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Hundreds of processes import this tree, and where PYTHONDONTWRITEBYTECODE is set, as in many containers, each of
# them would compile it anew.
for folder in ("edge", "training", "tests"):
    compileall.compile_dir(ROOT / folder, quiet=2)

SHARED = ROOT.parent / "shared" / "data"


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

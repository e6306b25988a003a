"""What the training tests share: a small dataset, a silent progress bar, one finished run.

Without torch the tests of this folder are left out.
"""

import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

if find_spec("torch") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from tests.training.pictures import SHAPES, write_pictures


@pytest.fixture(scope="session", autouse=True)
def quiet_libraries() -> None:
    """torch's exporter makes tqdm bars that nobody sees where tqdm is installed.

    tqdm would watch them with a thread that never ends.
    """
    if find_spec("tqdm"):
        from tqdm import tqdm

        tqdm.monitor_interval = 0


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small steps are faster on one thread than shared between two, most of all on a busy machine.

    A command that a test runs in this process sets its own number, and sums over two threads round
    otherwise than over one: the next test begins with one again.
    """
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three shapes, 40 pictures each, that no test may write to."""
    return write_pictures(tmp_path_factory.mktemp("shapes"), dict.fromkeys(SHAPES, 40))


@pytest.fixture
def progress() -> Iterator[Progress]:
    """A progress display that shows nothing."""
    with Progress(disable=True) as silent:
        silent.console.quiet = True
        yield silent


@pytest.fixture(scope="session")
def finished(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was fitted, exported and quantized; read only."""
    from training.run import Run
    from training.settings import FitSettings

    folder = tmp_path_factory.mktemp("runs") / "finished"
    with Progress(disable=True) as silent:
        silent.console.quiet = True
        settings = FitSettings.choose(network="simple_cnn", epochs=6, batch=16, lr=0.003)
        run = Run.start(folder, shapes, "shapes", settings, silent, size=32)
        run.fit()
        run.export()
        run.quantize()
    return folder


@pytest.fixture(scope="session")
def exported() -> Callable[[str, int], tuple[Any, Any]]:
    """An untrained network for three classes and the core of its file, by name and side; both are read only.

    torch's exporter takes as long for one of these as many tests together.
    """
    from training.export import export_core
    from training.networks import build_network

    @cache
    def export(name: str, side: int) -> tuple[Any, Any]:
        network = build_network(name, 3, from_scratch=True).eval()
        return network, export_core(network, side)

    return export


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB: one checkpoint of simple_cnn fits on it and two do not."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root alone")
    yield place
    subprocess.run(["umount", place], check=True)

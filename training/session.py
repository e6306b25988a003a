"""The process made ready for heavy work: threads, memory, quiet libraries, progress bars."""

import argparse
import ctypes
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edge.screen import Terminal

SPINS = "1000"  # some microseconds


@contextmanager
def session(options: argparse.Namespace) -> Iterator[Progress]:
    """The process made ready for heavy work, with progress bars on stderr while it lasts.

    Of several processes that torchrun started, RANK 0 alone shows anything, and they share the cores.
    """
    _keep_freed_memory()
    # Threads of a parallel loop that spin while they wait for each other are ten times slower on a machine
    # that does anything else; those that sleep at once are slower by a third on an idle one. So they spin
    # for as long as the shortest loops take. OpenMP asks this when torch loads, GNU's alone knows the count.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    import cv2
    import torch

    from edge.engines import cores

    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun's word
    torch.set_num_threads(options.threads or max(cores() // here, 1))
    cv2.setNumThreads(1)  # pictures are decoded by as many threads as there are cores already
    silenced = logging.root.manager.disable
    follower = int(os.environ.get("RANK", "0")) > 0
    with warnings.catch_warnings(), quiet_decoders(options.debug), progress_bars(silent=follower) as progress:
        if not options.debug:
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
        try:
            yield progress
        finally:
            logging.disable(silenced)


@contextmanager
def quiet_decoders(debug: bool) -> Iterator[None]:
    """Keeps OpenCV from writing about a damaged picture in its own words: sortline names the file, in a sentence."""
    import cv2

    logging_ = cv2.utils.logging
    before = logging_.getLogLevel()
    if not debug:
        logging_.setLogLevel(logging_.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging_.setLogLevel(before)


def progress_bars(silent: bool = False) -> Progress:
    """Progress bars on stderr that vanish when they are done; also for work that needs no torch.

    Each says how far it is, how long it took so far, and how long it has still to go.
    """
    columns: tuple[ProgressColumn, ...] = (TextColumn("{task.description}"), BarColumn())
    columns += (TextColumn("{task.percentage:.0f} %"), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Terminal(stderr=True, quiet=silent), transient=True, disable=silent)


def _keep_freed_memory() -> None:
    """Tells glibc not to hand freed memory back to the system after every training step.

    A step frees and takes the same few hundred megabytes; without this the kernel clears those
    pages each time, which costs a fifth to a half of the step (measured). Elsewhere than on glibc
    nothing happens. M_MMAP_THRESHOLD is -3 and M_TRIM_THRESHOLD -1 in malloc.h.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 30)
        libc.mallopt(-1, (1 << 31) - 1)

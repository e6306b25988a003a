"""Writing files and folders so that a reader, or a power cut, finds either the old one whole or the new one whole."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.files import hold, write_whole
from training.errors import InputError, TrainingError


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all, and its folder where there is none; TrainingError when the disk will not."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise TrainingError(f"{path}: cannot be written ({error.strerror})") from None


@contextmanager
def whole_or_not_at_all(out: Path) -> Iterator[Path]:
    """A folder beside out to write into, which becomes out at the end; after an error nothing of it is left.

    TrainingError when it cannot be made or take its place.
    """
    parent = out.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"{parent}: cannot be made ({error.strerror})") from None
    with scratch_folder(parent) as scratch:
        unfinished = scratch / out.name
        try:
            yield unfinished
        except TrainingError as error:  # for the reader, the file that could not be written is one of out's
            raise TrainingError(str(error).replace(str(unfinished), str(out))) from None
        there = out.is_dir()
        if there and any(out.iterdir()):
            raise TrainingError(f"{out}: was written by another program meanwhile; name a new folder")
        try:
            if there:
                for path in sorted(unfinished.iterdir()):  # out may be a disk's own root, which nothing can replace
                    shutil.move(path, out / path.name)
            else:
                unfinished.rename(out)
        except OSError as error:
            if there:
                for path in out.iterdir():  # it was empty: what is in it now is half of this
                    shutil.rmtree(path, ignore_errors=True)
            raise TrainingError(f"{out}: cannot be written ({error.strerror or error})") from None


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Holds a folder against a second training: InputError while another process holds it."""
    if os.name == "nt":  # where a folder cannot be opened
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if not hold(handle):
            raise InputError(f"{folder}: another training is at work in it; wait for its end, or stop it")
        yield
    finally:
        os.close(handle)


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A folder of its own in parent, gone afterwards."""
    try:
        folder = tempfile.TemporaryDirectory(dir=parent, prefix=".unfinished-")
    except OSError as error:
        raise TrainingError(f"{parent}: cannot be written to ({error.strerror})") from None
    with folder as path:
        yield Path(path)

"""Writing files so that a reader, or a power cut, finds either the old one whole or the new one whole."""

import os
from contextlib import suppress
from pathlib import Path

from training.errors import TrainingError


def write_atomically(path: Path, content: bytes) -> None:
    """Writes beside the target, flushes to the disk, then renames; raises TrainingError when the disk will not."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise TrainingError(f"{path}: cannot be written ({error.strerror})") from None

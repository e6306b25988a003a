"""The kinds of words that commands take: whole numbers, shares, sides of an input, files to write."""

import argparse
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from training.errors import InputError

GROUP_HELP = (
    "pictures that stay in one part: `similar` (near duplicates), or a regular expression; "
    "what its brackets find in CLASS/NAME names the group"
)


class AddCommand(Protocol):
    """Adds one command to the parser: its name, what it runs, what it does, and the words of an example."""

    def __call__(
        self, name: str, run: Callable[[argparse.Namespace], None], says: str, example: str
    ) -> argparse.ArgumentParser: ...


def whole_from(least: int) -> Callable[[str], int]:
    """A whole number, at least so large."""

    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} up")
        return int(text)

    return whole


def side(text: str) -> int:
    """The side of an input: a multiple of 4 from 32 to 1024."""
    if not text.isdecimal() or not 32 <= int(text) <= 1024 or int(text) % 4:
        raise argparse.ArgumentTypeError(f"{text!r} is not a multiple of 4 from 32 to 1024")
    return int(text)


def between(low: float, high: float) -> Callable[[str], float]:
    """A number within two bounds, which count too."""

    def number(text: str) -> float:
        with suppress(ValueError):
            if low <= float(text) <= high:
                return float(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low} to {high}")

    return number


def key_value(text: str) -> tuple[str, str]:
    """A key and its value, joined by an equals sign."""
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE")
    return key, value


def onnx_file(path: Path, source: Path | None = None) -> Path:
    """The path of a model file to write, found out before the work; InputError when it cannot be, or is source."""
    output_file(path, ".onnx")
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise InputError(f"--out {path}: is the model that is read; name another file, so that it stays as it is")
    return path


def output_file(path: Path, suffix: str | None = None) -> Path:
    """The path of a file to write, found out before the work: InputError when it cannot be, or ends otherwise."""
    if suffix is not None and path.suffix != suffix:
        raise InputError(f"{path}: the file to write must end in {suffix}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file to write")
    there = next(folder for folder in path.resolve().parents if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"{path}: cannot be written ({there} is not a folder that can be written to)")
    return path

"""Everything that can go wrong because of an input, as one family with one sentence each."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO, cast

from edge.plain import plain

_WRITTEN = "\n\r\t\x1b"  # what is meant on a screen: line ends, tables, and the escapes of their colours


class SortlineError(Exception):
    """The base of all of them; its text is one sentence for the reader of the screen."""


class ConfigError(SortlineError):
    """A configuration file that cannot be used: names the file, the key, what is allowed, the mend."""


class ModelError(SortlineError):
    """A model file that cannot be used: says what is missing or does not fit."""


class PictureError(SortlineError):
    """Bytes or a file that are not a picture this program reads."""


class CameraError(SortlineError):
    """A camera, stream, clip or folder that cannot be opened or read."""


class OutputError(SortlineError):
    """A diverter or other output that cannot be opened or did not do what it was told."""


class OutputRefused(OutputError):
    """The other side has said that it does not do what it was told: nothing has moved."""


class WebError(SortlineError):
    """The web side cannot be started, for example because its port is in use."""


class ScreenError(SortlineError):
    """Standard output cannot be written: the disk under it is full."""


class ReaderGone(BrokenPipeError):
    """Whoever read standard output has seen enough, as `head` does: nothing to complain of."""


def pass_interrupt(error: BaseException) -> None:
    """Raises Ctrl-C anew. All else that code of the user's own raises is that part's failure: SystemExit, and what is
    no Exception either, as asyncio's CancelledError, would end the thread that called it, for good and unseen."""
    if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
        raise error


class _Screen:
    """Standard output whose refusal is a ScreenError, or a ReaderGone; names on it are written out (edge.plain)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(self._shown(plain(text, _WRITTEN)))
        except OSError as error:
            raise _refused(error) from None

    def _shown(self, text: str) -> str:
        """The text with letters that this terminal does not have as their escapes."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"  # a StringIO has none
        return text.encode(encoding, "backslashreplace").decode(encoding)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise _refused(error) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def screen_errors() -> Iterator[None]:
    """In the block, standard output that cannot be written raises ScreenError or ReaderGone, at its end at the latest.

    What could not be printed is dropped then, so that the interpreter does not complain of it once more.
    """
    stream = sys.stdout
    if stream is None:
        yield
        return
    try:
        with redirect_stdout(cast(TextIO, _Screen(stream))):
            yield
            sys.stdout.flush()
    finally:
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _refused(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return ReaderGone(*error.args)
    return ScreenError(f"standard output cannot be written ({error.strerror})")

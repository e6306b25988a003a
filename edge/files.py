"""Files that are written whole or not at all, and texts that are read only when they can be one."""

import errno
import os
import shutil
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from edge.errors import ConfigError

try:
    import fcntl
except ImportError:  # not on Windows, where models are trained
    fcntl = None  # type: ignore[assignment]

LONGEST_TEXT = 1_000_000  # bytes: a hundred times the longest configuration, a ten-thousandth of a small computer


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes bytes, or a text as UTF-8, beside their place and moves them there: a full disk leaves what was.
    Raises OSError.

    What is no regular file is written to as it is, and so is one in a folder where this user may make no other.
    """
    target, data = path.resolve(), content.encode() if isinstance(content, str) else content
    if not _makes_anew(target):
        target.write_bytes(data)
        return
    partial = _partial(target)
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, partial)
        partial.replace(target)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def identity(path: Path) -> tuple[int, int] | None:
    """Tells whether a path still names the file that was opened there; None where there is none. Raises OSError."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def hold(file: IO[Any] | int) -> bool:
    """Holds an open file, or folder, against other processes; False where another one holds it.

    The system gives it back when it is closed, and however this process ends. Where a file system, or the system,
    knows no such locks nobody can be kept out.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def check_writable(path: Path) -> None:
    """Finds out before the work, not after it, that write_whole could not write: OSError. Leaves no file behind."""
    target = path.resolve()
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if _makes_anew(target):
        partial = _partial(target)
        partial.open("w").close()
        partial.unlink()
    elif not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def read_text(path: Path) -> str:
    """A text file of at most LONGEST_TEXT bytes. Raises OSError, its strerror a reason in words, or UnicodeDecodeError.

    What is no regular file is refused, as by read_file. The mark with which Notepad begins a file is left out.
    """
    return read_file(path, LONGEST_TEXT).decode("utf-8-sig")


def read_file(path: Path, most_bytes: int) -> bytes:
    """The bytes of a file that has no more than so many. Raises OSError, its strerror a reason in words.

    A device, a pipe or a folder is refused: it might never end, or never begin.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe that nobody writes to would hold it up
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        with os.fdopen(handle, "rb", closefd=False) as file:
            data = file.read(most_bytes + 1)
    finally:
        os.close(handle)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes / 1e6:g} MB")
    return data


def read_secret(path: Path, key: str) -> str:
    """The one line of a file that holds a password or a token; key names the setting in the ConfigError's sentence."""
    try:
        secret = read_text(path).strip("\r\n")
    except FileNotFoundError:
        raise ConfigError(f"{key} {path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        # What a decoder says shows bytes of the secret.
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(f"{key} {path}: cannot be read ({reason})") from None
    if not secret or not secret.isprintable():
        raise ConfigError(f"{key} {path}: needs one line, with nothing but the secret in it")
    return secret


def _makes_anew(target: Path) -> bool:
    """Whether a file takes the place of what is there."""
    if not target.exists():
        return True
    return target.is_file() and os.access(target.parent, os.W_OK)


def _partial(target: Path) -> Path:
    # By thread: several write into one folder at once. Not by the target's name, which may be as long as names can be.
    return target.with_name(f".sortline-{os.getpid()}-{threading.get_native_id()}.partial")

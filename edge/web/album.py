"""Pictures worth labelling: what people have named, in class folders for the next training, and what was unsure.

    labelled/bolt/20260301-081500-412.jpg    a person says that item 412 is a bolt
    strangers/20260301-081502-413.jpg        … and that item 413 is none of the model's classes
    unsure/20260301-081503-414.jpg           nobody has said yet; the oldest of these make room for new ones

`sortline-train build pictures/labelled` learns from the first. Written by the web side's process, so that a
slow or full disk is nothing to the line.
"""

import errno
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.plain import is_unseen

LABELLED, STRANGERS, UNSURE = "labelled", "strangers", "unsure"  # its folders
UNSURE_SHARE = 0.2  # of the room
RECOUNT_S = 60.0  # a folder that was full is looked at again: somebody may have emptied it
_NOT_IN_NAMES = re.compile(r"[/\\:*?\"<>|]|^__")


class Album:
    """A folder that never grows beyond most_bytes. Thread-safe.

    told is called when the folder begins to refuse pictures, with the reason, and when it takes one, the first or the
    first again, with None.
    """

    def __init__(self, folder: Path, most_bytes: int, told: Callable[[str | None], None] = lambda reason: None) -> None:
        self._folder, self._most, self._told = folder, most_bytes, told
        self._refuses: str | None = ""  # nobody knows yet
        self._lock = threading.Lock()
        self._labelled: dict[int, Path] = {}
        self._count()

    def label(self, item_id: int, wall: float, label: str | None, jpeg: bytes) -> str | None:
        """Keeps a picture of an item under what a person calls it, in place of an earlier word on the same item.

        label None is none of the model's classes. Returns the file's place within the folder, None where it is refused.
        """
        place = Path(STRANGERS) if label is None else Path(LABELLED) / _folder_name(label)
        path = self._folder / place / _file_name(item_id, wall)
        with self._trying():
            before = self._labelled.get(item_id)
            if before == path and path.exists():
                return str(path.relative_to(self._folder))
            if self._bytes + len(jpeg) > self._most:
                self._count()
            self._drop_unsure(self._most - len(jpeg))
            self._write(path, jpeg)
            self._labelled[item_id] = path
            if before is not None and before != path and before.exists():
                self._bytes -= before.stat().st_size
                before.unlink()
                _drop_if_empty(before.parent)
            self._drop_named(path.name)
            return str(path.relative_to(self._folder))
        return None

    def unsure(self, item_id: int, wall: float, jpeg: bytes) -> None:
        """Keeps a picture that somebody should name, within its share of the room; the oldest give way.

        What people have named is never thrown away for it.
        """
        path = self._folder / UNSURE / _file_name(item_id, wall)
        with self._trying():
            if self._bytes + len(jpeg) > self._most and time.monotonic() > self._counted + RECOUNT_S:
                self._count()
            named = self._bytes - sum(size for _, size in self._unsure)
            most = min(named + int(self._most * UNSURE_SHARE), self._most)
            if named + len(jpeg) > most:
                raise self._full()  # whatever gave way for it
            self._drop_unsure(most - len(jpeg))
            self._write(path, jpeg)
            self._unsure.append((path, len(jpeg)))

    @contextmanager
    def _trying(self) -> Iterator[None]:
        """Holds the lock, and tells of a refusal, which ends what is tried and no more."""
        with self._lock:
            try:
                yield
            except OSError as error:
                self._tell(error.strerror or str(error))

    def _tell(self, refuses: str | None) -> None:
        if refuses != self._refuses:
            self._refuses = refuses
            self._told(refuses)

    def _count(self) -> None:
        """Looks at what lies there: people empty the folder, and move what was unsure to where it belongs."""
        self._bytes, self._unsure, self._counted = 0, list[tuple[Path, int]](), time.monotonic()
        for path in sorted(self._folder.rglob("*.jpg")) if self._folder.is_dir() else ():
            with suppress(FileNotFoundError):  # it is being moved at this moment
                size = path.stat().st_size
                self._bytes += size
                if path.parent.name == UNSURE:
                    self._unsure.append((path, size))

    def _drop_named(self, name: str) -> None:
        """A picture that somebody has named waits no longer to be named."""
        for path, size in [one for one in self._unsure if one[0].name == name]:
            self._unsure.remove((path, size))
            path.unlink(missing_ok=True)
            self._bytes -= size

    def _drop_unsure(self, most: int) -> None:
        """Makes room for a picture at the cost of those that nobody has named."""
        while self._unsure and self._bytes > most:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        path, size = self._unsure.pop(0)
        path.unlink(missing_ok=True)  # a person may have moved it to where it belongs
        self._bytes -= size

    def _full(self) -> OSError:
        """Its sentence says what to do."""
        room = f"it has the {self._most / 1e6:g} MB of journal.pictures_mb"
        return OSError(errno.EDQUOT, f"{room}: train with what is labelled and empty it")

    def _write(self, path: Path, jpeg: bytes) -> None:
        """Raises OSError where there is no room, and where the disk refuses."""
        if self._bytes + len(jpeg) > self._most:
            raise self._full()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        try:
            partial.write_bytes(jpeg)
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            _drop_if_empty(path.parent)
            raise
        self._bytes += len(jpeg)
        self._tell(None)


def _drop_if_empty(folder: Path) -> None:
    """A class without a picture is one that training refuses."""
    with suppress(OSError):  # it has others
        folder.rmdir()


def _file_name(item_id: int, wall: float) -> str:
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(wall))}-{item_id}.jpg"


def _folder_name(label: str) -> str:
    """A class name as a folder's, by which training knows it again.

    A model file may name its classes as it likes, but not reach out of the folder.
    """
    seen = "".join("_" if is_unseen(char) else char for char in label)
    return _NOT_IN_NAMES.sub("_", seen).strip(". ") or "_"

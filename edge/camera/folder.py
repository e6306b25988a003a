"""A folder, a glob or a single picture: one picture a frame, in natural order."""

import glob
import logging
import re
from pathlib import Path

import numpy as np

from edge.camera import CameraSettings, Shot
from edge.clock import Clock
from edge.errors import CameraError, PictureError
from edge.picture import SUFFIXES, picture_files, read_picture

_log = logging.getLogger("sortline.camera")

DEFAULT_FPS = 1.0
"""One picture a second: slow enough to follow by eye, and a folder has no rate of its own."""


class Folder:
    """The pictures of a folder, or those that a glob matches (** goes into folders), at settings.fps or 1 fps.

    In natural order: 2.jpg comes before 10.jpg. What the folder holds when it is opened is read, once:
    pictures that are added later are not followed. A file that cannot be read or decoded, or is gone
    when its turn comes, is skipped, named in the log and in `corrupt`, and so is what is no file, such as a
    pipe; a folder without one good picture is refused while opening.
    """

    live = False
    timestamps = "file"
    backend = "pictures"

    def __init__(self, settings: CameraSettings, clock: Clock) -> None:
        self._source = str(settings.source)
        self._fps = settings.fps or DEFAULT_FPS
        self._files, others = _pictures(self._source)
        self._index = 0
        self._count = 0
        self.corrupt = tuple(others)
        for path in others:
            _log.warning("%s: is no file; skipped", path)
        if not self._files:
            raise CameraError(f"{self._source}: holds no picture ({', '.join(sorted(SUFFIXES))})")
        self._next = self._load()
        if self._next is None:
            raise CameraError(f"{self._source}: none of its {len(self._files)} pictures can be decoded")

    def read(self) -> Shot | None:
        """The next picture that can be decoded; None after the last."""
        pixels, self._next = self._next, None
        if pixels is None:
            pixels = self._load()
        if pixels is None:
            return None
        self._count += 1
        return Shot(pixels, (self._count - 1) / self._fps)

    def close(self) -> None:
        self._index = len(self._files)

    def describe(self) -> str:
        return f"{len(self._files)} pictures, {self._fps:g} fps"

    def _load(self) -> np.ndarray | None:
        while self._index < len(self._files):
            path = self._files[self._index]
            self._index += 1
            try:
                return read_picture(path)
            except PictureError as error:
                self.corrupt += (path,)
                _log.warning("%s; skipped", error)
        return None


def natural(path: Path) -> tuple[tuple[int, int, str], ...]:
    """A sorting key under which 2.jpg comes before 10.jpg."""
    parts = re.split(r"(\d+)", str(path).casefold())
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)


def _pictures(source: str) -> tuple[list[Path], list[Path]]:
    """The picture files, and what is called one and is none."""
    path = Path(source)
    if path.is_dir():
        found = list(path.iterdir())
    elif path.exists() or not any(character in source for character in "*?["):
        found = [path]
        if not path.exists():
            raise CameraError(f"{source}: no such file")
    else:
        found = [Path(name) for name in glob.glob(source, recursive=True)]  # noqa: PTH207 - keeps a source as written
    files, others = picture_files(found)
    return sorted(files, key=natural), others

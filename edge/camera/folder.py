"""A folder or a glob of pictures, in natural order: one picture a frame."""

import glob
import re
from pathlib import Path

from edge.camera import CameraSettings, Shot
from edge.clock import Clock
from edge.errors import CameraError, PictureError
from edge.picture import SUFFIXES, read_picture

DEFAULT_FPS = 1.0


class Folder:
    """The pictures of a folder, or those that a glob matches, at settings.fps (or one a second).

    Natural order: 2.jpg comes before 10.jpg. A file that is not a picture is skipped and counted;
    a folder without a single good one is a CameraError.
    """

    live = False

    def __init__(self, settings: CameraSettings, clock: Clock) -> None:
        self._source = str(settings.source)
        self._period_s = 1 / (settings.fps or DEFAULT_FPS)
        self._files = _pictures(self._source)
        self._next = 0
        self._count = 0
        self.corrupt: tuple[Path, ...] = ()
        if not self._files:
            raise CameraError(f"{self._source}: holds no picture ({', '.join(sorted(SUFFIXES))})")

    def read(self) -> Shot | None:
        """The next picture that can be decoded; None after the last."""
        while self._next < len(self._files):
            path = self._files[self._next]
            self._next += 1
            try:
                pixels = read_picture(path)
            except PictureError:
                self.corrupt += (path,)
                continue
            at = self._count * self._period_s
            self._count += 1
            return Shot(pixels, at)
        if self._count == 0 and self.corrupt:
            raise CameraError(f"{self._source}: none of its {len(self._files)} pictures can be decoded")
        return None

    def close(self) -> None:
        self._next = len(self._files)

    def describe(self) -> str:
        return f"{len(self._files)} pictures, {1 / self._period_s:g} fps"


def natural(path: Path) -> tuple[tuple[int, int, str], ...]:
    """A sorting key under which 2.jpg comes before 10.jpg."""
    parts = re.split(r"(\d+)", str(path).casefold())
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)


def _pictures(source: str) -> list[Path]:
    folder = Path(source)
    found = folder.iterdir() if folder.is_dir() else map(Path, glob.glob(source, recursive=True))  # noqa: PTH207
    return sorted((path for path in found if path.suffix.lower() in SUFFIXES and path.is_file()), key=natural)

"""What a reader finds: labelled pictures and boxes, and by name whatever it could not use."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from edge.picture import SUFFIXES
from training.layout import HIDDEN, PART_FOLDERS, PartName, Skipped, no_file

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v"})
LARGEST_LABEL_FILE = 1 << 30


@dataclass(frozen=True, slots=True)
class Area:
    """A box as a tool wrote it: left, top, right, bottom, in pixels or, when relative, in shares of the picture."""

    left: float
    top: float
    right: float
    bottom: float
    relative: bool = False

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.left, self.top, self.right, self.bottom))):
            raise ValueError("its box has numbers that are too large for any picture")

    @classmethod
    def around(cls, points: Sequence[tuple[float, float]], relative: bool = False) -> "Area":
        """The upright box around points."""
        xs, ys = [x for x, _ in points], [y for _, y in points]
        return cls(min(xs), min(ys), max(xs), max(ys), relative)

    @classmethod
    def sized(cls, left: float, top: float, width: float, height: float, turned_deg: float = 0.0) -> "Area":
        """From its left top corner and size; turned about its middle, the upright box around it."""
        if not turned_deg:
            return cls(left, top, left + width, top + height)
        x, y, a = left + width / 2, top + height / 2, math.radians(turned_deg)
        half_w = abs(width / 2 * math.cos(a)) + abs(height / 2 * math.sin(a))
        half_h = abs(width / 2 * math.sin(a)) + abs(height / 2 * math.cos(a))
        return cls(x - half_w, y - half_h, x + half_w, y + half_h)


@dataclass(frozen=True, slots=True)
class Labelled:
    """One item: the picture it is on, its class as the tool spells it, and where it is; area None is all of it.

    frame is the number of the frame where picture is a video. size is the picture's width and height
    as the tool noted them. told_in is the file that says so.
    """

    picture: Path
    label: str
    area: Area | None
    part: PartName | None
    told_in: str
    size: tuple[int, int] | None = None
    frame: int | None = None
    track: str | None = None


@dataclass
class Findings:
    """Everything that one source has."""

    items: list[Labelled] = field(default_factory=list)
    left_out: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)  # that the tool declares, used or not
    looked_at: set[Path] = field(default_factory=set)  # pictures that a label file speaks of, labelled or not

    def refuse(self, name: str, reason: str) -> None:
        self.left_out.append(Skipped(name, reason))


class Source:
    """A folder with pictures and label files, listed once; what label files name is found only inside it.

    passed_over are pictures that are hidden, and links that lead nowhere or to a folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: list[Path] = []
        self.passed_over: list[Skipped] = []
        for path in sorted(root.rglob("*")):
            steps = path.relative_to(root).parts
            if "__MACOSX" in steps:  # what macOS adds to a zip: no picture that anybody took
                continue
            if any(step.startswith(".") for step in steps):
                if path.suffix.lower() in SUFFIXES and path.is_file():
                    self.passed_over.append(Skipped(self.name(path), HIDDEN))
            elif not path.is_file():
                if wrong := no_file(path):
                    self.passed_over.append(Skipped(self.name(path), wrong))
            elif not _is_own_list(path):
                self.files.append(path)
        self.pictures = [path for path in self.files if path.suffix.lower() in SUFFIXES]
        self.videos = [path for path in self.files if path.suffix.lower() in VIDEO_SUFFIXES]
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        self._by_any_case: dict[str, list[Path]] = {}  # a disk of Windows does not tell A from a
        for path in self.pictures:
            self._by_name.setdefault(normalize("NFC", path.name), []).append(path)
            self._by_stem.setdefault(normalize("NFC", path.stem), []).append(path)
            self._by_any_case.setdefault(normalize("NFC", path.stem).casefold(), []).append(path)

    def name(self, path: Path) -> str:
        """A file's path under the root."""
        return path.relative_to(self.root).as_posix()

    def ending(self, *suffixes: str) -> list[Path]:
        return [path for path in self.files if path.suffix.lower() in suffixes]

    def picture(self, named: str, beside: Path) -> Path | str:
        """The picture that a label file in the folder `beside` names, or why there is none.

        The longer the part of the named path that agrees the better; the nearer to the label file the
        better. Names without a suffix are found too, and macOS's letters, an ü of two characters, are the usual ones.
        """
        wanted = PurePosixPath(normalize("NFC", named.strip().replace("\\", "/")))
        stem = wanted.name.removesuffix(wanted.suffix) if wanted.suffix.lower() in SUFFIXES else wanted.name
        found = self._by_name.get(wanted.name) or self._by_stem.get(stem) or self._by_any_case.get(stem.casefold(), [])
        if not found:
            return f"no picture {wanted.name!r} is there"
        tail = (*wanted.parts[:-1], stem)

        def fits(path: Path) -> tuple[int, int]:
            own = [normalize("NFC", step) for step in (*path.relative_to(self.root).parts[:-1], path.stem)]
            same = 0
            while same < min(len(own), len(tail)) and own[-1 - same] == tail[-1 - same]:
                same += 1
            folder, near = beside.relative_to(self.root).parts, 0
            while near < min(len(own) - 1, len(folder)) and own[near] == folder[near]:
                near += 1
            apart = abs(len(own) - 1 - near) + abs(len(folder) - near)
            return same, near - apart

        best = sorted(found, key=fits, reverse=True)
        if len(best) > 1 and fits(best[0]) == fits(best[1]):
            return f"two pictures are called {wanted.name!r}: {self.name(best[0])} and {self.name(best[1])}"
        return best[0]


def part_of(*words: str | None) -> PartName | None:
    """The part that some words name, each a path or the name of a subset; the last one that does counts."""
    part: PartName | None = None
    for word in words:
        for step in PurePosixPath((word or "").replace("\\", "/")).parts:
            # CVAT's YOLO export has obj_train_data and its like.
            plain = step.casefold().removeprefix("obj_").removesuffix("_data")
            part = PART_FOLDERS.get(plain, part)
    return part


def unlabelled(source: Source, findings: Findings, reason: str = "has no label") -> None:
    """Names the pictures that no label speaks of."""
    used = {item.picture for item in findings.items} | findings.looked_at
    for path in source.pictures:
        if path not in used:
            findings.refuse(source.name(path), reason)


def number(text: object) -> float:
    """A finite number; ValueError else."""
    said = str(text)
    try:
        value = float(said)
    except ValueError:
        shown = repr(said[:40]) if said.strip() else "an empty field"
        raise ValueError(f"{shown} is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{said[:40]!r} is not a finite number")
    return value


def numbers(texts: Iterable[object]) -> list[float]:
    """Finite numbers; ValueError else."""
    return [number(text) for text in texts]


def read_text(path: Path) -> str:
    """A label file's text; ValueError when it cannot be read or is no text."""
    try:
        if path.stat().st_size > LARGEST_LABEL_FILE:
            raise ValueError("is larger than 1 GB")
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def _is_own_list(path: Path) -> bool:
    """Whether it is the import.json that an earlier import left beside its class folders, and so no label file."""
    if path.name != "import.json":
        return False
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"source", "format", "left_out", "pictures"} <= content.keys()

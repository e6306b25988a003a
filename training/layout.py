"""What lies in a dataset folder: which files are pictures, of which class and part, and what is none.

Either ROOT/CLASS/picture, or ROOT/train/CLASS/picture with test and val (or valid, validation) beside
train.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import numpy as np

from edge.errors import PictureError
from edge.picture import SUFFIXES, picture_files
from edge.plain import plain
from edge.web.album import LABELLED, STRANGERS, UNSURE
from training.errors import DatasetError, InputError
from training.reading import read_header
from training.spelling import unfit

PartName = Literal["train", "val", "test"]
PARTS: tuple[PartName, ...] = ("train", "val", "test")
PART_FOLDERS: dict[str, PartName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
MAX_DEFAULT_SIZE = 224
JUNK = frozenset({"thumbs.db", "desktop.ini"})
KEPT = frozenset({LABELLED, STRANGERS, UNSURE})
SHOWN = 10  # files left out that are named, the rest is counted
HIDDEN = "is hidden: its name, or a folder's, begins with a dot"
NOT_UTF8 = "its name is not UTF-8 text; rename it"


@dataclass(frozen=True, slots=True)
class File:
    """One picture file: name is its path under the dataset's root; part is None where the folder has no parts.

    label is the class folder's name as keyboards write it: macOS spells an ü in two characters (Unicode's NFD), and a
    line that names the class would not find it.
    """

    path: Path
    name: str
    label: str
    part: PartName | None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was left out, and why."""

    name: str
    reason: str


def skipped_lines(skipped: Sequence[Skipped]) -> list[str]:
    """Every file that was left out, by name; of many the first, and who names the rest."""
    shown = skipped if len(skipped) <= SHOWN + 1 else skipped[:SHOWN]
    lines = [f"left out: {file.name}: {file.reason}" for file in shown]
    if len(skipped) > len(shown):
        lines.append(f"left out: {len(skipped) - SHOWN} more files; `sortline-train audit --json FILE` names them all")
    return lines


def find(root: str | Path) -> tuple[list[File], list[Skipped]]:
    """Lists the picture files of a dataset folder, sorted by name, and the files that are no pictures."""
    root = Path(root)
    if not root.exists():
        raise DatasetError(f"{root}: no such folder")
    if not root.is_dir():
        raise DatasetError(f"{root}: is a file; a dataset is a folder with one folder of pictures a class")
    if legible(str(root.resolve())) != str(root.resolve()):
        raise DatasetError(f"{legible(str(root.resolve()))}: {NOT_UTF8}")
    folders = _folders(root)
    names = {folder.name for folder in folders}
    if names and names <= KEPT:
        named = "are the dataset" if LABELLED in names else "would be the dataset, but there are none yet"
        raise DatasetError(
            f"{root}: is where a line keeps its pictures; those that people have named, {root / LABELLED}, {named}"
        )
    parts = {folder: PART_FOLDERS.get(folder.name.casefold()) for folder in folders}
    if "train" not in parts.values():
        found, others = _find_classes(root, folders, None)
        return found, others + _stray(root, root)
    if strangers := sorted(folder.name for folder, part in parts.items() if part is None):
        raise DatasetError(
            f"{root}: has {strangers[0]!r} beside a train folder; beside train there can be val and test, nothing else"
        )
    files: list[File] = []
    skipped: list[Skipped] = _stray(root, root)
    for folder, part in parts.items():
        skipped += _stray(root, folder)
        more_files, more_skipped = _find_classes(root, _folders(folder), part)
        files += more_files
        skipped += more_skipped
    known = {file.label for file in files if file.part == "train"}
    for file in files:
        if file.label not in known:
            raise DatasetError(f"{root}: {file.part} has a class {file.label!r} which train does not have")
    return files, skipped


def legible(name: str) -> str:
    """A file's name as text that can be written: bytes of it that are not UTF-8 become \\x and their number."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def check_outside(root: Path, out: Path, advice: str) -> None:
    """Raises InputError for an output inside the dataset folder that it is made from: it would become part of it."""
    if out.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{out}: lies in the dataset {root} and would become part of it; {advice}")


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _stray(root: Path, folder: Path) -> list[Skipped]:
    """Pictures that lie beside the class folders instead of in one, and what is called a picture and is none."""
    files, others = picture_files(folder.iterdir())
    outside = "lies outside the class folders"
    reasons = {**dict.fromkeys(files, outside), **{path: no_file(path) or outside for path in others}}
    return [Skipped(legible(path.relative_to(root).as_posix()), why) for path, why in sorted(reasons.items())]


def _find_classes(root: Path, folders: list[Path], part: PartName | None) -> tuple[list[File], list[Skipped]]:
    files: list[File] = []
    skipped: list[Skipped] = []
    for folder in folders:
        if legible(folder.name) != folder.name:
            raise DatasetError(f"{legible(str(folder))}: {NOT_UTF8}")
        if why := unfit(folder.name):
            raise DatasetError(f"{plain(str(folder))}: cannot be the name of a class: {why}; rename the folder")
        found, label = 0, normalize("NFC", folder.name)
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(root).as_posix()
            if not path.is_file():
                if wrong := no_file(path):
                    skipped.append(Skipped(legible(name), wrong))
                continue
            hidden = any(word.startswith(".") for word in path.relative_to(folder).parts)
            if hidden:
                if path.suffix.lower() in SUFFIXES:
                    skipped.append(Skipped(legible(name), HIDDEN))
            elif legible(name) != name:
                skipped.append(Skipped(legible(name), NOT_UTF8))
            elif path.suffix.lower() in SUFFIXES:
                files.append(File(path, name, label, part))
                found += 1
            elif path.name.lower() not in JUNK:
                skipped.append(Skipped(name, "is not a picture by its name"))
        if not found:
            raise DatasetError(f"{folder}: has no picture in it; add some, or remove the folder")
    return files, skipped


def no_file(path: Path) -> str | None:
    """Why nothing is read where a file may be meant; None for a plain folder, whose files come by themselves."""
    if path.is_symlink():
        return "is a link to a folder, which is not followed" if path.is_dir() else "is a link that leads nowhere"
    return "is no file" if path.suffix.lower() in SUFFIXES and not path.is_dir() else None


def default_size(files: Sequence[File], looks: int = 200) -> int:
    """The input size that fits the pictures: their median longer side, up to a multiple of 32, 64 to 224."""
    step = max(len(files) // looks, 1)
    sides = []
    for file in files[::step]:
        try:
            header = read_header(file.path.read_bytes())
        except (PictureError, OSError):
            continue  # it is named when the dataset is loaded
        if header:
            sides.append(max(header.width, header.height))
    median = float(np.median(sides)) if sides else MAX_DEFAULT_SIZE
    return int(min(max(-(-median // 32) * 32, 64), MAX_DEFAULT_SIZE))

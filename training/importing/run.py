"""The import as a whole: tells the format, reads, cuts and writes, and accounts for every file."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from unicodedata import normalize

from rich.progress import Progress

from edge.plain import is_unseen
from training.errors import DatasetError, InputError
from training.files import whole_or_not_at_all, write_atomically
from training.importing.archive import opened
from training.importing.coco import is_coco, load_json, read_coco
from training.importing.folders import read_folders
from training.importing.found import Findings, Labelled, Source, read_text
from training.importing.tables import read_csv
from training.importing.writing import Written, write
from training.importing.xmls import first_tags, read_cvat, read_voc
from training.importing.yolo import names_files, read_yolo
from training.layout import PART_FOLDERS, PARTS, Skipped
from training.spelling import alike, unfit

READERS: dict[str, Callable[[Source], Findings]] = {
    "folders": read_folders,
    "cvat": read_cvat,
    "voc": read_voc,
    "yolo": read_yolo,
    "coco": read_coco,
    "csv": read_csv,
}
LONGEST_NAME = 100


@dataclass(frozen=True)
class Imported:
    """What an import made of a source. written are files under out, left_out is by name in the source."""

    source: Path
    out: Path
    format: str
    written: tuple[Written, ...]
    left_out: tuple[Skipped, ...]
    notes: tuple[str, ...]

    def counts(self) -> dict[str, Counter[str]]:
        """Pictures of each part, `all` where there are no parts, by class."""
        if not any(one.part for one in self.written):
            return {"all": Counter(one.label for one in self.written)}
        return {part: Counter(one.label for one in self.written if one.part == part) for part in PARTS}

    def to_json(self) -> str:
        content = {
            "source": self.source.name,
            "format": self.format,
            "counts": self.counts(),
            "left_out": [asdict(one) for one in self.left_out],
            "notes": self.notes,
            "pictures": {one.name: one.source for one in self.written},
        }
        return json.dumps(content, indent=1, ensure_ascii=False)


def import_pictures(
    path: Path,
    out: Path,
    progress: Progress,
    form: str | None = None,
    margin: float = 0.1,
    video: Path | None = None,
    rename: Mapping[str, str] | None = None,
) -> Imported:
    """Makes OUT, a new folder of class folders, of a labelling tool's folder or zip file.

    form is one of READERS, by default what the files look like; video is the clip of a CVAT video
    task; rename gives classes another name. OUT/import.json lists where each picture comes from and
    all that was left out. Raises InputError when there is nothing to import.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out}: exists and is not an empty folder; name a new one")
    if video is not None and not video.is_file():
        raise InputError(f"{video}: no such clip")
    if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
        raise DatasetError(f"{out}: lies inside {path}, whose pictures it would be among; name a folder elsewhere")
    _make(out.absolute().parent)
    rename = {normalize("NFC", old): new for old, new in (rename or {}).items()}
    with opened(path, out.absolute().parent, progress) as folder:
        source = Source(folder)
        form = form or detect(source, path)
        findings = read_cvat(source, video) if form == "cvat" else READERS[form](source)
        _account(source, findings, form)
        items = _with_parts(_with_classes(findings, rename), findings)
        if not items:
            reasons = "".join(f"; {one.name}: {one.reason}" for one in findings.left_out[:3])
            raise DatasetError(f"{path}: has nothing to import as {form}{reasons}")
        findings.notes += _of_several_classes(items, source)
        with whole_or_not_at_all(out) as unfinished:
            written, not_written = write(items, folder, unfinished, margin, progress)
            if not written:
                first = not_written[0]
                raise DatasetError(
                    f"{path}: none of its {len(items)} items can be cut out; {first.name}: {first.reason}"
                )
            used = {"", *(one.label for one in written)}  # what cannot be a folder's name was told already
            findings.notes += [
                f"class {label!r} is named but has no picture"
                for label in dict.fromkeys(findings.classes)
                if normalize("NFC", label) not in rename and _folder(label) not in used
            ]
            left_out = sorted({*findings.left_out, *not_written}, key=lambda one: one.name)
            made = Imported(path, out, form, tuple(written), tuple(left_out), tuple(findings.notes))
            write_atomically(unfinished / "import.json", made.to_json().encode())
    return made


def detect(source: Source, path: Path) -> str:
    """Which format a source has by its files; InputError when that is not clear."""
    tags = set(first_tags(source))
    found = [form for form, tag in (("cvat", "annotations"), ("voc", "annotation")) if tag in tags]
    for json_file in source.ending(".json"):
        try:
            if is_coco(load_json(json_file)):
                found.append("coco")
                break
        except (OSError, ValueError):
            continue
    if names_files(source) or _has_yolo_lines(source):
        found.append("yolo")
    if source.ending(".csv", ".tsv"):
        found.append("csv")
    if len(found) > 1:
        raise InputError(f"{path}: looks like {' and '.join(found)}; say which with --format {found[0]}")
    if found:
        return found[0]
    if torn := source.ending(".xml", ".json"):
        raise InputError(
            f"{path}: {source.name(torn[0])} is no label file that can be read; "
            "say which format it is with --format, and what is wrong is shown"
        )
    if not source.pictures:
        raise DatasetError(
            f"{path}: has no pictures and no label files that are known (zip files in it are not opened)"
        )
    return "folders"


def _has_yolo_lines(source: Source) -> bool:
    """Labels without their classes.txt: they are named, not taken for class folders."""
    stems = {picture.stem for picture in source.pictures}
    for path in source.ending(".txt"):
        if path.stem in stems:
            try:
                words = read_text(path).split()
            except (OSError, ValueError):
                continue
            if len(words) >= 5 and re.fullmatch(r"\d+", words[0]):
                return True
    return False


def _account(source: Source, findings: Findings, form: str) -> None:
    """Names what lies there and is neither picture nor label file, or cannot be used as such."""
    findings.left_out += source.passed_over
    if form != "cvat":
        for clip in source.videos:
            findings.refuse(source.name(clip), "is a clip; only a video task of CVAT takes pictures from one")
    known = {*source.pictures, *source.videos, *source.ending(".xml", ".json", ".csv", ".tsv", ".txt")}
    known |= set(source.ending(".yaml", ".yml", ".names", ".data", ".md"))
    for path in source.files:
        if path not in known and path.name.lower() not in ("thumbs.db", "desktop.ini"):
            findings.refuse(source.name(path), "is neither a picture nor a label file by its name")


def _with_classes(findings: Findings, rename: Mapping[str, str]) -> list[Labelled]:
    """The items with class names that can be folders; what is odd about the names is noted."""
    findings.items = [replace(item, label=normalize("NFC", item.label)) for item in findings.items]
    unknown = sorted(set(rename) - {item.label for item in findings.items})
    if unknown:
        have = ", ".join(sorted({item.label for item in findings.items})) or "none"
        raise InputError(f"--rename: no item is of a class {unknown[0]!r} (there are: {have})")
    items = []
    changed: dict[str, str] = {}
    before: dict[str, set[str]] = {}
    for item in findings.items:
        label = _folder(rename.get(item.label, item.label))
        if not label:
            findings.refuse(item.told_in, f"a class called {item.label!r} cannot be the name of a folder")
            continue
        if label != rename.get(item.label, item.label):
            changed[item.label] = label
        before.setdefault(label, set()).add(item.label)
        items.append(replace(item, label=label))
    findings.notes += [f"class {was!r} is written as {now!r}" for was, now in changed.items()]
    for label, names in before.items():
        if len(same := sorted(names - set(rename))) > 1:
            said = " and ".join(map(repr, same))
            findings.notes.append(f"classes {said} are written as one, {label!r}; --rename keeps them apart")
    findings.notes += spellings(Counter(item.label for item in items), before)
    return items


def _of_several_classes(items: list[Labelled], source: Source) -> list[str]:
    """The whole pictures that are told to be of more than one class: at most one of them is right."""
    classes: dict[Path, set[str]] = {}
    for item in items:
        if item.area is None and item.frame is None:
            classes.setdefault(item.picture, set()).add(item.label)
    return [
        f"{source.name(picture)}: is told to be of {len(labels)} classes, {', '.join(sorted(labels))}; "
        "it was put into each of them"
        for picture, labels in classes.items()
        if len(labels) > 1
    ]


def spellings(counts: Mapping[str, int], before: Mapping[str, set[str]] | None = None) -> list[str]:
    """Classes that are one under two spellings, as far as letters can tell: case, spaces, signs, plural.

    counts is of pictures by class; before has, by class, what the source calls it, which is what --rename takes.
    """

    def renaming(labels: list[str]) -> str:
        kept = max(labels, key=lambda label: counts[label])
        old = [name for label in labels if label != kept for name in sorted((before or {}).get(label, {label}))]
        return " ".join(f"--rename {shlex.quote(f'{name}={kept}')}" for name in old)

    return [
        "probably one class under several names: "
        + ", ".join(f"{label!r} ({counts[label]})" for label in labels)
        + f"; {renaming(labels)} makes them one"
        for labels in alike(counts)
    ]


def _folder(label: str) -> str:
    """A class's name as the name of a folder; empty where it cannot be one."""
    seen = "".join("/" if is_unseen(char) else char for char in normalize("NFC", label.strip()))
    name = re.sub(r"[/\\:*?\"<>|]+", "-", seen).strip()
    return "" if unfit(name) or not name.strip("-") or len(name.encode()) > LONGEST_NAME else name


def _with_parts(items: list[Labelled], findings: Findings) -> list[Labelled]:
    """All items with a part, or none: a dataset has train, val and test, or training splits it."""
    parts = {item.part for item in items}
    if None in parts and len(parts) > 1:
        loose = sum(item.part is None for item in items)
        findings.notes.append(f"{loose} items are of no part while others are: they go to train")
        items = [replace(item, part=item.part or "train") for item in items]
        parts = {item.part for item in items}
    if parts and "train" not in parts and None not in parts:
        findings.notes.append(f"has no train part, only {', '.join(sorted(map(str, parts)))}: written without parts")
        items = [replace(item, part=None) for item in items]
    if not parts - {None}:
        for label in sorted({item.label for item in items if PART_FOLDERS.get(item.label.casefold()) == "train"}):
            raise InputError(
                f"class {label!r} would be taken for a train folder; "
                f"give it another name, for example with --rename {shlex.quote(f'{label}={label}-class')}"
            )
    return items


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror})") from None

"""The audit as a whole: looks at every picture, compares them with each other, and says what it found."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.progress import Progress

from edge.engines import cores
from training.audit import checks
from training.audit.checks import Finding, Note, finding
from training.audit.inspect import Seen, inspect
from training.data import split
from training.errors import DatasetError, TrainingError
from training.grouping import SIMILAR, check_rule, group_names
from training.layout import PARTS, File, PartName, default_size, find
from training.similarity import Groups, Looks, near_pairs

if TYPE_CHECKING:
    from training.audit.labels import Features

LABEL_SIZE = 128  # pixels, at most: what the label check sees


@dataclass(frozen=True)
class Audit:
    """What was found in a dataset folder, faults first. parts says how the pictures are divided."""

    root: Path
    pictures: int
    classes: dict[str, int]
    parts: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def faults(self) -> int:
        """How many kinds of fault were found: what spoils a training or its measure."""
        return sum(one.weight == "fault" for one in self.findings)

    def to_json(self) -> str:
        content = {
            "dataset": self.root.name,
            "pictures": self.pictures,
            "classes": self.classes,
            "parts": self.parts,
            "faults": self.faults,
            "findings": [asdict(one) for one in self.findings],
            "notes": self.notes,
        }
        return json.dumps(content, indent=1, ensure_ascii=False)


def audit(root: Path, progress: Progress, group: str | None = None, seed: int = 0, check_labels: bool = True) -> Audit:
    """Looks at a dataset folder as training would read it, divided as it is or as seed would divide it.

    group is a rule of training.grouping: then the groups must not be in two parts. Raises DatasetError
    where there is no dataset at all, InputError for a rule that cannot be used.
    """
    if group:
        check_rule(group)
    files, skipped = find(root)
    if not files:
        raise DatasetError(f"{root}: has no class folders with pictures in them")
    notes: list[str] = []
    features = None
    several_classes = len({file.label for file in files}) > 1
    if check_labels and several_classes:
        features = _features(len(files), notes)
    size = min(default_size(files), LABEL_SIZE) if features else None
    seen, looks = inspect(files, progress, size, features.add if features else None)
    good = np.array([row for row, one in enumerate(seen) if not one.wrong], np.int64)
    parts, how = _parts(files, good, seed, root, group, notes)

    found = [checks.unreadable(seen, skipped), *checks.classes(seen), *checks.same_bytes(seen)]
    similar, near = _near(seen, looks.only(good), good, parts, how)
    found += near
    if group and group != SIMILAR:
        found.append(_groups(files, group, parts))
    if features is not None and features.rows is not None:
        found.append(_labels(files, good, features.rows, similar, progress))
    found += [checks.blurred(seen), *checks.exposure(seen), checks.sizes(seen), checks.several(seen)]
    kept = sorted((one for one in found if one.count), key=lambda one: one.weight != "fault")
    counts = Counter(files[row].label for row in good.tolist())
    classes = {label: counts[label] for label in sorted({file.label for file in files})}
    return Audit(root, len(good), classes, how, tuple(kept), tuple(notes))


def _features(n: int, notes: list[str]) -> "Features | None":
    try:
        from training.audit.labels import Features

        return Features(n)
    except (ModuleNotFoundError, TrainingError) as error:
        notes.append(f"labels were not checked: {error}")
        return None


def _parts(
    files: Sequence[File], good: np.ndarray, seed: int, root: Path, group: str | None, notes: list[str]
) -> tuple[list[PartName | None], str]:
    """The part of each file, as given or as training would draw it; None for files that are in none."""
    parts: list[PartName | None] = [file.part for file in files]
    given = [part for part in PARTS if part in parts]
    readable = [files[row] for row in good.tolist()]
    try:
        drawn = split(readable, seed, root, group)
    except DatasetError as error:
        notes.append(f"it cannot be divided for training: {str(error).removeprefix(f'{root}: ')}")
        return parts, f"folders {', '.join(given)}" if given else "not divided"
    for row, part in zip(good.tolist(), drawn, strict=True):
        parts[row] = part
    rest = [part for part in PARTS if part not in given]
    drawn_so = f"{', '.join(rest)} as training draws {'them' if len(rest) > 1 else 'it'} with seed {seed}"
    if not given:
        return parts, drawn_so
    return parts, f"folders {', '.join(given)}" + (f"; {drawn_so}" if rest else "")


def _near(
    seen: Sequence[Seen], looks: Looks, good: np.ndarray, parts: Sequence[PartName | None], how: str
) -> tuple[np.ndarray, list[Finding]]:
    """The group of each readable picture, by likeness, and what is to be said of likeness."""
    groups = Groups(len(good))
    across: dict[int, tuple[float, int]] = {}  # of each picture outside train its nearest in another part
    labels_differ: dict[tuple[int, int], float] = {}
    for rows, others, differences in near_pairs(looks):
        for one, other, difference in zip(
            good[rows].tolist(), good[others].tolist(), differences.tolist(), strict=True
        ):
            first, second = parts[one], parts[other]
            if first and second and first != second:
                kept, match = (other, one) if first == "train" else (one, other)
                across[kept] = min(across.get(kept, (np.inf, -1)), (difference, match))
            same_file = seen[one].sha256 == seen[other].sha256
            if seen[one].file.label != seen[other].file.label and not same_file:
                labels_differ[one, other] = difference
        for row, other in zip(rows.tolist(), others.tolist(), strict=True):
            groups.join(row, other)
    firsts = groups.firsts()
    clusters: dict[int, list[int]] = defaultdict(list)
    for row, first in zip(good.tolist(), firsts.tolist(), strict=True):
        clusters[first].append(row)
    names = [one.file.name for one in seen]
    alike = sorted((rows for rows in clusters.values() if len(rows) > 1), key=len, reverse=True)
    outside = Counter(part for part in parts if part in ("val", "test"))
    leaks = sorted(across.items(), key=lambda pair: pair[1][0])
    shares = ", ".join(
        f"{sum(parts[row] == part for row in across) / outside[part]:.0%} of {part}"
        for part in ("val", "test")
        if outside[part]
    )
    return firsts, [
        finding(
            "straddling",
            "fault",
            "Near duplicates in two parts",
            f"{shares} nearly repeats a picture of another part, so its figures flatter ({how}); "
            "split with --group similar, or with a pattern that names clips or items",
            [
                Note((names[row], names[match]), f"{parts[row]} and {parts[match]}, {difference:.1f} of 255 apart")
                for row, (difference, match) in leaks
            ],
            len(across),
        ),
        finding(
            "near-contradiction",
            "look",
            "Nearly the same picture under two classes",
            "one of the labels may be wrong",
            [
                Note((names[one], names[other]), f"{seen[one].file.label} and {seen[other].file.label}")
                for (one, other), _ in sorted(labels_differ.items(), key=lambda pair: pair[1])
            ],
        ),
        finding(
            "near-duplicate",
            "look",
            "Near duplicates",
            "frames of one clip or item, each nearly the next: they teach little more than one of them does",
            [Note(tuple(names[row] for row in rows), f"{len(rows)} pictures, each nearly another") for rows in alike],
        ),
    ]


def _groups(files: Sequence[File], rule: str, parts: Sequence[PartName | None]) -> Finding:
    """The same item or clip, by name, in two parts."""
    where: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for file, group, part in zip(files, group_names(files, rule, cores()), parts, strict=True):
        if part:
            where[group][part].append(file.name)
    notes = [
        Note(
            tuple(names[0] for names in found.values()),
            f"{' '.join(group.split(chr(0))).strip() or 'the rest'}: "
            + ", ".join(f"{len(names)} in {part}" for part, names in sorted(found.items(), key=_in_order)),
        )
        for group, found in sorted(where.items())
        if len(found) > 1
    ]
    advice = "the test would be on items that training has seen; move whole groups"
    return finding("group", "fault", f"Groups by {rule!r} in two parts", advice, notes, len(notes))


def _in_order(pair: tuple[str, list[str]]) -> int:
    return PARTS.index(pair[0])


def _labels(
    files: Sequence[File], good: np.ndarray, features: np.ndarray, groups: np.ndarray, progress: Progress
) -> Finding:
    """Pictures that look like another class to models that did not see them."""
    from training.audit.labels import doubts

    names = sorted({file.label for file in files})
    labels = np.array([names.index(files[row].label) for row in good.tolist()], np.int64)
    found = doubts(features[good], labels, groups, len(names), progress)
    return finding(
        "label",
        "look",
        "Labels that look wrong",
        "models trained on the other pictures take them for another class",
        [
            Note(
                (files[int(good[one.row])].name,),
                f"looks like {names[one.suggested]} ({one.probability:.0%}; as labelled {one.of_label:.0%})",
            )
            for one in found
        ],
    )

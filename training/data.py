"""A folder of class folders becomes a Dataset: decoded once, split with a seed, every picture accounted for.

ROOT/CLASS/picture is split here 70/15/15 within each class; of ROOT/train/CLASS/picture, what is
given is kept, and a validation part that is not given is split off train. Pictures are made the
model's input by edge.model.to_pixels, the same function that the line uses. A rule for groups
(training.grouping) keeps pictures that belong together in one part.
"""

import hashlib
import os
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import Progress

from edge.engines import cores
from edge.errors import PictureError
from edge.model import Resize, to_pixels
from training.errors import DatasetError, TrainingError
from training.files import whole_or_not_at_all
from training.grouping import check_rule, draw_groups, group_names
from training.labels import read_soft_labels
from training.layout import PARTS, File, PartName, Skipped, check_outside, find
from training.reading import read_sound

VAL_SHARE, TEST_SHARE = 0.15, 0.15
FEWEST_A_CLASS = 5  # one picture each for validation and test, and enough left to call it training


@dataclass(frozen=True)
class Part:
    """One of train, val and test: rows of a store of pictures that the parts share.

    store is uint8 [all pictures, H, W, 3] RGB, in memory or mapped from a file; index says which
    rows are of this part; labels is int64 [n], positions in Dataset.classes; targets, float32
    [n, classes], is how probable each class is: one of a picture's own class, unless labels.csv
    says otherwise.
    """

    store: np.ndarray
    index: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def soft(self) -> bool:
        """Whether the targets say more than the labels: a file of several annotators' votes does."""
        return bool((self.targets.max(axis=1) < 1).any())

    def pixels(self, positions: np.ndarray | slice) -> np.ndarray:
        """The pictures at these positions of the part, uint8 [n, H, W, 3] RGB."""
        return self.store[self.index[positions]]

    def take(self, positions: np.ndarray) -> "Part":
        """The pictures at these positions as a part of their own."""
        names = tuple(self.names[i] for i in positions)
        return Part(self.store, self.index[positions], self.labels[positions], self.targets[positions], names)

    def batches(self, size: int) -> Iterable[np.ndarray]:
        """All pictures in order, a batch at a time."""
        return (self.pixels(slice(start, start + size)) for start in range(0, len(self), size))


@dataclass(frozen=True)
class Pictures:
    """All readable pictures of a dataset folder, not split yet; store as in Part, one row for each file.

    digests are the SHA-256 of the files' bytes, fingerprint one over the names and bytes of all of
    them, and over labels.csv where there is one; soft holds what that file says, by the pictures' names.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[File, ...]
    digests: tuple[str, ...]
    rows: np.ndarray
    store: np.ndarray
    fingerprint: str
    skipped: tuple[Skipped, ...]
    soft: dict[str, tuple[float, ...]]

    def part(self, chosen: Sequence[int] | None = None) -> Part:
        """Some of the files, by their positions, or all, as a Part."""
        positions = range(len(self.files)) if chosen is None else chosen
        number = {label: i for i, label in enumerate(self.classes)}
        labels = np.array([number[self.files[i].label] for i in positions], np.int64)
        names = tuple(self.files[i].name for i in positions)
        targets = np.eye(len(self.classes), dtype=np.float32)[labels]
        for row, name in enumerate(names):
            targets[row] = self.soft.get(name, targets[row])
        return Part(self.store, self.rows[list(positions)], labels, targets, names)


@dataclass(frozen=True)
class Dataset:
    """Pictures with labels in three parts, none of them empty. split says in words how they came about.

    learnt are the SHA-256 digests of the train and val parts' files.
    """

    root: Path
    classes: tuple[str, ...]
    train: Part
    val: Part
    test: Part
    fingerprint: str
    skipped: tuple[Skipped, ...]
    split: str
    learnt: tuple[str, ...]

    @property
    def side(self) -> int:
        """The side of the pictures, in pixels."""
        return int(self.train.store.shape[1])

    def counts(self) -> dict[str, dict[str, int]]:
        """Pictures a class in each part, for the card and the report."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        return {
            name: {label: int((part.labels == i).sum()) for i, label in enumerate(self.classes)}
            for name, part in parts.items()
        }


def read(
    root: str | Path,
    height: int,
    width: int,
    resize: Resize,
    progress: Progress,
    scratch: Path | None = None,
    memory_bytes: int | None = None,
) -> Pictures:
    """Reads every picture of a dataset folder once; what cannot be read is left out and named.

    Pictures that need more than memory_bytes, by default a quarter of the machine's memory, are kept
    in a deleted file in the scratch folder and mapped from there. Raises DatasetError when there is
    nothing to read.
    """
    root = Path(root)
    files, skipped = find(root)
    if not files:
        raise DatasetError(f"{root}: has no class folders; a dataset is a folder with one folder of pictures a class")
    store = _allocate((len(files), height, width, 3), scratch, memory_bytes)

    def read_one(row: int) -> str | PictureError:
        """Decodes one picture into its row; returns the SHA-256 of its bytes, or what was wrong."""
        try:
            data = files[row].path.read_bytes()
            store[row] = to_pixels(read_sound(data, files[row].name), height, width, resize)
        except OSError as error:
            return PictureError(f"cannot be read ({error.strerror})")
        except PictureError as error:
            return error
        return hashlib.sha256(data).hexdigest()

    good: list[int] = []
    digests: list[str] = []
    fingerprint = hashlib.sha256()
    with ThreadPoolExecutor(max_workers=cores()) as pool:
        outcomes = pool.map(read_one, range(len(files)))
        for row, outcome in enumerate(progress.track(outcomes, len(files), description="reading pictures")):
            if isinstance(outcome, PictureError):
                reason = str(outcome).removeprefix(f"{files[row].name}: ")
                skipped.append(Skipped(files[row].name, reason))
                continue
            good.append(row)
            digests.append(outcome)
            fingerprint.update(f"{files[row].name}\0{outcome}\n".encode())
    classes = tuple(sorted({file.label for file in files}))
    soft = read_soft_labels(root, classes, [file.name for file in files])
    if soft:
        fingerprint.update(repr(sorted(soft.items())).encode())
    return Pictures(
        root,
        classes,
        tuple(files[row] for row in good),
        tuple(digests),
        np.array(good, np.int64),
        store,
        fingerprint.hexdigest(),
        tuple(skipped),
        soft,
    )


def load(
    root: str | Path,
    height: int,
    width: int,
    resize: Resize,
    seed: int,
    progress: Progress,
    scratch: Path | None = None,
    group: str | None = None,
) -> Dataset:
    """A dataset folder, read and split for training. The same folder, seed and group rule always give the same parts.

    Raises DatasetError when there is nothing sound to train on.
    """
    pictures = read(root, height, width, resize, progress, scratch)
    if len(pictures.classes) < 2:
        raise DatasetError(f"{root}: has one class ({pictures.classes[0]}); a classifier needs at least two")
    if unread := sorted(set(pictures.classes) - {file.label for file in pictures.files}):
        raise DatasetError(f"{root}: no picture of class {unread[0]!r} can be read")
    of_part = split(pictures.files, seed, pictures.root, group, progress)
    parts = {}
    for name in PARTS:
        parts[name] = pictures.part([i for i, part in enumerate(of_part) if part == name])
        if not len(parts[name]):
            raise DatasetError(f"{root}: has no readable picture in its {name} part")
    given = [name for name in PARTS if any(file.part == name for file in pictures.files)]
    together = f", whole groups by {group!r}" if group else ""
    how = f"folders as given: {', '.join(given)}; " if given else ""
    return Dataset(
        pictures.root,
        pictures.classes,
        parts["train"],
        parts["val"],
        parts["test"],
        pictures.fingerprint,
        pictures.skipped,
        how + ("nothing drawn" if len(given) == len(PARTS) else f"drawn within each class with seed {seed}{together}"),
        tuple(digest for digest, part in zip(pictures.digests, of_part, strict=True) if part != "test"),
    )


def split(
    files: Sequence[File], seed: int, root: Path, group: str | None = None, progress: Progress | None = None
) -> list[PartName]:
    """Which part each file belongs to: the part it was given, the rest drawn within each class.

    A part that the dataset has a folder for takes nothing from elsewhere. Each class is drawn by a
    generator of its own, so that adding a class leaves the others' parts as they were. With a group
    rule, pictures of one group are drawn together.
    """
    if group:
        check_rule(group)
    given = {file.part for file in files if file.part}
    if not given:
        shares: dict[PartName, float] = {"val": VAL_SHARE, "test": TEST_SHARE}
    else:
        shares = {"val": VAL_SHARE} if "val" not in given else {}
        if "test" not in given:
            shares["test"] = TEST_SHARE
    parts: list[PartName] = [file.part or "train" for file in files]
    counts = Counter(file.label for file, part in zip(files, parts, strict=True) if part == "train")
    labels = sorted({file.label for file in files})
    for label in labels:
        if counts[label] < FEWEST_A_CLASS:
            raise DatasetError(
                f"{root}: class {label!r} has {counts[label]} readable pictures to train on; "
                f"at least {FEWEST_A_CLASS} are needed to learn it and to check what was learnt"
            )
    if group and shares:
        loose = [i for i, part in enumerate(parts) if part == "train"]
        chosen = [files[i] for i in loose]
        groups = group_names(chosen, group, cores(), progress)
        drawn = draw_groups([file.label for file in chosen], groups, shares, seed, root)
        for i, part in zip(loose, drawn, strict=True):
            parts[i] = part
        return parts
    for label in labels:
        rows = [i for i, file in enumerate(files) if file.label == label and parts[i] == "train"]
        order = np.random.default_rng([seed, zlib.crc32(label.encode())]).permutation(rows)
        start = 0
        for part, share in shares.items():
            number = max(round(share * len(rows)), 1)
            for row in order[start : start + number]:
                parts[int(row)] = part
            start += number
    return parts


def _allocate(shape: tuple[int, ...], scratch: Path | None, memory_bytes: int | None) -> np.ndarray:
    """Room for all pictures: memory, or a file of the scratch folder that vanishes with the process."""
    if memory_bytes is None:
        memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    if int(np.prod(shape)) <= memory_bytes:
        return np.zeros(shape, np.uint8)
    with tempfile.TemporaryFile(dir=scratch) as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)


def write_split(
    root: str | Path, out: Path, seed: int, group: str | None = None, progress: Progress | None = None
) -> tuple[dict[str, int], tuple[Skipped, ...]]:
    """Makes OUT/train, val and test with ROOT's pictures, read and split as training would, or nothing at all.

    Returns how many went where, and what was left out. The files are hard links where the disk
    allows it, else copies.
    """
    root = Path(root)
    check_outside(root, out, "name a folder beside it")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out}: exists and is not an empty folder; name a new one")
    # What can be read does not depend on the size; a small one takes no memory.
    pictures = read(root, 32, 32, Resize(), progress or Progress(disable=True))
    parts = split(pictures.files, seed, root, group, progress)
    with whole_or_not_at_all(out) as unfinished:
        for file, part in zip(pictures.files, parts, strict=True):
            words = Path(file.name).parts
            target = unfinished / part / file.label / "_".join(words[words.index(file.label) + 1 :])
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(file.path.resolve(), target)
                except OSError:
                    shutil.copyfile(file.path, target)
            except OSError as error:
                raise TrainingError(f"{target}: cannot be written ({error.strerror})") from None
    return dict(Counter(parts)), pictures.skipped

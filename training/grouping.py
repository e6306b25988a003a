"""Pictures that belong together and must stay in one part: of one item, one clip, or nearly the same.

A rule is one word: `similar`, or a regular expression that is searched in each picture's name, its
class folder included and the folder of its part left out: `bolt/clip3_frame120.jpg`. What the
brackets of the expression capture names the group, or all that it matches when it has none. A
picture in which nothing is found is a group of its own.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from rich.progress import Progress

from edge.errors import PictureError
from edge.picture import read_picture
from training.errors import DatasetError, InputError
from training.layout import File, PartName
from training.similarity import Looks, similar_groups

SIMILAR = "similar"
ATTEMPTS = 20


def check_rule(rule: str) -> str:
    """The rule as it is; raises InputError when it is neither `similar` nor a regular expression."""
    if rule != SIMILAR:
        try:
            re.compile(rule)
        except re.error as error:
            raise InputError(
                f"--group {rule!r}: is not a regular expression ({error}); or say --group similar"
            ) from None
    return rule


def group_names(files: Sequence[File], rule: str, threads: int, progress: Progress | None = None) -> list[str]:
    """The group that each file belongs to, by its name. Raises InputError when the rule finds nothing in any file."""
    if check_rule(rule) == SIMILAR:
        return [files[first].name for first in similar_groups(_looks(files, threads, progress))]
    pattern = re.compile(rule)
    names, found = [], 0
    for file in files:
        name = plain_name(file)
        match = pattern.search(name)
        found += match is not None
        # A name that is no path keeps the ungrouped apart from every group that a pattern can find.
        names.append("\0".join(text or "" for text in match.groups() or [match[0]]) if match else f"//{file.name}")
    if files and not found:
        raise InputError(f"--group {rule!r}: is found in no name; the names look like {plain_name(files[0])!r}")
    return names


def plain_name(file: File) -> str:
    """A picture's name without the folder of its part: what a rule is searched in."""
    return file.name.split("/", 1)[1] if file.part else file.name


def _looks(files: Sequence[File], threads: int, progress: Progress | None) -> Looks:
    looks = Looks.room(len(files))

    def look(row: int) -> None:
        try:
            looks.put(row, read_picture(files[row].path))
        except PictureError:  # whoever reads the pictures names it; here it is only like no other
            looks.hashes[row] = np.random.default_rng(row).integers(0, 2**64, 3, np.uint64)

    with ThreadPoolExecutor(max_workers=threads) as pool:
        done: Iterable[None] = pool.map(look, range(len(files)))
        for _ in progress.track(done, len(files), description="comparing pictures") if progress else done:
            pass
    return looks


def draw_groups(
    labels: Sequence[str], groups: Sequence[str], shares: dict[PartName, float], seed: int, root: Path
) -> list[PartName]:
    """Draws a part for each picture so that groups stay whole and each class has about its share in each part.

    Groups are placed from the largest to the smallest, each where its classes are furthest below
    their shares; after M. Sechidis, G. Tsoumakas and I. Vlahavas, "On the Stratification of
    Multi-label Data", 2011. shares are of the parts beside train. Raises
    DatasetError when no draw gives every class a picture in every part.
    """
    parts: list[PartName] = ["train", *shares]
    goal_shares = np.array([1 - sum(shares.values()), *shares.values()])
    kinds = sorted(set(labels))
    number = {label: i for i, label in enumerate(kinds)}
    members: dict[str, np.ndarray] = {}
    for label, group in zip(labels, groups, strict=True):
        members.setdefault(group, np.zeros(len(kinds)))[number[label]] += 1
    for label in kinds:
        of_class = sum(counts[number[label]] > 0 for counts in members.values())
        if of_class < len(parts):
            raise DatasetError(
                f"{root}: the pictures of class {label!r} form {of_class} group(s) by --group, "
                f"but {', '.join(parts)} need one each; take pictures of more items, or a finer rule"
            )
    totals = np.array([Counter(labels)[label] for label in kinds], float)
    for attempt in range(ATTEMPTS):
        placed = _place(members, totals, goal_shares, np.random.default_rng([seed, attempt]))
        if placed is not None:
            return [parts[placed[group]] for group in groups]
    raise DatasetError(
        f"{root}: no draw gives {', '.join(parts)} a picture of every class; "
        "groups by --group that hold fewer classes each would help, or another --seed"
    )


def _place(
    members: dict[str, np.ndarray], totals: np.ndarray, goal_shares: np.ndarray, draw: np.random.Generator
) -> dict[str, int] | None:
    """The part of each group, or None when some part has nothing of a class."""
    names = list(members)
    luck = draw.permutation(len(names))
    order = sorted(range(len(names)), key=lambda i: (-members[names[i]].sum(), luck[i]))
    held = np.zeros((len(goal_shares), len(totals)))
    left = sum((counts > 0).astype(int) for counts in members.values())
    placed: dict[str, int] = {}
    for i in order:
        counts = members[names[i]]
        has = counts > 0
        # How far each part's classes are below their shares, in shares; what a part lacks comes
        # first where a class has no more groups left than parts without it.
        missing = goal_shares[:, None] - held / totals
        lacks = held == 0
        urgent = lacks & (left <= lacks.sum(axis=0))
        wish = ((missing + urgent * 10) * counts / totals)[:, has].sum(axis=1)
        part = int(wish.argmax())
        held[part] += counts
        left = left - has
        placed[names[i]] = part
    return placed if (held > 0).all() else None

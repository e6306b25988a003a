"""What is wrong, or worth a look, with pictures one by one and with the classes: findings from what was seen."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.audit.inspect import Seen
from training.data import FEWEST_A_CLASS
from training.layout import Skipped
from training.spelling import alike

Weight = Literal["fault", "look"]

DARK, BRIGHT, FLAT = 40.0, 235.0, 3.0  # grey values, 0 to 255
SMALL_SIDE = 32
UNUSUAL_SIZE = 3.0  # times the usual longer side, or a third of it
UNUSUAL_SHAPE = 2.0  # times the usual width to height
SAME_SIZE = 0.9  # the share of pictures from which one size counts as the rule
BLURRED = 4.0  # times less sharp than usual, and an outlier
OUTLIER = 4.0  # robust standard deviations
IMBALANCE = 5.0  # times as many pictures as the smallest class
LITTLE = 30  # pictures of a class


@dataclass(frozen=True, slots=True)
class Note:
    """One picture, or a few that belong together, and what is to be said of them."""

    pictures: tuple[str, ...]
    says: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of trouble. A fault spoils the training or its measure; the rest is worth a look."""

    kind: str
    weight: Weight
    title: str
    advice: str
    notes: tuple[Note, ...]
    count: int  # pictures, or classes where the finding is of classes


def finding(
    kind: str, weight: Weight, title: str, advice: str, notes: Iterable[Note], count: int | None = None
) -> Finding:
    """A finding of some notes; count is how many pictures they are about unless it is given."""
    kept = tuple(notes)
    pictures = {name for note in kept for name in note.pictures}
    return Finding(kind, weight, title, advice, kept, len(pictures) if count is None else count)


def unreadable(seen: Sequence[Seen], skipped: Sequence[Skipped]) -> Finding:
    """Files that no picture comes out of, whole."""
    notes = [Note((one.file.name,), one.wrong) for one in seen if one.wrong]
    notes += [Note((one.name,), one.reason) for one in skipped]
    return finding(
        "unreadable", "fault", "Files that cannot be read", "replace or remove them; training leaves them out", notes
    )


def classes(seen: Sequence[Seen]) -> Iterator[Finding]:
    """Too few pictures of a class, or many times more of one than of another."""
    counts = Counter(one.file.label for one in seen if not one.wrong)
    for one in seen:
        counts.setdefault(one.file.label, 0)
    names = sorted(counts, key=lambda label: counts[label])
    if len(names) == 1:
        yield finding(
            "one-class", "fault", "Only one class", "a classifier needs two", [Note((), f"all are {names[0]!r}")], 1
        )
    few = [label for label in names if counts[label] < FEWEST_A_CLASS]
    yield finding(
        "too-few",
        "fault",
        "Classes with too few pictures to train",
        f"at least {FEWEST_A_CLASS} are needed, a hundred are good",
        [Note((), f"{label}: {counts[label]}") for label in few],
        len(few),
    )
    little = [label for label in names if FEWEST_A_CLASS <= counts[label] < LITTLE]
    yield finding(
        "little",
        "look",
        "Classes with few pictures",
        f"below {LITTLE} a class is learnt badly and its figures mean little",
        [Note((), f"{label}: {counts[label]}") for label in little],
        len(little),
    )
    doubled = alike(sorted(counts))
    yield finding(
        "spelling",
        "look",
        "Classes that are probably one under two spellings",
        "the model would learn to tell them apart; put the pictures into one folder",
        [Note((), ", ".join(f"{label}: {counts[label]}" for label in together)) for together in doubled],
        sum(map(len, doubled)),
    )
    least, most = counts[names[0]], counts[names[-1]]
    if least and most > IMBALANCE * least:
        says = f"{names[-1]} has {most} pictures, {names[0]} {least}: {most / least:.1f} times as many"
        yield finding(
            "imbalance", "look", "Unequal classes", "take more of the rare one, or weigh it", [Note((), says)], 2
        )


def exposure(seen: Sequence[Seen]) -> Iterator[Finding]:
    """Pictures with hardly any light, or too much, or nothing on them."""
    good = [one for one in seen if not one.wrong]

    def deep(one: Seen) -> str:
        return "; a 16-bit file, of which the upper 8 bits are read" if one.header and "16" in one.header.mode else ""

    dark = [one for one in good if one.bright < DARK]
    bright = [one for one in good if one.dark > BRIGHT]
    flat = [one for one in good if one.spread < FLAT and one.bright >= DARK and one.dark <= BRIGHT]
    yield finding(
        "flat",
        "look",
        "Pictures with nothing on them",
        "one grey value all over: a covered lens, an empty belt",
        [Note((one.file.name,), f"grey {one.mean:.0f} all over{deep(one)}") for one in flat],
    )
    yield finding(
        "dark",
        "look",
        "Too dark",
        f"19 of 20 pixels are below {DARK:.0f} of 255",
        [Note((one.file.name,), f"95 % of it at or below {one.bright:.0f}{deep(one)}") for one in dark],
    )
    yield finding(
        "bright",
        "look",
        "Too bright",
        f"19 of 20 pixels are above {BRIGHT:.0f} of 255",
        [Note((one.file.name,), f"95 % of it at or above {one.dark:.0f}") for one in bright],
    )


def blurred(seen: Sequence[Seen]) -> Finding:
    """Pictures far less sharp than others of their class; of all where a class is too small to tell."""
    good = [one for one in seen if not one.wrong and one.spread >= FLAT]
    usual = _by_class(good, lambda one: np.log(one.sharpness + 1e-9))
    notes = []
    for one in good:
        middle, deviation = usual[one.file.label]
        below = middle - np.log(one.sharpness + 1e-9)
        if below > max(np.log(BLURRED), OUTLIER * deviation):
            times = np.exp(below)
            notes.append(
                (below, Note((one.file.name,), f"{times:.0f} times less sharp than is usual for {one.file.label}"))
            )
    notes.sort(key=lambda pair: -pair[0])
    advice = "out of focus, or the item moved while the shutter was open"
    return finding("blurred", "look", "Blurred", advice, [note for _, note in notes])


def sizes(seen: Sequence[Seen]) -> Finding:
    """Pictures too small, or of another size or shape than the rest."""
    good = [one for one in seen if not one.wrong]
    notes = []
    if good:
        commonest, often = Counter((one.width, one.height) for one in good).most_common(1)[0]
        longer = float(np.median([max(one.width, one.height) for one in good]))
        shape = float(np.median([one.width / one.height for one in good]))
        for one in good:
            side, wide = max(one.width, one.height), one.width / one.height
            says = f"is {one.width} x {one.height}"
            if min(one.width, one.height) < SMALL_SIDE:
                notes.append(Note((one.file.name,), f"{says}: less than {SMALL_SIDE} pixels"))
            elif often >= SAME_SIZE * len(good) and (one.width, one.height) != commonest:
                notes.append(
                    Note((one.file.name,), f"{says}; {often / len(good):.0%} are {commonest[0]} x {commonest[1]}")
                )
            elif not longer / UNUSUAL_SIZE <= side <= longer * UNUSUAL_SIZE:
                notes.append(Note((one.file.name,), f"{says}; usual is a longer side of {longer:.0f}"))
            elif not shape / UNUSUAL_SHAPE <= wide <= shape * UNUSUAL_SHAPE:
                notes.append(Note((one.file.name,), f"{says}; usual is {shape:.2f} times as wide as high"))
    return finding("size", "look", "Unusual sizes", "a crop that went wrong, or another camera", notes)


def several(seen: Sequence[Seen]) -> Finding:
    """Files with more than one picture in them."""
    notes = [
        Note((one.file.name,), f"holds {one.header.pictures} pictures")
        for one in seen
        if not one.wrong and one.header and one.header.pictures > 1 and one.header.kind != "MPO"
    ]
    advice = "animations and pages: only the first picture of each is used"
    return finding("several", "look", "Files with several pictures", advice, notes)


def same_bytes(seen: Sequence[Seen]) -> Iterator[Finding]:
    """The same file twice: under one label, or, worse, under two."""
    by_hash: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        if not one.wrong:
            by_hash[one.sha256].append(one)
    twice = [same for same in by_hash.values() if len(same) > 1]

    def notes(of: list[list[Seen]], says: Callable[[list[Seen]], str]) -> list[Note]:
        return [Note(tuple(one.file.name for one in same), says(same)) for same in of]

    def labels(same: list[Seen]) -> list[str]:
        return sorted({one.file.label for one in same})

    yield finding(
        "contradiction",
        "fault",
        "The same picture under two classes",
        "one of the labels is wrong",
        notes([same for same in twice if len(labels(same)) > 1], lambda same: " and ".join(labels(same))),
    )
    yield finding(
        "duplicate",
        "look",
        "The same file more than once",
        "it counts double; keep one",
        notes([same for same in twice if len(labels(same)) == 1], lambda same: f"{len(same)} times"),
    )


def _by_class(seen: Sequence[Seen], value: Callable[[Seen], float]) -> dict[str, tuple[float, float]]:
    """Median and robust standard deviation of a figure in each class; of all pictures for a class of fewer than 8."""
    of_class: dict[str, list[float]] = defaultdict(list)
    for one in seen:
        of_class[one.file.label].append(value(one))
    everything = [v for values in of_class.values() for v in values]
    usual = {}
    for label, values in of_class.items():
        chosen = values if len(values) >= 8 else everything
        middle = float(np.median(chosen))
        usual[label] = middle, 1.4826 * float(np.median(np.abs(np.array(chosen) - middle)))
    return usual

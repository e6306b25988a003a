"""Which items a simulated belt carries and how they lie, decided by the seed alone."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import cos, hypot, pi, radians, sin

import numpy as np

from edge.errors import ConfigError
from edge.picture import picture_files
from edge.simulator.settings import SimulatorSettings

FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Kind:
    """The sizes of one kind of part: its longest side in mm, and the range of its width as a share of that.

    What is round reaches no further than its longest side at any angle.
    """

    length_mm: float
    width: tuple[float, float]
    round: bool


KINDS = {
    "bolt": Kind(50.0, (0.40, 0.46), round=False),
    "gear": Kind(40.0, (1.0, 1.0), round=True),
    "nut": Kind(30.0, (0.866, 0.866), round=True),
    "screw": Kind(48.0, (0.30, 0.36), round=False),
    "washer": Kind(32.0, (1.0, 1.0), round=True),
    FOREIGN: Kind(38.0, (1.0, 1.0), round=True),
}
PARTS = tuple(label for label in KINDS if label != FOREIGN)
CUTOUT_MM = 40.0
SIZE_VARIES = 0.06
RAIL_SHARE = 0.03
# Touching items are pushed into each other by this much: outlines are a little rounder than rectangles.
CONTACT_MM = 0.5


@dataclass(frozen=True, slots=True)
class TrueItem:
    """One item as it really lies on the belt.

    item_mm is the belt position at which its centre passes the camera's centre line, across_mm the
    distance of its centre from the picture's middle, across the belt (positive towards the picture's
    bottom, or its right on a belt that runs up or down). The centre is that of the upright rectangle
    around its outline as the camera sees it. angle_deg turns it from its direction of travel.
    length_mm is its longest side; along_mm bounds its extent along the belt. specimen says which of
    its class it is.
    """

    id: int
    label: str
    specimen: int
    item_mm: float
    across_mm: float
    angle_deg: float
    length_mm: float
    along_mm: float


def class_names(settings: SimulatorSettings) -> tuple[str, ...]:
    """The classes on the belt, in order: the drawn parts, or the names of the class folders.

    Raises ConfigError when the folder is missing or has no class folder with a picture in it.
    """
    if settings.items is None:
        return PARTS
    if not settings.items.is_dir():
        raise ConfigError(f"camera.source: items = {str(settings.items)!r}: no such folder")
    names = sorted(
        folder.name for folder in settings.items.iterdir() if folder.is_dir() and picture_files(folder.iterdir())[0]
    )
    if not names:
        raise ConfigError(f"camera.source: items = {str(settings.items)!r}: has no class folders with pictures in them")
    if FOREIGN in names:
        raise ConfigError(
            f"camera.source: items = {str(settings.items)!r}: has a class named {FOREIGN!r}, which stands for what "
            "belongs to no class; rename that folder"
        )
    return tuple(names)


def proportions(label: str, specimen: int) -> tuple[np.random.Generator, float]:
    """The randomness that shapes one specimen of a class, and its width as a share of its length."""
    rng = np.random.default_rng([specimen, *label.encode()])
    return rng, rng.uniform(*KINDS[label].width)


class Arrivals:
    """The endless sequence of items on a belt, in the order in which they come, made as it is asked for.

    The same settings give the same items, however they are asked for. Raises ConfigError when the
    items asked for do not fit on the belt.
    """

    def __init__(self, settings: SimulatorSettings) -> None:
        self.labels = class_names(settings)
        self._settings = settings
        self._kinds = self._kinds_here()
        self._spacing_mm = settings.speed_mm_s * settings.rows / settings.rate
        self._belt_mm = settings.across_px / settings.pixels_per_mm * (1 - 2 * RAIL_SHARE)
        # No item reaches further along the belt than this.
        self.longest_mm = self._greatest_mm()
        self._check_room()

    def __iter__(self) -> Iterator[TrueItem]:
        rows = [self._row(row) for row in range(self._settings.rows)]
        merged = heapq.merge(*rows, key=lambda item: item.item_mm)
        for number, item in enumerate(merged):
            yield TrueItem(number, *(getattr(item, name) for name in TrueItem.__slots__[1:]))

    def _row(self, row: int) -> Iterator[TrueItem]:
        """The items of one row; their ids are given once the rows are merged."""
        settings = self._settings
        rng = np.random.default_rng([settings.seed, row])
        # Of each pair the second lies against the first, so the others lie further apart to keep the rate.
        seconds = settings.touching / (1 + settings.touching)
        free_mm = self._spacing_mm - self._mean_along_mm() + seconds * CONTACT_MM
        slack_mm = free_mm / (1 - seconds) - settings.min_gap_mm
        band_mm = self._belt_mm / settings.rows
        middle_mm = band_mm * (row + 0.5) - self._belt_mm / 2
        # The picture is empty at the start: the first item is still ahead of its upstream edge.
        edge_mm = settings.field_mm / 2 + rng.exponential(slack_mm) + 0.5 * row * self._spacing_mm / settings.rows
        across_mm, second = middle_mm, False
        while True:
            label = str(rng.choice(self.labels)) if rng.random() >= settings.foreign else FOREIGN
            kind = self._kinds[label]
            length_mm = kind.length_mm * rng.uniform(1 - SIZE_VARIES, 1 + SIZE_VARIES)
            specimen = int(rng.integers(settings.variants))
            first = not second and rng.random() < settings.touching
            angle, place = rng.uniform(0, 360), rng.uniform(-1, 1)
            gap_mm = settings.min_gap_mm + rng.exponential(slack_mm)
            if first or second:
                # End to end, so that the outlines meet and not only the rectangles round them.
                angle = 90.0 * round(angle / 90) if kind.round else 180.0 * round(angle / 180)
            if not second:
                across_mm = middle_mm + place * (band_mm - self.longest_mm) / 2
            along_mm = length_mm
            if not kind.round or first or second:
                along_mm = _extent(length_mm, kind.width[1] if kind.round else proportions(label, specimen)[1], angle)
            centre_mm = edge_mm + along_mm / 2
            yield TrueItem(-1, label, specimen, centre_mm, across_mm, angle % 360, length_mm, along_mm)
            edge_mm = centre_mm + along_mm / 2 + (-CONTACT_MM if first else gap_mm)
            second = first

    def _kinds_here(self) -> dict[str, Kind]:
        """The kinds on this belt by their class, at the size that item_mm asks for."""
        size = self._settings.item_mm
        if self._settings.items is None:
            return {label: replace(kind, length_mm=size or kind.length_mm) for label, kind in KINDS.items()}
        cutout = Kind(size or CUTOUT_MM, (1.0, 1.0), round=True)
        return {**dict.fromkeys(self.labels, cutout), FOREIGN: cutout}

    def _mean_along_mm(self) -> float:
        """The mean extent along the belt, over the classes and all angles."""
        means = {
            label: kind.length_mm * (1 if kind.round else 2 / pi * (1 + sum(kind.width) / 2))
            for label, kind in self._kinds.items()
        }
        known = sum(means[label] for label in self.labels) / len(self.labels)
        return known * (1 - self._settings.foreign) + means[FOREIGN] * self._settings.foreign

    def _greatest_mm(self) -> float:
        sizes = (kind.length_mm * (1 if kind.round else hypot(1, kind.width[1])) for kind in self._kinds.values())
        return (1 + SIZE_VARIES) * max(sizes)

    def _check_room(self) -> None:
        s = self._settings
        needed_mm = self._mean_along_mm() + s.min_gap_mm
        if self._spacing_mm <= needed_mm:
            most = s.speed_mm_s * s.rows / needed_mm
            raise ConfigError(
                f"camera.source: rate = {s.rate:g} at speed_mm_s = {s.speed_mm_s:g} leaves no room between items "
                f"in rows = {s.rows}: at most {most:.1f} a second fit; lower rate, or raise speed_mm_s or rows"
            )
        if self._belt_mm / s.rows < self.longest_mm:
            raise ConfigError(
                f"camera.source: rows = {s.rows} of items up to {self.longest_mm:.0f} mm do not fit across "
                f"{self._belt_mm:.0f} mm of belt; lower rows, item_mm or pixels_per_mm"
            )


def _extent(length_mm: float, width: float, angle_deg: float) -> float:
    """How far the rectangle round an item reaches along the belt."""
    angle = radians(angle_deg)
    return length_mm * (abs(cos(angle)) + width * abs(sin(angle)))

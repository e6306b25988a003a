"""An audit for people: a table on the screen, and one self-contained page with the pictures in question."""

from dataclasses import dataclass

import cv2
import numpy as np
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from edge.errors import PictureError
from edge.picture import read_bytes
from training.audit.checks import Finding
from training.audit.run import Audit
from training.evaluation.page import picture
from training.reading import read_sound
from training.templating import templates

NOTES_SHOWN = 24  # of each finding on the page; the JSON has all
PICTURES_SHOWN = 8  # of each note
THUMB = 128


@dataclass(frozen=True, slots=True)
class Shown:
    """A note of the page: its pictures' names, each with a thumbnail as a data URI where it can be read."""

    says: str
    pictures: tuple[tuple[str, str | None], ...]
    more: int


def audit_table(found: Audit) -> Table:
    """What was found, one row a kind, with the first example."""
    classes = f"{len(found.classes)} class{'es' if len(found.classes) != 1 else ''}"
    title = f"{found.root}: {found.pictures} pictures, {classes}; {found.parts}"
    table = Table(title=escape(title), title_justify="left", box=None)
    table.add_column("")
    table.add_column("found")
    table.add_column("number", justify="right")
    table.add_column("for example", overflow="fold")
    for one in found.findings:
        note = one.notes[0]
        example = ": ".join(part for part in (" ~ ".join(note.pictures[:2]), note.says) if part)
        style = "bold red" if one.weight == "fault" else ""
        table.add_row(one.weight, escape(one.title), str(one.count), escape(example), style=style)
    if not found.findings:
        table.add_row("", "nothing to say", "0", "")
    return table


def render(found: Audit, command: str, progress: Progress) -> str:
    """The page, as HTML: each finding with its advice and thumbnails of its pictures."""
    environment = templates()
    shown = sum(min(len(one.notes), NOTES_SHOWN) for one in found.findings)
    task = progress.add_task("drawing the page", total=shown)

    def notes(one: Finding) -> list[Shown]:
        made = []
        for note in one.notes[:NOTES_SHOWN]:
            names = note.pictures[:PICTURES_SHOWN]
            thumbs = tuple((name, _thumb(found, name)) for name in names)
            made.append(Shown(note.says, thumbs, len(note.pictures) - len(names)))
            progress.advance(task)
        return made

    sections = [(one, notes(one), max(len(one.notes) - NOTES_SHOWN, 0)) for one in found.findings]
    progress.remove_task(task)
    return environment.get_template("audit.html").render(audit=found, command=command, sections=sections)


def _thumb(found: Audit, name: str) -> str | None:
    try:
        pixels = read_sound(read_bytes(found.root / name))
    except PictureError:
        return None
    return picture(np.ascontiguousarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)), THUMB)

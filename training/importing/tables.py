"""Lists in CSV: a file and a class a line, with a box or without; and Roboflow's multiclass table.

The headings that count are those of Roboflow's TensorFlow and multiclass exports and their usual
variants; without headings two columns are file and class, six are Keras RetinaNet's file, box, class.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from edge.picture import SUFFIXES
from training.importing.found import Area, Findings, Labelled, Source, number, numbers, part_of, read_text, unlabelled

FILE = ("filename", "file", "file_name", "image", "path", "image_path", "picture", "name", "image_id")
LABEL = ("class", "label", "category", "class_name", "target")
PART = ("part", "split", "set", "subset", "dataset")
Row = tuple[int, list[str]]  # its line, and its cells
BOXES = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("left", "top", "right", "bottom"))


def read_csv(source: Source) -> Findings:
    """Every CSV file, its pictures beside it or below it."""
    findings = Findings()
    for path in source.ending(".csv", ".tsv"):
        try:
            _read_one(source, findings, path, _rows(read_text(path)))
        except ValueError as error:
            findings.refuse(source.name(path), str(error))
    unlabelled(source, findings)
    return findings


def _rows(text: str) -> list[Row]:
    """The rows that are not empty, each with its line."""
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    rows: list[Row] = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        longest = csv.field_size_limit()
        why = f"has a cell of more than {longest} characters" if "limit" in str(error) else f"is not CSV ({error})"
        raise ValueError(f"line {reader.line_num}: {why}; a quotation mark may be left open before it") from None
    if not rows or len(rows[0][1]) < 2:
        raise ValueError("has no two columns")
    return rows


def _read_one(source: Source, findings: Findings, path: Path, rows: list[Row]) -> None:
    told_in = source.name(path)
    names = rows[0][1]
    heading = [cell.casefold() for cell in names]
    file = _column(heading, FILE)
    first = 1
    if file is None:
        if not any(cell.endswith(tuple(SUFFIXES)) for cell in heading):
            raise ValueError(f"has no column of files; one of its headings must be {', '.join(FILE[:4])} or the like")
        wide = len(heading) >= 6
        heading = ["file", "x1", "y1", "x2", "y2", "class"] if wide else ["file", "class", "part"]
        names, file, first = [], 0, 0
    label, part = _column(heading, LABEL), _column(heading, PART)
    box = next((columns for names in BOXES if (columns := _columns(heading, names))), None)
    size = _columns(heading, ("width", "height"))
    if label is None:
        kinds = [i for i in range(len(names)) if i not in (file, part)]
        findings.classes += [names[i] for i in kinds]
    for line, cells in rows[first:]:
        row = cells + [""] * (len(heading) - len(cells))
        picture = source.picture(row[file], path.parent)
        if isinstance(picture, str):
            findings.refuse(told_in, f"line {line}: {picture}")
            continue
        findings.looked_at.add(picture)
        try:
            kind = row[label] if label is not None else _marked(names, kinds, row)
            if not kind:
                raise ValueError("has no class")
            area = _area(row, box) if box and any(row[i] for i in box) else None
            noted = (int(number(row[size[0]])), int(number(row[size[1]]))) if size else None
        except ValueError as error:
            findings.refuse(told_in, f"line {line}: {error}")
            continue
        where = part_of(source.name(picture), row[part] if part is not None else None)
        findings.items.append(Labelled(picture, kind, area, where, told_in, noted))


def _marked(names: Sequence[str], kinds: Sequence[int], row: Sequence[str]) -> str:
    """The one class of a row that has a column for each class, 1 where it is."""
    marked = [names[i] for i in kinds if row[i] and number(row[i]) == 1]
    if len(marked) != 1:
        raise ValueError(f"is of {len(marked)} classes{': ' if marked else ''}{', '.join(marked)}; one is needed")
    return marked[0]


def _area(row: Sequence[str], box: Sequence[int]) -> Area:
    left, top, right, bottom = numbers(row[i] for i in box)
    return Area(left, top, right, bottom)


def _column(heading: Sequence[str], names: Sequence[str]) -> int | None:
    return next((heading.index(name) for name in names if name in heading), None)


def _columns(heading: Sequence[str], names: Sequence[str]) -> list[int] | None:
    return [heading.index(name) for name in names] if all(name in heading for name in names) else None

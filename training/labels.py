"""Labels that are not sure: a dataset folder's labels.csv, a probability a class for each picture that it lists.

Annotators disagree. Where two of three called a cell cracked, a network that is told "cracked" as
firmly as where all three did learns their doubt as noise; told 2/3, it learns the doubt itself.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from training.errors import DatasetError

NAME = "labels.csv"
ROUNDING = 0.02  # how far a row's sum may be from 1, for 0.33 and 0.67, before it is a mistake


def read_soft_labels(root: Path, classes: Sequence[str], names: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """The probabilities, in the order of classes and summing to 1, of each picture that ROOT/labels.csv lists.

    The file has a column `file`, a picture's path under the root, and one column a class; names
    are the pictures there are. Without the file nothing is listed. Raises DatasetError, which names
    the file and line, when it does not fit the folder.
    """
    path = root / NAME
    if not path.exists():
        return {}
    if not path.is_file():  # a named pipe would hold the reader up for ever
        raise DatasetError(f"{path}: is no file; it must be a table of probabilities, or not be there")
    there = set(names)
    found: dict[str, tuple[float, ...]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            columns = rows.fieldnames or []
            if sorted(columns) != sorted(["file", *classes]):
                raise DatasetError(
                    f"{path}: its first line is {','.join(columns)!r}; it must be {','.join(['file', *classes])!r}, "
                    "a column a class"
                )
            for row in rows:
                where = f"{path}: line {rows.line_num}"
                name = row["file"]
                if name not in there:
                    raise DatasetError(f"{where} names {name!r}, which is not a picture of the dataset")
                if name in found:
                    raise DatasetError(f"{where} names {name!r} a second time")
                found[name] = _probabilities([row[label] for label in classes], where)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from None
    return found


def _probabilities(words: Sequence[str | None], where: str) -> tuple[float, ...]:
    try:
        values = [float(word or "") for word in words]
    except ValueError:
        raise DatasetError(f"{where} needs a probability from 0 to 1 in each class's column") from None
    total = sum(values)
    if not all(0 <= value <= 1 for value in values) or not math.isclose(total, 1, abs_tol=ROUNDING):
        raise DatasetError(
            f"{where} has probabilities that are not from 0 to 1, or do not sum to 1 (they sum to {total:g})"
        )
    return tuple(value / total for value in values)

"""YOLO text files, one a picture: LabelImg, Roboflow and Ultralytics (data.yaml), CVAT's YOLO 1.1 (obj.names).

A line is a class number and a box (centre, size), a box and a confidence, or a polygon, in shares of
the picture: https://docs.ultralytics.com/datasets/detect/, https://docs.ultralytics.com/datasets/segment/.
"""

from pathlib import Path
from typing import Any

import yaml

from training.importing.found import Area, Findings, Labelled, Source, number, numbers, part_of, read_text, unlabelled

NAMES_FILES = ("classes.txt", "obj.names", "data.yaml", "data.yml", "dataset.yaml")
NO_LABELS = frozenset({"readme", "license", "licence", "notes", "train", "val", "valid", "test"})


def names_files(source: Source) -> list[Path]:
    """The files that tell the classes' names."""
    known = [path for path in source.files if path.name.lower() in NAMES_FILES]
    return known or [path for path in source.ending(".yaml", ".yml") if "names" in _yaml_or_nothing(path)]


def read_yolo(source: Source) -> Findings:
    """Labels beside the pictures, or in a folder `labels` where the pictures are in `images`."""
    findings = Findings()
    given = names_files(source)
    names: list[dict[int, str]] = []
    points = False
    for path in given:
        try:
            found, poses = _names(path)
        except (OSError, ValueError) as error:
            findings.refuse(source.name(path), str(error))
            continue
        names.append(found)
        points = points or poses
        findings.classes += found.values()
    if len({tuple(sorted(found.items())) for found in names}) > 1:
        findings.notes.append(
            f"{source.name(given[0])} and {source.name(given[1])} name the classes differently: "
            "for each label file the nearest one above it counts"
        )
    for path in source.ending(".txt"):
        if path in given or _is_no_label_file(source, path):
            continue
        _read_labels(source, findings, path, _nearest(path, given, names), points)
    unlabelled(source, findings)
    return findings


def _read_labels(source: Source, findings: Findings, path: Path, names: dict[int, str], points: bool) -> None:
    told_in = source.name(path)
    picture = _picture(source, path)
    if isinstance(picture, str):
        findings.refuse(told_in, picture)
        return
    findings.looked_at.add(picture)
    try:
        lines = [line.split() for line in read_text(path).splitlines()]
    except (OSError, ValueError) as error:
        findings.refuse(told_in, str(error))
        return
    if not any(lines):
        findings.refuse(source.name(picture), f"{told_in} is empty")
    for at, words in enumerate(lines, 1):
        if not words:
            continue
        try:
            kind, area = _kind(words[0]), _area(numbers(words[1:]), points)
            if kind not in names:
                raise ValueError(f"class number {kind} has no name" + ("" if names else "; there is no classes.txt"))
        except ValueError as error:
            findings.refuse(told_in, f"line {at}: {error}")
            continue
        findings.items.append(Labelled(picture, names[kind], area, part_of(told_in, source.name(picture)), told_in))


def _kind(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise ValueError(f"{word[:40]!r} is not a class number") from None


def _picture(source: Source, path: Path) -> Path | str:
    """Where labels are in x/labels/train the pictures are in x/images/train."""
    looks = "/".join("images" if step == "labels" else step for step in path.relative_to(source.root).parts)
    return source.picture(looks.removesuffix(path.suffix), path.parent)


def _is_no_label_file(source: Source, path: Path) -> bool:
    """A tool's list of pictures or its notes, unless a picture has that very name."""
    return path.stem.lower().split(".")[0] in NO_LABELS and isinstance(_picture(source, path), str)


def _area(values: list[float], points: bool) -> Area:
    if len(values) in (4, 5) or (points and len(values) > 5):
        x, y, width, height = values[:4]
        area = Area(x - width / 2, y - height / 2, x + width / 2, y + height / 2, relative=True)
    elif len(values) >= 6 and len(values) % 2 == 0:
        area = Area.around(list(zip(values[::2], values[1::2], strict=True)), relative=True)
    else:
        raise ValueError(f"has {len(values)} numbers after the class; a box has 4, a polygon an even number from 6")
    if max(map(abs, values)) > 2:
        raise ValueError("is in pixels; YOLO's numbers are shares of the picture, 0 to 1")
    return area


def _names(path: Path) -> tuple[dict[int, str], bool]:
    """The classes by number, and whether boxes are followed by key points."""
    if path.suffix.lower() not in (".yaml", ".yml"):
        lines = read_text(path).strip("\r\n").splitlines()  # LabelImg counts empty ones between the classes
        return {at: line.strip() for at, line in enumerate(lines) if line.strip()}, False
    content = _load_yaml(path)
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise ValueError("has no list of names")
    for key, value in names.items():
        # A list written out can be longer than any memory: YAML lets each of its parts be the whole of another list.
        if value is None or isinstance(value, (list, dict, set, tuple)):
            raise ValueError(f"its name number {key} is no name but {'empty' if value is None else 'a list'}")
    return {int(number(key)): str(value) for key, value in names.items()}, "kpt_shape" in content


def _load_yaml(path: Path) -> Any:
    """The content of a YAML file; ValueError saying what is wrong with it, and in which line."""
    text = read_text(path)
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{where}is not YAML ({error.problem})") from None
    except yaml.YAMLError:
        raise ValueError("is not YAML (it holds a character that YAML does not allow)") from None
    except RecursionError:
        raise ValueError("is nested too deeply to be a label file") from None
    except ValueError:  # of a date or number that its form promises and its digits do not keep
        raise ValueError("is not YAML (it holds a date or a number that cannot be)") from None


def _yaml_or_nothing(path: Path) -> dict[str, object]:
    try:
        content = _load_yaml(path)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _nearest(path: Path, given: list[Path], names: list[dict[int, str]]) -> dict[int, str]:
    """The names that hold for a label file: of the file nearest above it, or the only one."""
    above = [
        (len(file.parent.parts), i) for i, file in enumerate(given[: len(names)]) if path.is_relative_to(file.parent)
    ]
    if above:
        return names[max(above)[1]]
    return names[0] if names else {}

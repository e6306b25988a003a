"""COCO's instances in JSON, by Roboflow (_annotations.coco.json), CVAT, Label Studio and others.

The format: https://cocodataset.org/#format-data.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.importing.found import Area, Findings, Labelled, Source, number, numbers, part_of, read_text, unlabelled

Key = int | float | str  # what an id can be


def load_json(path: Path) -> Any:
    """The content of a JSON file; ValueError saying what is wrong with it."""
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON ({error.msg} in line {error.lineno})") from None
    except RecursionError:
        raise ValueError("is nested too deeply to be a label file") from None
    except ValueError:  # Python reads no whole number of more than 4300 digits
        raise ValueError("is not a label file (one of its numbers has thousands of digits)") from None


def is_coco(content: object) -> bool:
    """Whether the content of a JSON file has the three lists of COCO."""
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys()


def read_coco(source: Source) -> Findings:
    """Every JSON file with images, annotations and categories."""
    findings = Findings()
    for path in source.ending(".json"):
        try:
            content = load_json(path)
            if not is_coco(content):
                raise ValueError("is not COCO's (images, annotations and categories are not all there)")
            _read_one(source, findings, path, content)
        except ValueError as error:
            findings.refuse(source.name(path), str(error))
    unlabelled(source, findings)
    return findings


def _read_one(source: Source, findings: Findings, path: Path, content: dict[str, Any]) -> None:
    told_in = source.name(path)
    names = _categories(findings, content, told_in)
    subset = part_of(*path.stem.replace(".", "_").split("_"))
    images: dict[Key, dict[str, Any]] = {}
    pictures: dict[Key, Path] = {}
    for said, row in _entries(content, "images", "image"):
        try:
            key, name = _value(row, "id"), str(_value(row, "file_name"))
        except ValueError as error:
            findings.refuse(told_in, f"{said}: {error}")
            continue
        images[key] = row
        found = source.picture(name, path.parent)
        if isinstance(found, Path):
            pictures[key] = found
            findings.looked_at.add(found)
        else:
            findings.refuse(told_in, f"image {name!r}: {found}")
    bare = set(pictures)
    for said, row in _entries(content, "annotations", "annotation"):
        try:
            image, category = _value(row, "image_id"), _value(row, "category_id")
            if image not in images:
                raise ValueError(f"no image that can be used has the id {image!r}")
            if category not in names:
                raise ValueError(f"no category that can be used has the id {category!r}")
            if image not in pictures:
                continue  # its image was named already
            bare.discard(image)
            if row.get("iscrowd"):
                raise ValueError("is a crowd, not an item")
            area = _area(row)
            width, height = (int(number(images[image].get(side) or 0)) for side in ("width", "height"))
        except ValueError as error:
            findings.refuse(told_in, f"{said}: {error}")
            continue
        picture = pictures[image]
        part = part_of(source.name(picture)) or subset
        noted = (width, height) if width and height else None
        findings.items.append(Labelled(picture, names[category], area, part, told_in, noted))
    for key in bare:
        findings.refuse(source.name(pictures[key]), f"{told_in} has no annotation for it")


def _categories(findings: Findings, content: dict[str, Any], told_in: str) -> dict[Key, str]:
    names: dict[Key, str] = {}
    supers = set()
    for said, row in _entries(content, "categories", "category"):
        try:
            names[_value(row, "id")] = str(_value(row, "name"))
            # Roboflow puts a category of its own, which no box has, before the real ones.
            supers.add(str(row.get("supercategory")))
        except ValueError as error:
            findings.refuse(told_in, f"{said}: {error}")
    findings.classes += [name for name in names.values() if name not in supers]
    return names


def _entries(content: dict[str, Any], name: str, one: str) -> Iterator[tuple[str, Any]]:
    """The entries of one of the three lists, each with what it is called: by its id, else by its number."""
    rows = content[name]
    if not isinstance(rows, list):
        raise ValueError(f"is not COCO's (its {name} are no list)")
    for place, row in enumerate(rows, 1):
        key = row.get("id") if isinstance(row, dict) else None
        yield f"{one} {key}" if isinstance(key, Key) else f"{one} number {place}", row


def _value(row: Any, field: str) -> Key:
    """An id or a name of an entry; ValueError where it is not there or is something else."""
    if not isinstance(row, dict):
        raise ValueError("is no object with fields")
    value = row.get(field)
    if value is None:
        raise ValueError(f"has no {field}")
    if not isinstance(value, Key):
        raise ValueError(f"its {field} is neither a number nor a text")
    return value


def _area(row: dict[str, Any]) -> Area | None:
    """bbox is left, top, width, height; without it the box around its polygons; without both the whole picture."""
    box, outline = row.get("bbox"), row.get("segmentation")
    if box:
        if not isinstance(box, list):
            raise ValueError("its bbox is no list of numbers")
        values = numbers(box)
        if len(values) != 4:
            raise ValueError(f"its bbox has {len(values)} numbers, not 4")
        return Area.sized(*values)
    if isinstance(outline, list) and outline:
        if not all(isinstance(ring, list) for ring in outline):
            raise ValueError("its segmentation is no list of outlines")
        values = numbers(value for ring in outline for value in ring)
        if not values or len(values) % 2:
            raise ValueError(f"its segmentation has {len(values)} numbers, not pairs of them")
        return Area.around(list(zip(values[::2], values[1::2], strict=True)))
    if outline:
        raise ValueError("has a mask but no bbox")
    return None

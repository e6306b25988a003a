"""COCO's instances in JSON, by Roboflow (_annotations.coco.json), CVAT, Label Studio and others.

The format: https://cocodataset.org/#format-data.
"""

import json
from pathlib import Path
from typing import Any

from training.importing.found import Area, Findings, Labelled, Source, number, numbers, part_of, read_text, unlabelled


def load_json(path: Path) -> Any:
    """The content of a JSON file; ValueError saying what is wrong with it."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON ({error.msg} in line {error.lineno})") from None
    except RecursionError:
        raise ValueError("is nested too deeply to be a label file") from None


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
        except (OSError, ValueError) as error:
            findings.refuse(source.name(path), str(error))
    unlabelled(source, findings)
    return findings


def _read_one(source: Source, findings: Findings, path: Path, content: dict[str, Any]) -> None:
    told_in = source.name(path)
    try:
        names = {row["id"]: str(row["name"]) for row in content["categories"]}
        images = {row["id"]: (str(row["file_name"]), row) for row in content["images"]}
        annotations = [(row["image_id"], row["category_id"], row) for row in content["annotations"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"has an entry without {error}") from None
    # Roboflow puts a category of its own, which no box has, before the real ones.
    supers = {row.get("supercategory") for row in content["categories"]}
    findings.classes += [name for name in names.values() if name not in supers]
    subset = part_of(*path.stem.replace(".", "_").split("_"))
    pictures: dict[Any, Path] = {}
    for key, (name, _) in images.items():
        found = source.picture(name, path.parent)
        if isinstance(found, Path):
            pictures[key] = found
            findings.looked_at.add(found)
        else:
            findings.refuse(told_in, f"image {name!r}: {found}")
    bare = set(pictures)
    for number_, (image, category, row) in enumerate(annotations, 1):
        said = f"annotation {row.get('id', number_)}"
        if image not in images:
            findings.refuse(told_in, f"{said}: no image has the id {image!r}")
        elif category not in names:
            findings.refuse(told_in, f"{said}: no category has the id {category!r}")
        elif image in pictures:
            bare.discard(image)
            picture = pictures[image]
            try:
                if row.get("iscrowd"):
                    raise ValueError("is a crowd, not an item")
                area = _area(row)
                size = tuple(int(number(images[image][1].get(side) or 0)) for side in ("width", "height"))
            except (ValueError, TypeError) as error:
                findings.refuse(told_in, f"{said}: {error}")
                continue
            part = part_of(source.name(picture)) or subset
            noted = (size[0], size[1]) if all(size) else None
            findings.items.append(Labelled(picture, names[category], area, part, told_in, noted))
    for key in bare:
        findings.refuse(source.name(pictures[key]), f"{told_in} has no annotation for it")


def _area(row: dict[str, Any]) -> Area | None:
    """bbox is left, top, width, height; without it the box around its polygons; without both the whole picture."""
    box, outline = row.get("bbox"), row.get("segmentation")
    if box:
        values = numbers(box)
        if len(values) != 4:
            raise ValueError(f"its bbox has {len(values)} numbers, not 4")
        return Area.sized(*values)
    if isinstance(outline, list) and outline:
        values = numbers(value for ring in outline for value in ring)
        return Area.around(list(zip(values[::2], values[1::2], strict=True)))
    if outline:
        raise ValueError("has a mask but no bbox")
    return None

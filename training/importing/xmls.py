"""Label files in XML: Pascal VOC (LabelImg, Roboflow, CVAT's VOC export) and CVAT's own 1.1.

VOC: the development kit's documentation, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/.
CVAT: https://docs.cvat.ai/docs/manual/advanced/xml_format/.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, parse

from training.importing.found import (
    LARGEST_LABEL_FILE,
    Area,
    Findings,
    Labelled,
    Source,
    number,
    numbers,
    part_of,
    read_text,
    unlabelled,
)
from training.layout import PartName

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

FRAME_NAME = re.compile(r"(\d+)$")


def load_xml(path: Path) -> "Element":
    """The root of an XML file; ValueError saying what is wrong with it. Entities are not expanded but refused."""
    try:
        if path.stat().st_size > LARGEST_LABEL_FILE:
            raise ValueError("is larger than 1 GB")
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    try:
        root: Element = parse(path, forbid_dtd=True).getroot()
    except ParseError as error:
        raise ValueError(f"is not well-formed XML ({error})") from None
    except DefusedXmlException as error:
        raise ValueError(f"declares entities or a document type, which no labelling tool does ({error!r})") from None
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    except (LookupError, ValueError) as error:
        raise ValueError(f"is not XML that can be read ({error})") from None
    return root


def read_voc(source: Source) -> Findings:
    """One XML a picture, beside it or in a folder of its own; ImageSets/Main tells the parts where it is there."""
    findings = Findings()
    listed = _image_sets(source, findings)
    for path in source.ending(".xml"):
        name = source.name(path)
        try:
            root = load_xml(path)
            if root.tag != "annotation":
                raise ValueError(f"is not a VOC annotation (its first element is <{root.tag}>)")
            picture = _voc_picture(source, path, root)
            findings.looked_at.add(picture)
            size = tuple(int(number(_text(root, f"size/{side}", "0"))) for side in ("width", "height"))
        except (OSError, ValueError) as error:
            findings.refuse(name, str(error))
            continue
        part = listed.get(normalize("NFC", path.stem)) or part_of(name, source.name(picture))
        objects = root.findall("object")
        if not objects:
            findings.refuse(source.name(picture), f"{name} has no object for it")
        for i, item in enumerate(objects, 1):
            try:
                label = _text(item, "name")
                corners = [number(_text(item, f"bndbox/{edge}")) for edge in ("xmin", "ymin", "xmax", "ymax")]
            except ValueError as error:
                findings.refuse(name, f"object {i}: {error}")
                continue
            noted = (size[0], size[1]) if all(size) else None
            findings.items.append(
                Labelled(picture, label, Area(corners[0], corners[1], corners[2], corners[3]), part, name, noted)
            )
    unlabelled(source, findings)
    return findings


def _voc_picture(source: Source, path: Path, root: "Element") -> Path:
    """LabelImg goes by the name of the label file, other tools by the name in it."""
    tried = []
    for named in (path.with_suffix("").name, _text(root, "filename", "")):
        found = source.picture(named, path.parent) if named else f"no picture {named!r} is there"
        if isinstance(found, Path):
            return found
        tried.append(found)
    raise ValueError(tried[-1])


def _image_sets(source: Source, findings: Findings) -> dict[str, PartName]:
    """The part of each stem, from ImageSets/Main/train.txt and its like."""
    parts: dict[str, PartName] = {}
    for path in source.ending(".txt"):
        if path.parent.parent.name == "ImageSets" and (part := part_of(path.stem)):
            try:
                lines = [normalize("NFC", line.strip()) for line in read_text(path).splitlines()]
            except (OSError, ValueError) as error:
                findings.refuse(source.name(path), str(error))
                continue
            parts |= {line.rpartition("/")[2]: part for line in lines}
    # VOC's lists of one class have a 1 or -1 behind each name.
    return {re.sub(r"\s+-?[01]$", "", name): part for name, part in parts.items()} | parts


def read_cvat(source: Source, video: Path | None = None) -> Findings:
    """CVAT's annotations.xml: <image> elements with boxes, other shapes and tags; <track> elements over frames."""
    findings = Findings()
    for path in source.ending(".xml"):
        name = source.name(path)
        try:
            root = load_xml(path)
            if root.tag != "annotations":
                raise ValueError(f"is not CVAT's (its first element is <{root.tag}>)")
            version = _text(root, "version", "")
            if version != "1.1":
                raise ValueError(f"is of version {version or 'unknown'}; CVAT writes 1.1 today")
        except (OSError, ValueError) as error:
            findings.refuse(name, str(error))
            continue
        findings.classes += [e.text.strip() for e in root.iterfind(".//labels/label/name") if e.text]
        for image in root.iterfind("image"):
            _cvat_image(source, findings, path, image)
        if (tracks := root.findall("track")) and (frames := _frames(source, findings, path, root, video)):
            for track in tracks:
                _cvat_track(source, findings, path, track, frames)
    unlabelled(source, findings)
    return findings


def _cvat_image(source: Source, findings: Findings, path: Path, image: "Element") -> None:
    name, told_in = image.get("name", ""), source.name(path)
    subset = image.get("subset")
    picture = source.picture(f"{subset}/{name}" if subset else name, path.parent)
    if isinstance(picture, str):
        findings.refuse(told_in, f"image {name!r}: {picture}")
        return
    findings.looked_at.add(picture)
    try:
        size = int(number(image.get("width", 0))), int(number(image.get("height", 0)))
    except ValueError as error:
        findings.refuse(told_in, f"image {name!r}: {error}")
        return
    part = part_of(path.stem, source.name(picture), subset)
    for shape in image:
        try:
            area = _cvat_area(shape)
        except ValueError as error:
            findings.refuse(told_in, f"image {name!r}: <{shape.tag}>: {error}")
            continue
        findings.items.append(
            Labelled(picture, shape.get("label", ""), area, part, told_in, size if all(size) else None)
        )
    if not len(image):
        findings.refuse(source.name(picture), "has no label")


def _cvat_track(
    source: Source, findings: Findings, path: Path, track: "Element", frames: dict[int, Path] | Path
) -> None:
    told_in, number_of = source.name(path), track.get("id", "?")
    missing = 0
    for shape in track:
        if shape.get("outside") == "1":
            continue  # the item is not in view
        try:
            frame = int(number(shape.get("frame")))
            area = _cvat_area(shape)
        except ValueError as error:
            findings.refuse(told_in, f"track {number_of}: <{shape.tag}>: {error}")
            continue
        picture = frames if isinstance(frames, Path) else frames.get(frame)
        if picture is None:
            missing += 1
            continue
        inside = picture.is_relative_to(source.root)
        findings.items.append(
            Labelled(
                picture,
                track.get("label", ""),
                area,
                part_of(source.name(picture) if inside else None, track.get("subset")),
                told_in,
                frame=frame if isinstance(frames, Path) else None,
                track=number_of,
            )
        )
    if missing:
        findings.refuse(told_in, f"track {number_of}: {missing} of its frames are not among the pictures")


def _frames(
    source: Source, findings: Findings, path: Path, root: "Element", video: Path | None
) -> dict[int, Path] | Path | None:
    """Where a video task's frames are: pictures by number, or the clip itself."""
    numbered = {
        int(match[1]): picture
        for picture in source.pictures
        if picture.is_relative_to(path.parent) and (match := FRAME_NAME.search(picture.stem))
    }
    if video is not None:
        return video
    if numbered:
        return numbered
    wanted = _text(root, "meta/task/source", "") or _text(root, "meta/source", "")
    clips = [clip for clip in source.videos if clip.name == wanted] or source.videos
    if len(clips) == 1:
        return clips[0]
    said = f" ({wanted})" if wanted else ""
    findings.refuse(
        source.name(path), f"is of a video task, whose frames are not there; give the clip{said} with --video CLIP"
    )
    return None


def _cvat_area(shape: "Element") -> Area | None:
    """The box around a shape; None for a tag, which is of the whole picture. ValueError for what has no area."""
    turned = number(shape.get("rotation", 0))
    if shape.tag == "tag":
        return None
    if shape.tag == "box":
        left, top, right, bottom = _attributes(shape, "xtl", "ytl", "xbr", "ybr")
        return Area.sized(left, top, right - left, bottom - top, turned)
    if shape.tag == "ellipse":
        x, y, rx, ry = _attributes(shape, "cx", "cy", "rx", "ry")
        return Area.sized(x - rx, y - ry, 2 * rx, 2 * ry, turned)
    if shape.tag == "mask":
        return Area.sized(*_attributes(shape, "left", "top", "width", "height"))
    if shape.tag in ("polygon", "polyline"):
        pairs = [numbers(pair.split(",")) for pair in shape.get("points", "").split(";")]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError("its points are not pairs of numbers")
        return Area.around([(x, y) for x, y in pairs])
    if shape.tag == "cuboid":
        corners = _attributes(
            shape,
            *(
                f"{axis}{corner}"
                for corner in ("tl1", "bl1", "tr1", "br1", "tl2", "bl2", "tr2", "br2")
                for axis in "xy"
            ),
        )
        return Area.around(list(zip(corners[::2], corners[1::2], strict=True)))
    raise ValueError("has no area to cut out")


def _attributes(shape: "Element", *names: str) -> list[float]:
    if missing := [name for name in names if shape.get(name) is None]:
        raise ValueError(f"has no {missing[0]}")
    return numbers(shape.get(name) for name in names)


def _text(root: "Element", path: str, default: str | None = None) -> str:
    text = (root.findtext(path) or "").strip()
    if text:
        return text
    if default is None:
        raise ValueError(f"has no <{path.replace('/', '><')}>")
    return default


def first_tags(source: Source) -> Iterator[str]:
    """The first element of each XML file that can be read, for telling the formats apart."""
    for path in source.ending(".xml"):
        try:
            yield load_xml(path).tag
        except (OSError, ValueError):
            continue

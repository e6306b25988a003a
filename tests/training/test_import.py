import csv
import errno
import json
import os
import shlex
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.progress import Progress

from edge.bounded import within
from edge.picture import read_picture
from tests.training.scenes import CLASSES, HEIGHT, PARTS, SCENES, WIDTH, crops, draw_scene, items, write_scenes
from training.cli import main
from training.errors import DatasetError, InputError, TrainingError
from training.importing.run import Imported, import_pictures, spellings
from training.layout import find

EXPORTS = Path(__file__).parent / "exports"
ROBOFLOW = {"train": "train", "val": "valid", "test": "test"}


def roboflow_name(scene: str) -> str:
    return f"{scene}_png.rf.{(SCENES.index(scene) + 11) * 7919:08x}.png"


# Where each export has the picture of a scene.
PLACES = {
    "labelimg-voc": lambda s: f"{s}.png",
    "labelimg-yolo": lambda s: f"{s}.png",
    "datumaro-coco": lambda s: f"images/{PARTS[s]}/{s}.png",
    "datumaro-cvat": lambda s: f"images/{s}.png",
    "datumaro-voc": lambda s: f"JPEGImages/{s}.png",
    "datumaro-yolo": lambda s: f"obj_{PARTS[s]}_data/{s}.png",
    "datumaro-yolo-ultralytics": lambda s: f"images/{PARTS[s]}/{s}.png",
    "roboflow-coco": lambda s: f"{ROBOFLOW[PARTS[s]]}/{roboflow_name(s)}",
    "roboflow-csv": lambda s: f"{ROBOFLOW[PARTS[s]]}/{roboflow_name(s)}",
    "roboflow-yolo": lambda s: f"{ROBOFLOW[PARTS[s]]}/images/{roboflow_name(s)}",
    "roboflow-multiclass": lambda s: f"{ROBOFLOW[PARTS[s]]}/{roboflow_name(s)}",
    "cvat-video": lambda s: f"images/frame_{SCENES.index(s):06d}.PNG",
}
BOXED = [name for name in PLACES if name != "roboflow-multiclass"]
WITHOUT_PARTS = ("labelimg-voc", "labelimg-yolo", "cvat-video")


def export(name: str, root: Path) -> Path:
    """A copy of an export with its pictures drawn in their places."""
    folder = Path(shutil.copytree(EXPORTS / name, root / name))
    write_scenes({scene: folder / PLACES[name](scene) for scene in SCENES})
    return folder


def imported(source: Path, progress: Progress, **words: object) -> Imported:
    return import_pictures(source, source.parent / f"{source.name}-imported", progress, **words)


def scene_of(name: str) -> str:
    if "frame_" in name:
        return SCENES[int(name.split("frame_")[1][:6])]
    return next(scene for scene in SCENES if scene in name)


def pixels(made: Imported) -> dict[tuple[str, str], list[bytes]]:
    found: dict[tuple[str, str], list[bytes]] = {}
    for one in made.written:
        found.setdefault((scene_of(one.name), one.label), []).append(read_picture(made.out / one.name).tobytes())
    return found


def left_out(made: Imported) -> dict[str, str]:
    return {one.name: one.reason for one in made.left_out}


@pytest.mark.parametrize("name", BOXED)
def test_every_tool_s_boxes_become_the_same_crops_that_the_line_would_cut(
    name: str, tmp_path: Path, progress: Progress
) -> None:
    made = imported(export(name, tmp_path), progress, margin=0.2)
    assert pixels(made) == crops(0.2)
    assert not made.left_out
    assert not made.notes
    parts = {scene_of(one.name): one.part for one in made.written}
    assert parts == (dict.fromkeys(SCENES) if name in WITHOUT_PARTS else PARTS)
    files, skipped = find(made.out)
    assert Counter(file.label for file in files) == dict.fromkeys(CLASSES, 4)
    assert not skipped


@pytest.mark.parametrize("name", ["labelimg-voc", "datumaro-cvat", "roboflow-coco"])
def test_a_zip_as_the_tool_wrote_it_is_taken_as_well_as_its_folder(
    name: str, tmp_path: Path, progress: Progress
) -> None:
    folder = export(name, tmp_path)
    archive = Path(shutil.make_archive(str(tmp_path / "export"), "zip", folder))
    made = imported(archive, progress, margin=0.2)
    assert pixels(made) == crops(0.2)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def whole(form: str, root: Path) -> Path:
    """The scenes with one class each, by the item on the left, in the ways that need no boxes."""
    label = {scene: items(scene)[0].label for scene in SCENES}
    if form == "roboflow-multiclass":
        return export(form, root)
    folder = root / form
    if form == "folders":
        write_scenes({scene: folder / label[scene] / f"{scene}.png" for scene in SCENES})
    elif form == "roboflow-folder":
        write_scenes({s: folder / ROBOFLOW[PARTS[s]] / label[s] / roboflow_name(s) for s in SCENES})
        (folder / "README.roboflow.txt").write_text("exported via roboflow.com")
    else:
        write_scenes({scene: folder / "pictures" / f"{scene}.png" for scene in SCENES})
        with (folder / "list.csv").open("w", newline="", encoding="utf-16" if form == "excel" else "utf-8") as file:
            table = csv.writer(file, delimiter={"csv": ",", "bare csv": ",", "excel": "\t"}[form])
            if form != "bare csv":
                table.writerow(["Split", "Label", "File"] if form == "excel" else ["file", "class", "split"])
            for s in SCENES:
                row = [f"pictures/{s}.png", label[s], PARTS[s]]
                table.writerow([PARTS[s], label[s], f"C:\\shop\\pictures\\{s}.png"] if form == "excel" else row)
    return folder


@pytest.mark.parametrize("form", ["folders", "roboflow-folder", "roboflow-multiclass", "csv", "bare csv", "excel"])
def test_a_class_for_the_whole_picture_copies_it_byte_for_byte(form: str, tmp_path: Path, progress: Progress) -> None:
    made = imported(whole(form, tmp_path), progress)
    assert {(scene_of(one.name), one.label) for one in made.written} == {(s, items(s)[0].label) for s in SCENES}
    for one in made.written:
        assert np.array_equal(read_picture(made.out / one.name), draw_scene(scene_of(one.name)))
        assert one.part == (None if form == "folders" else PARTS[scene_of(one.name)])
    assert not made.left_out


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta/>
<image id="0" name="belt_00.png" width="128" height="96">
  <polygon label="bolt" points="10.0,20.0;42.0,20.0;30.0,44.0"/>
  <ellipse label="nut" cx="60" cy="40" rx="10" ry="20"/>
  <mask label="nut" rle="1, 2" left="20" top="30" width="40" height="10"/>
  <box label="washer" xtl="40" ytl="40" xbr="60" ybr="50" rotation="90.0"/>
  <points label="washer" points="5,5"/>
</image>
<image id="1" name="belt_01.png" width="128" height="96"><tag label="bolt"/></image>
<image id="2" name="belt_02.png" width="128" height="96"/>
<image id="3" name="gone.png" width="128" height="96"><tag label="bolt"/></image>
</annotations>"""


def test_other_shapes_of_cvat_become_the_boxes_around_them_and_a_tag_the_whole_picture(
    tmp_path: Path, progress: Progress
) -> None:
    root = tmp_path / "task"
    write_scenes({scene: root / "images" / f"{scene}.png" for scene in SCENES[:3]})
    (root / "annotations.xml").write_text(CVAT)
    made = imported(root, progress, margin=0)
    shapes = {Path(one.name).stem: read_picture(made.out / one.name).shape[:2] for one in made.written}
    # Crops are square: as wide as the longer side of the box around the shape.
    assert shapes == {
        "belt_00-1": (32, 32),
        "belt_00-2": (40, 40),
        "belt_00-3": (40, 40),
        "belt_00-4": (20, 20),
        "belt_01": (96, 128),
    }
    turned = read_picture(made.out / "washer" / "belt_00-4.png")
    assert np.array_equal(turned, draw_scene("belt_00")[35:55, 40:60])
    reasons = [(one.name, one.reason) for one in made.left_out]
    assert ("annotations.xml", "image 'belt_00.png': <points>: has no area to cut out") in reasons
    assert ("images/belt_02.png", "has no label") in reasons
    assert ("annotations.xml", "image 'gone.png': no picture 'gone.png' is there") in reasons


@pytest.mark.parametrize("where", ["inside", "by --video"])
def test_a_video_task_of_cvat_takes_its_frames_from_the_clip(where: str, tmp_path: Path, progress: Progress) -> None:
    folder = Path(shutil.copytree(EXPORTS / "cvat-video", tmp_path / "task"))
    clip = (folder if where == "inside" else tmp_path) / "belt.mp4"
    lossless = tmp_path / "lossless.avi"
    writer = cv2.VideoWriter(str(lossless), cv2.VideoWriter_fourcc(*"FFV1"), 25, (WIDTH, HEIGHT))
    for scene in SCENES[:-1]:
        writer.write(draw_scene(scene))
    writer.release()
    lossless.rename(clip)
    if where == "by --video":
        with pytest.raises(DatasetError, match=r"frames are not there; give the clip \(belt.mp4\) with --video CLIP"):
            imported(folder, progress)
    made = imported(folder, progress, margin=0.2, video=None if where == "inside" else clip)
    wanted = {key: value for key, value in crops(0.2).items() if key[0] != SCENES[-1]}
    found: dict[tuple[str, str], list[bytes]] = {}
    for one in made.written:
        scene = SCENES[int(Path(one.name).name.split("_")[1][:6])]
        found.setdefault((scene, one.label), []).append(read_picture(made.out / one.name).tobytes())
    assert found == wanted
    assert {Path(one.name).name for one in made.written} >= {"belt_000000-track0.png", "belt_000000-track1.png"}
    assert list(left_out(made).values()) == ["the clip ends before this frame"] * 2


def spoiled(root: Path) -> Path:
    """A LabelImg folder with many things wrong, each in a file of its own."""
    folder = export("labelimg-voc", root)

    def change(scene: str, old: str, new: str) -> None:
        path = folder / f"{scene}.xml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    (folder / "belt_00.png").write_bytes((folder / "belt_00.png").read_bytes()[:2000])
    (folder / "belt_01.png").unlink()
    change("belt_02", "<width>128</width>", "<width>640</width>")
    change("belt_03", "<xmin>16</xmin>", "<xmin>left</xmin>")
    change("belt_03", "<xmin>77</xmin>", "<xmin>200</xmin>")
    change("belt_03", "<xmax>105</xmax>", "<xmax>228</xmax>")
    change("belt_04", "</annotation>", "")
    (folder / "notes.docx").write_bytes(b"PK")
    cv2.imwrite(str(folder / "unseen.png"), draw_scene("belt_00"))
    return folder


def test_whatever_cannot_be_read_is_listed_file_by_file_and_the_rest_is_imported(
    tmp_path: Path, progress: Progress
) -> None:
    made = imported(spoiled(tmp_path), progress)
    reasons = left_out(made)
    assert reasons["belt_00.png box 1 (belt_00.xml)"] == "is cut short; the end of the picture is missing"
    assert reasons["belt_00.png box 2 (belt_00.xml)"] == "is cut short; the end of the picture is missing"
    assert reasons["belt_01.xml"] == "no picture 'belt_01.png' is there"
    assert "was labelled on a picture of 640 x 96 pixels, but the file has 128 x 96" in reasons.values()
    assert "'left' is not a number" in reasons["belt_03.xml"]
    assert "its box (200, 27, 228, 63) has nothing of the picture in it" in reasons["belt_03.png box 1 (belt_03.xml)"]
    assert "is not well-formed XML" in reasons["belt_04.xml"]
    assert reasons["belt_04.png"] == reasons["unseen.png"] == "has no label"
    assert reasons["notes.docx"] == "is neither a picture nor a label file by its name"
    assert {scene_of(one.name) for one in made.written} == {"belt_05"}
    listed = json.loads((made.out / "import.json").read_text())
    assert {one["name"] for one in listed["left_out"]} == set(reasons)
    assert listed["pictures"][made.written[0].name] == made.written[0].source


YOLO_LINES = {
    "9 0.5 0.5 0.2 0.2": "class number 9 has no name",
    "0 0.5 0.5 0.2": "has 3 numbers after the class",
    "0 64 48 20 20": "is in pixels",
    "bolt 0.5 0.5 0.2 0.2": "'bolt' is not a class number",
    "0 nan 0.5 0.2 0.2": "is not a finite number",
    "0 0.5 0.5 0 0.2": "has nothing of the picture in it",
}


@pytest.mark.parametrize("line", YOLO_LINES)
def test_a_wrong_line_of_yolo_is_named_and_the_other_lines_are_read(
    line: str, tmp_path: Path, progress: Progress
) -> None:
    folder = export("labelimg-yolo", tmp_path)
    with (folder / "belt_00.txt").open("a") as file:
        file.write(line + "\n")
    made = imported(folder, progress)
    assert len(made.written) == 12
    assert len(made.left_out) == 1
    assert YOLO_LINES[line] in made.left_out[0].reason
    assert "belt_00" in made.left_out[0].name


def test_polygons_and_confidences_of_yolo_are_read_too(tmp_path: Path, progress: Progress) -> None:
    folder = export("labelimg-yolo", tmp_path)
    (folder / "belt_00.txt").write_text("0 0.25 0.25 0.5 0.25 0.5 0.75\n2 0.5 0.5 0.25 0.25 0.97\n")
    made = imported(folder, progress, margin=0)
    sizes = {one.name: read_picture(made.out / one.name).shape for one in made.written if "belt_00" in one.name}
    assert sizes == {"bolt/belt_00-1.png": (48, 48, 3), "washer/belt_00-2.png": (32, 32, 3)}


def test_yolo_labels_without_names_say_what_is_missing(tmp_path: Path, progress: Progress) -> None:
    folder = export("labelimg-yolo", tmp_path)
    (folder / "classes.txt").unlink()
    with pytest.raises(
        DatasetError, match=r"nothing to import as yolo; .* class number 0 has no name; there is no classes"
    ):
        imported(folder, progress)


def test_a_class_under_two_spellings_is_pointed_out_and_can_be_joined(tmp_path: Path, progress: Progress) -> None:
    folder = export("labelimg-voc", tmp_path)
    for scene, spelled in {"belt_00": "Bolt", "belt_03": "bolts"}.items():
        path = folder / f"{scene}.xml"
        path.write_text(path.read_text().replace(">bolt<", f">{spelled}<"))
    made = imported(folder, progress)
    (note,) = made.notes
    assert note.startswith("probably one class under several names: 'Bolt' (1), 'bolt' (2), 'bolts' (1); --rename")
    words = shlex.split(note.partition("; ")[2].removesuffix(" makes them one"))
    assert words == ["--rename", "Bolt=bolt", "--rename", "bolts=bolt"]
    joined = import_pictures(folder, tmp_path / "joined", progress, rename=dict(w.split("=") for w in words[1::2]))
    assert not joined.notes
    assert {one.label for one in joined.written} == set(CLASSES)
    with pytest.raises(InputError, match=r"--rename: no item is of a class 'Bolts' \(there are: Bolt, bolt, bolts"):
        import_pictures(folder, tmp_path / "none", progress, rename={"Bolts": "bolt"})


def test_spellings_differ_by_case_spaces_signs_or_plural_and_nothing_else() -> None:
    assert not spellings({"bolt m8": 1, "bolt m10": 1, "nut": 2, "glass": 1, "gla": 1})
    assert len(spellings({"hex nut": 1, "Hex-Nut": 1, "hexnuts": 3, "glass": 1})) == 1


def test_a_name_that_cannot_be_a_folder_is_written_as_one_or_refused_by_name(
    tmp_path: Path, progress: Progress
) -> None:
    folder = export("labelimg-voc", tmp_path)
    for scene, spelled in {"belt_00": "../../bolt", "belt_01": "nut/m8", "belt_02": " washer\u202e "}.items():
        path = folder / f"{scene}.xml"
        first = items(scene)[0].label
        path.write_text(path.read_text().replace(f">{first}<", f">{spelled}<"))
    made = imported(folder, progress)
    assert made.left_out[0].reason == "a class called '../../bolt' cannot be the name of a folder"
    assert "class 'nut/m8' is written as 'nut-m8'" in made.notes
    assert {path.name for path in made.out.iterdir()} == {*CLASSES, "nut-m8", "washer-", "import.json"}
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, made.out.name}


def test_a_picture_outside_the_source_is_not_taken_whatever_a_label_file_says(
    tmp_path: Path, progress: Progress
) -> None:
    cv2.imwrite(str(tmp_path / "secret.png"), draw_scene("belt_00"))
    folder = export("labelimg-voc", tmp_path)
    (folder / "belt_00.png").unlink()
    path = folder / "belt_00.xml"
    path.write_text(path.read_text().replace("belt_00.png", "../secret.png"))
    made = imported(folder, progress)
    assert left_out(made)["belt_00.xml"] == "no picture 'secret.png' is there"


def hostile(how: str, root: Path) -> Path:
    """An archive that must not be unpacked."""
    path = root / "hostile.zip"
    if how == "no zip":
        path.write_bytes(b"PK\x03\x04 torn")
        return path
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", "<annotations/>")
        if how == "slip":
            archive.writestr("../../outside.txt", "x")
        elif how == "absolute":
            archive.writestr("/outside.txt", "x")
        elif how == "backslash slip":
            archive.writestr("images\\..\\..\\outside.txt", "x")
        elif how == "twice":
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr("annotations.xml", "<annotations/>")
        elif how == "link":
            link = zipfile.ZipInfo("images/link.png")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, "/etc/passwd")
        else:
            archive.writestr("images/a.bmp", bytes(64 << 20))
    data = path.read_bytes()
    if how == "encrypted":
        at = data.rindex(b"PK\x01\x02") + 8
        path.write_bytes(data[:at] + struct.pack("<H", 1) + data[at + 2 :])
    elif how == "torn":
        path.write_bytes(data[: len(data) // 2])
    return path


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("no zip", "is neither a folder nor a zip file"),
        ("torn", "is neither a folder nor a zip file"),
        ("slip", "'../../outside.txt', which would be written outside its folder"),
        ("absolute", "'/outside.txt', which would be written outside its folder"),
        ("backslash slip", "which would be written outside its folder"),
        ("link", "'images/link.png', which is a link or a device"),
        ("twice", "holds 'annotations.xml' twice"),
        ("encrypted", "is encrypted; unpack it first"),
        ("bomb", "unpacks to more than a zip of pictures can hold"),
        ("lying bomb", "is a damaged or unusual zip file"),
    ],
)
def test_a_hostile_archive_is_refused_and_leaves_nothing_behind(
    how: str, says: str, tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A bomb of its real size would take the test machine's disk and minutes; the rule is the same.
    monkeypatch.setattr("training.importing.archive.ALLOWANCE", 1 << 20)
    path = hostile(how, tmp_path)
    if how == "lying bomb":
        data = bytearray(path.read_bytes())
        at = data.rindex(b"PK\x01\x02") + 24
        data[at : at + 4] = struct.pack("<I", 1000)
        path.write_bytes(data)
    with pytest.raises(DatasetError, match=says):
        imported(path, progress)
    assert {one.name for one in tmp_path.iterdir()} == {"hostile.zip"}
    assert not (tmp_path.parent / "outside.txt").exists()


BILLION = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<annotation><filename>&b;</filename></annotation>"""
OUTSIDE = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<annotation><filename>belt_00.png</filename><object><name>&x;</name></object></annotation>"""


@pytest.mark.parametrize("bomb", [BILLION, OUTSIDE])
def test_xml_that_declares_entities_is_refused_by_name(bomb: str, tmp_path: Path, progress: Progress) -> None:
    folder = export("labelimg-voc", tmp_path)
    (folder / "belt_00.xml").write_text(bomb)
    made = imported(folder, progress)
    assert "declares entities or a document type" in left_out(made)["belt_00.xml"]
    assert len(made.written) == 10


def test_a_bottomless_json_is_refused_by_name(tmp_path: Path, progress: Progress) -> None:
    folder = export("datumaro-coco", tmp_path)
    (folder / "annotations" / "instances_train.json").write_text("[" * 200_000)
    made = imported(folder, progress)
    assert "instances_train.json" in " ".join(left_out(made))
    assert len(made.written) == 4


COCO_ENTRIES: dict[str, tuple[str, object, str]] = {
    "a number as annotation": ("annotations", 3, "annotation number 5: is no object with fields"),
    "no category": ("annotations", {"id": 77, "image_id": 1}, "annotation 77: has no category_id"),
    "a list as id": (
        "annotations",
        {"id": 78, "image_id": [1], "category_id": 1},
        "annotation 78: its image_id is neither a number nor a text",
    ),
    "a number as box": (
        "annotations",
        {"id": 79, "bbox": 5},
        "annotation 79: its bbox is no list of numbers",
    ),
    "a box beyond all numbers": (
        "annotations",
        {"id": 83, "bbox": [1e308, 10, 1e308, 5]},
        "annotation 83: its box has numbers that are too large for any picture",
    ),
    "half a point": (
        "annotations",
        {"id": 80, "segmentation": [[1, 2, 3]]},
        "annotation 80: its segmentation has 3 numbers, not pairs of them",
    ),
    "no points": (
        "annotations",
        {"id": 81, "segmentation": [[]]},
        "annotation 81: its segmentation has 0 numbers, not pairs of them",
    ),
    "flat points": (
        "annotations",
        {"id": 82, "segmentation": [1, 2]},
        "annotation 82: its segmentation is no list of outlines",
    ),
    "no file": ("images", {"id": 90}, "image 90: has no file_name"),
    "text as image": ("images", "belt.png", "image number 3: is no object with fields"),
    "no name": ("categories", {"id": 91}, "category 91: has no name"),
    "a list as name": ("categories", {"id": 92, "name": []}, "category 92: its name is neither a number nor a text"),
}


@pytest.mark.parametrize("entry", COCO_ENTRIES)
def test_a_wrong_entry_of_coco_is_named_and_the_others_are_read(entry: str, tmp_path: Path, progress: Progress) -> None:
    kind, wrong, says = COCO_ENTRIES[entry]
    folder = export("datumaro-coco", tmp_path)
    path = folder / "annotations" / "instances_val.json"
    content = json.loads(path.read_text())
    if kind == "annotations" and isinstance(wrong, dict):
        wrong = {**{key: content[kind][0][key] for key in ("image_id", "category_id")}, **wrong}
        if entry == "no category":
            del wrong["category_id"]
    content[kind].append(wrong)
    path.write_text(json.dumps(content))
    made = imported(folder, progress)
    assert len(made.written) == 12
    (one,) = made.left_out
    assert one.name == "annotations/instances_val.json"
    assert one.reason == says.replace("number 5", f"number {len(content[kind])}").replace(
        "number 3", f"number {len(content[kind])}"
    )


def test_a_coco_file_whose_lists_are_none_is_refused_with_one_sentence(tmp_path: Path, progress: Progress) -> None:
    folder = export("datumaro-coco", tmp_path)
    path = folder / "annotations" / "instances_val.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": 5}))
    made = imported(folder, progress)
    assert left_out(made)[source_name(path, folder)] == "is not COCO's (its annotations are no list)"
    assert len(made.written) == 10


def source_name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def test_an_import_s_own_folder_can_be_imported_again(tmp_path: Path, progress: Progress) -> None:
    first = imported(export("labelimg-voc", tmp_path), progress)
    again = import_pictures(first.out, tmp_path / "again", progress)
    assert again.format == "folders"
    assert pixels(again) == pixels(first)
    assert not again.left_out


def test_an_output_inside_the_source_is_refused_before_anything_is_made(tmp_path: Path, progress: Progress) -> None:
    folder = export("labelimg-voc", tmp_path)
    with pytest.raises(DatasetError, match="lies inside"):
        import_pictures(folder, folder / "deep" / "sub", progress)
    assert not (folder / "deep").exists()


@pytest.mark.parametrize("there", [False, True])
def test_after_a_disk_that_was_full_no_half_dataset_is_left(
    there: bool, tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = export("labelimg-voc", tmp_path), tmp_path / "out"
    if there:
        out.mkdir()
    real = os.fsync
    written = []

    def fsync(file: int) -> None:
        written.append(file)
        if len(written) > 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(TrainingError, match=r"/out/.*: cannot be written \(No space left on device\)"):
        import_pictures(folder, out, progress)
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, *(["out"] if there else [])}
    assert not there or not list(out.iterdir())
    monkeypatch.undo()
    assert len(import_pictures(folder, out, progress).written) == 12


def test_a_picture_that_a_list_puts_into_two_classes_is_named(tmp_path: Path, progress: Progress) -> None:
    folder = whole("csv", tmp_path)
    with (folder / "list.csv").open("a", newline="") as file:
        file.write(f"pictures/{SCENES[0]}.png,odd,{PARTS[SCENES[0]]}\n")
    made = imported(folder, progress)
    first = items(SCENES[0])[0].label
    names = ", ".join(sorted([first, "odd"]))
    assert f"pictures/{SCENES[0]}.png: is told to be of 2 classes, {names}; it was put into each of them" in made.notes


def test_a_cell_without_an_end_is_named_with_its_file_and_line(tmp_path: Path, progress: Progress) -> None:
    folder = whole("csv", tmp_path)
    (folder / "more.csv").write_text('file,class\n\na.png,"' + "x" * 200_000 + "\n")
    reason = left_out(imported(folder, progress))["more.csv"]
    assert reason.startswith("line 3: has a cell of more than 131072 characters")


def test_an_empty_number_of_a_list_is_named_with_its_line(tmp_path: Path, progress: Progress) -> None:
    folder = whole("csv", tmp_path)
    (folder / "more.csv").write_text(f"file,x1,y1,x2,y2,class\n\npictures/{SCENES[0]}.png,1,,20,20,bolt\n")
    assert left_out(imported(folder, progress))["more.csv"] == "line 3: an empty field is not a number"


def test_classes_that_one_folder_name_makes_one_are_named_and_none_is_said_to_be_empty(
    tmp_path: Path, progress: Progress
) -> None:
    folder = whole("csv", tmp_path)
    (folder / "list.csv").write_text(
        "file,class\n" + "".join(f"pictures/{scene}.png,a{sign}b\n" for scene, sign in zip(SCENES, "/:", strict=False))
    )
    made = imported(folder, progress)
    assert {one.label for one in made.written} == {"a-b"}
    assert "classes 'a/b' and 'a:b' are written as one, 'a-b'; --rename keeps them apart" in made.notes
    assert not [note for note in made.notes if "no picture" in note]
    apart = import_pictures(folder, tmp_path / "apart", progress, rename={"a:b": "a then b"})
    assert {one.label for one in apart.written} == {"a-b", "a then b"}
    assert not [note for note in apart.notes if "as one" in note or "no picture" in note]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nc: 3\nnames: [a, b\nx: y\n", "line 3: is not YAML (expected ',' or ']', but got ':')"),
        ("names: \x01", "is not YAML (it holds a character that YAML does not allow)"),
        ("names: 2023-99-99", "is not YAML (it holds a date or a number that cannot be)"),
        ("[" * 5000, "is nested too deeply to be a label file"),
        ("names: [bolt, [nut, screw]]", "its name number 1 is no name but a list"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"{y}: &{y} [*{x}{f', *{x}' * 8}]\n" for x, y in pairwise("abcdefghijk"))
            + "names: *k\n",
            "its name number 0 is no name but a list",
        ),
    ],
)
def test_a_yaml_file_that_cannot_be_read_gets_one_whole_sentence(
    text: str, says: str, tmp_path: Path, progress: Progress
) -> None:
    folder = export("labelimg-yolo", tmp_path)
    (folder / "data.yaml").write_text(text)
    assert left_out(imported(folder, progress))["data.yaml"] == says


def test_an_import_that_is_asked_to_end_leaves_nothing_half_done(tmp_path: Path) -> None:
    folder = whole("csv", tmp_path)
    code = (
        "import signal, sys\nfrom training.cli import main\nfrom training.importing import run\n"
        "def write(items, source, unfinished, margin, progress):\n"
        "    (unfinished / 'bolt').mkdir(parents=True)\n"
        "    print('writing', flush=True)\n"
        "    signal.pause()\n"
        "run.write = write\nsys.exit(main(['import', sys.argv[1], sys.argv[2]]))"
    )
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "out")]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as importing:
        assert importing.stdout is not None
        assert "writing" in importing.stdout.readline()
        assert list(tmp_path.glob(".unfinished-*"))
        importing.terminate()
        _, said = importing.communicate(timeout=60)
    assert (importing.returncode, said.strip()) == (1, "sortline-train: interrupted")
    assert [path.name for path in tmp_path.iterdir()] == ["csv"]


def unclear(how: str, root: Path) -> tuple[Path, Path]:
    """A source and an OUT with one thing wrong."""
    out = root / "out"
    if how == "missing":
        return root / "none", out
    folder = export("labelimg-voc", root)
    if how == "two formats":
        for path in export("labelimg-yolo", root / "other").glob("*.txt"):
            shutil.copy(path, folder)
    elif how == "nothing":
        shutil.rmtree(folder)
        folder.mkdir()
    elif how == "not the format":
        for path in folder.glob("*.xml"):
            path.write_text("<svg/>")
    elif how == "full out":
        return folder, folder
    return folder, out


@pytest.mark.parametrize(
    ("how", "words", "says"),
    [
        ("missing", "", "none: no such folder or zip file"),
        ("two formats", "", "looks like voc and yolo; say which with --format voc"),
        ("nothing", "", "has no pictures and no label files that are known"),
        ("not the format", "--format voc", "is not a VOC annotation (its first element is <svg>)"),
        ("full out", "", "exists and is not an empty folder"),
        ("", "--format coco", "has nothing to import as coco"),
        ("", "--format kitti", "invalid choice: 'kitti'"),
        ("", "--rename bolt", "'bolt' is not OLD=NEW"),
        ("", "--video none.mp4", "none.mp4: no such clip"),
    ],
)
def test_a_source_that_cannot_be_imported_gets_one_sentence_and_status_2(
    how: str, words: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = unclear(how, tmp_path)
    try:
        status = main(["import", str(source), str(out), *words.split()])
    except SystemExit as exit_:
        status = int(str(exit_.code))
    assert status == 2
    shown = capsys.readouterr().err.strip().splitlines()
    assert says in shown[-1]
    assert "Traceback" not in "\n".join(shown)


def test_the_format_can_be_said_where_two_are_there(tmp_path: Path, progress: Progress) -> None:
    source, out = unclear("two formats", tmp_path)
    for form in ("voc", "yolo"):
        assert pixels(import_pictures(source, out / form, progress, form=form, margin=0)) == crops(0)


def test_the_command_shows_a_table_of_classes_and_parts_and_names_what_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = export("roboflow-yolo", tmp_path)
    (folder / "train" / "images" / "more.png").write_bytes(b"")
    out = tmp_path / "pictures"
    assert main(["import", str(folder), str(out), "--crop-margin", "0.3"]) == 0
    shown = capsys.readouterr()
    rows = [line.split() for line in shown.out.splitlines()]
    assert ["class", "train", "val", "test"] in rows
    assert ["together", "8", "2", "2"] in rows
    assert "left out: train/images/more.png: has no label" in shown.err
    assert f"{out}: 12 pictures from yolo, 1 left out" in shown.out


def test_hidden_pictures_clips_and_links_that_are_not_followed_are_named_and_not_lost_in_silence(
    tmp_path: Path, progress: Progress
) -> None:
    root = whole("folders", tmp_path)
    bolt = next(root.iterdir())
    picture = next(bolt.iterdir())
    shutil.copy(picture, bolt / "._a.png")
    shutil.copytree(bolt, tmp_path / "elsewhere")
    (bolt / "more").symlink_to(tmp_path / "elsewhere")
    (bolt / "gone.png").symlink_to(tmp_path / "gone.png")
    (bolt / "belt.mp4").write_bytes(b"a clip")
    (root / "__MACOSX").mkdir()
    shutil.copy(picture, root / "__MACOSX" / "._b.png")
    assert {Path(name).name: reason for name, reason in left_out(imported(root, progress)).items()} == {
        "._a.png": "is hidden: its name, or a folder's, begins with a dot",
        "more": "is a link to a folder, which is not followed",
        "gone.png": "is a link that leads nowhere",
        "belt.mp4": "is a clip; only a video task of CVAT takes pictures from one",
    }


def test_a_named_pipe_in_place_of_a_zip_file_is_refused_and_holds_nobody_up(tmp_path: Path, progress: Progress) -> None:
    pipe = tmp_path / "export.zip"
    os.mkfifo(pipe)
    try:
        with pytest.raises(DatasetError, match=r"export\.zip: is neither a folder nor a zip file"):
            within(20, lambda: import_pictures(pipe, tmp_path / "out", progress), "the import")
    finally:
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))  # lets a reader go

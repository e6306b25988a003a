"""Wrote the exports in this folder, by the labelling tools' own libraries; run again only to add one.

Needs an environment of its own, `pip install datumaro lxml`, and the sources of labelImg
(`pip download --no-deps --no-binary :all: labelImg`, unpacked), whose reader and writer modules
import without Qt:

    PYTHONPATH=. python tests/training/exports/make.py LABELIMG_SOURCES

The folders cvat-video and roboflow-* are not made here: CVAT and Roboflow have no library that writes
them. They were written by hand after https://docs.cvat.ai/docs/manual/advanced/xml_format/ and
Roboflow's exports. Only label files are kept; the tests draw the pictures.
"""

import shutil
import sys
from pathlib import Path

import datumaro as dm

from tests.training.scenes import CLASSES, HEIGHT, PARTS, SCENES, WIDTH, draw_scene, items

HERE = Path(__file__).parent


def by_datumaro() -> None:
    dataset = dm.Dataset.from_iterable(
        [
            dm.DatasetItem(
                scene,
                subset=PARTS[scene],
                media=dm.Image.from_numpy(draw_scene(scene), ext=".png"),
                annotations=[
                    dm.Bbox(i.box.x, i.box.y, i.box.width, i.box.height, label=CLASSES.index(i.label), id=n, group=n)
                    for n, i in enumerate(items(scene), 1 + 2 * SCENES.index(scene))
                ],
            )
            for scene in SCENES
        ],
        categories=list(CLASSES),
    )
    for name, form in {
        "datumaro-coco": "coco_instances",
        "datumaro-cvat": "cvat",
        "datumaro-voc": "voc_detection",
        "datumaro-yolo": "yolo",
        "datumaro-yolo-ultralytics": "yolo_ultralytics",
    }.items():
        shutil.rmtree(HERE / name, ignore_errors=True)
        dataset.export(str(HERE / name), form, save_media=True, image_ext=".png")


def by_labelimg(sources: str) -> None:
    sys.path.insert(0, sources)
    from libs.pascal_voc_io import PascalVocWriter
    from libs.yolo_io import YOLOWriter

    for name, writer, suffix in (("labelimg-voc", PascalVocWriter, ".xml"), ("labelimg-yolo", YOLOWriter, ".txt")):
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for scene in SCENES:
            file = writer(name, f"{scene}.png", (HEIGHT, WIDTH, 3), local_img_path=f"{name}/{scene}.png")
            for item in items(scene):
                b = item.box
                file.add_bnd_box(b.x, b.y, b.x + b.width, b.y + b.height, item.label, 0)
            target = str(folder / f"{scene}{suffix}")
            file.save(target_file=target) if suffix == ".xml" else file.save(list(CLASSES), target)


if __name__ == "__main__":
    by_datumaro()
    by_labelimg(sys.argv[1])
    for path in HERE.rglob("*"):
        if path.suffix in (".png", ".bin"):
            path.unlink()
            print(path.relative_to(HERE))

"""Names as Windows, macOS and Excel write them: the pictures are found, and a class is called what people called it."""

import zipfile
from pathlib import Path
from unicodedata import normalize

import pytest
from rich.progress import Progress

from tests.training.scenes import PARTS, SCENES, write_scenes
from training.importing.run import Imported, import_pictures
from training.layout import find

CLASSES = ("Schlüssel", "Mutter groß")
APART, ONE = "NFD", "NFC"  # an ü as u and two dots, as macOS writes it, and as one letter, as keyboards do


def imported(source: Path, progress: Progress, **words: object) -> Imported:
    return import_pictures(source, source.parent / "out", progress, **words)  # type: ignore[arg-type]


def class_folders(root: Path, form: str = ONE) -> dict[str, Path]:
    """Two classes of four pictures under root: each file's name there, and the file."""
    paths = {
        scene: root / normalize(form, CLASSES[n % 2]) / normalize(form, f"Stück {scene}.png")
        for n, scene in enumerate(SCENES)
    }
    write_scenes(paths)
    return {path.relative_to(root).as_posix(): path for path in paths.values()}


class NamesIn(zipfile.ZipInfo):
    """A zip's entry whose name is in an encoding that the zip does not tell, as many programs write it."""

    encoding = "utf-8"

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode(self.encoding), self.flag_bits & ~0x800


class NamesInDos(NamesIn):
    encoding = "cp437"


@pytest.mark.parametrize(("entry", "form"), [(NamesIn, APART), (NamesInDos, ONE), (zipfile.ZipInfo, ONE)])
def test_a_zip_s_names_are_read_as_they_were_meant_whoever_packed_it(
    entry: type[zipfile.ZipInfo], form: str, tmp_path: Path, progress: Progress
) -> None:
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, file in class_folders(tmp_path / "pictures", form).items():
            archive.writestr(entry(name), file.read_bytes())
    made = imported(path, progress)
    assert {one.label for one in made.written} == set(CLASSES)
    assert {file.label for file in find(made.out)[0]} == set(CLASSES)
    assert len(made.written) == len(SCENES)


@pytest.mark.parametrize(("written", "lies"), [(ONE, APART), (APART, ONE)])
def test_a_list_finds_pictures_whose_letters_are_spelled_in_another_way(
    written: str, lies: str, tmp_path: Path, progress: Progress
) -> None:
    names = class_folders(tmp_path / "export", lies)
    lines = [f"{normalize(written, name)},{normalize(written, name.split('/')[0])}\r\n" for name in names]
    (tmp_path / "export" / "list.csv").write_bytes("".join(["file,class\r\n", *lines]).encode("utf-8-sig"))
    made = imported(tmp_path / "export", progress, rename={"Schlüssel": "Türschlüssel"})
    assert {one.label for one in made.written} == {"Türschlüssel", "Mutter groß"}
    assert len(made.written) == len(SCENES)
    assert not made.left_out


def test_a_list_may_write_large_letters_small_unless_two_pictures_differ_by_them(
    tmp_path: Path, progress: Progress
) -> None:
    folder = tmp_path / "export"
    write_scenes(
        {scene: folder / f"{scene}.png" for scene in SCENES} | {SCENES[1]: folder / f"{SCENES[0].upper()}.png"}
    )
    named = [SCENES[0], SCENES[0].upper(), SCENES[0].title(), SCENES[2].upper()]
    (folder / "list.csv").write_text("file,class\n" + "\n".join(f"{name}.PNG,class {name}" for name in named))
    made = imported(folder, progress)
    assert {one.label: one.source for one in made.written} == {
        f"class {SCENES[0]}": f"{SCENES[0]}.png",
        f"class {SCENES[0].upper()}": f"{SCENES[0].upper()}.png",
        f"class {SCENES[2].upper()}": f"{SCENES[2]}.png",
    }
    assert "line 4: two pictures are called" in str(made.left_out)


def test_a_class_is_spelled_as_keyboards_do_whatever_disk_its_folder_lies_on(tmp_path: Path) -> None:
    class_folders(tmp_path, APART)
    assert {file.label for file in find(tmp_path)[0]} == set(CLASSES)


@pytest.mark.parametrize("above", ["export", "export/deeper", "export/train", "export/train/deeper"])
def test_class_folders_inside_one_folder_are_the_classes(above: str, tmp_path: Path, progress: Progress) -> None:
    class_folders(tmp_path / "source" / above)
    made = imported(tmp_path / "source", progress, form="folders")
    if above.endswith("train/deeper"):  # below a part lies a class
        assert {(one.part, one.label) for one in made.written} == {("train", "deeper")}
        return
    assert {one.label for one in made.written} == set(CLASSES)
    assert {one.part for one in made.written} == {"train" if "train" in above else None}
    assert f"all pictures lie in the folder {above.removesuffix('/train')!r}: the folders in it are taken" in str(
        made.notes
    )


def test_the_folders_of_a_single_class_that_has_but_one_are_no_classes(tmp_path: Path, progress: Progress) -> None:
    write_scenes({scene: tmp_path / "source" / "bolt" / "monday" / f"{scene}.png" for scene in SCENES})
    assert {one.label for one in imported(tmp_path / "source", progress).written} == {"bolt"}


def test_a_list_that_excel_wrote_in_windows_own_letters_says_how_to_save_it(tmp_path: Path, progress: Progress) -> None:
    names = class_folders(tmp_path / "export")
    (tmp_path / "export" / "list.csv").write_text("file;class\n" + "\n".join(f"{n};a" for n in names), "cp1252")
    with pytest.raises(Exception, match=r"list\.csv: is not UTF-8 text \(byte \d+\); save it as UTF-8"):
        imported(tmp_path / "export", progress)


def test_a_line_of_a_list_without_a_class_is_named(tmp_path: Path, progress: Progress) -> None:
    names = list(class_folders(tmp_path / "export"))
    (tmp_path / "export" / "list.csv").write_text(f"file,class\n{names[0]},a\n{names[1]},\n")
    told = {one.name: one.reason for one in imported(tmp_path / "export", progress).left_out}
    assert told["list.csv"] == "line 3: has no class"


def test_an_empty_line_between_classes_has_a_number_like_any_other(tmp_path: Path, progress: Progress) -> None:
    write_scenes({scene: tmp_path / "export" / f"{scene}.png" for scene in SCENES[:2]})
    (tmp_path / "export" / "classes.txt").write_bytes(b"\xef\xbb\xbf\r\nbolt\r\n\r\nnut\r\n\r\n")
    (tmp_path / "export" / f"{SCENES[0]}.txt").write_text("0 .5 .5 .2 .2\n2 .5 .5 .4 .4\n")
    (tmp_path / "export" / f"{SCENES[1]}.txt").write_text("1 .5 .5 .2 .2\n")
    made = imported(tmp_path / "export", progress)
    assert [one.label for one in made.written] == ["bolt", "nut"]
    assert [one.reason for one in made.left_out] == ["line 1: class number 1 has no name"]


@pytest.mark.parametrize("lies", [ONE, APART])
def test_a_list_of_a_part_names_pictures_with_spaces_too(lies: str, tmp_path: Path, progress: Progress) -> None:
    folder = tmp_path / "export"
    names = {scene: f"Förder band {n}" for n, scene in enumerate(SCENES)}
    write_scenes({scene: folder / "JPEGImages" / f"{normalize(lies, name)}.png" for scene, name in names.items()})
    (folder / "Annotations").mkdir()
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    for part in ("train", "val", "test"):
        of = [names[scene] for scene in SCENES if PARTS[scene] == part]
        (folder / "ImageSets" / "Main" / f"{part}.txt").write_bytes("\r\n".join(of).encode())
    box = "<xmin>2</xmin><ymin>2</ymin><xmax>30</xmax><ymax>30</ymax>"
    for name in names.values():
        (folder / "Annotations" / f"{normalize(lies, name)}.xml").write_text(
            f"<annotation><object><name>bolt</name><bndbox>{box}</bndbox></object></annotation>"
        )
    made = imported(folder, progress)
    assert len(made.written) == len(SCENES)
    parts = {one.source.partition(".png")[0].removeprefix("JPEGImages/"): one.part for one in made.written}
    assert parts == {normalize(lies, name): PARTS[scene] for scene, name in names.items()}

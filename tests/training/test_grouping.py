from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.progress import Progress

from edge.model import Resize
from tests.training.pictures import SHAPES, draw, write_pictures
from training.cli import main
from training.data import load, split, write_split
from training.errors import DatasetError, InputError
from training.evaluation.evaluate import evaluate
from training.layout import File, find
from training.run import Run
from training.settings import FitSettings

CLIP = r"(clip\d+)_"


def write_clips(root: Path, shapes: tuple[str, ...] = SHAPES, clips: int = 10, frames: int = 4) -> Path:
    """Each item of a class seen in a few frames: the same picture, shaken by half a pixel, and with fresh noise."""
    for shape in shapes:
        (root / shape).mkdir(parents=True, exist_ok=True)
        for clip in range(clips):
            still = draw(shape, clip, side=96)
            for frame in range(frames):
                rng = np.random.default_rng([clip, frame, len(shape)])
                x, y = rng.uniform(-0.5, 0.5, 2)
                moved = cv2.warpAffine(
                    still, np.array([[1, 0, x], [0, 1, y]]), (96, 96), borderMode=cv2.BORDER_REPLICATE
                )
                moved = np.clip(moved + rng.normal(0, 2, moved.shape), 0, 255).astype(np.uint8)
                cv2.imwrite(str(root / shape / f"clip{clip:02d}_{frame}.png"), moved)
    return root


def parts_of_clips(files: list[File], parts: list[str]) -> dict[tuple[str, str], set[str]]:
    found = defaultdict(set)
    for file, part in zip(files, parts, strict=True):
        found[file.label, file.path.name.split("_")[0]].add(part)
    return found


@pytest.mark.parametrize("rule", [rf"/{CLIP}", r"([^/]+)/(clip\d+)", "similar"])
def test_pictures_of_one_group_are_drawn_into_one_part_and_every_class_into_each(rule: str, tmp_path: Path) -> None:
    files, _ = find(write_clips(tmp_path))
    parts = split(files, 0, tmp_path, rule)
    assert all(len(seen) == 1 for seen in parts_of_clips(files, parts).values())
    counts = Counter(zip((file.label for file in files), parts, strict=True))
    for shape in SHAPES:
        # Of 40 pictures in groups of 4, 6 in each would be the exact shares.
        assert counts[shape, "val"] in (4, 8)
        assert counts[shape, "test"] in (4, 8)
    assert split(files, 0, tmp_path, rule) == parts
    assert split(files, 1, tmp_path, rule) != parts


def test_without_a_rule_frames_of_one_clip_are_spread_over_the_parts(tmp_path: Path) -> None:
    files, _ = find(write_clips(tmp_path))
    assert any(len(seen) > 1 for seen in parts_of_clips(files, split(files, 0, tmp_path)).values())


def test_pictures_that_merely_show_the_same_kind_of_thing_are_not_similar(tmp_path: Path) -> None:
    files, _ = find(write_clips(tmp_path, clips=20, frames=1))
    parts = split(files, 0, tmp_path, "similar")
    assert Counter(parts) == {"train": 42, "val": 9, "test": 9}


def test_a_clip_that_shows_several_classes_stays_whole_too(tmp_path: Path) -> None:
    files, _ = find(write_clips(tmp_path))
    parts = split(files, 0, tmp_path, CLIP)
    by_clip = defaultdict(set)
    for file, part in zip(files, parts, strict=True):
        by_clip[file.path.name[:6]].add(part)
    assert all(len(seen) == 1 for seen in by_clip.values())
    assert set(parts) == {"train", "val", "test"}


def test_pictures_that_the_pattern_does_not_find_are_drawn_one_by_one(tmp_path: Path) -> None:
    root = write_clips(tmp_path, clips=8)
    write_pictures(root, dict.fromkeys(SHAPES, 20))
    files, _ = find(root)
    parts = split(files, 0, root, CLIP)
    alone = {part for file, part in zip(files, parts, strict=True) if "clip" not in file.name}
    assert alone == {"train", "val", "test"}


def test_a_given_test_folder_stays_and_validation_takes_whole_groups_of_train(
    tmp_path: Path, progress: Progress
) -> None:
    write_clips(tmp_path / "train", clips=5)
    write_pictures(tmp_path / "test", dict.fromkeys(SHAPES, 4))
    data = load(tmp_path, 32, 32, Resize(), 0, progress, group=CLIP)
    assert len(data.test) == 12
    assert len({Path(name).name[:6] for name in data.val.names}) == 1
    assert "whole groups by '(clip" in data.split


@pytest.mark.parametrize(
    ("rule", "error", "says"),
    [
        ("(clip", InputError, r"--group '\(clip': is not a regular expression \(missing \), unterminated"),
        ("frame", InputError, "--group 'frame': is found in no name; the names look like 'disc/clip00_0.png'"),
        ("(clip0)", DatasetError, "class 'disc' form 1 group.s. by --group, but train, val, test need one each"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_in_one_sentence(
    rule: str, error: type[Exception], says: str, tmp_path: Path
) -> None:
    files, _ = find(write_clips(tmp_path, clips=3))
    with pytest.raises(error, match=says):
        split(files, 0, tmp_path, rule)


def test_a_run_remembers_its_rule_and_the_model_is_judged_on_the_same_test_part(
    tmp_path: Path, progress: Progress
) -> None:
    root = write_clips(tmp_path / "clips")
    settings = FitSettings.choose(network="simple_cnn", epochs=1, batch=16)
    run = Run.start(tmp_path / "run", root, "clips", settings, progress, size=32, group=CLIP)
    run.fit()
    card_file = run.export()
    assert Run.open(tmp_path / "run", progress).data.test.names == run.data.test.names
    assert len(run.data.test) not in (0, len(load(root, 32, 32, Resize(), 0, progress).test))
    evaluation = evaluate(card_file, root, progress)
    assert evaluation.count == len(run.data.test)
    assert evaluation.pictures.startswith("the test part")


def test_the_rule_is_a_word_of_split_and_gives_what_training_would_draw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_clips(tmp_path / "clips")
    assert main(["split", str(root), str(tmp_path / "by-command"), "--group", CLIP]) == 0
    write_split(root, tmp_path / "by-function", 0, CLIP)
    written = [
        sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
        for out in (tmp_path / "by-command", tmp_path / "by-function")
    ]
    assert written[0] == written[1]
    assert len(written[0]) == 120
    assert main(["split", str(root), str(tmp_path / "none"), "--group", "["]) == 2
    assert "is not a regular expression" in capsys.readouterr().err


def test_the_two_axes_of_the_fruits_are_two_groups_a_kind(shared_data: Path) -> None:
    def found(part: str) -> list[File]:
        return [f for f in find(shared_data / "fruits" / part)[0] if f.label != "lemon"]  # lemon has one axis

    files = found("train")
    rule = "([^/]+)/(r_)?"
    with pytest.raises(DatasetError, match="form 2 group"):
        split(files, 0, shared_data, rule)
    # With a test part given, one axis of each fruit remains for training and one for validation.
    given = [File(f.path, f"train/{f.name}", f.label, "train") for f in files]
    given += [File(f.path, f"test/{f.name}", f.label, "test") for f in found("test")]
    axes = defaultdict(set)
    for file, part in zip(given, split(given, 0, shared_data, rule), strict=True):
        if part != "test":
            axes[file.label, "r_" in file.name].add(part)
    assert len(axes) == 18
    assert all(len(seen) == 1 for seen in axes.values())

import dataclasses
import io
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from rich.console import Console
from rich.progress import Progress

from edge.model import Classifier
from tests.training.pictures import SHAPES, write_pictures
from training.calibrate import Calibration
from training.cli import main
from training.compare import FEWEST, ROUNDS, Score, compare, fastest_faithful, time_interleaved
from training.errors import DatasetError, InputError
from training.evaluation.evaluate import evaluate, summarize
from training.evaluation.examine import Answers, examine
from training.evaluation.report import evaluation_tables
from training.export import with_card
from training.run import Run


def score(accuracy: float, p50_ms: float) -> Score:
    return Score(accuracy, 1.0, 0.0, 1, p50_ms, p50_ms)


@pytest.mark.parametrize(
    ("fp32", "int8", "ships"),
    [
        ((0.99, 2.0), (0.99, 1.0), "int8"),
        ((0.99, 2.0), (0.985, 1.0), "int8"),
        ((0.99, 2.0), (0.984, 1.0), "fp32"),
        ((0.99, 1.0), (0.99, 1.2), "fp32"),
    ],
)
def test_the_faster_file_ships_if_it_loses_no_more_than_half_a_point(
    fp32: tuple[float, float], int8: tuple[float, float], ships: str
) -> None:
    scores = {"torch": score(0.99, 9.0), "fp32": score(*fp32), "int8": score(*int8)}
    assert fastest_faithful(scores) == ships


def test_torch_and_both_files_are_scored_on_the_same_pictures(finished: Path, progress: Progress) -> None:
    run = Run.open(finished, progress)
    scores = compare(run.network, Calibration(), {"fp32": run.fp32, "int8": run.int8}, run.data.test)
    assert list(scores) == ["torch", "fp32", "int8"]
    assert scores["torch"].agreement == scores["fp32"].agreement == 1.0
    assert scores["fp32"].accuracy == scores["torch"].accuracy >= 0.9
    assert all(0 < each.p50_ms <= each.p99_ms for each in scores.values())
    assert scores["int8"].size_bytes == run.int8.stat().st_size


def test_the_training_dataset_is_evaluated_on_its_own_test_part_only(
    finished: Path, shapes: Path, progress: Progress
) -> None:
    evaluation = evaluate(finished / "int8.onnx", shapes, progress)
    assert evaluation.count == 18
    assert evaluation.pictures == f"the test part of {shapes}"
    assert [row.pictures for row in evaluation.classes] == [6, 6, 6]
    wrong = round((1 - evaluation.accuracy) * evaluation.count)
    assert len(evaluation.mistakes) == wrong


def test_other_pictures_are_all_evaluated_and_every_mistake_is_named(
    finished: Path, tmp_path: Path, progress: Progress
) -> None:
    root = write_pictures(tmp_path / "set", {"disc": 6, "stripe": 3}, first=500)
    lie = write_pictures(tmp_path / "lie", {"disc": 1}, first=900) / "disc" / "900.png"
    lie.rename(root / "stripe" / "a-disc.png")
    evaluation = evaluate(finished / "fp32.onnx", root, progress)
    assert evaluation.count == 10
    assert evaluation.pictures == f"all of {root}"
    assert any(
        (mistake.picture, mistake.truth, mistake.called) == ("stripe/a-disc.png", "stripe", "disc")
        for mistake in evaluation.mistakes
    )
    assert {row.name: row.pictures for row in evaluation.classes} == {"disc": 6, "stripe": 4}


def test_of_a_folder_changed_since_the_training_only_pictures_that_were_not_learnt_count(
    finished: Path, shapes: Path, tmp_path: Path, progress: Progress
) -> None:
    root = tmp_path / shapes.name
    shutil.copytree(shapes, root)
    unchanged = examine(finished / "fp32.onnx", root, progress)
    gone = unchanged.part.names[0]
    (root / gone).unlink()
    more = write_pictures(tmp_path / "more", {"disc": 2}, first=800)
    for path in (more / "disc").iterdir():
        path.rename(root / "disc" / f"new-{path.name}")
    examination = examine(finished / "fp32.onnx", root, progress)
    assert set(examination.part.names) == {*unchanged.part.names, "disc/new-800.png", "disc/new-801.png"} - {gone}
    assert examination.which == f"all of {root} but {120 - len(unchanged.part)} that the model has learnt from"


def test_a_card_without_a_list_of_what_was_learnt_says_so_and_a_damaged_one_is_refused(
    finished: Path, shapes: Path, tmp_path: Path, progress: Progress
) -> None:
    model = onnx.load(finished / "fp32.onnx")
    card = Classifier(finished / "fp32.onnx", provider="cpu").card
    root = write_pictures(tmp_path / "set", {"disc": 3, "stripe": 3}, first=500)
    silent, damaged = tmp_path / "silent.onnx", tmp_path / "damaged.onnx"
    for path, dataset in ((silent, {}), (damaged, card.dataset | {"learnt": "AAAA"})):
        path.write_bytes(with_card(model, card.model_copy(update={"dataset": dataset})).SerializeToString())
    assert examine(silent, root, progress).which.startswith(f"all of {root}; the card does not list what was learnt")
    with pytest.raises(InputError, match=r"damaged\.onnx: its card's list of learnt pictures is damaged"):
        examine(damaged, root, progress)


def test_a_folder_of_nothing_but_learnt_pictures_is_refused(
    finished: Path, shapes: Path, tmp_path: Path, progress: Progress
) -> None:
    tested = set(examine(finished / "fp32.onnx", shapes, progress).part.names)
    for path in sorted(shapes.rglob("*.png")):
        if (name := path.relative_to(shapes).as_posix()) not in tested:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / name)
    with pytest.raises(DatasetError, match="no readable picture to evaluate on that the model has not learnt from"):
        examine(finished / "fp32.onnx", tmp_path, progress)


def test_where_nothing_is_sorted_no_share_of_it_is_right(finished: Path, shapes: Path, progress: Progress) -> None:
    examination = examine(finished / "fp32.onnx", shapes, progress)
    strange = np.ones(len(examination.part), bool)
    answers = dataclasses.replace(examination.answers, strange=strange)
    evaluation = summarize(dataclasses.replace(examination, answers=answers), progress)
    assert evaluation.kept_accuracy is None
    shown = Console(file=io.StringIO(), width=200)
    shown.print(evaluation_tables(evaluation)[0])
    assert "100.00% become unknown; of the rest – right" in shown.file.getvalue()  # type: ignore[attr-defined]


def test_what_the_line_would_sort_and_the_order_of_mistakes_follow_from_card_and_answers(
    finished: Path, shapes: Path, progress: Progress
) -> None:
    examination = examine(finished / "fp32.onnx", shapes, progress)
    rng = np.random.default_rng(4)
    odds = rng.dirichlet([0.7] * 3, len(examination.part)).astype(np.float32)
    strange = rng.random(len(odds)) < 0.2
    evaluation = summarize(dataclasses.replace(examination, answers=Answers(odds, strange)), progress)
    card, labels, called, sure = examination.card, examination.labels, odds.argmax(1), odds.max(1)
    reaches = np.array([sure[i] >= card.thresholds[card.classes[called[i]]] for i in range(len(odds))])
    sorted_ = reaches & ~strange
    assert 0 < sorted_.sum() < reaches.sum() < len(odds)
    assert evaluation.unknown == pytest.approx(1 - sorted_.mean())
    assert evaluation.kept_accuracy == pytest.approx((called == labels)[sorted_].mean())
    for number, row in enumerate(evaluation.classes):
        good = sorted_ & (called == number) & (labels == number)
        assert row.coverage.value == pytest.approx(good.sum() / (labels == number).sum())
    confidences = [mistake.confidence for mistake in evaluation.mistakes]
    assert len(confidences) == (called != labels).sum() > 2
    assert confidences == sorted(confidences, reverse=True)
    assert [mistake.known for mistake in evaluation.mistakes].count(True) == (sorted_ & (called != labels)).sum()


def test_pictures_that_cannot_be_read_are_named_when_a_model_is_evaluated(
    finished: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = write_pictures(tmp_path / "set", {"disc": 3, "stripe": 3}, first=500)
    (root / "disc" / "half.png").write_bytes((root / "disc" / "500.png").read_bytes()[:300])
    assert main(["evaluate", str(finished / "fp32.onnx"), str(root), "--threads", "1"]) == 0
    assert "left out: disc/half.png: is cut short; the end of the picture is missing" in capfd.readouterr().err


def test_a_test_folder_is_what_is_evaluated_where_there_is_one(
    finished: Path, tmp_path: Path, progress: Progress
) -> None:
    write_pictures(tmp_path / "train", dict.fromkeys(SHAPES, 6), first=600)
    write_pictures(tmp_path / "test", dict.fromkeys(SHAPES, 2), first=700)
    assert evaluate(finished / "fp32.onnx", tmp_path, progress).count == 6


def test_a_class_that_the_model_does_not_know_is_refused(finished: Path, shapes: Path, progress: Progress) -> None:
    root = shapes.parent / "strangers"
    shutil.copytree(shapes / "disc", root / "triangle")
    with pytest.raises(DatasetError, match=r"'triangle' that .*fp32\.onnx does not know \(it knows: disc"):
        evaluate(finished / "fp32.onnx", root, progress)


def test_latencies_are_taken_in_turns() -> None:
    turns: list[str] = []
    calls = {"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}
    times = time_interleaved(calls, rounds=20)
    assert turns == ["a", "b"] * 22
    assert times.keys() == {"a", "b"}


def test_slow_calls_are_made_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.compare.LONGEST_S", 0.0)
    turns: list[str] = []
    time_interleaved({"a": lambda: turns.append("a"), "b": lambda: turns.append("b")})
    assert turns == ["a", "b"] * (ROUNDS // 10 + FEWEST)

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.progress import Progress, TaskID

from edge.model import Resize
from training import fit as fit_module
from training.architectures import Network
from training.augment import AugmentSettings
from training.checkpoint import Epoch
from training.data import Dataset, load
from training.errors import TrainingError
from training.fit import averaging, fit, predict
from training.networks import build_network
from training.schedule import learning_rate, side_of
from training.settings import FitSettings
from training.track import NoTracker

QUICK = FitSettings.choose(network="simple_cnn", epochs=3, batch=16, lr=0.003)


@pytest.fixture
def dataset(shapes: Path, progress: Progress) -> Dataset:
    return load(shapes, 32, 32, Resize(), 0, progress)


def same(one: Network, other: Network) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_small_network_learns_shapes_of_a_colour(dataset: Dataset, tmp_path: Path, progress: Progress) -> None:
    network = fit(dataset, QUICK.model_copy(update={"epochs": 6}), tmp_path, progress)
    logits, _ = predict(network, dataset.test)
    assert (logits.argmax(1) == dataset.test.labels).mean() >= 0.9


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    dataset: Dataset, tmp_path: Path, progress: Progress
) -> None:
    first, again = (fit(dataset, QUICK, tmp_path / name, progress) for name in ("a", "b"))
    other = fit(dataset, QUICK.model_copy(update={"seed": 1}), tmp_path / "c", progress)
    assert same(first, again)
    assert not same(first, other)


def interrupt_in_epoch(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next fit is interrupted before an epoch, counted from 1, is judged and kept."""
    real, judged = fit_module.judge, []

    def judge(*arguments: object) -> object:
        judged.append(arguments)
        if len(judged) == number:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(fit_module, "judge", judge)


def test_an_interrupted_run_resumes_to_the_very_same_weights(
    dataset: Dataset, tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit(dataset, QUICK, tmp_path / "whole", progress)
    interrupt_in_epoch(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        fit(dataset, QUICK, tmp_path / "cut", progress)
    assert len(json.loads((tmp_path / "cut" / "history.json").read_text())) == 1
    resumed = fit(dataset, QUICK, tmp_path / "cut", progress, resume=True)
    assert same(whole, resumed)


def test_a_resumed_run_keeps_what_was_best_before_it_was_cut(
    dataset: Dataset, tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, real = QUICK.model_copy(update={"epochs": 4}), fit_module.judge

    def trained(folder: Path, losses: Sequence[float | None], resume: bool = False) -> Network:
        """A run whose epochs are judged with these losses, cut short at None."""
        left = iter(losses)

        def judge(*arguments: Any) -> tuple[np.ndarray, float, float]:
            answers, _, accuracy = real(*arguments)
            if (loss := next(left)) is None:
                raise KeyboardInterrupt
            return answers, loss, accuracy

        monkeypatch.setattr(fit_module, "judge", judge)
        return fit(dataset, settings, folder, progress, resume=resume)

    whole = trained(tmp_path / "whole", [0.5, 0.1, 0.9, 0.8])
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", [0.5, 0.1, None])
    assert same(trained(tmp_path / "cut", [0.9, 0.8], resume=True), whole)


class Follower(NoTracker):
    """Writes down what a tracker is told."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.lines: list[Epoch] = []
        self.confusions: list[np.ndarray] = []

    def start(self, folder: Path, settings: Mapping[str, Any], classes: Sequence[str], done: Sequence[Epoch]) -> None:
        self.started.append(len(done))

    def epoch(self, line: Epoch, confusion: np.ndarray) -> None:
        self.lines.append(line)
        self.confusions.append(confusion)


def test_a_tracker_is_told_of_the_start_and_of_each_epoch(dataset: Dataset, tmp_path: Path, progress: Progress) -> None:
    follower = Follower()
    fit(dataset, QUICK, tmp_path, progress, tracker=follower)
    assert follower.started == [0]
    assert [asdict(line) for line in follower.lines] == json.loads((tmp_path / "history.json").read_text())
    last = follower.confusions[-1]
    assert last.sum(axis=1).tolist() == np.bincount(dataset.val.labels).tolist()
    assert last.trace() / last.sum() == follower.lines[-1].val_accuracy


def test_a_run_stopped_in_its_first_epoch_is_resumed_from_its_first_step(
    dataset: Dataset, tmp_path: Path, progress: Progress
) -> None:
    resumed = fit(dataset, QUICK, tmp_path, progress, resume=True)
    assert (tmp_path / "augmentations.png").exists()
    whole = fit(dataset, QUICK, tmp_path / "whole", progress)
    assert same(whole, resumed)


def test_stage_one_trains_the_head_and_leaves_the_backbone_as_it_was(
    dataset: Dataset, tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = QUICK.model_copy(update={"head_epochs": 2, "epochs": 1})
    torch.manual_seed(settings.seed)
    before = build_network("simple_cnn", len(dataset.classes)).state_dict()
    interrupt_in_epoch(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        fit(dataset, settings, tmp_path, progress)
    after = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["network"]
    # Weights, and the running averages of its norms too.
    assert all(torch.equal(after[key], before[key]) for key in before if key.startswith("backbone."))
    assert not torch.allclose(after["head.weight"], before["head.weight"], atol=1e-3)
    monkeypatch.undo()
    fit(dataset, settings, tmp_path, progress, resume=True)
    assert [line["stage"] for line in json.loads((tmp_path / "history.json").read_text())] == ["head", "head", "all"]
    assert not torch.equal(torch.load(tmp_path / "weights.pt")["backbone.0.weight"], before["backbone.0.weight"])


def test_training_stops_when_validation_no_longer_improves_and_keeps_the_best(
    dataset: Dataset, tmp_path: Path, progress: Progress
) -> None:
    settings = QUICK.model_copy(update={"epochs": 60, "patience": 2})
    network = fit(dataset, settings, tmp_path, progress)
    history = json.loads((tmp_path / "history.json").read_text())
    losses = [line["val_loss"] for line in history]
    assert len(history) < 60
    assert losses.index(min(losses)) == len(losses) - 3
    logits = torch.from_numpy(predict(network, dataset.val)[0])
    kept = torch.nn.functional.cross_entropy(logits, torch.from_numpy(dataset.val.labels)).item()
    assert kept == pytest.approx(min(losses), abs=1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_both_optimizers_lower_the_loss(optimizer: str, dataset: Dataset, tmp_path: Path, progress: Progress) -> None:
    settings = FitSettings.choose(network="simple_cnn", epochs=4, batch=16, optimizer=optimizer)
    fit(dataset, settings, tmp_path, progress)
    losses = [line["train_loss"] for line in json.loads((tmp_path / "history.json").read_text())]
    assert losses[-1] < losses[0] / 2


def test_a_loss_that_explodes_is_said_with_the_mend(dataset: Dataset, tmp_path: Path, progress: Progress) -> None:
    settings = QUICK.model_copy(update={"optimizer": "sgd", "lr": 1e9})
    with pytest.raises(TrainingError, match=r"no longer a number in epoch .*smaller --lr"):
        fit(dataset, settings, tmp_path, progress)


def test_the_learning_rate_rises_then_falls_along_a_cosine() -> None:
    settings = FitSettings(head_epochs=2, epochs=10, lr=1.0, head_lr=0.5)
    rates = [learning_rate(settings, epoch / 10) for epoch in range(120)]
    assert set(rates[:20]) == {0.5}
    assert rates[20] == pytest.approx(0.05)
    assert rates[30] == pytest.approx(1.0)
    assert all(a <= b for a, b in pairwise(rates[20:31]))
    assert all(a >= b for a, b in pairwise(rates[30:]))
    assert rates[-1] == pytest.approx(0.01, abs=0.002)


def test_sides_grow_in_steps_of_32_to_the_whole_for_the_last_quarter() -> None:
    settings = FitSettings(head_epochs=1, epochs=12, grow_from=0.57)
    sides = [side_of(settings, epoch, 224) for epoch in range(13)]
    assert sides == sorted(sides)
    assert set(sides) == {128, 160, 192, 224}
    assert sides[-3:] == [224] * 3
    assert {side_of(FitSettings(), epoch, 96) for epoch in range(12)} == {96}


def test_the_last_weights_are_kept_when_they_are_asked_for_and_nothing_stops_early(
    dataset: Dataset, tmp_path: Path, progress: Progress
) -> None:
    settings = QUICK.model_copy(update={"epochs": 8, "patience": 1, "keep": "last", "lr": 0.02})
    network = fit(dataset, settings, tmp_path, progress)
    history = json.loads((tmp_path / "history.json").read_text())
    assert len(history) == 8
    logits = torch.from_numpy(predict(network, dataset.val)[0])
    kept = torch.nn.functional.cross_entropy(logits, torch.from_numpy(dataset.val.labels)).item()
    assert kept == pytest.approx(history[-1]["val_loss"], abs=1e-5)


def test_averaged_weights_are_what_is_judged_and_kept(dataset: Dataset, tmp_path: Path, progress: Progress) -> None:
    settings = QUICK.model_copy(update={"average": 0.9})
    network = fit(dataset, settings, tmp_path, progress)
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    history = json.loads((tmp_path / "history.json").read_text())
    logits = torch.from_numpy(predict(network, dataset.val)[0])
    kept = torch.nn.functional.cross_entropy(logits, torch.from_numpy(dataset.val.labels)).item()
    assert kept == pytest.approx(min(line["val_loss"] for line in history), abs=1e-5)
    last = {key.removeprefix("module."): value for key, value in checkpoint["average"].items() if "." in key}
    for key in ("head.weight", "backbone.1.running_mean"):  # averaged weights need averages of what their norms saw
        assert not torch.equal(last[key], checkpoint["network"][key])


def test_mixed_precision_computes_in_bfloat16_and_learns_too(
    dataset: Dataset, tmp_path: Path, progress: Progress
) -> None:
    kinds: dict[bool, set[torch.dtype]] = {True: set(), False: set()}

    def note(module: torch.nn.Module, _: object, made: object) -> None:
        if isinstance(module, torch.nn.Conv2d) and isinstance(made, torch.Tensor):
            kinds[module.training].add(made.dtype)

    hook = torch.nn.modules.module.register_module_forward_hook(note)
    network = fit(dataset, QUICK.model_copy(update={"precision": "bf16", "epochs": 4}), tmp_path, progress)
    hook.remove()
    assert kinds == {True: {torch.bfloat16}, False: {torch.float32}}
    assert all(value.dtype != torch.bfloat16 for value in network.state_dict().values())
    losses = [line["train_loss"] for line in json.loads((tmp_path / "history.json").read_text())]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize(
    ("words", "sides"),
    [({"grow_from": 0.5}, [32, 32, 64]), ({"augment": AugmentSettings(window=0.5)}, [32, 32, 32])],
)
def test_training_sees_pictures_of_the_declared_sides_and_judging_whole_ones(
    words: dict[str, Any], sides: list[int], shapes: Path, tmp_path: Path, progress: Progress
) -> None:
    settings = QUICK.model_copy(update=words)
    seen: dict[bool, list[int]] = {True: [], False: []}

    def note(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, Network) and len(given[0]) > 1:  # one is a trial of the side, before the work
            seen[module.training].append(given[0].shape[-1])

    data = load(shapes, 64, 64, Resize(), 0, progress)
    hook = torch.nn.modules.module.register_module_forward_pre_hook(note)
    fit(data, settings, tmp_path, progress)
    hook.remove()
    steps = len(data.train) // settings.batch
    assert seen[True] == [side for side in sides for _ in range(steps)]
    assert set(seen[False]) == {64}


def test_the_contact_sheet_is_there_before_the_first_step(
    dataset: Dataset, tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fit_module, "loss_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(dataset, QUICK, tmp_path, progress)
    assert [path.name for path in tmp_path.iterdir()] == ["augmentations.png"]


def test_an_average_follows_quickly_at_first_and_by_its_decay_later() -> None:
    average = averaging(0.9)
    kept, count = [torch.tensor([0.0]), torch.tensor(0)], torch.tensor(0)
    wanted = 0.0
    for n in range(1, 200):
        current = [torch.tensor([float(n)]), torch.tensor(n)]
        count = torch.tensor(n)
        average(kept, current, count)
        decay = min(0.9, (1 + n) / (10 + n))
        wanted = decay * wanted + (1 - decay) * n
        assert kept[0].item() == pytest.approx(wanted, rel=1e-5)
    assert kept[1].item() == 199  # a count of batches is no weight: it is taken over


def test_the_progress_bar_counts_what_epochs_cost_and_ends_full(dataset: Dataset, tmp_path: Path) -> None:
    settings = QUICK.model_copy(update={"head_epochs": 2, "epochs": 2})
    counted: list[tuple[float, float]] = []

    class Watched(Progress):
        def remove_task(self, task_id: TaskID) -> None:
            counted.append((self.tasks[0].completed, self.tasks[0].total or 0))
            super().remove_task(task_id)

    with Watched(disable=True) as progress:
        progress.console.quiet = True
        fit(dataset, settings, tmp_path, progress)
    (completed, total) = counted[0]
    assert completed == pytest.approx(total)
    assert total == pytest.approx(1000 * (2 / 3 + 2), rel=0.01)


def test_each_epoch_says_how_long_it_took_and_how_long_all_the_rest_takes_at_that_pace(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = QUICK.model_copy(update={"head_epochs": 1, "epochs": 3})
    clock = iter([0, 100, 100, 400, 400, 5000, 5000, 5010])  # before and after each epoch
    monkeypatch.setattr(fit_module, "perf_counter", lambda: next(clock))
    screen = io.StringIO()
    with Progress(console=Console(file=screen)) as progress:
        fit(dataset, settings, tmp_path, progress)
    said = [line for line in screen.getvalue().splitlines() if line.startswith("epoch")]
    # An epoch of the head costs a third of one of everything.
    wanted = ["100 s, at most 15 min left", "300 s, at most 10 min left", "4600 s, at most 1 h 17 min left", "10 s"]
    assert all(wants in line for wants, line in zip(wanted, said, strict=True)), said
    assert "left" not in said[-1]


def test_a_batch_larger_than_the_dataset_is_one_step(dataset: Dataset, tmp_path: Path, progress: Progress) -> None:
    fit(dataset, QUICK.model_copy(update={"batch": 1000, "epochs": 1}), tmp_path, progress)
    assert (tmp_path / "weights.pt").exists()


def test_a_folder_that_cannot_be_written_is_named(dataset: Dataset, tmp_path: Path, progress: Progress) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(TrainingError, match=r"taken/augmentations\.png: cannot be written"):
        fit(dataset, QUICK.model_copy(update={"epochs": 1}), tmp_path / "taken", progress)

"""The purity contract: it promises when it can be shown, holds as often as it says, and says when it cannot."""

from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress

from edge.model import Classifier
from tests.training.pictures import write_pictures
from training.cli import main
from training.purity import chance_of_so_few, fewest_pictures, lowest_threshold, purity_contract
from training.run import Run

PURITY, SURENESS = 0.97, 0.95
CLASSES = ("good", "bad", "ugly")
BEFORE = {"good": 0.8, "bad": 0.7, "ugly": 0.6}


def scores(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidence and rightness, [n], of a classifier that is less often right the less sure it is; 1.2 % are wrong."""
    confidence = 0.5 + 0.5 * rng.beta(6, 0.8, n)
    return confidence, rng.random(n) > 0.5 * (1 - confidence) ** 1.4


def test_the_fewest_pictures_are_those_of_the_rule_of_three() -> None:
    assert fewest_pictures(0.995, 0.95) == 598
    assert fewest_pictures(0.99, 0.95) == 299
    assert chance_of_so_few(0, 598, 0.005) <= 0.05 < chance_of_so_few(0, 597, 0.005)


def test_the_chance_of_so_few_mistakes_is_the_binomial_one() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.binomial(1000, 0.01, 200_000)
    for wrong in (0, 3, 10, 20):
        assert chance_of_so_few(wrong, 1000, 0.01) == pytest.approx((drawn <= wrong).mean(), abs=0.004)
    assert chance_of_so_few(50, 50, 0.3) == pytest.approx(1)


def test_one_picture_too_few_promises_nothing_and_one_mistake_too_many_neither() -> None:
    assert lowest_threshold(np.full(597, 0.9), np.ones(597, bool), 0.995, 0.95) is None
    assert lowest_threshold(np.full(598, 0.9), np.ones(598, bool), 0.995, 0.95) == 0.5
    one_wrong = np.arange(598) != 5
    assert lowest_threshold(np.full(598, 0.9), one_wrong, 0.995, 0.95) is None


def test_the_threshold_is_the_lowest_that_can_be_shown() -> None:
    rng = np.random.default_rng(3)
    confidence, right = scores(rng, 20_000)
    threshold = lowest_threshold(confidence, right, 0.995, 0.95)
    assert threshold is not None
    assert threshold > 0.5  # at 0.5 more than five in a thousand are wrong
    assert right[confidence >= threshold].mean() >= 0.995
    looser = lowest_threshold(confidence, right, 0.99, 0.95)
    assert looser is not None
    assert looser < threshold
    assert right[confidence >= threshold - 0.15].mean() < 0.995, "much lower it would not hold"


def test_over_200_resamplings_the_contract_is_broken_no_oftener_than_it_says() -> None:
    """The truth is a pool of 400,000 pictures; a contract is broken where the pool is less pure above its threshold."""
    rng = np.random.default_rng(7)
    confidence, right = scores(rng, 400_000)
    order = np.argsort(-confidence)
    purity_above = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    promised = broken = 0
    for number in range(200):
        chosen = rng.integers(0, len(confidence), 8000)
        threshold = lowest_threshold(confidence[chosen], right[chosen], 0.995, 0.95, seed=number)
        if threshold is None:
            continue
        promised += 1
        let_through = int((confidence >= threshold).sum())
        broken += bool(purity_above[let_through - 1] < 0.995)
    assert promised >= 100, "a contract that is hardly ever given shows nothing"
    # 5 % of 200, and twice the sampling error of that.
    assert broken <= 200 * 0.05 + 2 * (200 * 0.05 * 0.95) ** 0.5


def test_a_rule_that_looks_for_the_lowest_passing_threshold_would_break_it_oftener() -> None:
    """That the test above can fail: without the fixed order, twenty looks spend the chance twenty times."""
    rng = np.random.default_rng(7)
    confidence, right = scores(rng, 400_000)
    broken = 0
    for _ in range(200):
        chosen = rng.integers(0, len(confidence), 8000)
        c, r = confidence[chosen], right[chosen]
        for threshold in np.linspace(0.5, 0.999, 60):
            through = c >= threshold
            if r[through].mean() >= 0.995:
                broken += bool(right[confidence >= threshold].mean() < 0.995)
                break
    assert broken > 200 * 0.05 + 2 * (200 * 0.05 * 0.95) ** 0.5


def test_the_contract_says_what_becomes_unknown_and_of_which_class_it_promises_nothing() -> None:
    n = 800
    probabilities = np.tile([0.97, 0.02, 0.01], (n, 1))
    probabilities[:8] = 0.4, 0.3, 0.3  # below any threshold
    probabilities[700:] = 0.02, 0.97, 0.01
    labels = (np.arange(n) >= 700).astype(int)
    strange = np.zeros(n, bool)
    strange[10:14] = True
    contract = purity_contract(
        probabilities, strange, labels, CLASSES, {"good": 0.8, "bad": 0.7, "ugly": 0.6}, 0.995, 0.95
    )
    assert contract.classes["good"].promised
    assert contract.classes["good"].threshold == 0.5
    assert not contract.classes["bad"].promised
    assert contract.classes["bad"].threshold == 0.7
    assert contract.classes["bad"].pictures == 100
    assert contract.fewest == 598
    assert contract.unknown == pytest.approx(12 / 800)


def test_the_contract_holds_on_what_a_real_model_says_of_pictures_that_disturb_it(
    finished: Path, progress: Progress
) -> None:
    """Calibration and test parts are drawn again and again from one pool of a trained file's own answers."""
    classifier = Classifier(finished / "fp32.onnx", provider="cpu")
    part = Run.open(finished, progress).data.train
    rng = np.random.default_rng(0)
    pixels = np.tile(part.pixels(slice(None)), (40, 1, 1, 1))
    labels = np.tile(part.labels, 40)
    noise = rng.normal(0, 1, pixels.shape) * rng.uniform(0, 150, (len(pixels), 1, 1, 1))
    noisy = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    probabilities = np.concatenate([classifier.run(noisy[i : i + 64])[0] for i in range(0, len(noisy), 64)])
    wrong = float((probabilities.argmax(1) != labels).mean())
    assert 0.005 < wrong < 0.4, "too easy or too hard to show anything"
    classes = classifier.card.classes
    before = dict.fromkeys(classes, 0.9)
    promised = broken = 0
    for number in range(200):
        calibration, test = np.array_split(np.random.default_rng(number).permutation(len(labels)), 2)
        known = np.zeros(len(calibration), bool)
        contract = purity_contract(
            probabilities[calibration], known, labels[calibration], classes, before, PURITY, SURENESS
        )
        called, sure = probabilities[test].argmax(1), probabilities[test].max(1)
        for position, name in enumerate(classes):
            its = contract.classes[name]
            if its.promised:
                through = (called == position) & (sure >= its.threshold)
                promised += 1
                broken += bool((labels[test][through] == position).mean() < PURITY)
    assert promised >= 200, "a contract that is hardly ever given shows nothing"
    # The test part tells mistakes no better than the calibration part did, and of one pool: what the one
    # lacks the other has too many of, so that the difference between them is twice as wide as either's.
    allowed = 1 - SURENESS
    assert broken / promised <= allowed + 2 * (allowed * SURENESS / promised) ** 0.5


def test_the_command_writes_the_promise_into_the_file_and_says_plainly_what_cannot_be_promised(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = write_pictures(tmp_path / "fresh", {"disc": 40, "square": 40, "stripe": 8}, first=500)
    out = tmp_path / "pure.onnx"
    words = ["calibrate", str(finished / "fp32.onnx"), str(fresh), "--out", str(out), "--threads", "1"]
    assert main([*words, "--purity", "0.9", "--confidence", "0.9"]) == 0
    shown = capsys.readouterr().out
    classifier = Classifier(out, provider="cpu")
    contract = classifier.card.purity
    assert contract is not None
    assert (contract.purity, contract.confidence, contract.fewest, contract.pictures) == (0.9, 0.9, 22, 88)
    promised = {name for name, its in contract.classes.items() if its.promised}
    assert promised == {"disc", "square"}
    assert "of what is called disc, square at least 90.00% is right, each with 90% confidence" in shown
    assert f"on 88 held-out pictures {contract.unknown:.2%} become unknown" in shown
    assert "stripe: too few pictures to promise 90.00%" in shown
    assert {name: contract.classes[name].threshold for name in promised} == {
        name: classifier.card.thresholds[name] for name in promised
    }

    assert main([*words[:4], str(tmp_path / "purer.onnx"), *words[5:], "--purity", "0.995"]) == 0
    shown = capsys.readouterr().out
    assert "at least" not in shown
    assert shown.count("too few pictures to promise 99.50%") == 3
    assert "held-out pictures" in shown.splitlines()[0]
    assert "become unknown" in shown.splitlines()[0]

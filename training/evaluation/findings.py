"""What an engineer should take from an evaluation, in sentences: the weakest spots first, then what holds."""

import math
from dataclasses import dataclass
from typing import Literal

from training.evaluation.charts import percent
from training.evaluation.evaluate import Evaluation
from training.evaluation.metrics import Z95

WIDE = 0.03  # half of an interval, as a share
FEW = 30  # pictures of a class
MANY_UNKNOWN = 0.05
MISCALIBRATED = 0.05


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence, and whether it is a worry or a comfort."""

    kind: Literal["worry", "comfort"]
    says: str


def findings(evaluation: Evaluation) -> list[Finding]:
    """The sentences at the head of the report, worries before comforts."""
    said = [*_answers(evaluation), *_trust(evaluation), *_drifts(evaluation), *_forms(evaluation)]
    return sorted(said, key=lambda finding: finding.kind == "comfort")


def _answers(evaluation: Evaluation) -> list[Finding]:
    if not evaluation.mistakes:
        return [Finding("comfort", f"Not one of {evaluation.count} pictures is called something else.")]
    said = []
    weakest = min(
        (score for score in evaluation.classes if score.pictures), key=lambda score: score.recall.value or 0.0
    )
    if weakest.recall.value is not None and weakest.recall.value < 1:
        missed = round((1 - weakest.recall.value) * weakest.pictures)
        be = "is" if missed == 1 else "are"
        words = f"{weakest.name} is found least often: {missed} of {weakest.pictures} {be} called something else."
        said.append(Finding("worry", words))
    truth, called, times = evaluation.confusions[0]
    if times > 1:
        said.append(Finding("worry", f"The most frequent confusion: {truth} called {called}, {times} times."))
    sure = sum(mistake.known for mistake in evaluation.mistakes)
    if sure:
        words = f"At the card's thresholds {sure} of {_of(len(evaluation.mistakes), 'mistake')} would be sorted wrong"
        rest = len(evaluation.mistakes) - sure
        said.append(Finding("worry", words + (f", the other {rest} become unknown." if rest else ".")))
    else:
        said.append(Finding("comfort", "At the card's thresholds every mistake becomes unknown; none is sorted wrong."))
    return said


def _trust(evaluation: Evaluation) -> list[Finding]:
    said = []
    low, high = evaluation.accuracy_95
    if (high - low) / 2 > WIDE:
        p = (low + high) / 2
        needed = math.ceil(Z95**2 * p * (1 - p) / 0.01**2 / 100) * 100
        words = f"{evaluation.count} pictures are few: the accuracy may lie anywhere from {percent(low)} to "
        said.append(Finding("worry", words + f"{percent(high)}. To know it within a point takes about {needed}."))
    few = [score.name for score in evaluation.classes if 0 < score.pictures < FEW]
    if few:
        names = ", ".join(few[:5]) + (" and others" if len(few) > 5 else "")
        said.append(Finding("worry", f"Fewer than {FEW} pictures of {names}: what is said of them is vague."))
    if evaluation.calibration_error > MISCALIBRATED:
        mean = sum(one.confidence * one.count for one in evaluation.reliability) / evaluation.count
        which = "too sure" if mean > evaluation.accuracy else "not sure enough"
        words = f"Its confidence is off by {100 * evaluation.calibration_error:.0f} points on average: it is {which}."
        said.append(Finding("worry", words))
    if evaluation.unknown > MANY_UNKNOWN:
        words = f"{percent(evaluation.unknown)} of the pictures would become unknown and go to the default lane."
        said.append(Finding("worry", words))
    return said


def _drifts(evaluation: Evaluation) -> list[Finding]:
    if evaluation.drifts is None:
        return []
    kinds = evaluation.drifts.kinds
    early = [
        f"{drift.name} from {drift.matters_from:g} {drift.unit}"
        for drift in kinds
        if drift.matters_from in [step.strength for step in drift.steps[:3]]
    ]
    said = [Finding("worry", f"What it sorts right falls off early under {_list(early)}.")] if early else []
    holds = [drift.name for drift in kinds if drift.matters_from is None]
    if holds:
        said.append(Finding("comfort", f"It holds under the strongest {_list(holds)} that was tried."))
    return said


def _forms(evaluation: Evaluation) -> list[Finding]:
    comparison = evaluation.comparison
    if comparison is None:
        return []
    first, second = comparison.first, comparison.second
    fast, slow = sorted((first, second), key=lambda form: form.p50_ms)
    speed = f"{fast.name} takes {fast.p50_ms / slow.p50_ms:.2f} of the time of {slow.name}"
    if comparison.significant:
        worse = first if comparison.won > comparison.lost else second
        return [Finding("worry", f"{worse.name} is less accurate, by more than chance explains; {speed}.")]
    words = f"{speed} and calls {percent(comparison.agreement)} of the pictures the same."
    return [Finding("comfort", words)]


def _of(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]

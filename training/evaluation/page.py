"""The report as one HTML page that carries all it shows: charts, pictures, style; no outside asset, no script."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup
from rich.progress import Progress

from edge.errors import PictureError
from edge.model import to_pixels
from edge.picture import read_picture
from training.evaluation import charts
from training.evaluation.cam import Attention
from training.evaluation.card import CANDIDATE_HEADINGS, candidate_rows, promise_lines
from training.evaluation.charts import percent
from training.evaluation.disturb import DISTURBANCES
from training.evaluation.drift import Drift, reduce
from training.evaluation.evaluate import Called, Comparison, Difference, Evaluation
from training.evaluation.examine import Examination
from training.evaluation.findings import findings
from training.evaluation.metrics import Share
from training.templating import templates

SHOWN = 12  # pictures in a gallery
CELLS = 30  # classes in the confusion matrix
MOST_CONFUSED = 8
CURVES = 24  # small charts, one a class
THUMB, SMALL = 224, 96  # px, the longer side


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture of a gallery: as the model sees it, and with what spoke for the class it was called."""

    of: Called | Difference
    plain: str
    overlay: str


def render(examination: Examination, evaluation: Evaluation, command: str, made: str, progress: Progress) -> str:
    """The page, as HTML. made says when, for the page's foot; command is what was typed."""
    attention = Attention(examination.classifier.path, examination.classifier)
    rows = {name: row for row, name in enumerate(examination.part.names)}
    classes = {name: number for number, name in enumerate(evaluation.labels)}
    differences = evaluation.comparison.differences[:SHOWN] if evaluation.comparison else ()
    mistakes, hits = evaluation.mistakes[:SHOWN], evaluation.least_certain[:SHOWN]
    task = progress.add_task("drawing the report", total=len(mistakes) + len(hits) + len(differences))

    def gallery(chosen: Sequence[Called] | Sequence[Difference]) -> Iterator[Shown]:
        for one in chosen:
            pixels = examination.part.pixels(np.array([rows[one.picture]]))
            label = one.called if isinstance(one, Called) else one.first
            heat = attention.maps(pixels, np.array([classes[label]]))[0]
            yield Shown(one, picture(pixels[0], THUMB), picture(overlay(pixels[0], heat), THUMB))
            progress.advance(task)

    environment = templates()
    environment.filters |= {"percent": percent, "interval": interval, "megabytes": megabytes}
    html = environment.get_template("report.html").render(
        e=evaluation,
        card=examination.card,
        command=command,
        made=made,
        findings=findings(evaluation),
        matrix=matrix(evaluation),
        reliability=charts.reliability_chart(evaluation.reliability),
        confidences=charts.confidence_chart(evaluation.reliability),
        curves=list(_curves(evaluation)),
        curves_left=max(len(evaluation.curves) - CURVES, 0),
        share_bar=charts.share_bar,
        mistakes=list(gallery(mistakes)),
        hits=list(gallery(hits)),
        differences=list(gallery(differences)),
        attention=attention.method,
        drifts=[(drift, charts.drift_chart(drift, evaluation.drifts.as_is)) for drift in evaluation.drifts.kinds]
        if evaluation.drifts
        else [],
        strips=_strips(examination) if evaluation.drifts else {},
        verdict=verdict,
        forms=_forms(evaluation.comparison),
        promises=promise_lines(examination.card),
        candidate_headings=CANDIDATE_HEADINGS,
        candidates=candidate_rows(examination.card),
    )
    progress.remove_task(task)
    return html


def picture(pixels: np.ndarray, longest: int) -> str:
    """RGB pixels, uint8 [h, w, 3], as a data URI, reduced to a longer side of at most so many."""
    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if scale < 1:  # a strip many times longer than wide keeps a pixel of its width
        size = max(round(scale * width), 1), max(round(scale * height), 1)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, 85))
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The picture in grey under a map, float [h, w] from 0 to 1: the warmer, the more a place spoke for the class."""
    height, width = pixels.shape[:2]
    heat = np.clip(cv2.resize(heat, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    grey = np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    colours = cv2.cvtColor(cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    alpha = 0.75 * np.sqrt(heat)[..., None]
    return np.asarray((grey * (1 - alpha) + colours * alpha).astype(np.uint8))


def interval(value: Share) -> str:
    """A share with its interval: 98.3 % (96.9 to 99.1)."""
    if value.value is None:
        return "–"
    return f"{percent(value.value)} ({100 * value.low:.1f} to {100 * value.high:.1f})"


def megabytes(size: int) -> str:
    """Bytes in megabytes of a million."""
    return f"{size / 1e6:.2f} MB"


def matrix(evaluation: Evaluation) -> dict[str, Any]:
    """The confusion matrix for the page: all classes, or the CELLS of them that are mixed up most."""
    counts = np.array(evaluation.confusion)
    off = counts - np.diag(counts.diagonal())
    order = np.arange(len(counts))
    if len(counts) > CELLS:
        order = np.sort(np.argsort(-(off.sum(axis=0) + off.sum(axis=1)), kind="stable")[:CELLS])
    totals = np.maximum(counts.sum(axis=1), 1)
    rows = [
        [(int(counts[i, j]), float(counts[i, j] / totals[i]), bool(i == j)) for j in order] for i in order
    ]  # fmt: skip
    return {
        "labels": [evaluation.labels[i] for i in order],
        "rows": rows,
        "left": len(counts) - len(order),
        "most": evaluation.confusions[:MOST_CONFUSED],
    }


def verdict(drift: Drift) -> str:
    """How far it holds, in words."""
    if drift.matters_from is None:
        return f"holds to {drift.steps[-1].strength:g} {drift.unit}, the strongest tried"
    place = [step.strength for step in drift.steps].index(drift.matters_from)
    if place == 0:
        return f"matters from the mildest tried, {drift.matters_from:g} {drift.unit}"
    return f"holds to {drift.steps[place - 1].strength:g}, matters at {drift.matters_from:g} {drift.unit}"


def _curves(evaluation: Evaluation) -> Iterator[tuple[str, Markup, Any]]:
    """The small charts, the classes whose lane is least clean or yields least first where there are too many."""
    scores = {score.name: score for score in evaluation.classes}
    curves = list(evaluation.curves)
    if len(curves) > CURVES:
        curves.sort(key=lambda curve: scores[curve.name].f1)
    for curve in curves[:CURVES]:
        score = scores[curve.name]
        yield curve.name, charts.coverage_chart(curve, score.threshold, score.coverage, score.purity), score


def _strips(examination: Examination) -> dict[str, list[tuple[str, str]]]:
    """One picture under each disturbance at each strength, as the model sees it: what the strengths look like."""
    card, answers = examination.card, examination.answers
    certain = int(np.argsort(answers.confidence)[len(answers.confidence) // 2])
    path = Path(examination.root) / examination.part.names[certain]
    try:
        whole = reduce(read_picture(path))
    except PictureError:
        return {}
    strips: dict[str, list[tuple[str, str]]] = {}
    for kind in DISTURBANCES:
        spoiled = [("as is", whole), *((f"{s:g}", kind.apply(whole, s, certain)) for s in kind.strengths)]
        strips[kind.name] = [
            (words, picture(to_pixels(one, card.height, card.width, card.resize), SMALL)) for words, one in spoiled
        ]
    return strips


def _forms(comparison: Comparison | None) -> list[Any]:
    return [comparison.first, comparison.second] if comparison else []

"""What was measured, for people: tables on the terminal and a Markdown page beside the model."""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from edge.model import ModelCard
from training.compare import Score
from training.data import Dataset
from training.evaluation.card import CANDIDATE_HEADINGS, candidate_rows, promise_lines
from training.evaluation.charts import percent
from training.evaluation.drift import Drifts
from training.evaluation.evaluate import Comparison, Evaluation, evaluate_whole
from training.evaluation.examine import Examination
from training.evaluation.page import render
from training.files import write_atomically

HEADINGS = ("", "accuracy", "agrees with torch", "calibration error", "size", "p50", "p99")
SHOWN = 10


def comparison_rows(scores: dict[str, Score], shipped: str) -> list[tuple[str, ...]]:
    """One row of words a form of the model, under HEADINGS."""
    return [
        (
            f"{name} (ships)" if name == shipped else name,
            f"{score.accuracy:.2%}",
            f"{score.agreement:.2%}",
            f"{score.calibration_error:.4f}",
            f"{score.size_bytes / 1e6:.2f} MB" if score.size_bytes else "-",
            f"{score.p50_ms:.2f} ms",
            f"{score.p99_ms:.2f} ms",
        )
        for name, score in scores.items()
    ]


def comparison_table(scores: dict[str, Score], shipped: str, pictures: int) -> Table:
    """The table at the end of `build`."""
    table = Table(title=f"On the test part ({pictures} pictures), one thread", title_justify="left", box=None)
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading else "left")
    for row in comparison_rows(scores, shipped):
        table.add_row(*row, style="bold" if "ships" in row[0] else "")
    return table


def candidates_table(card: ModelCard) -> Table:
    """What `quantize` shows: every way that was tried, and what it cost."""
    limits = card.quantization["limits"]
    title = f"Quantized; may lose {100 * limits['drop']:g} points, {100 * limits['class_drop']:g} in a class"
    table = Table(title=title, title_justify="left", box=None)
    for heading in CANDIDATE_HEADINGS:
        table.add_column(heading, justify="right" if heading else "left")
    for row in candidate_rows(card):
        table.add_row(*map(escape, row), style="bold" if "(chosen)" in row[0] else "")
    return table


def dataset_table(data: Dataset) -> Table:
    """How many pictures of each class went into each part."""
    counts = data.counts()
    table = Table(title=f"{data.root}", title_justify="left", box=None)
    table.add_column("class")
    for part in counts:
        table.add_column(part, justify="right")
    for label in data.classes:
        table.add_row(escape(label), *(str(counts[part][label]) for part in counts))
    return table


def evaluation_tables(evaluation: Evaluation) -> list[Table]:
    """What `evaluate` shows: the whole, each class, the worst mistakes."""
    whole = Table(box=None, show_header=False)
    whole.add_row("model", f"{evaluation.model}, sha256 {evaluation.sha256[:12]}")
    whole.add_row("pictures", f"{evaluation.count}: {escape(evaluation.pictures)}")
    low, high = evaluation.accuracy_95
    whole.add_row("accuracy", f"{evaluation.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%})")
    whole.add_row("balanced accuracy", f"{evaluation.balanced_accuracy:.2%}")
    whole.add_row("calibration error", f"{evaluation.calibration_error:.4f}")
    whole.add_row(
        "at its thresholds",
        f"{evaluation.unknown:.2%} become unknown; of the rest {percent(evaluation.kept_accuracy, 2)} right",
    )
    whole.add_row("latency, one thread", f"p50 {evaluation.p50_ms:.2f} ms, p99 {evaluation.p99_ms:.2f} ms")
    classes = Table(box=None)
    for heading in ("class", "pictures", "recall", "precision", "F1", "coverage", "purity"):
        classes.add_column(heading, justify="left" if heading == "class" else "right")
    for row in evaluation.classes:
        shares = [percent(one.value) for one in (row.recall, row.precision, row.coverage, row.purity)]
        classes.add_row(escape(row.name), str(row.pictures), *shares[:2], f"{row.f1:.3f}", *shares[2:])
    tables = [whole, classes]
    if evaluation.comparison:
        tables.append(_forms_table(evaluation.comparison))
    if evaluation.drifts:
        tables.append(_drift_table(evaluation.drifts))
    if evaluation.mistakes:
        worst = Table(title="Most confident mistakes", title_justify="left", box=None)
        for heading in ("picture", "is", "called", "confidence"):
            worst.add_column(heading, overflow="fold")
        for mistake in evaluation.mistakes[:SHOWN]:
            worst.add_row(escape(mistake.picture), mistake.truth, mistake.called, f"{mistake.confidence:.3f}")
        tables.append(worst)
    return tables


def _forms_table(comparison: Comparison) -> Table:
    first, second = comparison.first, comparison.second
    title = f"{first.name} and {second.name} call {percent(comparison.agreement)} the same"
    table = Table(title=title, title_justify="left", box=None)
    for heading in ("file", "accuracy", "calibration error", "p50", "p99", "size"):
        table.add_column(heading, justify="left" if heading == "file" else "right")
    for form in (first, second):
        table.add_row(
            escape(form.name),
            percent(form.accuracy.value, 2),
            f"{form.calibration_error:.4f}",
            f"{form.p50_ms:.2f} ms",
            f"{form.p99_ms:.2f} ms",
            f"{form.size_bytes / 1e6:.2f} MB",
        )
    return table


def _drift_table(drifts: Drifts) -> Table:
    table = Table(title=f"Accuracy in % of {drifts.pictures} pictures, disturbed", title_justify="left", box=None)
    table.add_column("")
    table.add_column("as is", justify="right")
    for number in range(1, 6):
        table.add_column(f"{number}", justify="right")
    table.add_column("matters from")
    for kind in drifts.kinds:
        cells = [f"{step.strength:g}: {100 * (step.accuracy.value or 0):.1f}" for step in kind.steps]
        limit = "-" if kind.matters_from is None else f"{kind.matters_from:g} {kind.unit}"
        table.add_row(kind.name, f"{100 * (drifts.as_is.accuracy.value or 0):.1f}", *cells, limit)
    return table


def write_report(
    examination: Examination,
    out: Path,
    command: str,
    progress: Progress,
    against: Path | None = None,
    quick: bool = False,
) -> Evaluation:
    """Evaluates with everything, writes the page to out and the figures as JSON beside it."""
    evaluation = evaluate_whole(examination, progress, against, quick)
    made = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    write_atomically(out, render(examination, evaluation, command, made, progress).encode())
    write_atomically(out.with_suffix(".json"), evaluation.to_json().encode())
    return evaluation


def model_page(card: ModelCard, scores: dict[str, Score], command: str, file: Path) -> str:
    """The Markdown page of a model that `build` made."""
    content = file.read_bytes()
    shipped = card.test["shipped"]
    quantization, dataset, training = card.quantization, card.dataset, card.training
    lines = [
        f"# {card.name} {card.version}",
        "",
        f"Tells {len(card.classes)} classes apart: {', '.join(card.classes)}.",
        "",
        "```",
        command,
        "```",
        "",
        f"## On the test part, {card.test['pictures']} pictures that it was not trained on",
        "",
        "One picture at a time on one thread, the forms in turns.",
        "",
        *_markdown(HEADINGS, comparison_rows(scores, shipped)),
        "",
        "## The file",
        "",
        f"- {len(content) / 1e6:.2f} MB, SHA-256 `{hashlib.sha256(content).hexdigest()}`",
        f"- Input: {card.width} x {card.height} RGB, crops with a margin of {card.crop_margin:g}, "
        f"{card.resize.mode}, {card.resize.interpolation}",
        f"- Quantization: {quantization['recipe']}"
        + (f"; ranges by {quantization['calibration']}" if "calibration" in quantization else ""),
        f"- Temperature {card.calibration['temperature']:.3f}"
        + _offsets(card)
        + f", calibration error {card.calibration['error']:.4f} on {card.calibration['pictures']} validation pictures",
        *([f"- Looks at each picture {card.looks} times"] if card.looks > 1 else []),
        f"- Network: {training['network']}, seed {training['seed']}, {training['optimizer']}",
        f"- Made {card.created} with " + ", ".join(f"{name} {number}" for name, number in card.libraries.items()),
        "",
        "## Classes",
        "",
        "| class | train | val | test | threshold |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {label} | "
            + " | ".join(str(dataset["pictures"][part][label]) for part in ("train", "val", "test"))
            + f" | {card.thresholds[label]:.2f} |"
            for label in card.classes
        ),
        "",
        f"Dataset `{dataset['name']}`: {dataset['split']}; {dataset['skipped']} files left out; "
        f"fingerprint `{dataset['fingerprint']}`.",
        "",
    ]
    if card.purity:
        lines += ["## Purity", "", *(f"- {line}" for line in promise_lines(card)), ""]
    if "candidates" in quantization:
        lines += [
            "## How it was quantized",
            "",
            "Measured on the validation part, one picture at a time on one thread, in turns.",
            "",
            *_markdown(CANDIDATE_HEADINGS, candidate_rows(card)),
            "",
        ]
    return "\n".join(lines)


def _offsets(card: ModelCard) -> str:
    offsets = card.calibration.get("offsets", ())
    moved = ", ".join(f"{name} {offset:+.2f}" for name, offset in zip(card.classes, offsets, strict=bool(offsets)))
    return f", logits moved by {moved}" if moved else ""


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown, its first column to the left and the others to the right."""
    return [
        "| " + " | ".join(headings) + " |",
        "|---" + "|---:" * (len(headings) - 1) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]

"""The commands about model files: evaluate, calibrate, package."""

import argparse
import sys
from pathlib import Path

from edge.screen import Terminal
from training.arguments import AddCommand, onnx_file, output_file, whole_from
from training.commands.options import promise_options, promises_of
from training.errors import InputError
from training.session import session

# What --mean and --std may be: beyond these, float32 pixels become infinite or all one.
SMALLEST, LARGEST = 1e-6, 1e6
FEWEST = 100  # pictures from which thresholds are worth something


def add(command: AddCommand) -> None:
    """Adds the commands to the parser."""
    evaluate = command(
        "evaluate", _evaluate, "a model file on pictures it has not seen", "parts.onnx pictures --report parts.html"
    )
    evaluate.add_argument("model", type=Path, metavar="MODEL.onnx")
    evaluate.add_argument("dataset", type=Path, metavar="DATASET")
    evaluate.add_argument(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="also disturb the pictures, and write one page with everything, its figures as FILE.json beside it",
    )
    evaluate.add_argument(
        "--against",
        type=Path,
        metavar="OTHER.onnx",
        help="another form of the model, side by side (default: the other one of fp32.onnx and int8.onnx in a run)",
    )
    evaluate.add_argument("--quick", action="store_true", help="disturb a fifth as many pictures for the report")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")

    calibrate = command(
        "calibrate",
        _calibrate,
        "a model file's thresholds, and what it promises, from fresh pictures",
        "parts.onnx fresh-pictures --out parts-pure.onnx --purity 0.995 --confidence 0.95",
    )
    calibrate.add_argument("model", type=Path, metavar="MODEL.onnx")
    calibrate.add_argument("dataset", type=Path, metavar="DATASET")
    calibrate.add_argument("--out", type=Path, required=True, metavar="NEW.onnx", help="the file to write")
    promise_options(calibrate, false_alarms=False)

    package = command(
        "package",
        _package,
        "anyone's ONNX classifier as a file that sortline runs",
        "theirs.onnx --out ours.onnx --labels labels.txt --size 224 --mean 127 127 127 --std 128 128 128 --softmax",
    )
    package.add_argument("model", type=Path, metavar="THEIR.onnx")
    package.add_argument("--out", type=Path, required=True, metavar="OURS.onnx")
    package.add_argument("--labels", type=Path, required=True, metavar="FILE", help="a text file, one class a line")
    package.add_argument("--size", type=whole_from(8), required=True, metavar="N", help="side of its input in pixels")
    package.add_argument("--mean", type=float, nargs="+", default=[0.0], help="1 or 3 numbers, in the units of --range")
    package.add_argument("--std", type=float, nargs="+", default=[1.0], help="1 or 3 numbers, in the units of --range")
    package.add_argument("--range", choices=("0-255", "0-1"), default="0-255", help="its pixels (default: %(default)s)")
    package.add_argument("--layout", choices=("nchw", "nhwc"), default="nchw", help="(default: %(default)s)")
    package.add_argument("--softmax", action="store_true", help="it returns logits")
    package.add_argument("--resize", choices=("letterbox", "stretch"), default="letterbox", help="how crops are fitted")
    package.add_argument("--name", help="the model's name (default: from the file's)")


def _evaluate(options: argparse.Namespace) -> None:
    for path, suffix in ((options.report, ".html"), (options.json, None)):
        if path is not None:
            output_file(path, suffix)
    with session(options) as progress:
        from training.evaluation.evaluate import summarize, twin
        from training.evaluation.examine import examine
        from training.evaluation.report import evaluation_tables, write_report
        from training.files import write_atomically

        examination = examine(options.model, options.dataset, progress, options.threads)
        against = options.against or twin(options.model)
        if options.report:
            evaluation = write_report(
                examination, options.report, options.command, progress, against, quick=options.quick
            )
        else:
            evaluation = summarize(examination, progress, against)
        if options.json:
            write_atomically(options.json, evaluation.to_json().encode())
    for table in evaluation_tables(evaluation):
        Terminal().print(table)
    if options.report:
        print(f"{options.report}: the report; its figures: {options.report.with_suffix('.json')}")


def _calibrate(options: argparse.Namespace) -> None:
    out = onnx_file(options.out, options.model)
    with session(options) as progress:
        from training.evaluation.card import promise_lines
        from training.promises import Promises, calibrate

        promises = Promises.model_validate(promises_of(options))
        card = calibrate(options.model, options.dataset, out, promises, progress)
    for line in promise_lines(card):
        Terminal().print(line, soft_wrap=True, highlight=False)
    pictures = card.calibration["pictures"]
    if pictures < FEWEST:
        print(f"note: {pictures} pictures say little of what a line meets; give it some hundreds", file=sys.stderr)
    thresholds = ", ".join(f"{name} {value:.3f}" for name, value in card.thresholds.items())
    print(f"{out}: on {pictures} pictures; thresholds {thresholds}")


def _package(options: argparse.Namespace) -> None:
    from edge.model import Resize
    from training.export import Front
    from training.package import package, read_labels

    for name in ("mean", "std"):
        if len(getattr(options, name)) not in (1, 3):
            raise InputError(f"--{name}: takes one number, or three for R, G and B")
        for value in getattr(options, name):
            if not abs(value) <= LARGEST:  # nan is not either
                raise InputError(f"--{name}: {value:g} is not a number that pixels can be scaled by")
    if any(abs(value) < SMALLEST for value in options.std):
        raise InputError(f"--std: must not be 0, nor nearer to it than {SMALLEST:g}")
    unit = 255.0 if options.range == "0-1" else 1.0
    front = Front(
        zero=tuple(unit * value for value in options.mean),
        divisor=tuple(unit * value for value in options.std),
        layout=options.layout,
    )
    out = onnx_file(options.out, options.model)
    name = options.name or out.stem
    labels = read_labels(options.labels)
    package(options.model, out, labels, options.size, front, options.softmax, name, Resize(mode=options.resize))
    print(f"{out}: {len(labels)} classes, {out.stat().st_size / 1e6:.2f} MB")

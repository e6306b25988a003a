"""`sortline-train`: build, fit, export, quantize, evaluate, package, split, draw.

Exit status: 0 done, 1 the thing asked for failed, 2 wrong words or a wrong file.
"""

import argparse
import ctypes
import logging
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edge import __version__
from edge.errors import ConfigError, ModelError, PictureError, SortlineError
from training.errors import InputError

if TYPE_CHECKING:
    from training.run import Run

WRONG_INPUT = (ConfigError, InputError, ModelError, PictureError)
NETWORKS = ("efficientnet_lite0", "mobilenet_v3_small", "mobilenet_v2", "resnet18", "simple_cnn")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    options.command = shlex.join(["sortline-train", *words])
    try:
        options.run(options)
    except SortlineError as error:
        if options.debug:
            raise
        print(f"sortline-train: {error}", file=sys.stderr)
        return 2 if isinstance(error, WRONG_INPUT) else 1
    except ModuleNotFoundError as error:
        if options.debug or (error.name or "").partition(".")[0] in {"edge", "training"}:
            raise
        print(f'sortline-train: {error.name} is not installed; pip install "sortline[training]"', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sortline-train: interrupted", file=sys.stderr)
        return 1
    return 0


# --- words ------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show tracebacks and the libraries' own messages")
    common.add_argument("--threads", type=_whole(1), metavar="N", help="processor cores to use (default: all)")
    parser: argparse.ArgumentParser = _Parser(
        prog="sortline-train", description="Train a classifier on pictures and turn it into one ONNX file."
    )
    parser.add_argument("--version", action="version", version=f"sortline-train {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], None], says: str, example: str
    ) -> argparse.ArgumentParser:
        example = f"example: sortline-train {name} {example}"
        made = commands.add_parser(name, help=says, description=says, epilog=example, parents=[common])
        made.set_defaults(run=run)
        return made

    build = command("build", _build, "all steps: from pictures to a measured ONNX file", "pictures --out parts.onnx")
    build.add_argument("dataset", type=Path, metavar="DATASET", help="a folder of class folders")
    build.add_argument("--out", type=Path, required=True, metavar="NAME.onnx", help="the file to write")
    build.add_argument("--run", dest="folder", type=Path, metavar="DIR", help="the run folder (default: under runs/)")
    _fit_options(build)

    fit = command("fit", _fit, "train a network", "pictures --out runs/first --network resnet18 --epochs 20")
    fit.add_argument("dataset", type=Path, metavar="DATASET", help="a folder of class folders")
    fit.add_argument("--out", dest="folder", type=Path, required=True, metavar="RUN", help="the run folder to make")
    fit.add_argument("--resume", action="store_true", help="go on with an interrupted run, by its own settings")
    _fit_options(fit)

    export = command("export", _export, "a fitted run's network as an ONNX file", "runs/first")
    export.add_argument("folder", type=Path, metavar="RUN")

    quantize = command("quantize", _quantize, "an exported run's network in 8-bit integers", "runs/first")
    quantize.add_argument("folder", type=Path, metavar="RUN")

    evaluate = command("evaluate", _evaluate, "a model file on pictures it has not seen", "parts.onnx pictures")
    evaluate.add_argument("model", type=Path, metavar="MODEL.onnx")
    evaluate.add_argument("dataset", type=Path, metavar="DATASET")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")

    package = command(
        "package",
        _package,
        "anyone's ONNX classifier as a file that sortline runs",
        "theirs.onnx --out ours.onnx --labels labels.txt --size 224 --mean 127 127 127 --std 128 128 128 --softmax",
    )
    package.add_argument("model", type=Path, metavar="THEIR.onnx")
    package.add_argument("--out", type=Path, required=True, metavar="OURS.onnx")
    package.add_argument("--labels", type=Path, required=True, metavar="FILE", help="a text file, one class a line")
    package.add_argument("--size", type=_whole(8), required=True, metavar="N", help="side of its input in pixels")
    package.add_argument("--mean", type=float, nargs="+", default=[0.0], help="1 or 3 numbers, in the units of --range")
    package.add_argument("--std", type=float, nargs="+", default=[1.0], help="1 or 3 numbers, in the units of --range")
    package.add_argument("--range", choices=("0-255", "0-1"), default="0-255", help="its pixels (default: %(default)s)")
    package.add_argument("--layout", choices=("nchw", "nhwc"), default="nchw", help="(default: %(default)s)")
    package.add_argument("--softmax", action="store_true", help="it returns logits")
    package.add_argument("--resize", choices=("letterbox", "stretch"), default="letterbox", help="how crops are fitted")
    package.add_argument("--name", help="the model's name (default: from the file's)")

    split = command("split", _split, "train, val and test folders, as training would draw them", "pictures parted")
    split.add_argument("dataset", type=Path, metavar="DATASET")
    split.add_argument("out", type=Path, metavar="OUT")
    split.add_argument("--seed", type=_whole(0), default=0, metavar="N")

    draw = command("draw", _draw, "training pictures drawn by the simulator", "parts --pictures-per-class 400 --seed 1")
    draw.add_argument("out", type=Path, metavar="OUT")
    draw.add_argument("--pictures-per-class", type=_whole(1), default=400, metavar="N", help="(default: %(default)s)")
    draw.add_argument("--seed", type=_whole(0), default=0, metavar="N")
    draw.add_argument("--size", type=_whole(8), metavar="N", help="all pictures N x N (default: as they come)")
    return parser


def _fit_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("training").add_argument
    add("--network", choices=NETWORKS, help="(default: efficientnet_lite0)")
    add("--weights", type=Path, metavar="FILE", help="pre-trained weights, or the weights.pt of an earlier run")
    add("--from-scratch", action="store_true", help="without pre-trained weights")
    add("--size", type=_side, metavar="N", help="side of the input, a multiple of 32 (default: from the pictures)")
    add("--epochs", type=_whole(1), metavar="N", help="of the whole network, at most (default: 10, from scratch 40)")
    add("--patience", type=_whole(1), metavar="N", help="epochs without a better one to stop after (default: 4 or 8)")
    add("--seed", type=_whole(0), metavar="N", help="of the split and of all that is random (default: 0)")
    add("--optimizer", choices=("adam", "sgd"), help="(default: adam)")
    add("--batch", type=_whole(2), metavar="N", help="pictures a step (default: 32)")
    add("--lr", type=_between(0, 10), help="the highest learning rate (default: from network and optimizer)")
    add("--crop-margin", type=_between(0, 2), default=0.1, metavar="SHARE", help="room around an item (default: 0.1)")
    add("--name", help="the model's name (default: from the file's or folder's)")


def _whole(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} up")
        return int(text)

    return whole


def _side(text: str) -> int:
    if not text.isdecimal() or not 32 <= int(text) <= 1024 or int(text) % 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a multiple of 32 from 32 to 1024")
    return int(text)


def _between(low: float, high: float) -> Callable[[str], float]:
    def between(text: str) -> float:
        with suppress(ValueError):
            if low <= float(text) <= high:
                return float(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low} to {high}")

    return between


# --- commands ---------------------------------------------------------------------------------------


def _build(options: argparse.Namespace) -> None:
    started = time.perf_counter()
    out = _onnx(options.out)
    folder = options.folder or Path("runs") / time.strftime(f"{out.stem}-%Y%m%d-%H%M%S")
    with _session(options) as progress:
        from training.files import write_atomically
        from training.report import comparison_table, model_page

        run = _start(options, folder, options.name or out.stem, progress)
        run.fit()
        run.export()
        run.quantize()
        card, scores = run.ship(out)
        page = out.with_suffix(".md")
        write_atomically(page, model_page(card, scores, options.command, out).encode())
    shipped = card.test["shipped"]
    Console().print(comparison_table(scores, shipped, card.test["pictures"]))
    size, seconds = out.stat().st_size / 1e6, time.perf_counter() - started
    print(f"{out}: {shipped}, {size:.2f} MB, in {seconds:.0f} s; report {page}, run folder {folder}")


def _fit(options: argparse.Namespace) -> None:
    with _session(options) as progress:
        if options.resume:
            from training.run import Run

            run = Run.open(options.folder, progress, options.dataset)
        else:
            run = _start(options, options.folder, options.name or options.folder.name, progress)
        run.fit(options.resume)
    print(f"{options.folder}: fitted; next: sortline-train export {shlex.quote(str(options.folder))}")


def _export(options: argparse.Namespace) -> None:
    with _session(options) as progress:
        from training.run import Run

        path = Run.open(options.folder, progress).export()
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, answers as torch does")


def _quantize(options: argparse.Namespace) -> None:
    with _session(options) as progress:
        from training.run import Run

        path = Run.open(options.folder, progress).quantize()
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


def _evaluate(options: argparse.Namespace) -> None:
    with _session(options) as progress:
        from training.evaluate import evaluate
        from training.files import write_atomically
        from training.report import evaluation_tables

        evaluation = evaluate(options.model, options.dataset, progress)
        if options.json:
            write_atomically(options.json, evaluation.to_json().encode())
    for table in evaluation_tables(evaluation):
        Console().print(table)


def _package(options: argparse.Namespace) -> None:
    from edge.model import Resize
    from training.export import Front
    from training.package import package, read_labels

    for name in ("mean", "std"):
        if len(getattr(options, name)) not in (1, 3):
            raise InputError(f"--{name}: takes one number, or three for R, G and B")
    if any(value == 0 for value in options.std):
        raise InputError("--std: must not be 0")
    unit = 255.0 if options.range == "0-1" else 1.0
    front = Front(
        zero=tuple(unit * value for value in options.mean),
        divisor=tuple(unit * value for value in options.std),
        layout=options.layout,
    )
    out = _onnx(options.out)
    name = options.name or out.stem
    labels = read_labels(options.labels)
    package(options.model, out, labels, options.size, front, options.softmax, name, Resize(mode=options.resize))
    print(f"{out}: {len(labels)} classes, {out.stat().st_size / 1e6:.2f} MB")


def _split(options: argparse.Namespace) -> None:
    from training.data import write_split

    counts = write_split(options.dataset, options.out, options.seed)
    print(f"{options.out}: " + ", ".join(f"{part} {counts.get(part, 0)}" for part in ("train", "val", "test")))


def _draw(options: argparse.Namespace) -> None:
    from edge.simulator.dataset import draw

    counts = draw(options.out, options.pictures_per_class, options.seed, options.size)
    print(f"{options.out}: " + ", ".join(f"{label} {count}" for label, count in counts.items()))


# --- the process ------------------------------------------------------------------------------------


def _start(options: argparse.Namespace, folder: Path, name: str, progress: Progress) -> "Run":
    """A new run from the words of the command line; what was read and what was left out is said."""
    from training.fit import FitSettings
    from training.report import dataset_table, skipped_lines
    from training.run import Run

    words: dict[str, Any] = {
        key: getattr(options, key)
        for key in ("network", "from_scratch", "epochs", "patience", "seed", "optimizer", "batch", "lr")
    }
    weights = str(options.weights) if options.weights else None
    settings = FitSettings.choose(**words, weights=weights)
    run = Run.start(folder, options.dataset, name, settings, progress, options.size, options.crop_margin)
    for line in skipped_lines(run.data.skipped):
        progress.console.print(line, soft_wrap=True, highlight=False)
    progress.console.print(dataset_table(run.data))
    progress.console.print(f"{settings.network} at {run.settings.size} x {run.settings.size}", highlight=False)
    return run


@contextmanager
def _session(options: argparse.Namespace) -> Iterator[Progress]:
    """The process made ready for heavy work, with progress bars on stderr while it lasts."""
    _keep_freed_memory()
    # Threads of a parallel loop that spin while they wait for each other are 15 % faster on an idle
    # machine and ten times slower on one that does anything else. OpenMP asks this when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import cv2
    import torch

    from training.data import cores

    torch.set_num_threads(options.threads or cores())
    cv2.setNumThreads(1)  # pictures are decoded by as many threads as there are cores already
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    console = Console(stderr=True)
    silenced = logging.root.manager.disable
    with (
        warnings.catch_warnings(),
        Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as progress,
    ):
        if not options.debug:
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
        try:
            yield progress
        finally:
            logging.disable(silenced)


def _keep_freed_memory() -> None:
    """Tells glibc not to hand freed memory back to the system after every training step.

    A step frees and takes the same few hundred megabytes; without this the kernel clears those
    pages each time, which costs a fifth to a half of the step (measured). Elsewhere than on glibc
    nothing happens. M_MMAP_THRESHOLD is -3 and M_TRIM_THRESHOLD -1 in malloc.h.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 30)
        libc.mallopt(-1, (1 << 31) - 1)


def _onnx(path: Path) -> Path:
    if path.suffix != ".onnx":
        raise InputError(f"{path}: the file to write must end in .onnx")
    return path

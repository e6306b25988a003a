"""The commands that train: build, fit, export, quantize, networks."""

import argparse
import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import Progress

from edge.screen import Terminal
from training.arguments import GROUP_HELP, AddCommand, between, key_value, onnx_file, side, whole_from
from training.commands.options import limit_options, limits_of, promise_options, promises_of, tta_option
from training.errors import InputError
from training.session import session

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from edge.model import ModelCard
    from training.crew import Crew
    from training.run import Run
    from training.track import Tracker


def add(command: AddCommand) -> None:
    """Adds the commands to the parser."""
    build = command("build", _build, "all steps: from pictures to a measured ONNX file", "pictures --out parts.onnx")
    build.add_argument("dataset", type=Path, metavar="DATASET", help="a folder of class folders")
    build.add_argument("--out", type=Path, required=True, metavar="NAME.onnx", help="the file to write")
    build.add_argument("--run", dest="folder", type=Path, metavar="DIR", help="the run folder (default: under runs/)")
    build.add_argument("--no-report", action="store_true", help="without the page that `evaluate --report` writes")
    _fit_options(build)
    tta_option(build)
    promise_options(build)
    limit_options(build)

    fit = command("fit", _fit, "train a network", "pictures --out runs/first --network resnet18 --epochs 20")
    fit.add_argument("dataset", type=Path, metavar="DATASET", help="a folder of class folders")
    fit.add_argument("--out", dest="folder", type=Path, required=True, metavar="RUN", help="the run folder to make")
    fit.add_argument("--resume", action="store_true", help="go on with an interrupted run, by its own settings")
    _fit_options(fit)
    tta_option(fit)
    promise_options(fit)

    export = command("export", _export, "a fitted run's network as an ONNX file", "runs/first")
    export.add_argument("folder", type=Path, metavar="RUN")
    tta_option(export)
    promise_options(export)

    quantize = command("quantize", _quantize, "an exported run's network in 8-bit integers", "runs/first")
    quantize.add_argument("folder", type=Path, metavar="RUN")
    limit_options(quantize)

    networks = command("networks", _networks, "the names that --network takes", "'mobilenet*'")
    networks.add_argument("pattern", nargs="?", metavar="PATTERN", help="with * and ?; timm's are shown only with one")


def _fit_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("training").add_argument
    add("--network", metavar="NAME", help="of sortline, torchvision or timm (default: efficientnet_lite0)")
    add("--weights", type=Path, metavar="FILE", help="pre-trained weights, or the weights.pt of an earlier run")
    add("--from-scratch", action="store_true", help="without pre-trained weights")
    add(
        "--size",
        type=side,
        metavar="N",
        help="side of the input, a multiple of 4, best of 32 (default: from the pictures)",
    )
    add("--epochs", type=whole_from(1), metavar="N", help="at most, of the whole network (default: 10 or 40)")
    add(
        "--patience",
        type=whole_from(1),
        metavar="N",
        help="epochs without a better one to stop (default: 4 or 8)",
    )
    add("--head-epochs", type=whole_from(0), metavar="N", help="before, of the head alone (default: 2 or 0)")
    add("--keep", choices=("best", "last"), help="the weights of the best epoch, or of the last (default: best)")
    add("--seed", type=whole_from(0), metavar="N", help="of the split and of all that is random (default: 0)")
    add("--group", metavar="RULE", help=GROUP_HELP)
    add("--optimizer", choices=("adam", "sgd"), help="(default: adam)")
    add("--batch", type=whole_from(2), metavar="N", help="pictures a step (default: 32)")
    add("--lr", type=between(0, 10), help="the highest learning rate (default: from network and optimizer)")
    add("--weight-decay", type=between(0, 1), help="(default: 0.02)")
    add(
        "--average",
        type=between(0, 0.99999),
        metavar="DECAY",
        help="of a moving average of the weights (default: none)",
    )
    add("--precision", choices=("fp32", "bf16", "auto"), help="auto: bf16 with AMX (default: fp32)")
    add("--label-smoothing", type=between(0, 0.9), metavar="SHARE", help="(default: 0)")
    add("--mixup", type=between(0, 10), metavar="ALPHA", help="blend pairs of pictures (default: 0, none)")
    add("--balance", choices=("none", "weights", "sampling"), help="make up for unequal classes (default: none)")
    add(
        "--grow-from",
        type=between(0.25, 1),
        metavar="SHARE",
        help="of the side to begin with, to save time (default: 1)",
    )
    add(
        "--augment",
        type=key_value,
        nargs="+",
        metavar="KEY=VALUE",
        help="how pictures are varied, as rotate_deg=5 flip=false",
    )
    add(
        "--settings",
        type=Path,
        metavar="FILE.toml",
        help="these in a file, as weight_decay = 0.01, except size, group, crop-margin, name and track; "
        "what the command says weighs more",
    )
    add("--crop-margin", type=between(0, 2), default=0.1, metavar="SHARE", help="room around an item (default: 0.1)")
    add("--name", help="the model's name (default: from the file's or folder's)")
    add(
        "--track",
        action="append",
        default=[],
        metavar="WHERE",
        help="beside TensorBoard follow the run in mlflow, mlflow=URI, wandb (offline), wandb=online; none: nowhere",
    )


def _build(options: argparse.Namespace) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # torchrun's word
        raise InputError("build runs in one process; with torchrun use fit, then export and quantize")
    started = time.perf_counter()
    out = onnx_file(options.out)
    folder = options.folder or Path("runs") / time.strftime(f"{out.stem}-%Y%m%d-%H%M%S")
    with session(options) as progress, _tracking(options, progress) as tracker:
        from training.evaluation.card import promise_lines
        from training.evaluation.report import candidates_table, comparison_table, model_page
        from training.files import write_atomically

        limits = limits_of(options)
        run = _start(options, folder, options.name or out.stem, progress)
        run.fit(tracker=tracker)
        run.export()
        run.quantize(limits, options.aware)
        card, scores = run.ship(out)
        page = out.with_suffix(".md")
        write_atomically(page, model_page(card, scores, options.command, out).encode())
        shipped = card.test["shipped"]
        if options.no_report:
            for stale in (out.with_suffix(".html"), out.with_suffix(".json")):  # of a model that was here before
                stale.unlink(missing_ok=True)
        else:
            page = out.with_suffix(".html")
            _report(options, run, out, run.fp32 if shipped == "int8" else run.int8, progress)
        tracker.model(out, {key: float(value) for key, value in card.test[shipped].items()})
    Terminal().print(candidates_table(card))
    for line in promise_lines(card):
        Terminal().print(line, soft_wrap=True, highlight=False)
    Terminal().print(comparison_table(scores, shipped, card.test["pictures"]))
    size, seconds = out.stat().st_size / 1e6, time.perf_counter() - started
    print(f"{out}: {shipped}, {size:.2f} MB, in {seconds:.0f} s; report {page}, run folder {folder}")


def _fit(options: argparse.Namespace) -> None:
    with session(options) as progress, _tracking(options, progress) as tracker:
        import torch

        from training.crew import assemble
        from training.run import Run

        with assemble() as crew:
            if options.resume:
                run = Run.open(options.folder, progress, options.dataset, crew)
                _check_same(options, run)
                if not options.threads and run.settings.threads:
                    torch.set_num_threads(run.settings.threads)  # sums over as many cores round alike
            else:
                run = _start(options, options.folder, options.name or options.folder.name, progress, crew)
            run.fit(options.resume, tracker)
            if not crew.leads:
                return
    print(f"{options.folder}: fitted; next: sortline-train export {shlex.quote(str(options.folder))}")


def _export(options: argparse.Namespace) -> None:
    with session(options) as progress:
        from edge.model import Classifier
        from training.evaluation.card import promise_lines
        from training.run import Run

        run = Run.open(options.folder, progress)
        run.promise(options.tta, **promises_of(options))
        path = run.export()
        lines = promise_lines(Classifier(path, provider="cpu").card)
    for line in lines:
        Terminal().print(line, soft_wrap=True, highlight=False)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, answers as torch does")


def _quantize(options: argparse.Namespace) -> None:
    with session(options) as progress:
        from training.evaluation.report import candidates_table
        from training.run import Run

        limits = limits_of(options)
        path, card = Run.open(options.folder, progress).quantize(limits, options.aware)
    Terminal().print(candidates_table(card))
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {card.quantization['calibration']}; {_ships(card)}")


def _ships(card: "ModelCard") -> str:
    """Whether a quantized file is the one to ship, in words."""
    if card.quantization["ships"] == "fp32":
        return "fp32 ships: no quantized form is faster and within --max-drop"
    return "it ships"


def _report(options: argparse.Namespace, run: "Run", out: Path, other: Path, progress: Progress) -> None:
    """The report of a finished model on the run's test part, beside the model."""
    from edge.engines import cores
    from edge.model import Classifier
    from training.evaluation.examine import examine_part
    from training.evaluation.report import write_report

    classifier = Classifier(out, provider="cpu", threads=options.threads or cores())
    test, root = run.data.test, run.data.root
    examination = examine_part(classifier, test, test.labels, root, f"the test part of {root}", progress)
    write_report(examination, out.with_suffix(".html"), options.command, progress, other, quick=True)


def _tracking(options: argparse.Namespace, progress: Progress) -> "AbstractContextManager[Tracker]":
    """Who follows the run, by the words of the command line."""
    from training.trackers import tracking

    wanted = options.track
    if getattr(options, "resume", False) and not wanted and not (options.folder / "tensorboard").exists():
        wanted = ["none"]  # as it began
    return tracking(wanted, lambda words: progress.console.print(words, soft_wrap=True, highlight=False))


def _networks(options: argparse.Namespace) -> None:
    from training.networks import list_networks

    print("\n".join(list_networks(options.pattern or "*", timm_too=options.pattern is not None)))


def _start(
    options: argparse.Namespace, folder: Path, name: str, progress: Progress, crew: "Crew | None" = None
) -> "Run":
    """A new run from the words of the command line; what was read and what was left out is said."""
    from training.crew import ALONE
    from training.evaluation.report import dataset_table
    from training.layout import skipped_lines
    from training.promises import Promises
    from training.run import Run
    from training.settings import FitSettings

    settings = FitSettings.gather(options.settings, _words(options), dict(options.augment or []))
    promises = Promises.model_validate(promises_of(options))
    margin, group = options.crop_margin, options.group
    size, crew = options.size, crew or ALONE
    run = Run.start(
        folder, options.dataset, name, settings, progress, size, margin, group, promises, crew, options.tta or "none"
    )
    for line in skipped_lines(run.data.skipped):
        progress.console.print(line, soft_wrap=True, highlight=False, markup=False)
    progress.console.print(dataset_table(run.data))
    progress.console.print(f"{settings.network} at {run.settings.size} x {run.settings.size}", highlight=False)
    return run


def _words(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of a fit that the command line has a word for, None where it was not said."""
    from training.settings import FitSettings

    words: dict[str, Any] = {key: getattr(options, key, None) for key in FitSettings.model_fields if key != "augment"}
    words["weights"] = str(options.weights) if options.weights else None
    words["from_scratch"] = options.from_scratch or None
    return words


def _check_same(options: argparse.Namespace, run: "Run") -> None:
    """Raises InputError for a word beside --resume that the run was not started with: it goes on as it began."""
    from training.settings import FitSettings

    asked = FitSettings.asked(options.settings, _words(options), dict(options.augment or []))
    asked |= {key: value for key in ("size", "group", "tta") if (value := getattr(options, key)) is not None}
    asked |= promises_of(options)
    settings = run.settings.model_dump() | run.settings.fit.model_dump() | run.settings.promises.model_dump()
    settings |= {f"augment.{key}": value for key, value in settings["augment"].items()}
    other = [f"{key} {settings[key]}, not {value}" for key, value in asked.items() if settings[key] != value]
    if other:
        raise InputError(
            f"{run.folder}: was started with {', '.join(other)}; --resume goes on as it began: "
            "leave the word out, or start a new run"
        )

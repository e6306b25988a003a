"""The commands about pictures: import, audit, split, draw."""

import argparse
from pathlib import Path

from edge.screen import Terminal
from training.arguments import GROUP_HELP, AddCommand, between, output_file, whole_from
from training.errors import TrainingError
from training.session import progress_bars, quiet_decoders, session

FORMATS = ("folders", "cvat", "voc", "yolo", "coco", "csv")


def add(command: AddCommand) -> None:
    """Adds the commands to the parser."""
    import_ = command(
        "import", _import, "a labelling tool's export as a dataset of class folders", "cvat-export.zip pictures"
    )
    import_.add_argument("source", type=Path, metavar="SOURCE", help="a folder, or the zip file that the tool wrote")
    import_.add_argument("out", type=Path, metavar="OUT", help="the dataset folder to make")
    import_.add_argument("--format", choices=FORMATS, help="what SOURCE is (default: as it looks)")
    import_.add_argument(
        "--crop-margin",
        type=between(0, 2),
        default=0.1,
        metavar="SHARE",
        help="room around a box, of its longer side; give build the same (default: %(default)s)",
    )
    import_.add_argument("--video", type=Path, metavar="CLIP", help="the clip of a CVAT video task")
    import_.add_argument(
        "--rename",
        type=_renaming,
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="give a class another name, or join it to another; may be repeated",
    )

    audit = command(
        "audit", _audit, "whether a dataset is sound: duplicates, leaks, labels, light", "pictures --report audit.html"
    )
    audit.add_argument("dataset", type=Path, metavar="DATASET")
    audit.add_argument("--report", type=Path, metavar="FILE.html", help="a page with the pictures in question")
    audit.add_argument("--json", type=Path, metavar="FILE", help="also write all findings here")
    audit.add_argument("--group", metavar="RULE", help=GROUP_HELP)
    audit.add_argument("--seed", type=whole_from(0), default=0, metavar="N", help="of the split that is judged")
    audit.add_argument("--skip-labels", action="store_true", help="do not look for wrong labels, which needs a network")

    split = command("split", _split, "train, val and test folders, as training would draw them", "pictures parted")
    split.add_argument("dataset", type=Path, metavar="DATASET")
    split.add_argument("out", type=Path, metavar="OUT")
    split.add_argument("--seed", type=whole_from(0), default=0, metavar="N")
    split.add_argument("--group", metavar="RULE", help=GROUP_HELP)

    draw = command("draw", _draw, "training pictures drawn by the simulator", "parts --pictures-per-class 400 --seed 1")
    draw.add_argument("out", type=Path, metavar="OUT")
    draw.add_argument(
        "--pictures-per-class", type=whole_from(1), default=400, metavar="N", help="(default: %(default)s)"
    )
    draw.add_argument("--seed", type=whole_from(0), default=0, metavar="N")
    draw.add_argument("--size", type=whole_from(8), metavar="N", help="all pictures N x N (default: as they come)")


def _import(options: argparse.Namespace) -> None:
    try:
        from training.importing.run import import_pictures
    except ModuleNotFoundError as error:
        if error.name not in ("defusedxml", "yaml"):
            raise
        raise TrainingError(f'{error.name} is not installed; pip install "sortline[import]"') from None
    from training.importing.summary import imported_table, left_out_lines

    with quiet_decoders(options.debug), progress_bars() as progress:
        made = import_pictures(
            options.source,
            options.out,
            progress,
            form=options.format,
            margin=options.crop_margin,
            video=options.video,
            rename=dict(options.rename),
        )
    console = Terminal(stderr=True, soft_wrap=True, highlight=False, markup=False)
    for line in left_out_lines(made):
        console.print(line)
    Terminal().print(imported_table(made))
    print(
        f"{options.out}: {len(made.written)} pictures from {made.format}, {len(made.left_out)} left out; "
        f"all of it in {options.out / 'import.json'}"
    )


def _audit(options: argparse.Namespace) -> None:
    if options.report:
        output_file(options.report, ".html")
    if options.json:
        output_file(options.json)
    with session(options) as progress:
        from training.audit.page import audit_table, render
        from training.audit.run import audit
        from training.files import write_atomically

        found = audit(options.dataset, progress, options.group, options.seed, not options.skip_labels)
        if options.json:
            write_atomically(options.json, found.to_json().encode())
        if options.report:
            write_atomically(options.report, render(found, options.command, progress).encode())
    console = Terminal(soft_wrap=True, highlight=False, markup=False)
    for note in found.notes:
        Terminal(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"note: {note}")
    console.print(audit_table(found))
    if options.report:
        print(f"{options.report}: the pictures in question")
    if found.faults:
        raise TrainingError(
            f"{options.dataset}: {found.faults} kind{'s' if found.faults > 1 else ''} of fault that "
            f"spoil{'' if found.faults > 1 else 's'} a training or its measure"
        )


def _renaming(text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not sign or not old or not new.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not OLD=NEW, for example bolts=bolt")
    return old, new


def _split(options: argparse.Namespace) -> None:
    from training.data import write_split
    from training.layout import skipped_lines

    with quiet_decoders(options.debug), progress_bars() as progress:
        counts, skipped = write_split(options.dataset, options.out, options.seed, options.group, progress)
        for line in skipped_lines(skipped):
            progress.console.print(line, soft_wrap=True, highlight=False, markup=False)
    print(f"{options.out}: " + ", ".join(f"{part} {counts.get(part, 0)}" for part in ("train", "val", "test")))


def _draw(options: argparse.Namespace) -> None:
    from edge.simulator.dataset import draw

    counts = draw(options.out, options.pictures_per_class, options.seed, options.size)
    print(f"{options.out}: " + ", ".join(f"{label} {count}" for label, count in counts.items()))

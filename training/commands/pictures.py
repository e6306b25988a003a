"""The commands about pictures: split, draw."""

import argparse
from pathlib import Path

from training.arguments import GROUP_HELP, AddCommand, whole_from
from training.session import progress_bars


def add(command: AddCommand) -> None:
    """Adds the commands to the parser."""
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


def _split(options: argparse.Namespace) -> None:
    from training.data import write_split

    with progress_bars() as progress:
        counts = write_split(options.dataset, options.out, options.seed, options.group, progress)
    print(f"{options.out}: " + ", ".join(f"{part} {counts.get(part, 0)}" for part in ("train", "val", "test")))


def _draw(options: argparse.Namespace) -> None:
    from edge.simulator.dataset import draw

    counts = draw(options.out, options.pictures_per_class, options.seed, options.size)
    print(f"{options.out}: " + ", ".join(f"{label} {count}" for label, count in counts.items()))

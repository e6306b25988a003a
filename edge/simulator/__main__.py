"""`python -m edge.simulator OUT`: draws a dataset of parts, one folder a class."""

import argparse
import sys
from pathlib import Path

from edge.errors import SortlineError
from edge.plain import plain
from edge.simulator.dataset import draw


def main(words: list[str] | None = None) -> int:
    """Draws the dataset and says how many pictures of each class it has; 0 done, 1 it failed."""
    parser = argparse.ArgumentParser(prog="python -m edge.simulator", description=__doc__)
    parser.add_argument("out", type=Path, help="the folder to draw into; it gets a folder a class")
    parser.add_argument("--per-class", type=int, default=400, metavar="N", help="pictures a class (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="the same seed draws the same pictures")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="resize each to PIXELS x PIXELS")
    parser.add_argument("--foreign", type=int, default=0, metavar="N", help="foreign objects, in OUT-foreign")
    parser.add_argument("--items", type=Path, metavar="DIR", help="cut the items from class folders of real pictures")
    given = parser.parse_args(words)
    try:
        written = draw(given.out, given.per_class, given.seed, given.size, given.foreign, given.items)
    except (SortlineError, OSError) as error:
        print(plain(str(error), "\n"), file=sys.stderr)
        return 1
    print(plain(f"{given.out}: " + ", ".join(f"{label} {count}" for label, count in written.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())

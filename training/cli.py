"""`sortline-train`: build, fit, export, quantize, evaluate, package, split, draw.

Exit status: 0 done, 1 the thing asked for failed, 2 wrong words or a wrong file.
"""

import argparse
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from edge import __version__
from edge.errors import ConfigError, ModelError, PictureError, ReaderGone, SortlineError, screen_errors
from edge.interrupts import Wish
from edge.plain import plain
from training.arguments import whole_from
from training.commands import models, pictures, train
from training.errors import InputError

WRONG_INPUT = (ConfigError, InputError, ModelError, PictureError)
FAMILIES = (train, models, pictures)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(plain(f"{self.prog}: {message} (see {self.prog} --help)", "\n"), file=sys.stderr)
        raise SystemExit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    options.command = shlex.join(["sortline-train", *words])
    try:
        with _ended_in_good_order(), screen_errors():
            options.run(options)
    except SortlineError as error:
        if options.debug:
            raise
        print(plain(f"sortline-train: {error}", "\n"), file=sys.stderr)
        return 2 if isinstance(error, WRONG_INPUT) else 1
    except ModuleNotFoundError as error:
        if options.debug or (error.name or "").partition(".")[0] in {"edge", "training"}:
            raise
        print(f'sortline-train: {error.name} is not installed; pip install "sortline[training]"', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sortline-train: interrupted", file=sys.stderr)
        return 1
    except ReaderGone:
        return 1
    return 0


@contextmanager
def _ended_in_good_order() -> Iterator[None]:
    """Ctrl-C ends the command once, however often it is pressed, and SIGTERM, as of `timeout` or a service manager,
    as it does: nothing half done is left.

    Not where torchrun started several processes: one that waits for the others in torch hears no Python.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 or threading.current_thread() is not threading.main_thread():
        yield
        return

    wish = Wish()
    before = signal.signal(signal.SIGTERM, wish)
    try:
        with wish.heard(), wish.told_as_itself():
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show tracebacks and the libraries' own messages")
    common.add_argument("--threads", type=whole_from(1), metavar="N", help="processor cores to use (default: all)")
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

    for family in FAMILIES:
        family.add(command)
    return parser

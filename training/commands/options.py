"""Words that several commands share: what a file shall promise, and what quantizing it may cost."""

import argparse
from typing import TYPE_CHECKING

from training.arguments import between, whole_from
from training.errors import InputError

if TYPE_CHECKING:
    from training.quantize import Limits

PROVIDERS = ("cpu", "openvino", "cuda", "tensorrt", "coreml")
TTAS = ("none", "flips", "turns")
PROMISES = ("purity", "confidence", "false_alarms")


def promise_options(parser: argparse.ArgumentParser, false_alarms: bool = True) -> None:
    """--purity, --confidence, and --false-alarms where limits for strangers are set."""
    add = parser.add_argument_group("promises").add_argument
    add(
        "--purity",
        type=between(0.5, 0.99999),
        metavar="SHARE",
        help="least share that is right of what a class's lane gets, as 0.995 (default: no promise)",
    )
    add("--confidence", type=between(0.5, 0.99999), metavar="SHARE", help="with which it holds (default: 0.95)")
    if false_alarms:
        add(
            "--false-alarms",
            type=between(0.0001, 0.2),
            metavar="SHARE",
            help="of known pictures that may be taken for strangers (default: 0.01)",
        )


def tta_option(parser: argparse.ArgumentParser) -> None:
    """--tta."""
    parser.add_argument(
        "--tta",
        choices=TTAS,
        help="looks of the file at each picture, whose mean is the answer: flips takes 4 times as long, turns 8 times, "
        "for fine flaws on items that have no upright (default: none, one look)",
    )


def promises_of(options: argparse.Namespace) -> dict[str, float]:
    """Those of the promises that were given."""
    words = {name: getattr(options, name, None) for name in PROMISES}
    return {name: value for name, value in words.items() if value is not None}


def limit_options(parser: argparse.ArgumentParser) -> None:
    """--max-drop, --max-class-drop, --provider, --target, --aware."""
    add = parser.add_argument_group("quantization").add_argument
    add(
        "--max-drop",
        type=between(0, 100),
        default=0.5,
        metavar="POINTS",
        help="of accuracy that it may cost (default: %(default)s)",
    )
    add(
        "--max-class-drop",
        type=between(0, 100),
        default=2.0,
        metavar="POINTS",
        help="of any one class's recall (default: %(default)s)",
    )
    add("--provider", choices=PROVIDERS, default="cpu", help="what it is timed with (default: %(default)s)")
    add(
        "--target",
        choices=("here", "vnni", "no-vnni", "arm"),
        default="here",
        help="the processor of the line; x86 without VNNI gets 7-bit weights (default: this one)",
    )
    add(
        "--aware",
        type=whole_from(1),
        nargs="?",
        const=3,
        default=0,
        metavar="EPOCHS",
        help="also train it to bear rounding, 3 epochs or so many",
    )


def limits_of(options: argparse.Namespace) -> "Limits":
    """The limits that were given; InputError, before the work, for a provider that is not installed here."""
    from edge.engines import installed
    from training.quantize import Limits

    if options.provider not in installed():
        raise InputError(f"--provider: {options.provider} is not installed here (installed: {', '.join(installed())})")
    return Limits(options.max_drop / 100, options.max_class_drop / 100, options.provider, options.target)

"""What a model's card says of how the file was quantized and of what it promises, in words."""

from edge.model import ModelCard
from training.calibrate import FLOOR

CANDIDATE_HEADINGS = ("", "accuracy", "agrees with fp32", "drop", "worst class", "loss", "p50", "size", "holds")


def candidate_rows(card: ModelCard) -> list[tuple[str, ...]]:
    """One row of words for each way to quantize that was tried, under CANDIDATE_HEADINGS; none for other files."""
    quantization = card.quantization
    return [
        (
            f"{one['method']} (chosen)" if one["method"] == quantization["ships"] else one["method"],
            f"{one['accuracy']:.2%}",
            f"{one['agreement']:.2%}",
            f"{100 * one['drop']:+.2f}",
            f"{100 * one['class_drop']:+.2f} {one['worst_class']}" if one["class_drop"] > 0 else "none",
            f"{one['loss']:.3f}" if "loss" in one else "",  # files of before list the way, not its loss
            f"{one['p50_ms']:.2f} ms",
            f"{one['size_bytes'] / 1e6:.2f} MB",
            "yes" if one["holds"] else "no",
        )
        for one in quantization.get("candidates", ())
    ]


def promise_lines(card: ModelCard) -> list[str]:
    """What a purity contract says, a sentence each; nothing where none was asked for."""
    contract = card.purity
    if contract is None:
        return []
    kept = [name for name, its in contract.classes.items() if its.promised]
    expected = f"on {contract.pictures} held-out pictures {contract.unknown:.2%} become unknown"
    lines = [expected]
    if kept:
        lines = [
            f"of what is called {', '.join(kept)} at least {contract.purity:.2%} is right, each with "
            f"{contract.confidence:.0%} confidence; {expected}"
        ]
    for name, its in contract.classes.items():
        if its.promised:
            continue
        if not its.pictures:
            lines.append(
                f"{name}: {contract.purity:.2%} cannot be promised: on none of the {contract.pictures} held-out "
                f"pictures does its answer reach {FLOOR:g}, the lowest threshold there is"
            )
        elif its.pictures < contract.fewest:
            lines.append(
                f"{name}: too few pictures to promise {contract.purity:.2%}: it was called, with {FLOOR:g} or more, "
                f"on {its.pictures} held-out picture{'s' if its.pictures != 1 else ''}, and {contract.fewest} without "
                f"a mistake {'are' if contract.fewest != 1 else 'is'} needed"
            )
        else:
            lines.append(
                f"{name}: {contract.purity:.2%} cannot be promised: {its.wrong} of what is called so is wrong "
                f"even above {its.threshold:.2f}, on {its.pictures} held-out pictures"
            )
    return lines

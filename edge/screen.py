"""Tables on the terminal: what a command found out, to be read by a person."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from edge.plain import plain

if TYPE_CHECKING:
    from edge.camera.attached import CameraMode
    from edge.check import Check
    from edge.replay import Replay


class Terminal(Console):
    """The terminal, or another stream, with names in its texts and tables written out (edge.plain)."""

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(plain(text, "\n"), **how)


def print_summary(summary: dict[str, Any]) -> None:
    """The closing table of `run` and `demo`."""
    console = Terminal()
    outcomes, reasons = summary["outcomes"], summary["reasons"]
    lanes = Table(title="Lanes", title_justify="left", box=None, pad_edge=False, header_style="bold")
    truth = summary.get("simulated")
    for heading in ("lane", "items", *(("purity", "yield") if truth else ()), "classes"):
        lanes.add_column(heading, justify="left" if heading in {"lane", "classes"} else "right")
    for name, lane in summary["lanes"].items():
        classes = ", ".join(f"{label} {count}" for label, count in sorted(lane["classes"].items()))
        shares = [_share(truth["lanes"][name][key]) for key in ("purity", "yield")] if truth else []
        lanes.add_row(escape(name), str(lane["items"]), *shares, escape(classes))
    console.print()
    console.print(lanes)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    latency, lateness = summary["latency_ms"], summary["lateness_ms"]
    if truth:
        said = f"{_share(truth['sort_accuracy'])} of {truth['items']} items, {truth['misplaced']} misplaced"
        table.add_row("sort accuracy", "-, for no item has ended" if truth["sort_accuracy"] is None else said)
    table.add_row("items", f"{summary['items']} born, {summary['on_belt']} still on the belt")
    table.add_row("outcomes", ", ".join(f"{name} {count}" for name, count in outcomes.items()))
    table.add_row("decisions", ", ".join(f"{name} {count}" for name, count in reasons.items()))
    table.add_row("frame to decision", _quantiles(latency))
    table.add_row("push against belt", _quantiles(lateness))
    table.add_row("frames", f"{summary['frames']} in {summary['seconds']:.1f} s, {summary['skipped']} skipped")
    incidents = ", ".join(f"{name} {count}" for name, count in summary["incidents"].items())
    table.add_row("incidents", incidents or "none")
    if lost := ", ".join(f"{name} {rows}" for name, rows in summary["rows_lost"].items() if rows):
        table.add_row("[red]rows lost[/]", lost)
    console.print()
    console.print(table)


def print_checks(results: "Sequence[Check]") -> None:
    """The table of `sortline check`."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # a sentence about a file shows its whole path
    for result in results:
        table.add_row(
            "[red]FAILED[/]" if not result.ok else "[yellow]note[/]" if result.note else "[green]ok[/]",
            result.part,
            escape(result.text),
        )
    Terminal().print(table)


def print_cameras(modes: Sequence["CameraMode"]) -> None:
    """The table of `sortline cameras`."""
    if not modes:
        Terminal().print("no camera is attached; network cameras are named by their address in camera.source")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("camera.source", "name", "format", "size", "fps"):
        table.add_column(heading)
    for mode in modes:
        fps = f"{mode.fps:g}" if mode.fps else "-"
        table.add_row(
            escape(str(mode.source)), escape(mode.name), escape(mode.fourcc), f"{mode.width}x{mode.height}", fps
        )
    Terminal().print(table)


def print_replay(result: "Replay") -> None:
    """The table of `sortline replay`."""
    console = Terminal()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("item", "frame", *result.models):
        table.add_column(escape(heading))
    shown = result.differing if len(result.models) > 1 else result.pairs
    for first, second in shown:
        says = [f"{d.label or '-'} {d.confidence:.3f} -> {d.lane} ({d.reason})" for d in (first, second) if d]
        table.add_row(str(first.item_id), str(first.frame_seq), *map(escape, says))
    if shown:
        console.print(table)
    if len(result.models) > 1:
        console.print(f"{len(result.differing)} of {len(result.pairs)} decisions differ")
    else:
        console.print(f"{len(result.pairs)} decisions")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _quantiles(milliseconds: dict[str, float]) -> str:
    return "p50 {p50:.2f} ms, p99 {p99:.2f} ms, max {max:.2f} ms".format(**milliseconds)

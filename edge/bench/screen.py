"""Findings on the terminal, and one line of progress while they are made."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.table import Table as Grid
from rich.text import Text

from edge.bench.findings import Bar, Column, Figure, Findings, Table
from edge.bench.machine import Taken
from edge.plain import plain
from edge.screen import Terminal

# The share of the machine up to which other programs hardly show in the figures; what the host keeps shows sooner.
QUIET, HOST_QUIET = 0.05, 0.005
WIDTH_OF_A_FILE = 120  # a pipe or a file has no width of its own


class Screen:
    """Writes to standard output; progress is a line that changes on a terminal, else lines on standard error."""

    def __init__(self) -> None:
        self._console = Terminal(highlight=False)
        if not self._console.is_terminal:
            self._console.width = WIDTH_OF_A_FILE

    def machine(self, machine: dict[str, Any], model: dict[str, Any]) -> None:
        """What is measured, and on what."""
        units = f" ({', '.join(machine['vector_units'])})" if machine["vector_units"] else ""
        libraries = ", ".join(f"{name} {number}" for name, number in machine["libraries"].items())
        grid = Grid(box=None, show_header=False, pad_edge=False)
        grid.add_column(style="bold")
        grid.add_column()
        grid.add_row("machine", f"{machine['cpu']}{units}, {machine['cores']} cores")
        grid.add_row("software", f"sortline {machine['sortline']}, Python {machine['python']}, {libraries}")
        grid.add_row("model", f"{model['name']} {model['version']}, {model['size']}, {model['path']}")
        self._console.print(grid)

    @contextmanager
    def progress(self, name: str) -> Iterator[Callable[[str], None]]:
        """Gives a function that shows how far the scenario is."""
        if not self._console.is_terminal:
            yield lambda text: print(f"{name}: {text}", file=sys.stderr, flush=True)
            return
        with self._console.status(name) as status:
            yield lambda text: status.update(f"[bold]{name}[/]: {text}")

    def findings(self, findings: Findings, taken: Taken | None) -> None:
        """Every table with its sentence, the bars, the notes, and what others took of the machine."""
        for table in findings.tables:
            self._table(table)
        for bar in findings.bars:
            self._bar(bar)
        for note in findings.notes:
            self._console.print(Text(plain(note), style="dim"))
        if taken:
            self._taken("Other programs took", taken.others, QUIET)
            if taken.host:
                self._taken("The host of this virtual machine kept", taken.host, HOST_QUIET)

    def _taken(self, who: str, share: float, quiet: float) -> None:
        style = "dim" if share < quiet else "yellow"
        self._console.print(Text(f"{who} {share:.1%} of the machine meanwhile.", style=style))

    def failed(self, name: str, error: Exception) -> None:
        """Says that a scenario could not be measured."""
        self._console.print()
        self._console.print(Text(plain(f"{name} could not be measured: {error}"), style="bold red"))

    def _table(self, table: Table) -> None:
        grid = Grid(box=None, pad_edge=False, header_style="bold")
        for column in table.columns:
            grid.add_column(
                Text(plain(f"{column.heading}\n{column.unit}", "\n")),
                justify="left" if any(isinstance(row[column.key], str) for row in table.rows) else "right",
                overflow="fold",
            )
        for row in table.rows:
            grid.add_row(*(Text(plain(_shown(row[column.key], column))) for column in table.columns))
        self._console.print()
        self._console.print(Text(plain(table.title), style="bold"))
        self._console.print(Text(plain(table.how, "\n"), style="dim"))
        self._console.print(grid)

    def _bar(self, bar: Bar) -> None:
        if bar.value is None:
            text, style = f"{bar.what}: cannot be measured on this system", "yellow"
        else:
            says = "holds" if bar.holds else "DOES NOT HOLD"
            text = f"{bar.what}: {bar.value:.2f} {bar.unit}, bar {bar.at_most:g} {bar.unit}: {says}"
            style = "green" if bar.holds else "bold red"
        self._console.print(Text(text, style=style))


def _shown(value: Figure, column: Column) -> str:
    if value is None:
        return "-"
    return f"{value:.{column.decimals}f}" if isinstance(value, float) else str(value)

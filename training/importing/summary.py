"""What an import made, on the screen: a table of classes and parts, and every file that was left out."""

from rich.markup import escape
from rich.table import Table

from training.importing.run import Imported

SHOWN = 40


def imported_table(made: Imported) -> Table:
    """How many pictures each class has in each part."""
    counts = made.counts()
    table = Table(title=escape(str(made.out)), title_justify="left", box=None)
    table.add_column("class")
    for part in counts:
        table.add_column("pictures" if part == "all" else part, justify="right")
    for label in sorted({one.label for one in made.written}):
        table.add_row(escape(label), *(str(of[label]) for of in counts.values()))
    table.add_row("together", *(str(sum(of.values())) for of in counts.values()), style="bold")
    return table


def left_out_lines(made: Imported) -> list[str]:
    """Every file or item that was left out and why, a line each; beyond SHOWN of them their number."""
    lines = [f"left out: {one.name}: {one.reason}" for one in made.left_out[:SHOWN]]
    if len(made.left_out) > SHOWN:
        lines.append(f"left out: {len(made.left_out) - SHOWN} more, all of them in {made.out / 'import.json'}")
    lines += [f"note: {note}" for note in made.notes[:SHOWN]]
    if len(made.notes) > SHOWN:
        lines.append(f"note: {len(made.notes) - SHOWN} more, all of them in {made.out / 'import.json'}")
    return lines

"""What the pages promise to name."""

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import edge
from edge.settings import Settings

LINE_PAGE = Path(__file__).parents[1] / "docs" / "line.md"


def tables(of: type[Settings] = Settings) -> Iterator[type[Settings]]:
    """All tables of the line's file, those of its cameras, encoders, eyes and outputs too.

    What other tests make of parts of their own in this process is in no module.

    The simulated belt's keys stand in its address; the page says where they are explained.
    """
    for table in of.__subclasses__():
        name = table.__module__
        written = getattr(sys.modules.get(name), table.__name__, None) is table
        if written and name.startswith("edge.") and not name.startswith("edge.simulator."):
            yield table
        yield from tables(table)


def test_the_page_of_the_line_names_every_key_of_its_file() -> None:
    for module in pkgutil.walk_packages(edge.__path__, "edge."):
        if not module.name.startswith("edge.bench") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    page, found = LINE_PAGE.read_text(), list(tables())
    keys = {f"{table.__module__}: {key}" for table in found for key in table.model_fields}
    assert {"edge.encoders.modbus: register_at", "edge.eyes.gpio: pull", "edge.config: model"} <= keys
    unnamed = [name for name in sorted(keys) if not re.search(rf"`[^`\n]*\b{name.split()[1]}\b[^`\n]*`", page)]
    assert unnamed == []

"""The templates of the pages that the training side writes, filled in: a word without a value is an error."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from edge.plain import plain


def templates() -> Environment:
    """The package's templates, for HTML: what is filled in is escaped, and what cannot be seen in it written out."""
    return Environment(
        loader=PackageLoader("training"),
        autoescape=True,
        finalize=_seen,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _seen(value: Any) -> Any:
    return plain(value, "\n") if isinstance(value, str) and not isinstance(value, Markup) else value

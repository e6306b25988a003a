"""The templates of the pages that the training side writes, filled in: a word without a value is an error."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def templates() -> Environment:
    """The package's templates, for HTML: what is filled in is escaped."""
    return Environment(
        loader=PackageLoader("training"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

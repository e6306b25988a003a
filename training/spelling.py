"""Class names that are probably one name, written in two ways."""

import re
from collections.abc import Iterable


def alike(labels: Iterable[str]) -> list[list[str]]:
    """The labels that differ by case, spaces, signs or a plural s alone, sorted, those that belong together in a list.

    Labels that are like no other are left out.
    """
    found: dict[str, list[str]] = {}
    for label in labels:
        plain = re.sub(r"[\W_]+", "", label.casefold())
        found.setdefault(plain.removesuffix("s") or plain, []).append(label)
    return [sorted(together) for together in found.values() if len(together) > 1]

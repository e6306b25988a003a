"""Class names: which can be one, and which are probably one name that is written in two ways."""

import re
from collections.abc import Iterable

from edge.plain import is_unseen

LONGEST_NAME = 255  # bytes, of Linux's file systems


def alike(labels: Iterable[str]) -> list[list[str]]:
    """The labels that differ by case, spaces, signs or a plural s alone, sorted, those that belong together in a list.

    Labels that are like no other are left out.
    """
    found: dict[str, list[str]] = {}
    for label in labels:
        plain = re.sub(r"[\W_]+", "", label.casefold())
        found.setdefault(plain.removesuffix("s") or plain, []).append(label)
    return [sorted(together) for together in found.values() if len(together) > 1]


def unfit(label: str) -> str | None:
    """Why a class name cannot be a folder's, which is what a picture's class is told by; None where it can."""
    for char in label:
        if is_unseen(char):
            return f"it holds U+{ord(char):04X}, which cannot be seen"
        if char in "/\\":
            return f"it holds a {char}"
    if label.startswith("."):
        return "it begins with a dot"
    if label.startswith("__"):
        return "it begins with two underscores"
    return f"it is longer than {LONGEST_NAME} bytes" if len(label.encode()) > LONGEST_NAME else None

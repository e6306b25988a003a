"""Text for people: what cannot be seen in it, and what turns its letters about, is written out."""

from unicodedata import category

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # Unicode 15, table 4-4: control, format, surrogate, separators
_JOINERS = frozenset("\u200c\u200d")  # Persian, Indic words and emoji are spelled with these; they turn nothing about


def plain(text: str, kept: str = "") -> str:
    """The text with characters that cannot be seen as their escapes, `\\u202e`; those in kept stay as they are.

    A file, a class or a camera may be called what it likes: a right-to-left override in its name shows "gpj.exe" as
    "exe.jpg" (Unicode Technical Report 36, section 2.4), and an escape clears the terminal. A byte of a file's name
    that is no UTF-8 is written out too.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode() if is_unseen(char) and char not in kept else char for char in text
    )


def is_unseen(char: str) -> bool:
    """Whether a character is a control or format character, a line break or half a character."""
    return category(char) in _UNSEEN and char not in _JOINERS

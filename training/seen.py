"""Which pictures a model has learnt from, kept in its card: the first bytes of each file's SHA-256, as one text.

Five bytes a picture: of ten thousand new pictures held against ten thousand learnt ones, one in ten
thousand times a single one is taken for learnt by chance.
"""

import base64
from collections.abc import Iterable

PREFIX = 5  # bytes


def remember(digests: Iterable[str]) -> str:
    """The pictures with these SHA-256 digests, hexadecimal, as a text for the card."""
    return base64.b64encode(b"".join(sorted({_prefix(digest) for digest in digests}))).decode()


class Seen:
    """The pictures that a card's text tells of; `digest in seen` says whether one is among them."""

    def __init__(self, text: str) -> None:
        """ValueError where the text is damaged."""
        data = base64.b64decode(text, validate=True)
        if len(data) % PREFIX:
            raise ValueError(f"{len(data)} bytes are not whole digests of {PREFIX}")
        self._prefixes = frozenset(data[i : i + PREFIX] for i in range(0, len(data), PREFIX))

    def __len__(self) -> int:
        return len(self._prefixes)

    def __contains__(self, digest: str) -> bool:
        return _prefix(digest) in self._prefixes


def _prefix(digest: str) -> bytes:
    return bytes.fromhex(digest)[:PREFIX]

"""Names and addresses of other machines, as a configuration writes them."""

from typing import Annotated

from pydantic import AfterValidator

from edge.plain import is_unseen

NOT_IN_ONE = "/@[]"


def can_be_host(text: str) -> bool:
    """Whether a text can be a machine's name or address, and no port or scheme beside it.

    Each part of a name has 1 to 63 characters (RFC 1035, 2.3.4): what else is looked up raises no OSError.
    """
    if not text or text.count(":") == 1 or any(one in NOT_IN_ONE or one.isspace() or is_unseen(one) for one in text):
        return False
    try:
        text.encode("idna")
    except UnicodeError:
        return False
    return True


def _is_host(text: str) -> str:
    if not can_be_host(text):
        raise ValueError("must be a name or an address and no more: its port is a key of its own")
    return text


Host = Annotated[str, AfterValidator(_is_host)]
"""The key that names a machine."""

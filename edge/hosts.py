"""Other machines: their names as a configuration writes them, and why one gave no answer."""

import ipaddress
import socket
import struct
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from edge.plain import is_unseen

NOT_IN_ONE = "/@[]"
AT_ONCE = struct.pack("ii", 1, 0)
"""A socket's SO_LINGER: what is not sent yet is thrown away on closing (socket(7))."""


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


def misspelt(url: str) -> str:
    """What keeps an address from being taken apart, without showing it; empty when nothing does."""
    machine = url.partition("//")[2].partition("/")[0].rpartition("@")[2]
    six = "must have its IPv6 address in brackets, as [fe80::1]:4840"
    try:
        parts = urlsplit(url)
    except ValueError:
        return six if "[" in url or "]" in url else "names no machine: it has a letter that no name has"
    try:
        parts.port  # noqa: B018 - it is read as a number only now
    except ValueError:
        if machine.count(":") > 1 and "]" not in machine:
            return six if "::" in machine else "has more than one colon after its machine's name"
        return "is no address: its port must be a number up to 65535"
    return ""


def is_loopback_name(name: str) -> bool:
    """Whether a name means this machine wherever it is said, and so cannot be a stranger's that was pointed here."""
    try:
        return name.lower() == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def why_silent(error: Exception, timeout_s: float, hung_up: str) -> str:
    """Why another machine gave no answer, in words of our own; hung_up are those for a connection that it ended."""
    for kind, said in (
        (TimeoutError, f"no answer within {timeout_s * 1e3:g} ms"),
        (socket.gaierror, f"its name is not known ({getattr(error, 'strerror', '')})"),
        (ConnectionRefusedError, "nothing listens there"),
        (ConnectionError, hung_up),
    ):
        if isinstance(error, kind):
            return said
    return getattr(error, "strerror", None) or type(error).__name__

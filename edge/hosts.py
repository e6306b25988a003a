"""Other machines: their names as a configuration writes them, whom to trust, and why one gave no answer."""

import ipaddress
import socket
import ssl
import struct
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from edge.errors import ConfigError
from edge.files import LONGEST_TEXT, read_file
from edge.plain import is_unseen

NOT_IN_ONE = "/@[]"
AT_ONCE = struct.pack("ii", 1, 0)
"""A socket's SO_LINGER: what is not sent yet is thrown away on closing (socket(7))."""
# X509_V_ERR_… of OpenSSL's x509_vfy.h.
OTHER_NAME = {62, 64}
WRONG_TIME = {
    9: "is not valid yet: see whether the clocks of both machines are right",
    10: "has expired: it needs a new one there, unless the clock of this machine is wrong",
}
# Parts of the reasons that OpenSSL gives, of which some change with its version.
NO_TLS = {
    ("CERTIFICATE_REQUIRED",): "it asks for a certificate of the line's own, which it cannot be shown",
    ("ALERT_HANDSHAKE_FAILURE",): "it refuses TLS, as one does that asks for a certificate of the line's own",
    ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"): "it speaks a TLS older than 1.2, which is not safe: let it speak 1.2",
    ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"): "it does not speak TLS at this port",
}


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


def trusting(ca_file: Path | None, key: str) -> ssl.SSLContext:
    """TLS that trusts a file's authorities, or else the system's; raises ConfigError naming the key and the file.

    The file is PEM, or one certificate in DER, as Windows exports it.
    """
    if ca_file is None:
        return ssl.create_default_context()
    try:
        data = read_file(ca_file, LONGEST_TEXT)
        if b"-----BEGIN" in data:
            return ssl.create_default_context(cafile=str(ca_file))
        return ssl.create_default_context(cadata=data)
    except (OSError, ValueError) as error:
        unusable = isinstance(error, ssl.SSLError | ValueError)
        reason = "it holds no certificate" if unusable else getattr(error, "strerror", "")
        raise ConfigError(f"{key} {ca_file}: cannot be used ({reason})") from None


def why_no_tls(error: ssl.SSLError, host: str, key: str) -> str:
    """Why there is no TLS connection to a machine, and the mend, in words of our own; key names the machine."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in OTHER_NAME:
            return f"its certificate is not for {host}: write a name or address that it is for in {key}"
        if error.verify_code in WRONG_TIME:
            return f"its certificate {WRONG_TIME[error.verify_code]}"
        return f"its certificate is not trusted ({error.verify_message}); name its authority's file in ca_file"
    reason = error.reason or ""
    for words, said in NO_TLS.items():
        if any(word in reason for word in words):
            return said
    if isinstance(error, ssl.SSLEOFError):
        return "it hung up in the midst of TLS, as one does that asks for a certificate of the line's own"
    return f"no TLS connection ({reason or 'it gives no reason'})"


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

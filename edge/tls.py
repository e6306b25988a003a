"""TLS with other machines: whom to trust, what to show them, and why there is no connection."""

import ssl
from pathlib import Path
from typing import Protocol

from edge.errors import ConfigError
from edge.files import LONGEST_TEXT, read_file

# X509_V_ERR_… of OpenSSL's x509_vfy.h.
OTHER_NAME = {62, 64}
WRONG_TIME = {
    9: "is not valid yet: see whether the clocks of both machines are right",
    10: "has expired: it needs a new one there, unless the clock of this machine is wrong",
}
OWN = "asks for a certificate of the line's own (certificate_file, key_file)"
LOCKED = "it is locked with a password: openssl pkey writes it without one"
# Parts of the reasons that OpenSSL gives, of which some change with its version.
NO_TLS = {
    ("CERTIFICATE_REQUIRED",): f"it {OWN}",
    ("ALERT_HANDSHAKE_FAILURE",): f"it refuses TLS, as one does that {OWN}",
    ("ALERT_UNKNOWN_CA", "ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE", "ALERT_DECRYPT_ERROR"):
        "it does not take the certificate of certificate_file: see whether it trusts its authority, and its dates",
    ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"):
        "it speaks a TLS older than 1.2, which is not safe: let it speak 1.2",
    ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        "it does not speak TLS at this port",
}  # fmt: skip


class TlsFiles(Protocol):
    """The keys of an output that say whom it trusts, and what it shows of itself to who asks for that."""

    ca_file: Path | None
    certificate_file: Path | None
    key_file: Path | None


def misused(files: TlsFiles, bare: str) -> str:
    """Which of the keys has no use, or lacks another; bare says why nothing is encrypted, and the mend, if so."""
    named = [key for key in ("ca_file", "certificate_file", "key_file") if getattr(files, key)]
    if bare and named:
        return f"{named[0]} is not used {bare}"
    if (files.certificate_file is None) == (files.key_file is None):
        return ""
    return "certificate_file needs key_file" if files.key_file is None else "key_file needs certificate_file"


def tls_of(files: TlsFiles, table: str) -> ssl.SSLContext:
    """TLS that trusts ca_file's authorities, or else the system's, and shows the line's own certificate, if it has one.

    ca_file is PEM, or one certificate in DER, as Windows exports it. Raises ConfigError naming the key and the file.
    """
    context = _trusting(files.ca_file, f"{table}.ca_file") if files.ca_file else ssl.create_default_context()
    certificate, key = files.certificate_file, files.key_file
    if certificate and key:
        for path, name, mark, what in (
            (certificate, "certificate_file", b"-----BEGIN CERTIFICATE-----", "certificate"),
            (key, "key_file", b"PRIVATE KEY-----", "key"),
        ):
            if mark not in read_pem_or_der(path, f"{table}.{name}"):
                raise ConfigError(f"{table}.{name} {path}: cannot be used (it holds no {what} in PEM)")
        try:
            context.load_cert_chain(certificate, key, _no_password)  # else OpenSSL asks for it at the terminal
        except _Locked:
            raise ConfigError(f"{table}.key_file {key}: cannot be used ({LOCKED})") from None
        except ssl.SSLError as error:
            if error.reason != "KEY_VALUES_MISMATCH":
                raise ConfigError(
                    f"{table}.certificate_file {certificate}: cannot be used ({error.reason or 'torn'})"
                ) from None
            raise ConfigError(f"{table}.key_file {key}: is not the key of certificate_file {certificate}") from None
    return context


class _Locked(Exception):
    """A key has a password."""


def _no_password() -> str:
    raise _Locked


def _trusting(ca_file: Path, key: str) -> ssl.SSLContext:
    data = read_pem_or_der(ca_file, key)
    try:
        if b"-----BEGIN" in data:
            return ssl.create_default_context(cafile=str(ca_file))
        return ssl.create_default_context(cadata=data)
    except (ssl.SSLError, ValueError):
        raise ConfigError(f"{key} {ca_file}: cannot be used (it holds no certificate)") from None


def read_pem_or_der(path: Path, key: str) -> bytes:
    """The bytes of a file of certificates or of a key; raises ConfigError naming the key and the file."""
    try:
        return read_file(path, LONGEST_TEXT)
    except OSError as error:
        raise ConfigError(f"{key} {path}: cannot be used ({error.strerror})") from None


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
        return f"it hung up in the midst of TLS, as one does that {OWN}"
    return f"no TLS connection ({reason or 'it gives no reason'})"

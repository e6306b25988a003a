"""One Boolean node of an OPC UA server (a PLC): read and written, each time with a limit on how long it may take."""

import asyncio
import logging
import re
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from edge.bounded import begun
from edge.errors import ConfigError, OutputError, OutputRefused
from edge.hosts import why_silent
from edge.tls import LOCKED, read_pem_or_der

# A server ends the session of a line that has died after so long; it has few to give.
SESSION_MS = 30_000
WATCH_S = 1.0  # and so often it is seen whether a silent one still answers
CLOSE_S = 0.2  # so long a server is given to hear that the session ends
MARGIN_S = 0.05  # for the hop between two threads
# OPC 10000-6, 5.3.1.10: a node's identifier is a number, a text, a GUID or bytes in base64.
NODE_ID = re.compile(
    r"(?:ns=(\d{1,5});)?(?:i=(\d{1,10})|s=.+|g=[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|b=[\w+/]+=*)"
)
# What a server has against who asks (OPC 10000-4, 7.39), and what may be done about it.
MENDS = {
    ("BadCertificateUntrusted", "BadCertificateInvalid", "BadCertificateUseNotAllowed"):
        "; see whether it trusts the certificate of certificate_file",
    ("BadSecurityChecksFailed",):
        "; see whether it trusts the certificate of certificate_file, and whether server_certificate_file is its own",
    ("BadCertificateTimeInvalid",):
        "; see whether the certificate of certificate_file has expired, and whether both clocks are right",
    ("BadUserAccessDenied", "BadIdentityTokenRejected", "BadIdentityTokenInvalid"):
        "; see username and password_file",
}  # fmt: skip
_SILENT = logging.NullHandler()  # silent unless a program that embeds the line, or --debug, has handlers of its own

Done = TypeVar("Done")


def is_node_id(text: str) -> bool:
    """Whether a text is a NodeId: its namespace is a number of 16 bits, an identifier that is a number has 32."""
    found = NODE_ID.fullmatch(text)
    return found is not None and int(found[1] or 0) < 2**16 and int(found[2] or 0) < 2**32


@dataclass(frozen=True, slots=True)
class Node:
    """A node, the server that has it, and who asks. With a certificate and its key everything is encrypted."""

    url: str
    id: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    certificate: Path | None = None
    key: Path | None = None
    server_certificate: Path | None = None

    def __str__(self) -> str:
        return f"{self.id} of {self.url}"


class OpcuaNode:
    """Reads and writes one node from any thread, one call at a time; connects when it is first asked.

    Owns a thread, in which asyncua works, until `close`. Without asyncua the constructor raises a ConfigError that
    names the setting `key`. Every call raises OutputError when there is no answer in time, OutputRefused when the
    server says no; after either the next call begins a connection anew if the old one is not sound.
    """

    def __init__(self, node: Node, key: str) -> None:
        try:
            import asyncua
        except ImportError:
            raise ConfigError(f'{key} = "opcua" needs asyncua: pip install "sortline[opcua]"') from None
        logging.getLogger("asyncua").addHandler(_SILENT)
        self._table = key.rpartition(".")[0]
        if node.certificate:
            _application_uri(node, self._table)
        self._asyncua: Any = asyncua
        self.node = node
        self._client: Any = None
        self._sound = self._greeted = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        # asyncio's own look-up of names is in threads that the end of the program waits for.
        self._loop.getaddrinfo = _look_up  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._loop.run_forever, name="sortline-opcua", daemon=True)
        self._thread.start()

    def read(self, within_s: float) -> bool:
        """Its value, which has to be a Boolean."""
        value = self._ask(self._read(), within_s)
        if not isinstance(value, bool):
            raise OutputError(f"{self.node}: it holds {type(value).__name__}, and must be a Boolean")
        return value

    def may_write(self, within_s: float) -> bool:
        """Whether the server lets this user write it, by its own word."""
        return bool(self._ask(self._may_write(), within_s))

    def write(self, value: bool, within_s: float) -> None:
        self._ask(self._write(value), within_s)

    def lost(self) -> bool:
        """Whether there is no sound connection; returns at once."""
        return not self._sound or self._client.uaclient.state.name != "CONNECTED"

    def wake(self) -> None:
        """Ends a call that waits, from any thread."""
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._hang_up)

    def close(self) -> None:
        """Ends the session and the thread; may be called twice."""
        if self._loop.is_closed():
            return
        with suppress(OutputError):
            self._ask(self._leave(), CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_S)
        if not self._thread.is_alive():
            self._loop.close()

    async def _read(self) -> Any:
        return await (await self._there()).read_value()

    async def _may_write(self) -> Any:
        ua = self._asyncua.ua
        level = await (await self._there()).read_attribute(ua.AttributeIds.UserAccessLevel)
        return level.Value.Value & ua.AccessLevel.CurrentWrite.mask

    async def _write(self, value: bool) -> None:
        ua = self._asyncua.ua
        # The value and nothing else: many PLCs take no time stamp from outside (Bad_WriteNotSupported).
        written = ua.DataValue(ua.Variant(value, ua.VariantType.Boolean))
        await (await self._there()).write_attribute(ua.AttributeIds.Value, written)

    async def _there(self) -> Any:
        """The node, on a connection that stands."""
        if self.lost():
            await self._leave()
            await self._connect()
        return self._client.get_node(self.node.id)

    async def _connect(self) -> None:
        node = self.node
        self._client = client = self._asyncua.Client(node.url, timeout=60, watchdog_intervall=WATCH_S)
        client.name = client.description = "sortline"
        client.session_timeout = SESSION_MS
        if node.username is not None:
            client.set_user(node.username)
            client.set_password(node.password or "")
        if node.certificate and node.key:
            from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

            client.application_uri = _application_uri(node, self._table)  # its files may be others than at the start
            await client.set_security(
                SecurityPolicyBasic256Sha256,
                self._file(node.certificate),
                self._file(node.key),
                server_certificate=self._file(node.server_certificate) if node.server_certificate else None,
            )
        before, hello, self._greeted = asyncio.all_tasks(), client.send_hello, False

        async def greeted() -> None:
            await hello()
            self._greeted = True

        client.send_hello = greeted
        try:
            await client.connect()
        finally:
            self._tasks = asyncio.all_tasks() - before  # its own, which a connection that is dead does not end
        sock = client.uaclient.protocol.transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sound = True

    def _file(self, path: Path) -> Any:
        """asyncua goes by a file's name, where .key is no text."""
        from asyncua.crypto.uacrypto import CertProperties

        data = path.read_bytes()
        return CertProperties(data, "pem" if _is_pem(data) else "der")

    async def _leave(self) -> None:
        """Ends the session, if there is one; what becomes of it on a dead connection is the server's."""
        client, self._client, sound, self._sound = self._client, None, self._sound, False
        if client is None:
            return
        if sound and client.uaclient.state.name == "CONNECTED":
            with suppress(Exception):
                await asyncio.wait_for(client.disconnect(), CLOSE_S / 2)
        with suppress(Exception):
            client.disconnect_socket()
        for task in self._tasks:
            task.cancel()

    def _hang_up(self) -> None:
        """In the loop's thread."""
        self._sound = False
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    def _ask(self, question: Coroutine[Any, Any, Done], within_s: float) -> Done:
        if self._loop.is_closed():
            question.close()
            raise OutputError(f"{self.node}: the output is closed")
        done = asyncio.run_coroutine_threadsafe(asyncio.wait_for(question, within_s), self._loop)
        try:
            return done.result(within_s + MARGIN_S)
        except (asyncio.CancelledError, CancelledError):
            self._sound = False
            raise OutputError(f"{self.node}: it was given up") from None
        except TimeoutError:
            done.cancel()
            why = self._why_deaf()
            self._sound = False
            raise OutputError(f"{self.node}: no answer within {within_s * 1e3:.0f} ms{why}") from None
        except Exception as error:  # what is no OPC UA server makes asyncua's parser raise anything
            raise self._told(error, within_s) from None

    def _why_deaf(self) -> str:
        """What a server that greets and is silent then, to what is encrypted for it, may have against it."""
        if self.node.server_certificate is None or self._sound or not self._greeted:
            return ""
        return "; see whether server_certificate_file is its certificate, by which it is spoken to"

    def _told(self, error: Exception, within_s: float) -> OutputError:
        """An error of the connection, or the server's refusal, in a sentence."""
        ua = self._asyncua.ua
        if isinstance(error, ua.UaStatusCodeError):
            status = ua.StatusCode(error.code)
            mend = next((said for names, said in MENDS.items() if status.name in names), "")
            return OutputRefused(f"{self.node}: the server refuses ({status.name}){mend}")
        self._sound = False
        if str(error).startswith("No matching endpoints"):
            own = self.node.certificate is not None
            wants = (
                "it takes no Basic256Sha256 that signs and encrypts; without certificate_file and key_file nothing is"
                if own
                else "it takes only what is signed and encrypted: name certificate_file and key_file"
            )
            return OutputError(f"{self.node}: {wants}")
        if isinstance(error, ConnectionError | socket.gaierror):
            return OutputError(f"{self.node}: {why_silent(error, within_s, 'the connection was lost')}")
        return OutputError(f"{self.node}: {getattr(error, 'strerror', None) or error or type(error).__name__}")


async def _look_up(host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
    return await asyncio.wrap_future(begun(lambda: socket.getaddrinfo(host, port, family, type, proto, flags)))


def _is_pem(data: bytes) -> bool:
    return data.lstrip().startswith(b"-----")


def _application_uri(node: Node, table: str) -> str:
    """What the certificate says its owner is called: a server compares it with what the client says.

    Raises ConfigError when a file of the three cannot be used.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

    def load(path: Path, name: str, pem: Callable[[bytes], Any], der: Callable[[bytes], Any]) -> Any:
        data = read_pem_or_der(path, f"{table}.{name}")
        try:
            return pem(data) if _is_pem(data) else der(data)
        except TypeError:  # by its documentation: it is encrypted, and no password was given
            reason = LOCKED
        except ValueError:
            reason = f"it holds no {'key' if name == 'key_file' else 'certificate'}"
        raise ConfigError(f"{table}.{name} {path}: cannot be used ({reason})")

    pem, der = x509.load_pem_x509_certificate, x509.load_der_x509_certificate
    if node.server_certificate:
        load(node.server_certificate, "server_certificate_file", pem, der)
    assert node.certificate and node.key
    key = load(
        node.key, "key_file", lambda data: load_pem_private_key(data, None), lambda d: load_der_private_key(d, None)
    )
    certificate = load(node.certificate, "certificate_file", pem, der)
    if not isinstance(key, RSAPrivateKey):
        raise ConfigError(f"{table}.key_file {node.key}: is no RSA key, which Basic256Sha256 needs")
    if certificate.public_key() != key.public_key():
        raise ConfigError(f"{table}.key_file {node.key}: is not the key of certificate_file {node.certificate}")
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return cast(str, names.get_values_for_type(x509.UniformResourceIdentifier)[0])
    except (x509.ExtensionNotFound, IndexError):
        raise ConfigError(
            f"{table}.certificate_file {node.certificate}: names no application: it needs a URI among its "
            "alternative names, as urn:line3:sortline"
        ) from None

"""One HTTP server that is asked with a limit on the whole of it: from its name's look-up to its answer's last byte."""

import math
import select
import socket
import ssl
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from time import monotonic
from typing import Any, cast
from urllib.parse import urlsplit

from edge.bounded import begun
from edge.errors import OutputError
from edge.hosts import why_silent
from edge.tls import why_no_tls

# What an answer says after its status is read before the next question, for so long and so far, or the connection is
# given up. Not at once: many servers send it apart, when what was before it has its receipt (Nagle's algorithm),
# which Linux gives 40 ms later unless it is asked to hurry (tcp(7), TCP_QUICKACK).
DRAIN_S, DRAIN_BYTES = 0.02, 65_536
HURRY: int | None = getattr(socket, "TCP_QUICKACK", None)
CLOSE_S = 0.2  # whoever asks is given so long to give up

Addresses = list[tuple[Any, ...]]


class _Timed(socket.socket):
    """A socket whose every step ends at one moment. A timeout of Python's own begins anew with each byte that comes."""

    until = math.inf

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self._arm()
        return super().recv_into(*args, **kwargs)

    def send(self, *args: Any, **kwargs: Any) -> int:
        self._arm()
        return super().send(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self._arm()
        super().sendall(*args, **kwargs)

    def _arm(self) -> None:
        self.settimeout(_rest(self.until) if self.until < math.inf else None)


class _TimedTls(_Timed, ssl.SSLSocket):
    """The same through TLS; its methods call on to those of an SSLSocket."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: its status (100 to 999) and its headers, their names in lower case."""

    status: int
    headers: Mapping[str, str]


class HttpClient:
    """Asks one server; its connection is kept between two questions, which one thread at a time may ask.

    url is http, or https with tls, which is this client's alone. The constructor connects to nothing. Redirects are
    not followed, no proxy of the environment is used.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._context = parts.hostname or "", tls
        if tls:
            tls.sslsocket_class = _TimedTls
        self._usual_port = 443 if tls else 80
        self._port = parts.port or self._usual_port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._connection: HTTPConnection | None = None
        self._unread: HTTPResponse | None = None
        self._resolving: Future[Addresses] | None = None
        self._asking = threading.Lock()
        self._closed = False

    def ask(
        self, method: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float, leave_s: float = math.inf
    ) -> Answer:
        """Sends one request and returns its answer; raises OutputError, a reason in words, when there is none in time.

        What cannot be sent within leave_s is not sent at all. One that goes out on a connection which the server has
        closed meanwhile is sent once more: it has to bear what its repeats are told by.
        """
        until = monotonic() + timeout_s
        leave_by = min(until, monotonic() + leave_s)
        with self._asking:
            try:
                kept = self._kept()
                if kept is not None:
                    # The server may close it at this very moment: then nothing comes back.
                    with suppress(ConnectionError):
                        return self._exchange(kept, method, headers, body, until)
                    self._drop()
                return self._exchange(self._connect(leave_by), method, headers, body, until)
            except (OSError, HTTPException) as error:
                self._drop()
                if self._closed:
                    raise OutputError("the output is closed") from None
                if isinstance(error, TimeoutError) and monotonic() < until:
                    raise OutputError("it was not reached before the item's place went by") from None
                raise OutputError(_said(error, timeout_s, self._host)) from None
            finally:
                if self._closed:
                    self._drop()

    def close(self) -> None:
        """Gives up what is being asked, and the connection. May be called by any thread, and twice."""
        self._closed = True
        connection = self._connection
        sock = connection.sock if connection else None
        if sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        if self._asking.acquire(timeout=CLOSE_S):  # else it is let go of at the end of what is being asked
            try:
                self._drop()
            finally:
                self._asking.release()

    def _kept(self) -> HTTPConnection | None:
        """The connection from before, unless the server has hung up, or says something that nobody has asked for."""
        if self._unread and self._connection and not self._read_out(self._unread, cast(_Timed, self._connection.sock)):
            self._drop()
        self._unread = None
        if self._connection is None:
            return None
        poll = select.poll()
        poll.register(self._connection.sock, select.POLLIN)
        if poll.poll(0):
            self._drop()
        return self._connection

    def _exchange(
        self, connection: HTTPConnection, method: str, headers: Mapping[str, str], body: bytes | None, until: float
    ) -> Answer:
        sock = cast(_Timed, connection.sock)
        sock.until = until
        connection.request(method, self._target, body, dict(headers))
        _hurry(sock)
        response = connection.getresponse()
        answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()})
        if response.will_close:
            self._drop()
        else:
            self._unread = response
        return answer

    def _read_out(self, response: HTTPResponse, sock: _Timed) -> bool:
        """Whether the last answer has come to its end, so that the next one follows it."""
        sock.until = monotonic() + DRAIN_S
        try:
            _hurry(sock)
            return len(response.read(DRAIN_BYTES)) < DRAIN_BYTES and response.isclosed()
        except (OSError, HTTPException):
            return False

    def _connect(self, until: float) -> HTTPConnection:
        if self._closed:
            raise TimeoutError
        refusal: OSError = TimeoutError()
        for family, kind, protocol, _, address in self._addresses(until):
            sock: socket.socket = _Timed(family, kind, protocol)
            try:
                sock.settimeout(_rest(until))
                sock.connect(address)
                # The headers and the body go out one after the other; neither waits for the other's receipt.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._context:
                    sock.settimeout(_rest(until))
                    sock = self._context.wrap_socket(sock, server_hostname=self._host)
            except OSError as error:
                sock.close()
                refusal = error
                continue
            self._connection = HTTPConnection(self._host, self._port)
            # Else the Host header would have a port of its own where the scheme's is meant.
            self._connection.default_port = self._usual_port
            self._connection.sock = sock
            return self._connection
        raise refusal

    def _addresses(self, until: float) -> Addresses:
        """What the name stands for. A look-up cannot be ended from outside: at most one goes on behind."""
        with suppress(OSError):
            return socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        if self._resolving is None:
            self._resolving = begun(lambda: socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM))
        try:
            return self._resolving.result(_rest(until))
        finally:
            if self._resolving.done():
                self._resolving = None

    def _drop(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = self._unread = None


def _hurry(sock: socket.socket) -> None:
    """What has come is acknowledged at once."""
    if HURRY is not None:
        sock.setsockopt(socket.IPPROTO_TCP, HURRY, 1)


def _rest(until: float) -> float:
    if (rest := until - monotonic()) <= 0:
        raise TimeoutError
    return rest


def _said(error: Exception, timeout_s: float, host: str) -> str:
    """Why there is no answer, in words; nothing that the server wrote is among them."""
    if isinstance(error, ssl.SSLError) and not isinstance(error, TimeoutError):
        return why_no_tls(error, host, "url")
    if isinstance(error, HTTPException) and not isinstance(error, OSError):
        return "it does not answer in HTTP"
    return why_silent(error, timeout_s, "it hung up without an answer")

"""Real servers that outputs talk to: one over HTTP that remembers what it is told, and one that answers as it likes."""

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge.records import Actuation, Box, Decision

DECISION = Decision(
    7, "good", "bolt", 0.98, {"bolt": 0.98, "nut": 0.02}, "classified", 12, 1.0, 1.1, 1.5, 40.0, Box(1, 2, 30, 40)
)
PUSH = Actuation(7, "good", "gate", 500.0, 1.0, 40.0, DECISION, 0.05)


@dataclass
class HttpServer:
    """What an HTTP server was sent, and what it answers: status, body, and whether it hangs up after an answer."""

    port: int = 0
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    options: int = 204
    hang_up: bool = False
    calls: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/sorted"


@contextmanager
def http_server(tls: ssl.SSLContext | None = None) -> Iterator[HttpServer]:
    state, open_ones = HttpServer(), set[socket.socket]()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65_536  # an answer is one piece, whatever else the machine has to do

        def setup(self) -> None:
            super().setup()
            state.connections += 1
            open_ones.add(self.connection)

        def finish(self) -> None:
            open_ones.discard(self.connection)
            super().finish()

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.calls.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(state.status if self.command == "POST" else state.options)
            for name, value in state.headers.items():
                self.send_header(name, value)
            if state.status != 204:
                self.send_header("Content-Length", "2")
            self.end_headers()
            if state.status != 204:
                self.wfile.write(b"ok")
            self.close_connection = state.hang_up

        do_POST = do_OPTIONS = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    state.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="http-server")
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        for connection in open_ones.copy():  # those that a client keeps
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        server.server_close()


@contextmanager
def talker(talk: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """A port at which each connection is handed to `talk`, whose Event is set when the test is over."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            talk(connection, over)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threads.append(threading.Thread(target=one, args=(listener.accept()[0],), name="talker"))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads.append(threading.Thread(target=accept, name="talker"))
        threads[0].start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def free_port() -> int:
    """A port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Certificates:
    """An authority of the plant's own, and the certificate and key that it gave to a server at 127.0.0.1."""

    ca: Path
    certificate: Path
    key: Path

    @property
    def strict(self) -> ssl.SSLContext:
        """Of a server that takes only who shows a certificate of the same authority."""
        context = self.server
        context.load_verify_locations(self.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # later ones refuse only what is said after the handshake
        return context

    @property
    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def make_certificates(folder: Path, host: str = "127.0.0.1", days: tuple[int, int] = (-1, 1)) -> Certificates:
    """For a server at an address or of a name; days are from when to when it is valid, counted from now."""
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    keys = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the plant")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mes")])
    is_address = host[0].isdigit()
    called = x509.IPAddress(ipaddress.ip_address(host)) if is_address else x509.DNSName(host)
    for path, key, subject, extension, (begins, ends) in (
        (made.ca, keys[0], ca_name, x509.BasicConstraints(ca=True, path_length=None), (-30, 30)),
        (made.certificate, keys[1], name, x509.SubjectAlternativeName([called]), days),
    ):
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=begins))
            .not_valid_after(now + datetime.timedelta(days=ends))
            .add_extension(extension, critical=path == made.ca)
            .sign(keys[0], hashes.SHA256())
        )
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        keys[1].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return made

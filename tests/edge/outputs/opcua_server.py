"""A real OPC UA server in a thread of its own, with a gate, and a way to it that can be cut and held up."""

import asyncio
import datetime
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.edge.outputs.servers import free_port

USER, PASSWORD = "line3", "a-secret-that-nobody-sees"
GATE, FIXED, COUNT = "ns=2;s=Main.gate", "ns=2;s=Main.fixed", "ns=2;s=Main.count"


class Plc:
    """gate is what its Boolean holds; writes are all that were written to it, in order."""

    def __init__(self) -> None:
        self.port = free_port()
        self.writes: list[bool] = []
        self.changed = threading.Condition()
        self.loop = asyncio.new_event_loop()
        self.gate: Any = None

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    @property
    def is_out(self) -> bool:
        return bool(self.writes and self.writes[-1])

    def set(self, value: bool) -> None:
        """As a program on the PLC would."""
        asyncio.run_coroutine_threadsafe(self.gate.write_value(value), self.loop).result(5)

    def wait_for(self, writes: list[bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.writes == writes, 20), self.writes


@dataclass(frozen=True)
class Identity:
    """A certificate of somebody's own, and its key."""

    certificate: Path
    key: Path


def make_identity(folder: Path, name: str, *, uri: bool = True, password: bytes = b"") -> Identity:
    """password locks the key."""
    made = Identity(folder / f"{name}.pem", folder / f"{name}.key")
    key = rsa.generate_private_key(65537, 2048)
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.UniformResourceIdentifier(f"urn:plant:{name}")] if uri else [x509.DNSName(name)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    made.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    made.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock))
    return made


@contextmanager
def opcua_server(identity: Identity | None = None, *, strict: bool = False) -> Iterator[Plc]:
    """With an identity it can be spoken to signed and encrypted; a strict one only so, and it trusts no certificate."""
    asyncua = pytest.importorskip("asyncua", reason="needs asyncua")
    from asyncua.crypto.permission_rules import User, UserRole

    plc, ready, over = Plc(), threading.Event(), asyncio.Event()

    class Users:
        def get_user(self, _: Any, username: Any = None, password: Any = None, certificate: Any = None) -> Any:
            known = username is None or (username == USER and password == PASSWORD)
            return User(role=UserRole.User) if known else None

    class Remember:
        def datachange_notification(self, _: Any, value: Any, __: Any) -> None:
            with plc.changed:
                plc.writes.append(bool(value))
                plc.changed.notify_all()

    async def distrust(*_: Any) -> None:
        raise asyncua.ua.uaerrors.BadCertificateUntrusted

    async def serve() -> None:
        server = asyncua.Server(user_manager=Users())
        await server.init()
        server.set_endpoint(plc.url)
        policies = [] if strict else [asyncua.ua.SecurityPolicyType.NoSecurity]
        if identity:
            policies.append(asyncua.ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt)
            await server.load_certificate(str(identity.certificate))
            await server.load_private_key(str(identity.key), format="pem")
        server.set_security_policy(policies)
        if strict:
            server.set_certificate_validator(distrust)
        await server.register_namespace("plant")
        main = await server.nodes.objects.add_object(2, "Main")
        plc.gate = await main.add_variable(GATE, "gate", False)
        await plc.gate.set_writable()
        await main.add_variable(FIXED, "fixed", False)
        count = await main.add_variable(COUNT, "count", 5)
        await count.set_writable()
        async with server:
            watch = await server.create_subscription(0, Remember())
            await watch.subscribe_data_change(plc.gate, queuesize=100)
            while not plc.writes:
                await asyncio.sleep(0.005)
            plc.writes.clear()
            ready.set()
            await over.wait()
            await watch.delete()

    async def run() -> None:
        try:
            await serve()
        finally:
            ready.set()
            await asyncio.get_running_loop().shutdown_default_executor()

    thread = threading.Thread(target=plc.loop.run_until_complete, args=(run(),), name="plc")
    thread.start()
    try:
        assert ready.wait(20)
        yield plc
    finally:
        plc.loop.call_soon_threadsafe(over.set)
        thread.join(20)
        plc.loop.close()


class Way:
    """A port that leads to another one, while it is open and not held up."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.flows = threading.Event()
        self.flows.set()
        self.shut = False
        self.ends: list[socket.socket] = []
        self.port = 0

    def cut(self) -> None:
        """Ends every connection."""
        for end in self.ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def way(to: int) -> Iterator[Way]:
    made, threads = Way(to), list[threading.Thread]()

    def run(work: Any, *args: Any) -> None:
        threads.append(threading.Thread(target=work, args=args, name="way"))
        threads[-1].start()

    def carry(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                made.flows.wait()
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                if made.shut:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", made.to), 5)
                far.settimeout(None)
                made.ends += [near, far]
                run(carry, near, far)
                run(carry, far, near)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        made.port = listener.getsockname()[1]
        run(accept)
        try:
            yield made
        finally:
            made.flows.set()
            listener.shutdown(socket.SHUT_RDWR)
            made.cut()
            for thread in threads:
                thread.join()
            for end in made.ends:
                end.close()

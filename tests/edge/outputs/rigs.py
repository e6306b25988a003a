"""Every kind of output with a real other side: what the contract tests and `sortline check` are tried with.

A rig makes tables for [outputs.NAME]: one whose other side is there, and one whose other side is away.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.edge.outputs.broker import broker, listening
from tests.edge.outputs.opcua_server import GATE, PASSWORD, USER, opcua_server
from tests.edge.outputs.servers import free_port, http_server
from tests.edge.pins import pretended

SECRET = "a-secret-that-nobody-sees"


@dataclass(frozen=True)
class Rig:
    """called is what stands in its name for sentences. there is a table that works; away is one whose other side does
    not answer, None where there is no other side.

    pushes counts what the other side was told, where it can be asked. wrong are keys, each with a value that is
    refused and what the sentence about it says. at_rest waits for the end of a pulse.
    """

    called: str
    there: dict[str, Any]
    away: dict[str, Any] | None = None
    pushes: Callable[[], int] | None = None
    wrong: dict[str, tuple[Any, str]] = field(default_factory=dict)
    at_rest: Callable[[], None] = lambda: None


@contextmanager
def callback(folder: Path) -> Iterator[Rig]:
    from tests.edge import own_parts

    own_parts.heard.clear()
    yield Rig(
        "tests.edge.own_parts:hear",
        {"type": "callback", "function": "tests.edge.own_parts:hear"},
        pushes=lambda: len(own_parts.heard),
        wrong={"function": ("plant7", "must be written package.module:function")},
    )


@contextmanager
def log(folder: Path) -> Iterator[Rig]:
    yield Rig("log", {"type": "log"})


@contextmanager
def webhook(folder: Path) -> Iterator[Rig]:
    (folder / "token").write_text(SECRET)
    keys = {"type": "webhook", "token_file": str(folder / "token"), "timeout_ms": 300}
    with http_server() as server:
        yield Rig(
            "webhook",
            {**keys, "url": server.url},
            {**keys, "url": f"http://127.0.0.1:{free_port()}/?key={SECRET}"},
            lambda: sum(method == "POST" for method, *_ in server.calls),
            {
                "url": (f"http://me:{SECRET}@mes/", "must not hold a name or password: put a token into a file"),
                "timeout_ms": (0, "input should be greater than 0"),
                "token_file": ("", "is empty"),
                "ca_file": ("ca.pem", "is not used with http: write https in url"),
            },
        )


@contextmanager
def mqtt(folder: Path) -> Iterator[Rig]:
    (folder / "password").write_text(SECRET)
    keys = {"type": "mqtt", "host": "127.0.0.1", "topic": "sorted", "username": "line3", "timeout_ms": 300}
    keys |= {"password_file": str(folder / "password")}
    with broker(folder) as here, listening(here) as heard:
        yield Rig(
            "mqtt",
            {**keys, "port": here.port},
            {**keys, "port": free_port()},
            lambda: len(heard.of("sorted")),
            {
                "host": ("mqtt://mes", "must be a name or an address and no more"),
                "port": (0, "input should be greater than or equal to 1"),
                "topic": ("sorted/#", "must not have + or # in it"),
                "qos": (2, "input should be 0 or 1"),
                "username": (5, "must be a text, in quotes"),
                "password_file": (5, "must be a text, in quotes"),
                "tls": ("yes", "must be true or false, without quotes"),
                "client_id": ("", "should have at least 1 character"),
            },
        )


@contextmanager
def gpio(folder: Path) -> Iterator[Rig]:
    with pretended():
        yield Rig(
            "gpio",
            {"type": "gpio", "pin": 17},
            wrong={
                "pin": (1.5, "must be a pin as gpiozero names it"),
                "active_high": ("yes", "must be true or false, without quotes"),
            },
        )


@contextmanager
def modbus(folder: Path) -> Iterator[Rig]:
    pytest.importorskip("pymodbus", reason="pymodbus is not installed")
    from tests.edge.plc import Plc, serving

    keys = {"type": "modbus", "host": "127.0.0.1", "address": 5, "must_answer": False, "timeout_ms": 1000}
    with serving(Plc()) as plc:
        yield Rig(
            "modbus",
            {**keys, "port": plc.port},
            {**keys, "port": free_port()},
            lambda: plc.writes.count((5, 1)),
            {
                "host": ("", "should have at least 1 character"),
                "address": (65536, "input should be less than or equal to 65535"),
                "kind": ("discrete", "input should be 'coil' or 'holding'"),
                "out_value": (2, "must be 0 or 1: a coil has no other"),
                "reset_by": ("nobody", "input should be 'line' or 'plc'"),
                "must_answer": ("yes", "must be true or false, without quotes"),
                "alive_ms": (-1, "input should be greater than or equal to 0"),
            },
        )


@contextmanager
def opcua(folder: Path) -> Iterator[Rig]:
    (folder / "password").write_text(PASSWORD)
    keys = {"type": "opcua", "node": GATE, "username": USER, "timeout_ms": 2000, "must_answer": False}
    keys |= {"password_file": str(folder / "password"), "pulse_ms": 20}
    with opcua_server() as plc:
        yield Rig(
            GATE,
            {**keys, "url": plc.url},
            {**keys, "url": f"opc.tcp://127.0.0.1:{free_port()}", "timeout_ms": 300, "connect_timeout_ms": 300},
            lambda: plc.writes.count(True),
            {
                "url": (f"opc.tcp://me:{SECRET}@plc", "must not hold a name or password"),
                "node": ("MAIN.gate", "must be a NodeId"),
                "timeout_ms": (0, "input should be greater than 0"),
                "reset_by": ("me", "input should be 'line' or 'plc'"),
                "certificate_file": ("line3.pem", "needs key_file"),
                "must_answer": ("no", "must be true or false, without quotes"),
            },
            lambda: plc.wait_for(plc.writes if not plc.is_out else [*plc.writes, False]),
        )


KINDS = (callback, gpio, log, modbus, mqtt, opcua, webhook)
RIGS: dict[str, Callable[[Path], Any]] = {one.__name__: one for one in KINDS}

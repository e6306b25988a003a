"""The opcua output, against a real server: out and back, whatever becomes of the way to it."""

import asyncio
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge.errors import ConfigError, OutputError
from edge.outputs.opcua import Opcua
from edge.parts import typed_outputs
from tests.edge.outputs import pushes
from tests.edge.outputs.opcua_server import (
    COUNT,
    FIXED,
    GATE,
    PASSWORD,
    USER,
    Identity,
    Plc,
    Way,
    make_identity,
    opcua_server,
    way,
)  # fmt: skip
from tests.edge.outputs.pushes import Ear, notes, problems
from tests.edge.outputs.servers import PUSH, free_port, talker

LONG_S = 20.0
wait_until = partial(pushes.wait_until, within_s=LONG_S)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return make_identity(tmp_path_factory.mktemp("plc"), "plc")


@pytest.fixture(scope="module")
def server(identity: Identity) -> Iterator[Plc]:
    with opcua_server(identity) as plc:
        yield plc


@pytest.fixture
def plc(server: Plc) -> Iterator[Plc]:
    server.writes.clear()
    yield server
    server.set(False)


@pytest.fixture
def lane(plc: Plc) -> Iterator[Way]:
    with way(plc.port) as made:
        yield made


@pytest.fixture
def gates() -> Iterator[Callable[..., Opcua]]:
    made: list[Opcua] = []

    def make(port: int, begin: bool = True, **keys: Any) -> Opcua:
        table = {"type": "opcua", "url": f"opc.tcp://127.0.0.1:{port}", "node": GATE, "timeout_ms": 5000, **keys}
        made.append(Opcua("gate", Opcua.Settings.model_validate(table)))
        if begin:
            made[-1].begin({})
        return made[-1]

    yield make
    for one in made:
        with suppress(OutputError):  # a test that means it closes by itself
            one.close()


class Reports:
    """What an output tells between its pushes: names, and whether it is over."""

    def __init__(self, output: Opcua) -> None:
        self.heard: list[tuple[str, bool]] = []
        self.causes: list[str] = []
        output.report_to(self)

    def __call__(self, name: str, cause: str, action: str, *, recovered: bool = False) -> None:
        self.heard.append((name, recovered))
        self.causes.append(cause)


def test_a_push_sets_the_node_and_takes_it_back_after_the_pulse(plc: Plc, gates: Callable[..., Opcua]) -> None:
    gate = gates(plc.port)
    began = time.monotonic()
    gate.fire(replace(PUSH, pulse_s=0.1))
    plc.wait_for([True])
    plc.wait_for([True, False])
    assert time.monotonic() - began >= 0.1
    assert gate.called == f"{GATE} of {plc.url}"


def test_with_reset_by_plc_it_only_sets(plc: Plc, gates: Callable[..., Opcua]) -> None:
    gate = gates(plc.port, reset_by="plc")
    gate.fire(replace(PUSH, pulse_s=0.01))
    plc.wait_for([True])
    gate.close()
    assert plc.writes == [True]


def test_a_gate_that_stands_out_at_the_start_is_brought_back(plc: Plc, gates: Callable[..., Opcua]) -> None:
    plc.set(True)
    plc.wait_for([True])
    gates(plc.port)
    plc.wait_for([True, False])


def test_closing_brings_the_gate_back_at_once(plc: Plc, gates: Callable[..., Opcua]) -> None:
    gate = gates(plc.port)
    gate.fire(replace(PUSH, pulse_s=10))
    plc.wait_for([True])
    began = time.monotonic()
    gate.close()
    gate.close()
    plc.wait_for([True, False])
    assert time.monotonic() - began < 1.0
    with pytest.raises(OutputError, match="closed"):
        gate.fire(PUSH)


def test_a_lost_session_is_told_regained_and_pushes_are_made_again(
    plc: Plc, lane: Way, gates: Callable[..., Opcua]
) -> None:
    gate = gates(lane.port, connect_timeout_ms=1000)
    reports = Reports(gate)
    lane.shut = True
    lane.cut()
    wait_until(lambda: ("output_unreachable", False) in reports.heard)
    with pytest.raises(OutputError, match=rf"127\.0\.0\.1:{lane.port}: "):
        gate.fire(replace(PUSH, within_s=0.1))
    assert plc.writes == []
    lane.shut = False
    wait_until(lambda: ("output_unreachable", True) in reports.heard)
    gate.fire(PUSH)
    plc.wait_for([True, False])


def test_why_a_server_is_not_reached_is_told_anew_when_it_changes_though_nobody_pushes(
    lane: Way, gates: Callable[..., Opcua]
) -> None:
    ear = Ear(gates(lane.port, connect_timeout_ms=300))
    lane.flows.clear()
    lane.cut()
    assert "no answer within 300 ms" in ear.wait_for("output_unreachable")
    lane.shut = True
    wait_until(lambda: "no answer" not in ear.told[-1][1])


def test_a_gate_that_cannot_be_brought_back_is_told_loudly_and_brought_back_when_it_can(
    plc: Plc, lane: Way, gates: Callable[..., Opcua]
) -> None:
    gate = gates(lane.port, timeout_ms=1000, connect_timeout_ms=1000)
    reports = Reports(gate)
    gate.fire(replace(PUSH, pulse_s=0.2))
    plc.wait_for([True])
    lane.shut = True
    lane.cut()
    wait_until(lambda: ("diverter_out", False) in reports.heard)
    assert plc.writes == [True]
    lane.shut = False
    plc.wait_for([True, False])
    wait_until(lambda: ("diverter_out", True) in reports.heard)


def test_a_server_that_does_not_answer_holds_a_push_no_longer_than_the_limit_and_ends_at_rest(
    plc: Plc, lane: Way, gates: Callable[..., Opcua]
) -> None:
    gate = gates(lane.port, timeout_ms=200)
    lane.flows.clear()
    began = time.monotonic()
    with pytest.raises(OutputError, match="no answer within"):
        gate.fire(PUSH)
    assert time.monotonic() - began < LONG_S / 2
    lane.flows.set()
    wait_until(lambda: gate._rest_at > time.monotonic() + 1e6)
    time.sleep(0.05)
    assert not plc.is_out


def test_closing_is_quick_when_the_server_hangs(
    lane: Way, gates: Callable[..., Opcua], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = gates(lane.port, timeout_ms=5000)
    lane.flows.clear()
    begun, set_out = threading.Event(), gate._set_out

    def noted(until: float) -> None:
        begun.set()
        set_out(until)

    monkeypatch.setattr(gate, "_set_out", noted)
    thread = threading.Thread(target=lambda: suppress_call(gate))
    thread.start()
    assert begun.wait(LONG_S)
    began = time.monotonic()
    with pytest.raises(OutputError, match="still out"):
        gate.close()
    assert time.monotonic() - began < 1.0
    thread.join(LONG_S)
    assert not thread.is_alive()


def test_connections_that_hung_leave_nothing_behind(plc: Plc, lane: Way, gates: Callable[..., Opcua]) -> None:
    gate = gates(lane.port, timeout_ms=200)
    node, loop = gate._node, gate._node._loop
    for times in (1, 2, 3):
        lane.flows.clear()
        suppress_call(gate)
        lane.flows.set()
        wait_until(lambda: not node.lost() and gate._ready and gate._rest_at > time.monotonic() + 1e6)
        if times == 1:
            tasks = len(asyncio.all_tasks(loop))
    wait_until(lambda: len(asyncio.all_tasks(loop)) <= tasks)  # and those that are still told to end have done so


def suppress_call(gate: Opcua) -> None:
    with suppress(OutputError):
        gate.fire(PUSH)


def test_check_says_what_the_node_holds(plc: Plc, gates: Callable[..., Opcua]) -> None:
    assert gates(plc.port, begin=False).check().startswith(f"{GATE} of {plc.url} is false (at rest), answered in ")
    assert plc.writes == []
    with pytest.raises(OutputError, match="the server does not let this user write it"):
        gates(plc.port, begin=False, node=FIXED).check()
    plc.set(True)
    plc.wait_for([True])
    assert " is true (out), answered in " in gates(plc.port, begin=False).check()
    assert plc.writes == [True]  # it may be a running line's


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"node": COUNT}, "it holds int, and must be a Boolean"),
        ({"node": "ns=2;s=Main.nothing"}, r"the server refuses \(BadNodeIdUnknown\)"),
        ({"username": "stranger"}, r"the server refuses \(BadUserAccessDenied\); see username and password_file"),
    ],
)
def test_what_cannot_be_a_gate_is_told_before_the_line_starts(
    plc: Plc, gates: Callable[..., Opcua], keys: dict[str, Any], says: str
) -> None:
    with pytest.raises(OutputError, match=rf"outputs\.gate: .*: {says}"):
        gates(plc.port, **keys)


def test_a_password_is_the_files(plc: Plc, gates: Callable[..., Opcua], tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    gates(plc.port, username=USER, password_file=tmp_path / "password").fire(PUSH)
    plc.wait_for([True, False])


def test_a_password_that_may_go_bare_to_another_machine_is_noted() -> None:
    there = {"type": "opcua", "url": "opc.tcp://PLC:4840", "node": GATE, "username": USER, "password_file": "p"}
    assert notes(gate=there) == [
        "outputs.gate.password_file: the password goes to plc unencrypted, unless the server itself asks for more: "
        "name certificate_file and key_file"
    ]
    mine = {"certificate_file": "c", "key_file": "k"}
    local = {"url": "opc.tcp://127.0.0.1:4840"}
    for quiet in ({**there, **mine}, {**there, **local}, {**there, "password_file": None}):
        assert notes(gate=quiet) == []


def test_with_a_certificate_everything_is_encrypted_for_the_server_that_is_meant(
    plc: Plc, gates: Callable[..., Opcua], tmp_path: Path, identity: Identity
) -> None:
    mine = make_identity(tmp_path, "line3")
    keys = {"certificate_file": mine.certificate, "key_file": mine.key}
    gate = gates(plc.port, **keys, server_certificate_file=identity.certificate)
    gate.fire(PUSH)
    plc.wait_for([True, False])
    assert gate._node._client.security_policy.Mode.name == "SignAndEncrypt"
    assert gate._node._client.application_uri == "urn:plant:line3"
    with pytest.raises(OutputError, match=r"no answer within 1000 ms; see whether server_certificate_file is its cert"):
        gates(plc.port, **keys, server_certificate_file=mine.certificate, connect_timeout_ms=1000)


def test_why_a_server_takes_no_session_is_told_with_its_mend(
    gates: Callable[..., Opcua], tmp_path: Path, identity: Identity
) -> None:
    mine = make_identity(tmp_path, "line3")
    keys = {"certificate_file": mine.certificate, "key_file": mine.key}
    with opcua_server(identity, strict=True) as strict, opcua_server() as open_to_all:
        with pytest.raises(
            OutputError, match=r"Untrusted\); see whether it trusts the certificate of certificate_file"
        ):
            gates(strict.port, **keys)
        with pytest.raises(OutputError, match="takes only what is signed and encrypted: name certificate_file and key"):
            gates(strict.port)
        with pytest.raises(OutputError, match="takes no Basic256Sha256 that signs and encrypts"):
            gates(open_to_all.port, **keys)


def test_a_server_that_hangs_is_not_told_of_as_one_with_another_certificate(
    lane: Way, gates: Callable[..., Opcua], tmp_path: Path, identity: Identity
) -> None:
    mine = make_identity(tmp_path, "line3")
    keys = {"certificate_file": mine.certificate, "key_file": mine.key}
    lane.flows.clear()
    with pytest.raises(OutputError, match=r"no answer within 300 ms$"):
        gates(lane.port, **keys, server_certificate_file=identity.certificate, connect_timeout_ms=300)


def test_an_attempt_that_the_end_of_the_line_cuts_is_no_incident(lane: Way, gates: Callable[..., Opcua]) -> None:
    gate = gates(lane.port, connect_timeout_ms=2000)
    ear = Ear(gate)
    lane.flows.clear()
    lane.cut()
    ear.wait_for("output_unreachable")
    before = len(lane.ends)
    wait_until(lambda: len(lane.ends) > before)
    gate.close()
    assert not any("given up" in cause for _, cause, _ in ear.told)


def test_files_that_were_exchanged_are_those_of_the_next_session(
    plc: Plc, lane: Way, gates: Callable[..., Opcua], tmp_path: Path
) -> None:
    mine, other = make_identity(tmp_path, "line3"), make_identity(tmp_path, "line4")
    gate = gates(lane.port, certificate_file=mine.certificate, key_file=mine.key)
    ear = Ear(gate)
    mine.certificate.write_bytes(other.certificate.read_bytes())
    lane.cut()
    wait_until(lambda: ear.told and f"is not the key of certificate_file {mine.certificate}" in ear.told[-1][1])
    mine.key.write_bytes(other.key.read_bytes())
    ear.wait_for("output_unreachable", recovered=True)
    assert gate._node._client.application_uri == "urn:plant:line4"


def test_a_certificate_that_cannot_be_used_is_told_with_its_key(gates: Callable[..., Opcua], tmp_path: Path) -> None:
    pytest.importorskip("asyncua", reason="needs asyncua")
    nameless, none = make_identity(tmp_path, "nameless", uri=False), tmp_path / "none.pem"
    locked, other = make_identity(tmp_path, "locked", password=b"secret"), make_identity(tmp_path, "other")
    none.write_text("nothing")
    os.mkfifo(tmp_path / "pipe")
    for keys, says in (
        (
            {"certificate_file": nameless.certificate, "key_file": nameless.key},
            "certificate_file .* names no application",
        ),
        (
            {"certificate_file": none, "key_file": nameless.key},
            "certificate_file .*none.pem: cannot be used \\(it holds no certificate",
        ),
        (
            {"certificate_file": nameless.certificate, "key_file": none},
            "key_file .*none.pem: cannot be used \\(it holds no key",
        ),
        ({"certificate_file": locked.certificate, "key_file": locked.key}, "key_file .*: cannot be used .*password"),
        ({"certificate_file": nameless.certificate, "key_file": other.key}, "key_file .*: is not the key of certif"),
        ({"certificate_file": nameless.certificate, "key_file": tmp_path / "pipe"}, "key_file .*it is no regular file"),
        ({"certificate_file": tmp_path / "gone", "key_file": nameless.key}, "certificate_file .*No such file"),
    ):
        with pytest.raises(ConfigError, match=rf"outputs\.gate\.{says}"):
            gates(1, **keys)


def test_a_refused_write_is_told_and_nothing_is_out(plc: Plc, gates: Callable[..., Opcua]) -> None:
    gate = gates(plc.port, node=FIXED)
    with pytest.raises(OutputError, match=r"the server refuses \(BadNotWritable\)|BadUserAccessDenied"):
        gate.fire(PUSH)
    assert gate._rest_at > time.monotonic() + 1e6


def test_a_server_that_is_away_keeps_the_line_from_starting_unless_that_is_meant(
    plc: Plc, gates: Callable[..., Opcua]
) -> None:
    port = free_port()
    with pytest.raises(OutputError, match="nothing listens there"):
        gates(port)
    gate = gates(port, must_answer=False)
    with pytest.raises(OutputError, match="nothing listens there"):
        gate.fire(replace(PUSH, within_s=0.05))


def hangs(connection: socket.socket, over: threading.Event) -> None:
    over.wait(LONG_S)


def endless(connection: socket.socket, over: threading.Event) -> None:
    while not over.is_set():
        connection.sendall(b"x" * 65536)


def drips(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"ACKF\xff\xff\xff\x00")
    while not over.wait(0.02):
        connection.sendall(b"\x00")


@pytest.mark.parametrize("talk", [hangs, endless, drips])
def test_what_is_no_opcua_server_is_told_in_time(talk: Any, gates: Callable[..., Opcua]) -> None:
    pytest.importorskip("asyncua", reason="needs asyncua")
    with talker(talk) as port:
        began = time.monotonic()
        with pytest.raises(OutputError, match=rf"of opc\.tcp://127\.0\.0\.1:{port}: "):
            gates(port, connect_timeout_ms=200)
        assert time.monotonic() - began < LONG_S


def test_without_its_package_the_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncua", None)
    settings = Opcua.Settings.model_validate({"type": "opcua", "url": "opc.tcp://plc", "node": "i=1"})
    with pytest.raises(ConfigError) as caught:
        Opcua("gate", settings)
    assert str(caught.value) == 'outputs.gate.type = "opcua" needs asyncua: pip install "sortline[opcua]"'


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"node": "MAIN.gate"}, "outputs.gate.node = 'MAIN.gate': must be a NodeId, as ns=4;s=MAIN.good_gate"),
        ({"node": "ns=2;i=x"}, "must be a NodeId"),
        ({"node": "ns=65536;i=1"}, "must be a NodeId"),
        ({"node": "i=4294967296"}, "must be a NodeId"),
        ({"url": "opc.tcp://plc..plant:4840"}, "outputs.gate.url names no machine"),
        ({"url": "http://plc"}, "outputs.gate.url must begin with opc.tcp://"),
        ({"url": "opc.tcp://"}, "outputs.gate.url names no machine"),
        ({"url": "opc.tcp://plc:99999"}, "its port must be a number up to 65535"),
        ({"url": "opc.tcp://[::1:4840"}, "outputs.gate.url must have its IPv6 address in brackets, as ["),
        ({"url": "opc.tcp://plc\u2100"}, "outputs.gate.url names no machine"),
        ({"url": f"opc.tcp://me:{PASSWORD}@plc"}, "must not hold a name or password"),
        ({"password_file": "p"}, "outputs.gate.password_file needs username"),
        ({"certificate_file": "p"}, "outputs.gate.certificate_file needs key_file"),
        ({"reset_by": "me"}, "input should be 'line' or 'plc'"),
    ],
)
def test_each_wrong_key_is_one_sentence(keys: dict[str, Any], says: str) -> None:
    problems: list[str] = []
    typed_outputs({"gate": {"type": "opcua", "url": "opc.tcp://plc:4840", "node": GATE, **keys}}, problems)
    assert len(problems) == 1
    assert says in problems[0]
    assert PASSWORD not in problems[0]


def test_two_outputs_on_one_node_are_refused_with_both_their_keys() -> None:
    here = {"type": "opcua", "url": "opc.tcp://plc:4840", "node": GATE}
    assert problems(a=here, b={**here, "url": "opc.tcp://PLC/"}) == [
        f"outputs.a.node and outputs.b.node are both {GATE} of plc: each needs one of its own"
    ]
    assert problems(a=here, b={**here, "node": "i=5"}, c={**here, "url": "opc.tcp://plc:4841"}) == []

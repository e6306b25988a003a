"""The mqtt output, against a real broker: there, away, hung, back, and against what is no broker at all."""

import signal
import socket
import subprocess
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

from edge.decisions import decision_as_json
from edge.errors import ConfigError, OutputError
from edge.outputs.mqtt import Mqtt
from edge.parts import typed_outputs
from tests.edge.outputs import pushes
from tests.edge.outputs.broker import PASSWORD, USER, Broker, Listener, broker, listening
from tests.edge.outputs.pushes import Ear, notes, problems
from tests.edge.outputs.servers import DECISION, PUSH, free_port, http_server, make_certificates, talker

ABOUT = {"run_started_utc": "2026-01-01T00:00:00Z", "model_sha256": "ab"}
TOPIC, STATUS = "plant/line3/sorted", "plant/line3/sorted/status"
LONG_S = 5.0
wait_until = partial(pushes.wait_until, within_s=LONG_S)
refusal = partial(pushes.refusal, actuation=PUSH, within_s=LONG_S)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Broker]:
    with broker(tmp_path) as made:
        yield made


@pytest.fixture
def outputs() -> Iterator[Callable[..., Mqtt]]:
    made: list[Mqtt] = []

    def make(port: int, begin: bool = True, **keys: Any) -> Mqtt:
        table = {"type": "mqtt", "host": "127.0.0.1", "port": port, "topic": TOPIC, "timeout_ms": 2000, **keys}
        made.append(Mqtt("mes", Mqtt.Settings.model_validate(table)))
        if begin:
            made[-1].begin(ABOUT)
        return made[-1]

    yield make
    for one in made:
        with suppress(OutputError):  # of what could not be published; a test that means it closes itself
            one.close()


def connected(output: Mqtt) -> Mqtt:
    wait_until(lambda: output._link._client is not None)
    return output


def item(number: int) -> Any:
    return replace(PUSH, item_id=number, decision=replace(DECISION, item_id=number))


def items(heard: Listener) -> list[int]:
    return [int(payload.split(b":")[1].split(b",")[0]) for payload in heard.of(TOPIC)]


@pytest.mark.parametrize("qos", [0, 1])
def test_a_push_publishes_the_decision_as_the_decisions_file_has_it(
    here: Broker, outputs: Callable[..., Mqtt], qos: int
) -> None:
    with listening(here) as heard:
        connected(outputs(here.port, qos=qos)).fire(PUSH)
        heard.wait_for(lambda: heard.of(TOPIC))
        assert (TOPIC, decision_as_json(DECISION, ABOUT), False) in heard.messages


def test_what_arrives_between_two_looks_at_it_ends_the_line_in_good_order(
    here: Broker, outputs: Callable[..., Mqtt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line's word that it is offline: under way at the first look, and there at the next."""
    looked: list[Any] = []

    def arrived(info: Any) -> bool:
        looked.append(info)
        info.wait_for_publish(5)
        return looked.count(info) > 1

    with listening(here) as heard:
        output = connected(outputs(here.port))
        monkeypatch.setattr("edge.mqtt._arrived", arrived)
        output.close()
        heard.wait_for(lambda: heard.of(STATUS)[-1:] == [b"offline"])
    assert looked


def test_others_see_the_line_come_and_go_and_die(here: Broker, outputs: Callable[..., Mqtt]) -> None:
    with listening(here) as heard:
        output = connected(outputs(here.port))
        heard.wait_for(lambda: heard.of(STATUS) == [b"online"])
        output.close()
        heard.wait_for(lambda: heard.of(STATUS) == [b"online", b"offline"])
    code = f"""
import time
from edge.outputs.mqtt import Mqtt
table = {{"type": "mqtt", "host": "127.0.0.1", "port": {here.port}, "topic": "t", "status_topic": "line/3"}}
Mqtt("mes", Mqtt.Settings.model_validate(table)).begin({{}})
time.sleep(60)
"""
    with listening(here) as heard:
        assert (STATUS, b"offline", True) in heard.messages or heard.wait_for(lambda: heard.messages) is None
        line = subprocess.Popen([sys.executable, "-c", code])
        try:
            with heard.changed:
                assert heard.changed.wait_for(lambda: heard.of("line/3") == [b"online"], 30)
        finally:
            line.send_signal(signal.SIGKILL)
            line.wait()
        heard.wait_for(lambda: heard.of("line/3") == [b"online", b"offline"])


@pytest.mark.parametrize("qos", [0, 1])
def test_a_broker_that_is_away_costs_the_pushes_meanwhile_and_none_of_them_comes_later(
    tmp_path: Path, outputs: Callable[..., Mqtt], qos: int
) -> None:
    with broker(tmp_path, started=False) as late:
        output = outputs(late.port, qos=qos)
        wait_until(lambda: "nothing listens there" in refusal(output))
        assert refusal(output) == f"127.0.0.1:{late.port}: nothing listens there"
        late.start()
        with listening(late) as heard:
            connected(output).fire(item(1))
            heard.wait_for(lambda: items(heard) == [1])
        late.stop()
        wait_until(lambda: output._link._client is None)
        refusal(output)
        late.start()
        with listening(late) as heard:
            connected(output).fire(item(2))
            heard.wait_for(lambda: items(heard))
            assert items(heard) == [2]
            assert heard.of(STATUS)[-1] == b"online"


def test_a_broker_that_goes_and_comes_is_told_once_for_each_reason(here: Broker, outputs: Callable[..., Mqtt]) -> None:
    told: list[tuple[str, str, bool]] = []

    def report(name: str, cause: str, action: str, *, recovered: bool = False) -> None:
        told.append((name, cause, recovered))

    output = connected(outputs(here.port))
    output.report_to(report)
    assert told == []
    here.stop()
    wait_until(lambda: "nothing listens there" in refusal(output))
    here.start()
    connected(output)
    wait_until(lambda: told[-1][-1])
    at = f"127.0.0.1:{here.port}"
    assert told == [
        ("output_unreachable", f"{at}: the connection was lost", False),
        ("output_unreachable", f"{at}: nothing listens there", False),
        ("output_unreachable", f"{at} is reached again", True),
    ]
    late: list[str] = []
    away = outputs(free_port())
    wait_until(lambda: away._why)
    away.report_to(lambda name, cause, action, *, recovered=False: late.append(cause))
    assert late == [f"{away._link.address}: nothing listens there"]


def test_decisions_wait_for_a_broker_that_is_away_up_to_a_bound_and_arrive_in_order(
    tmp_path: Path, outputs: Callable[..., Mqtt], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.outputs.mqtt.WAITING", 30)
    with broker(tmp_path, started=False) as late:
        output = outputs(late.port, on="decision")
        for number in range(30):
            output.decided(replace(DECISION, item_id=number))
        with pytest.raises(OutputError, match="30 messages wait, this one is not sent"):
            output.decided(DECISION)
        late.start()
        with listening(late) as heard:
            heard.wait_for(lambda: len(items(heard)) == 30)
            for number in range(30, 60):
                output.decided(replace(DECISION, item_id=number))
                output.fire(item(number))
                heard.wait_for(lambda: len(items(heard)) > number)  # noqa: B023
            assert items(heard) == list(range(60))


def test_decisions_that_a_hung_broker_gave_no_receipt_for_are_sent_again(
    here: Broker, outputs: Callable[..., Mqtt]
) -> None:
    with listening(here) as heard:
        output = connected(outputs(here.port, on="decision", timeout_ms=300))
        here.hang()
        output.decided(replace(DECISION, item_id=1))
        output.decided(replace(DECISION, item_id=2))
        output._link._hang_up(output._link._client)
        wait_until(lambda: output._link._client is None)
        output.decided(replace(DECISION, item_id=3))
        here.go_on()
        heard.wait_for(lambda: 3 in items(heard))
        assert items(heard)[-3:] == [1, 2, 3]  # and perhaps what the first try had brought before them


def test_a_push_that_a_hung_broker_does_not_take_is_an_error_in_time(
    here: Broker, outputs: Callable[..., Mqtt]
) -> None:
    with listening(here) as heard:
        output = connected(outputs(here.port, timeout_ms=200))
        here.hang()
        with pytest.raises(OutputError, match="has not taken it within 200 ms; the connection is given up"):
            output.fire(item(1))
        wait_until(lambda: output._link._client is None)
        with pytest.raises(OutputError, match=rf"127\.0\.0\.1:{here.port}: "):
            output.fire(item(2))
        here.go_on()
        connected(output).fire(item(3))
        heard.wait_for(lambda: 3 in items(heard))
        assert 2 not in items(heard)  # the first had reached the broker's machine: nobody can call that back


def test_closing_is_quick_whatever_the_broker_does_and_says_what_was_not_published(
    here: Broker, outputs: Callable[..., Mqtt]
) -> None:
    output = connected(outputs(here.port, on="decision"))
    here.hang()
    for _ in range(3):
        output.decided(DECISION)
    began = time.monotonic()
    with pytest.raises(OutputError, match="3 decisions were not published before the line ended"):
        output.close()
    assert time.monotonic() - began < 1.0
    output.close()
    here.go_on()


def test_decisions_are_published_before_the_line_ends(here: Broker, outputs: Callable[..., Mqtt]) -> None:
    with listening(here) as heard:
        output = connected(outputs(here.port, on="decision"))
        for number in range(200):
            output.decided(replace(DECISION, item_id=number))
        output.close()
        heard.wait_for(lambda: heard.of(STATUS)[-1:] == [b"offline"])
        assert items(heard) == list(range(200))
        with pytest.raises(OutputError, match="closed"):
            output.decided(DECISION)


def test_check_connects_without_a_word_and_leaves_a_running_line_online(
    here: Broker, outputs: Callable[..., Mqtt]
) -> None:
    with listening(here) as heard:
        running = connected(outputs(here.port, client_id="line3"))
        heard.wait_for(lambda: heard.of(STATUS))
        checked = outputs(here.port, begin=False, client_id="line3")
        assert checked.check() == f"127.0.0.1:{here.port} takes the connection, topic {TOPIC}"
        checked.close()
        running.fire(PUSH)
        heard.wait_for(lambda: heard.of(TOPIC))
        assert heard.of(STATUS) == [b"online"]


def test_a_password_is_the_files_and_a_wrong_one_is_told(tmp_path: Path, outputs: Callable[..., Mqtt]) -> None:
    (tmp_path / "right").write_text(PASSWORD + "\n")
    (tmp_path / "wrong").write_text("the wrong one")
    with broker(tmp_path, password=True) as strict:
        right = outputs(strict.port, username=USER, password_file=tmp_path / "right")
        connected(right).fire(PUSH)
        assert right.check().endswith(f"takes the connection, topic {TOPIC}")
        wrong = outputs(strict.port, username=USER, password_file=tmp_path / "wrong")
        wait_until(lambda: "it refuses the connection (not authorized)" in refusal(wrong))
        assert refusal(wrong).endswith("; see username and password_file")
        with pytest.raises(OutputError, match="refuses the connection") as caught:
            wrong.check()
        assert "wrong one" not in str(caught.value)


def test_a_password_that_would_go_bare_to_another_machine_is_noted() -> None:
    there = {"type": "mqtt", "host": "broker.plant", "topic": TOPIC, "username": USER, "password_file": "p"}
    assert notes(mes=there) == [
        "outputs.mes.password_file: the password goes to broker.plant unencrypted: set tls = true"
    ]
    here = [{**there, "host": host} for host in ("127.0.0.1", "::1", "localhost")]
    for quiet in (*here, {**there, "tls": True}, {**there, "password_file": None}):
        assert notes(mes=quiet) == []


def test_tls_is_checked_against_the_plants_own_authority(tmp_path: Path, outputs: Callable[..., Mqtt]) -> None:
    made = make_certificates(tmp_path)
    (tmp_path / "other").mkdir()
    other = make_certificates(tmp_path / "other")
    with broker(tmp_path, tls=made) as safe:
        connected(outputs(safe.port, tls=True, ca_file=made.ca)).fire(PUSH)
        for wary in (
            outputs(safe.port, begin=False, tls=True),
            outputs(safe.port, begin=False, tls=True, ca_file=other.ca),
        ):
            with pytest.raises(OutputError, match=r"certificate is not trusted .*name its authority's file in ca_file"):
                wary.check()
        with pytest.raises(OutputError, match=r"one that wants TLS|no answer"):
            outputs(safe.port, begin=False, timeout_ms=300).check()
    (tmp_path / "none.pem").write_text("no certificate")
    with pytest.raises(
        ConfigError, match=r"outputs.mes.ca_file .*none.pem: cannot be used \(it holds no certificate\)"
    ):
        outputs(1, tls=True, ca_file=tmp_path / "none.pem")


@pytest.mark.parametrize(
    ("certificate", "says"),
    [
        ({"days": (-3, -1)}, "its certificate has expired: it needs a new one there, unless the clock of this machine"),
        ({"days": (1, 3)}, "its certificate is not valid yet: see whether the clocks of both machines are right"),
        ({"host": "broker.plant"}, "its certificate is not for 127.0.0.1: write a name or address that it is for in h"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_told_with_its_mend(
    tmp_path: Path, outputs: Callable[..., Mqtt], certificate: dict[str, Any], says: str
) -> None:
    made = make_certificates(tmp_path, **certificate)
    with broker(tmp_path, tls=made) as safe, pytest.raises(OutputError) as caught:
        outputs(safe.port, begin=False, tls=True, ca_file=made.ca).check()
    assert str(caught.value).startswith(f"127.0.0.1:{safe.port}: {says}")


def test_a_broker_that_asks_for_a_certificate_of_the_lines_own_and_one_without_tls_are_told_apart(
    tmp_path: Path, outputs: Callable[..., Mqtt]
) -> None:
    made = make_certificates(tmp_path)
    with broker(tmp_path, tls=made, strict=True) as strict, broker(tmp_path) as bare:
        with pytest.raises(OutputError, match="asks for a certificate of the line's own"):
            outputs(strict.port, begin=False, tls=True, ca_file=made.ca).check()
        with pytest.raises(OutputError, match="it hung up, as a broker does that does not speak TLS at this port"):
            outputs(bare.port, begin=False, tls=True, ca_file=made.ca).check()
        with pytest.raises(OutputError, match=r"or one that wants TLS \(tls = true\)"):
            outputs(strict.port, begin=False).check()


def test_a_broker_that_asks_for_the_lines_own_certificate_is_shown_it(
    tmp_path: Path, outputs: Callable[..., Mqtt]
) -> None:
    made = make_certificates(tmp_path)
    mine = {"tls": True, "ca_file": made.ca, "certificate_file": made.certificate, "key_file": made.key}
    with broker(tmp_path, tls=made, strict=True) as strict:
        connected(outputs(strict.port, **mine)).fire(PUSH)


def test_a_broker_that_comes_back_as_a_stranger_is_told_of_while_decisions_wait(
    tmp_path: Path, outputs: Callable[..., Mqtt]
) -> None:
    made = make_certificates(tmp_path)
    (tmp_path / "other").mkdir()
    with broker(tmp_path, tls=made) as safe:
        output = connected(outputs(safe.port, tls=True, ca_file=made.ca, on="decision"))
        ear = Ear(output)
        safe.stop()
        ear.wait_for("output_unreachable")
        safe.tls = make_certificates(tmp_path / "other")
        safe.start()
        wait_until(lambda: "its certificate is not trusted" in ear.told[-1][1])
        safe.stop()
        safe.tls = made
        safe.start()
        ear.wait_for("output_unreachable", recovered=True)


def hangs(connection: socket.socket, over: threading.Event) -> None:
    over.wait(LONG_S)


def drips(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"\x20\xff")  # CONNACK, whose length goes on
    while not over.wait(0.02):
        connection.sendall(b"\xff")


def endless(connection: socket.socket, over: threading.Event) -> None:
    while not over.is_set():
        connection.sendall(b"\xd0\x00" * 1000)  # answers to questions that nobody asked


def hangs_up(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65536)


@pytest.mark.parametrize("talk", [hangs, drips, endless, hangs_up])
def test_what_is_no_broker_is_told_in_time_and_let_go_of_in_time(talk: Any, outputs: Callable[..., Mqtt]) -> None:
    pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt")
    with talker(talk) as port:
        output = outputs(port, timeout_ms=150)
        began = time.monotonic()
        with pytest.raises(OutputError, match=rf"127\.0\.0\.1:{port}: (no answer within 150 ms|it hung up)"):
            output.check()
        wait_until(lambda: "not connected yet" not in refusal(output))
        output.close()
        assert time.monotonic() - began < LONG_S


def test_whatever_goes_wrong_in_connecting_is_told_and_tried_again(outputs: Callable[..., Mqtt]) -> None:
    pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt")
    calls: list[int] = []

    def counted(connection: socket.socket, over: threading.Event) -> None:
        calls.append(1)

    with talker(counted) as port:
        output = outputs(port, username="u" * 70_000)  # more than a packet has room for: paho raises a struct.error
        wait_until(lambda: len(calls) >= 2)
        assert f"127.0.0.1:{port}: error: " in refusal(output)
        output.close()
        with pytest.raises(OutputError, match="error: "):
            output.check()


def test_what_hangs_in_the_handshake_or_speaks_no_tls_is_told_in_time(outputs: Callable[..., Mqtt]) -> None:
    pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt")
    with talker(hangs) as port, pytest.raises(OutputError, match="no answer within 150 ms"):
        outputs(port, begin=False, tls=True, timeout_ms=150).check()
    with http_server() as server, pytest.raises(OutputError, match="does not speak TLS"):
        outputs(server.port, begin=False, tls=True).check()


def test_without_its_package_the_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    monkeypatch.setitem(sys.modules, "paho", None)
    settings = Mqtt.Settings.model_validate({"type": "mqtt", "host": "h", "topic": "t"})
    with pytest.raises(ConfigError) as caught:
        Mqtt("mes", settings)
    assert str(caught.value) == 'outputs.mes.type = "mqtt" needs paho-mqtt: pip install "sortline[mqtt]"'


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"topic": ""}, "topic = '': must not be empty"),
        ({"topic": "a/+/b"}, "topic = 'a/+/b': must not have + or # in it: those are for who listens"),
        ({"qos": True}, "qos = true: must be a number, not true or false"),
        ({"host": "b" * 64}, "must be a name or an address and no more"),
        ({"topic": "a/#"}, "topic = 'a/#': must not have + or # in it"),
        ({"topic": "$SYS/a"}, "topic = '$SYS/a': must not begin with $"),
        ({"topic": "a\0b"}, "must not have a character in it that cannot be seen"),
        ({"topic": "a" * 65_530}, "is too long for a topic"),
        ({"status_topic": "#"}, "status_topic = '#': must not have + or # in it"),
        ({"topic": "line/3", "status_topic": "line/3"}, "outputs.mes.status_topic must not be the topic of decisions"),
        ({"qos": 2}, "qos = 2: input should be 0 or 1"),
        ({"host": "mqtt://mes"}, "host = 'mqtt://mes': must be a name or an address and no more"),
        ({"password_file": "p"}, "password_file needs username"),
        ({"ca_file": "p"}, "ca_file is not used without TLS: set tls = true"),
        ({"certificate_file": "p", "key_file": "k"}, "certificate_file is not used without TLS: set tls = true"),
        ({"tls": True, "certificate_file": "p"}, "outputs.mes.certificate_file needs key_file"),
    ],
)
def test_each_wrong_key_is_one_sentence(keys: dict[str, Any], says: str) -> None:
    problems: list[str] = []
    typed_outputs({"mes": {"type": "mqtt", "host": "mes", "topic": "t", **keys}}, problems)
    assert len(problems) == 1
    assert problems[0].startswith("outputs.mes.")
    assert says in problems[0]


def test_an_unused_port_is_no_broker(outputs: Callable[..., Mqtt]) -> None:
    pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt")
    with pytest.raises(OutputError, match="nothing listens there"):
        outputs(free_port(), begin=False).check()


def test_two_outputs_with_one_client_id_are_refused_for_each_would_put_the_other_off() -> None:
    here = {"type": "mqtt", "host": "broker", "topic": TOPIC, "client_id": "line3"}
    assert problems(a=here, b={**here, "topic": "other"}) == [
        "outputs.a.client_id and outputs.b.client_id are both line3 at broker: each needs one of its own"
    ]
    assert problems(a=here, b={**here, "port": 1884}, c={**here, "client_id": "line4"}) == []

"""The webhook output, against a real HTTP server and against some that mean it ill."""

import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge.decisions import decision_as_json
from edge.errors import ConfigError, OutputError
from edge.outputs.webhook import Webhook
from edge.parts import typed_outputs
from tests.edge.outputs import pushes
from tests.edge.outputs.opcua_server import make_identity
from tests.edge.outputs.pushes import notes
from tests.edge.outputs.servers import (
    DECISION,
    PUSH,
    Certificates,
    HttpServer,
    free_port,
    http_server,
    make_certificates,
    talker,
)  # fmt: skip

TOKEN = "a-token-that-nobody-sees"
ABOUT = {"run_started_utc": "2026-01-01T00:00:00Z", "model_sha256": "ab"}
# Generous, for a busy machine: a call without a limit of its own would take for ever.
LONG_S = 8.0
refusal = partial(pushes.refusal, actuation=PUSH, within_s=LONG_S)


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server() as state:
        yield state


@pytest.fixture
def hooks() -> Iterator[list[Webhook]]:
    made: list[Webhook] = []
    yield made
    for one in made:
        one.close()


def hook(hooks: list[Webhook], url: str, **keys: Any) -> Webhook:
    settings = Webhook.Settings.model_validate({"type": "webhook", "url": url, "timeout_ms": 2000, **keys})
    hooks.append(Webhook("mes", settings))
    hooks[-1].begin(ABOUT)
    return hooks[-1]


def request(connection: socket.socket) -> bytes:
    """One whole call with its body."""
    heard = b""
    while not heard.endswith(b"}"):
        if not (more := connection.recv(65536)):
            break
        heard += more
    return heard


def test_a_push_posts_the_decision_as_the_decisions_file_has_it(server: HttpServer, hooks: list[Webhook]) -> None:
    hook(hooks, server.url + "?line=3").fire(PUSH)
    ((method, path, headers, body),) = server.calls
    assert (method, path) == ("POST", "/sorted?line=3")
    assert headers["content-type"] == "application/json"
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert body == decision_as_json(DECISION, ABOUT)
    assert json.loads(body)["item_id"] == 7


def test_with_on_decision_it_posts_as_soon_as_the_item_is_decided_and_not_again_at_the_push(
    server: HttpServer, hooks: list[Webhook]
) -> None:
    output = hook(hooks, server.url, on="decision")
    output.decided(DECISION)
    output.fire(PUSH)
    assert len(server.calls) == 1


def test_repeats_are_told_by_a_key_that_differs_from_item_to_item_and_from_run_to_run(
    server: HttpServer, hooks: list[Webhook]
) -> None:
    first, second = hook(hooks, server.url), hook(hooks, server.url)
    first.fire(PUSH)
    first.fire(PUSH)
    second.fire(PUSH)
    once, again, other_run = (headers["idempotency-key"] for _, _, headers, _ in server.calls)
    assert once == again != other_run
    assert once.endswith('-7"')


def test_the_connection_is_kept_and_made_anew_where_the_server_has_hung_up(
    server: HttpServer, hooks: list[Webhook]
) -> None:
    output = hook(hooks, server.url)
    server.status = 200
    for _ in range(3):
        output.fire(PUSH)
    assert server.connections == 1
    server.hang_up = True
    for _ in range(3):
        output.fire(PUSH)
    assert server.connections == 3
    assert len(server.calls) == 6


def test_a_push_that_met_a_closing_connection_is_sent_once_more_with_the_same_key(hooks: list[Webhook]) -> None:
    heard: list[bytes] = []

    def talk(connection: socket.socket, over: threading.Event) -> None:
        heard.append(request(connection))
        connection.sendall(b"HTTP/1.1 204 Done\r\n\r\n")
        if len(heard) == 1:
            heard.append(request(connection))  # and hangs up, having heard it

    with talker(talk) as port:
        output = hook(hooks, f"http://127.0.0.1:{port}/")
        output.fire(PUSH)
        output.fire(PUSH)
    assert len(heard) == 3
    assert heard[1] == heard[2]


def test_what_a_server_says_unasked_is_no_answer_to_the_next_push(hooks: list[Webhook]) -> None:
    said = threading.Event()

    def talk(connection: socket.socket, over: threading.Event) -> None:
        request(connection)
        first, _ = not said.is_set(), connection.sendall(b"HTTP/1.1 204 Done\r\n\r\n")
        if first:
            time.sleep(0.05)  # else it comes along with the answer
            connection.sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")  # HAProxy, Apache do so
            said.set()
        over.wait(LONG_S)

    with talker(talk) as port:
        output = hook(hooks, f"http://127.0.0.1:{port}/")
        output.fire(PUSH)
        assert said.wait(LONG_S)
        output.fire(PUSH)


def test_the_token_and_the_signature_are_those_of_the_files(
    server: HttpServer, hooks: list[Webhook], tmp_path: Path
) -> None:
    key = bytes(range(32))
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "secret").write_text(f"whsec_{base64.b64encode(key).decode()}\n")
    hook(hooks, server.url, token_file=tmp_path / "token", secret_file=tmp_path / "secret").fire(PUSH)
    _, _, headers, body = server.calls[0]
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["idempotency-key"] == f'"{headers["webhook-id"]}"'
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (500, "500 Internal Server Error"),
        (302, "302 Found: it sends the caller elsewhere, which is not followed; write the address itself in url"),
        (401, "401 Unauthorized: see whether token_file holds the token"),
        (404, "404 Not Found: see whether url is the address"),
        (199, "199"),
    ],
)
def test_every_status_but_success_is_an_error_that_names_the_address(
    server: HttpServer, hooks: list[Webhook], tmp_path: Path, status: int, says: str
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    server.status, server.headers = status, {"Location": f"{server.url}/elsewhere?{TOKEN}"}
    said = refusal(hook(hooks, f"{server.url}?key={TOKEN}", token_file=tmp_path / "token"))
    assert said.startswith(f"POST {server.url}?…: {says}")
    assert TOKEN not in said
    assert len(server.calls) == 1


def hangs(connection: socket.socket, over: threading.Event) -> None:
    over.wait(LONG_S)


def one_byte_at_a_time(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not over.wait(0.02):
        connection.sendall(b"x")


def many_interim_answers(connection: socket.socket, over: threading.Event) -> None:
    while not over.wait(0.001):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def endless_header(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not over.is_set():
        connection.sendall(b"X: " + b"x" * 60_000 + b"\r\n")


def hangs_up(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65536)


def no_http(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"220 mail.plant ESMTP\r\n")
    over.wait(LONG_S)


@pytest.mark.parametrize(
    ("talk", "timeout_ms", "says"),
    [
        (hangs, 150, "no answer within 150 ms"),
        (one_byte_at_a_time, 150, "no answer within 150 ms"),
        (many_interim_answers, 150, "no answer within 150 ms"),
        (endless_header, 9000, "it does not answer in HTTP"),
        (hangs_up, 9000, "it hung up without an answer"),
        (no_http, 9000, "it does not answer in HTTP"),
    ],
)
def test_a_server_that_does_not_answer_as_it_should_holds_a_push_no_longer_than_the_limit(
    hooks: list[Webhook], talk: Any, timeout_ms: int, says: str
) -> None:
    with talker(talk) as port:
        assert (
            refusal(hook(hooks, f"http://127.0.0.1:{port}/", timeout_ms=timeout_ms))
            == f"POST http://127.0.0.1:{port}/: {says}"
        )


def endless_body(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not over.is_set():
        connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")


def slow_body(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not over.wait(0.02):
        connection.sendall(b"x")


def no_body(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    over.wait(LONG_S)


@pytest.mark.parametrize("talk", [endless_body, slow_body, no_body])
def test_an_answer_is_success_by_its_status_and_its_body_is_not_waited_for(hooks: list[Webhook], talk: Any) -> None:
    with talker(talk) as port:
        output = hook(hooks, f"http://127.0.0.1:{port}/", timeout_ms=10_000)
        began = time.monotonic()
        output.fire(PUSH)
        output.fire(PUSH)
        assert time.monotonic() - began < LONG_S
        output.close()


def test_a_server_that_is_away_is_an_error_and_used_again_when_it_is_there(
    hooks: list[Webhook], server: HttpServer
) -> None:
    away = hook(hooks, f"http://127.0.0.1:{free_port()}/")
    assert refusal(away).endswith(": nothing listens there")
    with pytest.raises(OutputError, match="nothing listens there"):
        away.check()


def test_a_name_that_nobody_knows_is_an_error_in_time(hooks: list[Webhook], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "its name is not known" in refusal(hook(hooks, "http://nowhere.invalid/", timeout_ms=3000))
    # A name server that does not answer is no part that a test can start: the system's call is held up instead.
    looked_up, go_on, real = [], threading.Event(), socket.getaddrinfo

    def slow(host: str, *args: Any, flags: int = 0, **kwargs: Any) -> Any:
        if flags:
            return real(host, *args, flags=flags, **kwargs)
        looked_up.append(host)
        go_on.wait(LONG_S)
        raise socket.gaierror(-2, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    output = hook(hooks, "http://mes.plant/", timeout_ms=50)
    assert refusal(output).endswith("no answer within 50 ms")
    assert refusal(output).endswith("no answer within 50 ms")
    assert len(looked_up) == 1
    go_on.set()


def test_tls_is_checked_against_the_plants_own_authority(hooks: list[Webhook], tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    (tmp_path / "other").mkdir()
    other = make_certificates(tmp_path / "other")
    with http_server(made.server) as server:
        url = server.url.replace("http:", "https:")
        server.status = 200
        trusting = hook(hooks, url, ca_file=made.ca)
        for _ in range(2):
            trusting.fire(PUSH)
        assert len(server.calls) == 2
        assert server.connections == 1
        assert trusting.check() == f"{url} answers"
        for wary in (hook(hooks, url), hook(hooks, url, ca_file=other.ca)):
            said = refusal(wary)
            assert "its certificate is not trusted" in said
            assert said.endswith("name its authority's file in ca_file")
        assert len(server.calls) == 3
    with http_server() as bare:
        assert "it does not speak TLS at this port" in refusal(hook(hooks, bare.url.replace("http:", "https:")))
    with talker(hangs) as port:
        assert "no answer within 150 ms" in refusal(hook(hooks, f"https://127.0.0.1:{port}/", timeout_ms=150))


def old(made: Certificates) -> ssl.SSLContext:
    """Of a server that speaks no TLS newer than 1.1."""
    context = made.server
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    return context


@pytest.mark.parametrize(
    ("certificate", "tls", "says"),
    [
        ({"days": (-3, -1)}, None, "its certificate has expired: it needs a new one there, unless the clock of this"),
        ({"days": (1, 3)}, None, "its certificate is not valid yet: see whether the clocks of both machines are right"),
        ({"host": "mes.plant"}, None, "its certificate is not for 127.0.0.1: write a name or address that it is for i"),
        ({}, old, "it speaks a TLS older than 1.2, which is not safe: let it speak 1.2"),
        ({}, lambda made: made.strict, "a certificate of the line's own"),
    ],
)
def test_what_is_wrong_with_a_certificate_or_with_tls_is_told_with_its_mend(
    hooks: list[Webhook], tmp_path: Path, certificate: dict[str, Any], tls: Any, says: str
) -> None:
    made = make_certificates(tmp_path, **certificate)

    def talk(connection: socket.socket, over: threading.Event) -> None:
        with (tls(made) if tls else made.server).wrap_socket(connection, server_side=True) as spoken:
            request(spoken)

    with talker(talk) as port:
        said = refusal(hook(hooks, f"https://127.0.0.1:{port}/", ca_file=made.ca))
        assert says in said
        assert said.startswith(f"POST https://127.0.0.1:{port}/: it")
        assert "ca_file" not in said


def test_a_server_that_asks_for_the_lines_own_certificate_is_shown_it(hooks: list[Webhook], tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    (tmp_path / "other").mkdir()
    other = make_certificates(tmp_path / "other")
    with http_server(made.strict) as server:
        url = server.url.replace("http:", "https:")
        mine = {"ca_file": made.ca, "certificate_file": made.certificate, "key_file": made.key}
        hook(hooks, url, **mine).fire(PUSH)
        assert len(server.calls) == 1
        theirs = {**mine, "certificate_file": other.certificate, "key_file": other.key}
        assert "it does not take the certificate of certificate_file: see" in refusal(hook(hooks, url, **theirs))


@pytest.mark.parametrize(
    ("certificate", "key", "says"),
    [
        ("mine.pem", "other.key", "key_file other.key: is not the key of certificate_file mine.pem"),
        ("mine.pem", "locked.key", "key_file locked.key: cannot be used (it is locked with a password: openssl pkey "),
        ("mine.pem", "mine.pem", "key_file mine.pem: cannot be used (it holds no key in PEM)"),
        ("mine.key", "mine.key", "certificate_file mine.key: cannot be used (it holds no certificate in PEM)"),
        ("mine.pem", "gone", "key_file gone: cannot be used (No such file or directory)"),
        ("torn.pem", "mine.key", "certificate_file torn.pem: cannot be used ("),
    ],
)
def test_a_certificate_of_its_own_that_cannot_be_used_is_told_with_its_key(
    hooks: list[Webhook], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificate: str, key: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, keys in (("mine", {}), ("other", {}), ("locked", {"password": b"a secret"})):
        make_identity(tmp_path, name, **keys)
    torn = Path("mine.pem").read_text().splitlines()
    Path("torn.pem").write_text("\n".join([*torn[:4], *torn[-1:]]))
    with pytest.raises(ConfigError) as caught:
        hook(hooks, "https://127.0.0.1/", certificate_file=Path(certificate), key_file=Path(key))
    assert str(caught.value).startswith(f"outputs.mes.{says}")


def test_an_authority_may_be_as_windows_exports_it(hooks: list[Webhook], tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    (tmp_path / "ca.cer").write_bytes(ssl.PEM_cert_to_DER_cert(made.ca.read_text()))
    with http_server(made.server) as server:
        hook(hooks, server.url.replace("http:", "https:"), ca_file=tmp_path / "ca.cer").fire(PUSH)
        assert len(server.calls) == 1


def test_an_answer_that_drips_through_tls_holds_a_push_no_longer_than_the_limit(
    hooks: list[Webhook], tmp_path: Path
) -> None:
    made = make_certificates(tmp_path)

    def talk(connection: socket.socket, over: threading.Event) -> None:
        with made.server.wrap_socket(connection, server_side=True) as tls:
            tls.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not over.wait(0.02):
                tls.sendall(b"x")

    with talker(talk) as port:
        url = f"https://127.0.0.1:{port}/"
        assert "no answer within 300 ms" in refusal(hook(hooks, url, ca_file=made.ca, timeout_ms=300))


def test_a_push_that_reaches_nobody_while_its_item_goes_by_is_not_sent_afterwards(
    hooks: list[Webhook], tmp_path: Path
) -> None:
    heard: list[bytes] = []
    made = make_certificates(tmp_path)

    def talk(connection: socket.socket, over: threading.Event) -> None:
        time.sleep(0.15)  # longer than the item has
        with made.server.wrap_socket(connection, server_side=True) as tls:
            heard.append(tls.recv(65536))

    with talker(talk) as port:
        output = hook(hooks, f"https://127.0.0.1:{port}/", ca_file=made.ca, timeout_ms=10_000)
        with pytest.raises(OutputError, match="it was not reached before the item's place went by"):
            output.fire(replace(PUSH, within_s=0.05))
    assert heard == []


def test_closing_ends_a_push_that_hangs(hooks: list[Webhook]) -> None:
    with talker(hangs) as port:
        output = hook(hooks, f"http://127.0.0.1:{port}/", timeout_ms=10_000)
        said: list[str] = []
        thread = threading.Thread(target=lambda: said.append(refusal(output)))
        thread.start()
        while not (output._client._connection and output._client._connection.sock):
            time.sleep(0.001)
        output.close()
        output.close()
        thread.join(LONG_S)
        assert said == [f"POST http://127.0.0.1:{port}/: the output is closed"]
        assert refusal(output).endswith("the output is closed")


def test_check_reaches_the_server_without_a_push(server: HttpServer, hooks: list[Webhook], tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    assert hook(hooks, server.url).check() == f"{server.url} answers"
    said = hook(hooks, f"{server.url}?key={TOKEN}", token_file=tmp_path / "token").check()
    assert said == f"{server.url}?… answers"
    assert [method for method, *_ in server.calls] == ["OPTIONS", "OPTIONS"]
    server.options = 405
    assert hook(hooks, server.url).check() == f"{server.url} answers"
    server.headers = {"Allow": "GET, HEAD"}
    with pytest.raises(OutputError, match="it takes no POST"):
        hook(hooks, server.url).check()
    server.options = 404
    with pytest.raises(OutputError, match=r"OPTIONS .*: 404 Not Found: see whether url"):
        hook(hooks, server.url).check()


@pytest.mark.parametrize(
    ("url", "token", "says"),
    [
        ("http://mes.plant/", True, ["outputs.mes.token_file: the token goes to mes.plant unencrypted: write https"]),
        (f"http://mes/?line=3&api_key={TOKEN}", False, ["outputs.mes.url: what its query holds goes to mes unencr"]),
        (f"https://mes/?key={TOKEN}", True, []),
        ("http://mes/?line=3", False, []),
        (f"http://127.0.0.1:8000/?key={TOKEN}", True, []),
        ("http://LOCALHOST/", True, []),
        ("http://[::1]/", True, []),
    ],
)
def test_a_secret_that_would_go_bare_to_another_machine_is_noted(url: str, token: bool, says: list[str]) -> None:
    said = notes(mes={"type": "webhook", "url": url, **({"token_file": "t"} if token else {})})
    assert len(said) == len(says)
    assert all(one.startswith(begins) for one, begins in zip(said, says, strict=True))
    assert TOKEN not in str(said)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("token_file", None, "no such file"),
        ("token_file", "", "needs one line"),
        ("token_file", "two\nlines", "needs one line"),
        ("token_file", "two words", "no spaces"),
        ("token_file", "\u00fcber", "letters and digits"),
        ("token_file", b"\xff\xfe", "it is no text"),
        ("secret_file", "whsec_c2hvcnQ=", "24 to 64 bytes"),
        ("secret_file", "whsec_not base64", "openssl rand"),
        ("secret_file", base64.b64encode(bytes(32)).decode(), "needs whsec_"),
    ],
)
def test_a_secret_that_cannot_be_one_is_refused_without_being_shown(
    tmp_path: Path, hooks: list[Webhook], file: str, content: str | bytes | None, says: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=says) as caught:
        hook(hooks, "http://127.0.0.1/", **{file: path})
    said = str(caught.value)
    assert said.startswith(f"outputs.mes.{file} {path}: ")
    assert not content or not isinstance(content, str) or content not in said


def test_a_file_that_holds_no_authority_is_refused(tmp_path: Path, hooks: list[Webhook]) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match=r"outputs.mes.ca_file .*ca.pem: cannot be used \(it holds no certificate\)"):
        hook(hooks, "https://127.0.0.1/", ca_file=tmp_path / "ca.pem")
    with pytest.raises(ConfigError, match="No such file"):
        hook(hooks, "https://127.0.0.1/", ca_file=tmp_path / "gone.pem")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mes.plant/sorted", "must begin with http:// or https://"),
        ("ftp://mes/", "must begin with http:// or https://"),
        ("http://", "names no machine"),
        ("http://mes..plant/", "names no machine"),
        ("http://mes:99999/", "its port must be a number up to 65535"),
        ("http://[::1]:8o/", "its port must be a number up to 65535"),
        ("http://[::1", "must have its IPv6 address in brackets, as [fe80::1]:4840"),
        ("http://::1]/", "must have its IPv6 address in brackets"),
        ("http://[mes]/", "must have its IPv6 address in brackets"),
        ("http://fe80::1:8080/", "must have its IPv6 address in brackets"),
        ("http://mes:80:80/", "has more than one colon after its machine's name"),
        ("http://mes/a b", "has a character that an address cannot have"),
        ("http://mes/\u00fc", "has a character that an address cannot have"),
        (f"http://me:{TOKEN}@mes/", "must not hold a name or password"),
        (f"http://mes/?t={TOKEN}#x", "must not have a # in it"),
    ],
)
def test_an_address_that_cannot_be_called_is_told_in_a_sentence_that_does_not_show_it(url: str, says: str) -> None:
    problems: list[str] = []
    typed_outputs({"mes": {"type": "webhook", "url": url}}, problems)
    assert len(problems) == 1
    assert problems[0].startswith("outputs.mes.url ")
    assert says in problems[0]
    assert TOKEN not in problems[0]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"url": [f"http://mes/?key={TOKEN}"]}, "outputs.mes.url = ['http://mes/?…: must be a text, in quotes"),
        ({"timeout_ms": f"http://me:{TOKEN}@mes/"}, "outputs.mes.timeout_ms = 'http://…@mes/': must be a number"),
    ],
)
def test_an_address_in_a_value_that_is_refused_is_shown_without_what_may_be_secret(
    keys: dict[str, Any], says: str
) -> None:
    problems: list[str] = []
    typed_outputs({"mes": {"type": "webhook", "url": "http://mes/", **keys}}, problems)
    assert len(problems) == 1
    assert problems[0].startswith(says)
    assert TOKEN not in problems[0]

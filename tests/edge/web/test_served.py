"""What only a real connection shows: proxies, several requests on one, and the token over the wire."""

import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from edge.web.side import WebSide
from tests.edge.web import fake_line
from tests.edge.web.conftest import painted

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def guarded(tmp_path: Path) -> WebSide:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    config = fake_line.config(tmp_path, token_file=str(file))
    return WebSide(config, fake_line.facts(config), lambda command: None)


def test_one_connection_answers_many_pictures(side: WebSide) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", side.port, timeout=20)
    for colour in ("red", "green", "blue") * 5:
        connection.request("POST", "/predict", painted(colour), {"Content-Type": "image/jpeg"})
        response = connection.getresponse()
        assert json.load(response)["class"] == colour
    connection.close()


def test_a_body_that_is_too_large_is_answered_even_to_a_client_that_is_still_sending(side: WebSide) -> None:
    for size in (17 << 20, 60 << 20):
        connection = http.client.HTTPConnection("127.0.0.1", side.port, timeout=20)
        connection.request("POST", "/predict", bytes(size), {"Content-Type": "image/jpeg"})
        response = connection.getresponse()
        assert response.status == 413
        assert json.load(response) == {"error": "The body is larger than the 16 MB that are taken"}
        connection.close()


def test_a_body_in_chunks_is_a_body(side: WebSide) -> None:
    data = painted("blue")
    connection = http.client.HTTPConnection("127.0.0.1", side.port, timeout=20)
    pieces = (data[at : at + 100] for at in range(0, len(data), 100))
    connection.request("POST", "/predict", pieces, {"Content-Type": "image/jpeg"}, encode_chunked=True)
    assert json.load(connection.getresponse())["class"] == "blue"
    connection.close()


def test_the_token_is_asked_for_over_the_wire_and_its_cookie_is_secure_behind_https(guarded: WebSide) -> None:
    guarded.start()
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(guarded.url + "state.json", timeout=20)
        assert refused.value.code == 401
        refused.value.close()
        request = urllib.request.Request(guarded.url + "state.json", headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 200
        for scheme, secure in (("https", True), ("http", False)):
            connection = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=20)
            headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-Proto": scheme}
            connection.request("POST", "/login", f"token={TOKEN}", headers)
            cookie = connection.getresponse().headers["Set-Cookie"]
            assert ("Secure" in cookie) is secure
            connection.close()
    finally:
        guarded.stop()


def exchange(port: int, request: bytes, half_close: bool) -> list[tuple[int, dict[str, str], bytes]]:
    """Every answer to bytes on one connection: status, headers and the body that was announced."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(request)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := sock.recv(65536):
            received += chunk
    answers = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        size = int(headers["content-length"])
        assert len(received) >= size, "cut"
        answers.append((int(first.split()[1]), headers, received[:size]))
        received = received[size:]
    return answers


def request(body: bytes = b"", line: str = "POST /predict HTTP/1.1", hosts: int = 1, size: int | None = None) -> bytes:
    """A request as a client writes it."""
    headers = ["Host: localhost"] * hosts + [f"Content-Length: {len(body) if size is None else size}"]
    headers += ["Content-Type: image/jpeg"] if body else []
    return "\r\n".join([line, *headers, "", ""]).encode() + body


@pytest.mark.parametrize("behind", [b"", b"\r\n"], ids=["nothing behind it", "a line end behind it"])
def test_who_asks_and_sends_no_more_gets_the_whole_answer_and_nothing_else(side: WebSide, behind: bytes) -> None:
    picture = painted("blue", 2000, 1500)
    for _ in range(5):
        ((status, _, body),) = exchange(side.port, request(picture) + behind, half_close=True)
        assert (status, json.loads(body)["class"]) == (200, "blue")
        two = exchange(side.port, request(line="GET /healthz HTTP/1.1") * 2 + behind, half_close=True)
        assert [(status, json.loads(body)) for status, _, body in two] == [(200, {"status": "ok"})] * 2


@pytest.mark.parametrize("half_close", [False, True])
@pytest.mark.parametrize("size", [99_999_999_999, 17 << 20])
def test_a_length_that_is_too_large_is_one_answer_whatever_comes_behind(
    side: WebSide, size: int, half_close: bool
) -> None:
    for body in (b"hello", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        ((status, headers, said),) = exchange(side.port, request(body, size=size), half_close)
        assert (status, headers["connection"]) == (413, "close")
        assert json.loads(said) == {"error": "The body is larger than the 16 MB that are taken"}


@pytest.mark.parametrize(("version", "hosts", "status"), [("1.1", 0, 400), ("1.1", 2, 400), ("1.0", 2, 400)])
def test_a_request_without_its_one_host_is_a_bad_one(side: WebSide, version: str, hosts: int, status: int) -> None:
    ((found, _, said),) = exchange(side.port, request(line=f"GET /healthz HTTP/{version}", hosts=hosts), True)
    assert found == status
    assert "Host header" in json.loads(said)["error"]


def test_what_was_asked_before_the_line_stops_is_answered_whole_and_who_comes_later_is_refused(tmp_path: Path) -> None:
    config = fake_line.config(tmp_path)
    picture, answers = painted("red", 1600, 1200), Counter[int]()
    for _ in range(3):
        side = WebSide(config, fake_line.facts(config), lambda command: None)
        side.start()
        kept = http.client.HTTPConnection("127.0.0.1", side.port, timeout=20)
        kept.request("GET", "/healthz")
        assert kept.getresponse().read() == b'{"status":"ok"}\n'
        connections = [kept] + [http.client.HTTPConnection("127.0.0.1", side.port, timeout=20) for _ in range(15)]
        for connection in connections:
            connection.request("POST", "/predict", picture, {"Content-Type": "image/jpeg"})
        side.stop()
        for connection in connections:
            answer = connection.getresponse()
            assert "class" in json.load(answer) or answer.status == 503
            answers[answer.status] += 1
            connection.close()
        with pytest.raises(ConnectionRefusedError):
            connections[0].request("GET", "/healthz")
    assert set(answers) <= {200, 503}
    assert answers[200] >= 3


def test_who_waits_while_the_web_side_is_ended_is_refused_and_nothing_aborts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = fake_line.config(tmp_path)
    side = WebSide(config, fake_line.facts(config), lambda command: None)
    side.start()
    picture, answers = painted("red", 3000, 2200), list[int]()

    def ask_until_it_is_gone() -> None:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", side.port, timeout=20)
            try:
                connection.request("POST", "/predict", picture, {"Content-Type": "image/jpeg"})
                answers.append(connection.getresponse().status)
            except (OSError, http.client.HTTPException):
                return
            finally:
                connection.close()

    clients = [threading.Thread(target=ask_until_it_is_gone) for _ in range(12)]
    for client in clients:
        client.start()
    deadline = time.monotonic() + 60
    while 200 not in answers:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    side.stop()
    for client in clients:
        client.join(30)
    assert not any(client.is_alive() for client in clients)
    assert set(answers) <= {200, 503}
    assert "Fatal" not in capfd.readouterr().err

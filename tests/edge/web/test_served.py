"""What only a real connection shows: proxies, several requests on one, and the token over the wire."""

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
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

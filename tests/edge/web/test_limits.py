"""What a client may make the server hold, and for how long: real sockets on a real server, its limits made short."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from flask import Flask, Response, request

from edge.config import WebSettings
from edge.web import wsgi
from edge.web.listen import listen, port_of
from tests.edge.web.test_side import wait_for

LARGE = 8 << 20  # more than the buffers of any two ends take
MEDIUM = 1 << 19  # and those of the server and a client with a TINY one
TINY = 4096
NEVER_S = 1e6
HEAD = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n"
Limits = Callable[..., None]


@contextmanager
def serving(hold: threading.Event | None = None) -> Iterator[wsgi.Server]:
    """A server in a thread of this process; what it says at /held it says once hold is set."""
    app = Flask("limits")
    app.add_url_rule("/held", "held", lambda: "held" if hold is not None and hold.wait(20) else "")
    app.add_url_rule("/taken", "taken", lambda: str(len(request.get_data())), methods=["POST"])
    app.add_url_rule("/large", "large", lambda: Response(bytes(LARGE)))
    app.add_url_rule("/medium", "medium", lambda: Response(bytes(MEDIUM)))
    app.add_url_rule("/small", "small", lambda: "small")
    server = wsgi.Server(app, listen(WebSettings(port=0)), threads=2)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.end(for_good=True)
        thread.join()
        server.finish()
        server.let_go()


@contextmanager
def connected(server: wsgi.Server, buffer: int = 0) -> Iterator[socket.socket]:
    """A connection, with a receive buffer of so many bytes."""
    with socket.socket() as sock:
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.settimeout(20)
        sock.connect(("127.0.0.1", port_of(server.socket)))
        yield sock


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    """Sets limits of the server's, and takes all others away that are of time."""

    def set_limits(**seconds: float) -> None:
        none = dict.fromkeys(("ARRIVAL_S", "UNREAD_S", "IDLE_S"), NEVER_S)
        for name, value in {**none, "LOOK_EVERY_S": 0.05, **seconds}.items():
            monkeypatch.setattr(wsgi, name, value)

    return set_limits


def by_the_server(patch: pytest.MonkeyPatch) -> None:
    """Takes the system's clock away, so that the server's own is alone."""

    def set_options(server: wsgi.Server, conn: socket.socket) -> None:
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, wsgi.SEND_BUFFER)

    patch.setattr(wsgi.Server, "set_socket_options", set_options)


def by_the_system(patch: pytest.MonkeyPatch) -> None:
    """Takes the server's clock away, so that the system's is alone."""
    patch.setattr(wsgi._Channel, "end_if_overdue", lambda channel, now: None)


@pytest.mark.parametrize("alone", [by_the_server, by_the_system])
def test_an_answer_of_which_nothing_is_read_is_dropped_and_one_that_is_read_slowly_is_not(
    limits: Limits, monkeypatch: pytest.MonkeyPatch, alone: Callable[[pytest.MonkeyPatch], None]
) -> None:
    limits(UNREAD_S=1.5)
    alone(monkeypatch)
    with serving() as server, connected(server, TINY) as unread, connected(server) as slow:
        for sock in (unread, slow):
            sock.sendall(HEAD % b"large" + b"\r\n")
        wait_for(lambda: len(server.active_channels) == 2)
        got, since = 0, time.monotonic()
        while len(server.active_channels) == 2:
            assert time.monotonic() - since < 20, "it is kept for a reader who reads nothing"
            got += len(slow.recv(TINY))
            time.sleep(0.005)
        while got < LARGE and (data := slow.recv(1 << 16)):
            got += len(data)
        assert got >= LARGE


def test_a_connection_on_which_nothing_is_asked_is_closed_and_one_that_asks_now_and_then_is_not(limits: Limits) -> None:
    limits(IDLE_S=1.5)
    with serving() as server, ExitStack() as opened:
        silent, asked = (opened.enter_context(connected(server)) for _ in range(2))
        asked.sendall(HEAD % b"small" + b"\r\n")
        assert b"small" in asked.recv(TINY)
        busy = http.client.HTTPConnection("127.0.0.1", port_of(server.socket), timeout=20)
        opened.callback(busy.close)
        busy.connect()
        wait_for(lambda: len(server.active_channels) == 3)
        since = time.monotonic()
        while len(server.active_channels) > 1:
            assert time.monotonic() - since < 20, "they are kept for clients who ask nothing"
            busy.request("GET", "/small")
            assert busy.getresponse().read() == b"small"
            time.sleep(0.02)
        ours = busy.sock
        busy.request("GET", "/small")
        assert busy.getresponse().read() == b"small"
        assert busy.sock is ours, "it was closed too"
        assert silent.recv(TINY) == asked.recv(TINY) == b""


@pytest.mark.parametrize("set_by_s", [3600, -3600])
def test_a_clock_that_is_set_closes_no_connection_and_keeps_none(
    limits: Limits, monkeypatch: pytest.MonkeyPatch, set_by_s: float
) -> None:
    limits(IDLE_S=3.0)
    by_the_wall = time.time
    with serving() as server, connected(server) as asked:
        asked.sendall(HEAD % b"small" + b"\r\n")
        assert b"small" in asked.recv(TINY)
        monkeypatch.setattr(time, "time", lambda: by_the_wall() + set_by_s)
        since = time.monotonic()
        assert asked.recv(TINY) == b""
        assert 2.5 < time.monotonic() - since < 12


def answers_a_newcomer(server: wsgi.Server) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server.socket), timeout=20)
    connection.request("GET", "/small")
    said = connection.getresponse().read()
    connection.close()
    return said == b"small"


BEGINNINGS = {
    "nothing": b"",
    "half a head": HEAD % b"small",
    "half a body": b"POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf",
    "an answer not read": HEAD % b"medium" + b"\r\n",
}


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_more_connections_than_there_are_places_hold_up_no_newcomer(limits: Limits, beginning: str) -> None:
    """Their clients are waited for, and whoever is waited for longest makes room: no clock would ever end one here."""
    limits()
    with serving() as server, ExitStack() as opened:
        for _ in range(wsgi.MAX_CONNECTIONS + 22):
            opened.enter_context(connected(server, TINY)).sendall(BEGINNINGS[beginning])
        assert answers_a_newcomer(server)
        assert len(server.active_channels) <= wsgi.MAX_CONNECTIONS


def test_who_sends_at_the_rate_that_is_asked_for_keeps_its_place_among_those_who_do_not(limits: Limits) -> None:
    limits(ARRIVAL_S=NEVER_S / 2)
    body = bytes(1 << 20)
    head = b"POST /taken HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    with serving() as server, ExitStack() as opened:
        sender = opened.enter_context(connected(server))
        sender.sendall(head + body[:-1])
        wait_for(
            lambda: any(one.request and one.request.body_bytes_received for one in server.active_channels.values())
        )
        for _ in range(2 * wsgi.MAX_CONNECTIONS):
            opened.enter_context(connected(server)).sendall(HEAD % b"small")
        assert answers_a_newcomer(server)
        sender.sendall(body[-1:])
        assert b" 200 OK" in sender.recv(TINY)


def test_who_waits_for_an_answer_keeps_its_place_and_newcomers_wait_while_all_do(limits: Limits) -> None:
    limits()
    hold = threading.Event()
    with serving(hold) as server, ExitStack() as opened:
        opened.callback(hold.set)
        asked = [opened.enter_context(connected(server)) for _ in range(wsgi.MAX_CONNECTIONS)]
        for sock in asked:
            sock.sendall(HEAD % b"held" + b"\r\n")
        wait_for(lambda: sum(bool(one.requests) for one in server.active_channels.values()) == len(asked))
        late = opened.enter_context(connected(server))
        late.sendall(HEAD % b"small" + b"\r\n")
        late.settimeout(0.2)
        with pytest.raises(TimeoutError):
            late.recv(TINY)
        hold.set()
        late.settimeout(20)
        assert b"small" in late.recv(TINY)
        for sock in asked:
            assert b"held" in sock.recv(TINY)

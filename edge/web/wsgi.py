"""waitress on a socket that listens already, with a limit on everything that a client can make it keep.

waitress reads whole requests and buffers whole answers outside its worker threads, so a slow client
costs no thread. What it leaves open is closed here and in edge.web.arrival: how long a request may take to
arrive, how much all bodies together may hold, an answer that nobody reads, and the answer to a body that is
too large or never ends, which a client that is still sending would otherwise never see.
"""

import json
import socket
import time
from contextlib import suppress
from typing import Any

from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import Error

from edge.web.arrival import MAX_AROUND, MAX_BODIES, MAX_BODY, SMALL_BODY, Allowance, Late, Parser, Refused

MAX_CONNECTIONS = 128
ARRIVAL_S = 10.0  # a request must have arrived within this, and its body at
ARRIVAL_BYTES_S = 50_000
UNREAD_S = 15.0  # so long may an answer wait for its reader to take any of it
IDLE_S = 20
SEND_BUFFER = 128 << 10
LOOK_EVERY_S = 2
LINGER_S, LINGER_BYTES = 5.0, 128 << 20
GRACE_S, EXIT_S = 0.4, 0.3
SOON_S = 0.15  # a client that has just connected, or been answered, may be about to ask

_SENTENCES = {
    400: "The request is not HTTP as it must be",
    408: f"A request must arrive within {ARRIVAL_S:.0f} s, and its body at {ARRIVAL_BYTES_S // 1000} kB a second",
    413: f"The body is larger than the {MAX_BODY >> 20} MB that are taken",
    431: "The request's headers are too large",
    501: "This transfer encoding is not supported",
    503: "Too many large bodies are arriving already",
}


class Server(TcpWSGIServer):  # type: ignore[misc]  # waitress has no types
    """Serves an app on a listening socket, which it takes over, with so many worker threads."""

    def __init__(self, app: Flask, listening: socket.socket, threads: int) -> None:
        self.over = self._for_good = False
        self.channel_class = _Channel
        super().__init__(
            app,
            _sock=listening,
            bind_socket=False,
            sockinfo=(listening.family, listening.type, listening.proto, listening.getsockname()),
            threads=threads,
            ident=None,
            connection_limit=MAX_CONNECTIONS + 3,  # its own two are counted too, and a newcomer for whom room is made
            recv_bytes=1 << 16,
            inbuf_overflow=SMALL_BODY,
            max_request_header_size=32 << 10,
            max_request_body_size=MAX_BODY + MAX_AROUND,
            # Looking ahead keeps the socket watched while an answer streams, so a viewer who leaves is noticed.
            channel_request_lookahead=1,
            outbuf_high_watermark=1 << 20,
            # A proxy on this machine may say that its client came by https, and nothing else.
            trusted_proxy="127.0.0.1",
            trusted_proxy_headers={"x-forwarded-proto"},
            clear_untrusted_proxy_headers=True,
            log_socket_errors=False,
        )
        self.adj.bodies = Allowance(MAX_BODIES)  # waitress hands its settings, and nothing else, to a parser

    def set_socket_options(self, conn: socket.socket) -> None:
        super().set_socket_options(conn)
        # A reader who stops reading is noticed once this is full; the system's own limit is megabytes.
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        # And one who has vanished without a word (cable, battery) after so many milliseconds.
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_S * 1e3))

    def run(self) -> None:
        """Serves until `end` is called."""
        look_at = time.monotonic()
        while not self.over:
            wasyncore.loop(timeout=1.0, use_poll=True, map=self._map, count=1)
            if time.monotonic() >= look_at:
                self._end_overdue()
                look_at = time.monotonic() + LOOK_EVERY_S

    def maintenance(self, now: float) -> None:
        """Nothing: waitress calls this by a clock that people and time servers set. See `_end_overdue`."""

    def _end_overdue(self) -> None:
        """Ends connections that idle, dawdle or do not take their answer."""
        for channel in list(self.active_channels.values()):
            channel.end_if_overdue(time.monotonic())

    def readable(self) -> bool:
        """Whether a newcomer is let in: while there is a place for it, or one that can be made."""
        takes: bool = super().readable()
        full = takes and len(self.active_channels) >= MAX_CONNECTIONS
        return takes and not (full and self._waited_for_longest() is None)

    def handle_accept(self) -> None:
        """Lets a newcomer in; where all places are taken, the connection that is waited for longest makes room.

        So connections that begin and do not go on hold nobody up, however many they are, and who has asked gets its
        answer. It is closed once the newcomer is there: its number would be the newcomer's else, for whom what has
        just been heard of the old one would be taken.
        """
        super().handle_accept()
        if not self.over and len(self.active_channels) > MAX_CONNECTIONS:
            longest = self._waited_for_longest()
            if longest is not None:
                longest.close_now()

    def _waited_for_longest(self) -> "_Channel | None":
        now = time.monotonic()
        waits = {one: waited for one in self.active_channels.values() if (waited := one.waited(now)) is not None}
        return max(waits, key=lambda one: waits[one][0], default=None)

    def end(self, for_good: bool = False) -> None:
        """Makes `run` return soon; any thread and any signal's handler may call it, and more than once.

        for_good says that nobody serves the address after it.
        """
        self._for_good = self._for_good or for_good
        if not self.over:
            self.over = True
            self.pull_trigger()

    def finish(self) -> None:
        """Answers what has been asked already, for GRACE_S at the most; no further connection is taken.

        Who comes now is refused by the system when this ends for good, and else waits for who serves after it. Only
        who connects in the very moment between may be cut off.
        """
        if self._for_good:
            taken = -1
            while len(self.active_channels) > taken:  # those whom the system has let in already
                taken = len(self.active_channels)
                self.handle_accept()
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)  # unlike a close this holds for all processes that share it
        wasyncore.dispatcher.del_channel(self, self._map)
        self._serve_on(GRACE_S)

    def _serve_on(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(one.is_busy for one in self.active_channels.values()):
            wasyncore.loop(timeout=0.02, use_poll=True, map=self._map, count=1)

    def let_go(self) -> None:
        """Lets the last answers go out for a moment, ends the worker threads, closes every connection.

        To be called once `finish` has returned. A thread that is in the middle of something may not have come back:
        the process must not be taken down around it (`os._exit` ends both at once).
        """
        self._serve_on(EXIT_S)
        self.task_dispatcher.shutdown(timeout=EXIT_S)
        wasyncore.close_all(self._map)


class _ErrorTask(ErrorTask):  # type: ignore[misc]
    """What is refused before the app sees it is answered in the app's own form."""

    def execute(self) -> None:
        error = self.request.error
        sentence = error.sentence if isinstance(error, Refused) else _SENTENCES.get(error.code, error.reason)
        body = json.dumps({"error": sentence}).encode() + b"\n"
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [
            ("Content-Type", "application/json"),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
        ]
        if error.code == 503:
            self.response_headers.append(("Retry-After", "2"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.channel.still_sending = True
        self.write(body)


class _Task(WSGITask):  # type: ignore[misc]
    """An answer's head goes out with the first of its body: one packet, and one wake-up of who reads it."""

    wrote_header: bool

    def build_response_header(self) -> bytes:
        if self.channel.server.over:
            self.set_close_on_finish()  # the client need not find out by its next request
        head: bytes = super().build_response_header()
        return head

    def write(self, data: bytes) -> None:
        if self.complete and not self.wrote_header and data and self.has_body:
            self.channel.hold(self.build_response_header())
            self.wrote_header = True
        super().write(data)


class _Channel(HTTPChannel):  # type: ignore[misc]
    """One connection. After an error it ends as RFC 9112, section 9.6, advises: written first, read out, closed."""

    request: Parser | None
    parser_class = Parser
    task_class = _Task
    error_task_class = _ErrorTask

    def __init__(self, *args: Any, **keys: Any) -> None:
        self.still_sending = False
        self._heard_out = False  # the client has said that it sends no more
        self._lingers_since = 0.0
        self._thrown_away = 0
        self._held = b""
        self._since = time.monotonic()
        super().__init__(*args, **keys)

    @property
    def last_activity(self) -> float:
        """When something last came or went, by time.monotonic."""
        return self._last_activity

    @last_activity.setter
    def last_activity(self, by_the_wall: float) -> None:
        # waitress says here that something has, by a clock that may be set meanwhile: all connections would be overdue.
        self._last_activity = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether a request arrives or is being answered, an answer is on its way, or all that was but a moment ago."""
        arriving = self.request is not None and not self.request.blank
        asks_soon = not self._heard_out and time.monotonic() - self.last_activity < SOON_S
        return bool(arriving or self.requests or self.total_outbufs_len or asks_soon)

    def hold(self, head: bytes) -> None:
        """Keeps bytes that go out in front of the next ones."""
        self._held = head

    def write_soon(self, data: Any) -> int:
        if self._held and isinstance(data, bytes):
            data, self._held = self._held + data, b""
        sent: int = super().write_soon(data)
        return sent

    def received(self, data: bytes) -> bool:
        before = self.request
        done: bool = super().received(data)
        if self.request is not before:
            self._since = time.monotonic()
        return done

    def waited(self, now: float) -> tuple[float, float] | None:
        """How long its client has been waited for, and how long it may be, in seconds; None while the client waits.

        now is by time.monotonic.
        """
        if self._lingers_since:
            return now - self._lingers_since, LINGER_S
        if self.total_outbufs_len:
            return now - self.last_activity, UNREAD_S
        if self.request is not None:
            # What comes at the rate that is asked for is not waited for, nor does it buy a pause beyond IDLE_S.
            behind_s = now - self._since - self.request.body_bytes_received / ARRIVAL_BYTES_S
            return max(behind_s, now - self.last_activity - IDLE_S + ARRIVAL_S), ARRIVAL_S
        if self.requests:
            return None
        # Nothing has come at all since the connection was made, or since the last answer.
        return now - max(self._since, self.last_activity), IDLE_S

    def end_if_overdue(self, now: float) -> None:
        """Closes a connection whose client takes too long to send, or to read."""
        waited = self.waited(now)
        if waited is None or waited[0] <= waited[1]:
            return
        arriving = self.request is not None and not self._lingers_since and not self.total_outbufs_len
        if arriving and not self.requests:
            self._refuse(Late(""))
            return
        self.still_sending = False
        self.will_close = True
        self._shutdown(socket.SHUT_RDWR)

    def close_now(self) -> None:
        """Ends the connection, whatever is under way on it."""
        self.still_sending = False
        self.handle_close()

    def readable(self) -> bool:
        return bool(self._lingers_since) or (not self._heard_out and super().readable())

    def writable(self) -> bool:
        return not self._lingers_since and (self._is_answered_out or super().writable())

    def handle_write(self) -> None:
        if self._is_answered_out:
            self.close_when_flushed = True
        super().handle_write()

    @property
    def _is_answered_out(self) -> bool:
        """Whether the client sends no more and all that it has asked for is answered."""
        return self._heard_out and not self.requests

    def handle_read(self) -> None:
        try:
            data = self.socket.recv(self.adj.recv_bytes)
        except OSError:
            self.handle_close()
            return
        if self._lingers_since:
            self._thrown_away += len(data)
            if not data or self._thrown_away > LINGER_BYTES:
                self.handle_close()
        elif data:
            self._last_activity = time.monotonic()
            self.received(data)
        elif self.request is not None and not self.request.blank and not self.requests:
            self._heard_out = True
            self._refuse(Refused("The request ends before all of it has come"))
        elif self.requests or self.total_outbufs_len:
            # It may only have closed its sending side: what it has asked for is answered before the connection ends.
            self._heard_out = True
        else:
            self.handle_close()

    def _refuse(self, error: Error) -> None:
        """Answers the one request of this connection, which is still arriving; in the event loop's thread only."""
        with self.requests_lock:
            request, self.request = self.request, None
            if request is None:
                return
            request.refuse(error)
            self.requests.append(request)
        self.server.add_task(self)

    def handle_close(self) -> None:
        if self.still_sending and not self._lingers_since and self.connected:
            self._lingers_since = time.monotonic()
            self.will_close = False
            self._shutdown(socket.SHUT_WR)
            return
        super().handle_close()

    def _shutdown(self, how: int) -> None:
        try:
            self.socket.shutdown(how)
        except OSError:
            super().handle_close()  # the client has gone already

"""Requests as they arrive: where a body ends is never in doubt, and nothing is waited for in vain."""

import json
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waitress.adjustments import Adjustments

from edge.web.arrival import MAX_BODIES, MAX_BODY, MAX_CHUNK_LINE, SMALL_BODY, Allowance, Parser
from edge.web.side import WebSide
from tests.edge.web.conftest import painted

HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ANOTHER = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
PICTURE = painted("red")


def answers(port: int, *parts: bytes, ends: bool = False) -> bytes:
    """All that comes back until the server hangs up, or for the one answer where it does not."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        for part in parts:
            sock.sendall(part)
        if ends:
            sock.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := sock.recv(65536):
            received += chunk
            head, _, body = received.partition(b"\r\n\r\n")
            if b"Connection: close" not in head and f"Content-Length: {len(body)}".encode() in head:
                break
        return received


def refused(received: bytes, status: int) -> str:
    """The sentence of the one refusal that was received, after which the server has hung up."""
    head, _, body = received.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status, received[:300]
    assert b"Connection: close" in head
    assert b"Server:" not in head
    assert b"Via:" not in head
    return str(json.loads(body)["error"])  # and nothing after it


@pytest.mark.parametrize("size", [b"F" * 16, b"F" * 300, b"1000000000000", b"%x" % (MAX_BODY + (1 << 20))])
def test_a_chunk_larger_than_any_body_is_refused_by_its_size(side: WebSide, size: bytes) -> None:
    assert "16 MB" in refused(answers(side.port, CHUNKED + size + b"\r\nx"), 413)


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"transfer-encoding:chunked\r\ncontent-length:0\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding:\r\n",
        b"Transfer-Encoding:\r\n chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: ,chunked\r\n",
    ],
)
def test_a_body_whose_end_two_programs_may_read_differently_is_refused(side: WebSide, fields: bytes) -> None:
    sentence = refused(answers(side.port, HEAD + fields + b"\r\n0\r\n\r\n" + ANOTHER), 400)
    assert "Content-Length" in sentence


def test_chunks_under_a_version_that_has_none_are_refused(side: WebSide) -> None:
    for version in (b"1.0", b"2.0"):
        refused(answers(side.port, CHUNKED.replace(b"1.1", version) + b"0\r\n\r\n" + ANOTHER), 400)


def chunked(data: bytes, size: int, line: bytes = b"%x\r\n", end: bytes = b"\r\n", last: bytes = b"0\r\n\r\n") -> bytes:
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(line % len(piece) + piece + end for piece in pieces) + last


@pytest.mark.parametrize(
    "body",
    [
        chunked(PICTURE, 7),
        chunked(PICTURE, len(PICTURE), line=b"00%X;name=value ; other=\"quoted\"\r\n"),
        chunked(PICTURE, 100, last=b"000;last\r\nX-Trailer: y\r\nContent-Length: 3\r\n\r\n"),
    ],
)  # fmt: skip
def test_chunks_of_every_shape_are_one_body(side: WebSide, body: bytes) -> None:
    received = answers(side.port, CHUNKED + body)
    assert b'"class":"red"' in received
    assert b"Server:" not in received


@pytest.mark.parametrize(
    "body",
    [
        b"ZZ\r\nhello\r\n0\r\n\r\n", b"5\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n", b"1_0\r\nhellohellohello!\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n", b"\r\n5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n", b"5 x\r\nhello\r\n0\r\n\r\n", b"5;\0\r\nhello\r\n0\r\n\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n", b"0\r\nX: y\n\r\n", b"1" * 3_000_000,
        b"5;" + b"a" * MAX_CHUNK_LINE + b"\r\nhello\r\n0\r\n\r\n",
    ],
)  # fmt: skip
def test_chunks_that_are_not_as_they_must_be_are_refused(side: WebSide, body: bytes) -> None:
    assert "chunks" in refused(answers(side.port, CHUNKED, body, ANOTHER), 400)


def test_trailers_without_end_are_refused(side: WebSide) -> None:
    refused(answers(side.port, CHUNKED + b"0\r\n" + b"X: y\r\n" * 10_000), 431)


def parsed(*pieces: bytes) -> Parser:
    """What the parser makes of bytes that come in pieces."""
    settings = Adjustments(max_request_body_size=MAX_BODY, inbuf_overflow=SMALL_BODY)
    settings.bodies = Allowance(MAX_BODIES)
    parser = Parser(settings)
    for piece in pieces:
        taken = 0
        while taken < len(piece) and not parser.completed:
            taken += parser.received(piece[taken:])
    return parser


@settings(deadline=None, max_examples=60)
@given(st.binary(min_size=1, max_size=200), st.integers(1, 40), st.integers(0, 600), st.integers(0, 600))
def test_it_makes_no_difference_where_the_network_cuts(data: bytes, size: int, first: int, second: int) -> None:
    whole = CHUNKED + chunked(data, size)
    at, then = sorted((first, second))
    parser = parsed(whole[:at], whole[at:then], whole[then:] + ANOTHER)
    assert (parser.completed, parser.error) == (True, None)
    assert parser.get_body_stream().read() == data
    assert parser.headers["CONTENT_LENGTH"] == str(len(data))


@pytest.mark.parametrize(
    "part",
    [
        HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 500, CHUNKED + b"1f4\r\n" + b"x" * 400,
        HEAD + b"Content-Length: 1000\r\n\r\n", HEAD, b"GET / HT",
    ],
)  # fmt: skip
def test_a_client_that_ends_half_way_is_told_so(side: WebSide, part: bytes) -> None:
    assert "ends before all of it" in refused(answers(side.port, part, ends=True), 400)

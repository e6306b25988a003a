"""Everything that a stranger may throw at the web side: it answers or hangs up, stays small, and goes on."""

import base64
import contextlib
import http.client
import io
import json
import os
import random
import select
import socket
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.web.side import WebSide
from tests.edge.web import fake_line
from tests.edge.web.conftest import painted
from tests.edge.web.test_side import children

REFUSALS = {400, 403, 404, 405, 408, 413, 414, 415, 421, 422, 431, 501, 503}
GOOD = painted("red", 640, 480)
MOST_MEMORY_MB = 500
Hostile = tuple[str, bytes, str]  # a name, a body, its content type


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WebSide, int]]:
    """A web side of its own for this file, and its process."""
    before = children()
    config = fake_line.config(tmp_path_factory.mktemp("hostile"))
    side = WebSide(config, fake_line.facts(config), lambda command: None)
    side.start()
    assert post(side.port, GOOD, "image/jpeg")[0] == 200
    (pid,) = children() - before
    yield side, pid
    assert post(side.port, GOOD, "image/jpeg")[0] == 200
    assert children() - before == {pid}, "it died and was started again"
    assert memory_mb(pid) < MOST_MEMORY_MB
    side.stop()


def memory_mb(pid: int) -> float:
    """The most memory that a process has ever held."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def post(port: int, body: bytes, kind: str, path: str = "/predict") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def form(data: bytes, name: bytes = b"a.jpg", boundary: bytes = b"x") -> bytes:
    head = b"--" + boundary + b'\r\nContent-Disposition: form-data; name="file"; filename="' + name + b'"\r\n\r\n'
    return head + data + b"\r\n--" + boundary + b"--\r\n"


FORM = "multipart/form-data; boundary=x"


def damaged() -> Iterator[Hostile]:
    """Pictures cut off, with bytes changed, and with bytes put in."""
    rng = random.Random(7)
    for suffix in (".jpg", ".png", ".webp", ".bmp", ".tiff"):
        scene = cv2.resize(np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8), (80, 60))
        whole = bytes(cv2.imencode(suffix, scene)[1])
        for share in (0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.999):
            yield f"{suffix} cut at {share}", whole[: max(int(len(whole) * share), 1)], "image/jpeg"
        for n in range(40):
            data = bytearray(whole)
            for _ in range(rng.choice((1, 1, 4, 64))):
                at = rng.randrange(min(len(data), 120)) if n % 2 else rng.randrange(len(data))
                data[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
            yield f"{suffix} damage {n}", bytes(data), "application/octet-stream"
        for n in range(6):
            at = rng.randrange(len(whole))
            yield f"{suffix} grown {n}", whole[:at] + rng.randbytes(50) + whole[at:], "image/png"


def bombs() -> Iterator[Hostile]:
    """Small files that promise, or unpack to, enormous pictures."""

    def png(width: int, height: int, depth: int = 8, colour: int = 2, *extra: bytes) -> bytes:
        def chunk(kind: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
        rows = zlib.compress(bytes(20 << 20), 9)
        return (
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(extra) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
        )

    for width, height in (
        (60_000, 60_000),
        (2**31 - 1, 2**31 - 1),
        (0, 0),
        (1, 2**31 - 1),
        (6000, 6000),
        (2**32 - 1, 1),
    ):
        yield f"png {width}x{height}", png(width, height), "image/png"
    for depth, colour in ((1, 0), (16, 6), (16, 2), (3, 3), (255, 255)):
        yield f"png depth {depth} colour {colour}", png(4000, 4000, depth, colour), "image/png"
    text = zlib.compress(bytes(200 << 20), 9)
    zipped = struct.pack(">I", len(text) + 6) + b"zTXtComm\0\0"[:4] + b"Comm\0\0" + text
    zipped += struct.pack(">I", zlib.crc32(zipped[4:]))
    yield "png with a text of 200 MB", png(8, 8, 8, 2, zipped), "image/png"
    profile = struct.pack(">I", len(text) + 3) + b"iCCP" + b"p\0\0" + text
    profile += struct.pack(">I", zlib.crc32(profile[4:]))
    yield "png with a profile of 200 MB", png(8, 8, 8, 2, profile), "image/png"
    jpeg = painted("red", 16, 16)
    at = jpeg.index(b"\xff\xc0")
    for height, width in ((65_535, 65_535), (0, 16), (16, 0), (6000, 6000), (65_535, 1)):
        data = jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]
        yield f"jpeg {width}x{height}", data, "image/jpeg"
    for size in ((2**31 - 1, 2**31 - 1), (-(2**31), -(2**31)), (20_000, 20_000), (0, 5), (5, -(2**31)), (7000, -5000)):
        bmp = bytearray(painted("red", 4, 4, ".bmp"))
        struct.pack_into("<ii", bmp, 18, *size)
        yield f"bmp {size}", bytes(bmp), "image/bmp"
    for tag in (256, 257, 258, 273, 277, 278, 279, 322, 339):
        for value in (0, 1, 2**16 - 1, 2**31 - 1, 2**32 - 1):
            tiff = bytearray(painted("red", 4, 4, ".tiff"))
            (start,) = struct.unpack_from("<I", tiff, 4)
            for i in range(struct.unpack_from("<H", tiff, start)[0]):
                entry = start + 2 + 12 * i
                if struct.unpack_from("<H", tiff, entry)[0] == tag:
                    struct.pack_into("<HII", tiff, entry + 2, 4, 1, value)
            yield f"tiff tag {tag} = {value}", bytes(tiff), "image/tiff"
    loop = bytearray(painted("red", 4, 4, ".tiff"))
    struct.pack_into("<I", loop, 4, len(loop) - 2)
    yield "tiff whose directory is beyond its end", bytes(loop), "image/tiff"
    webp = bytearray(painted("red", 16, 16, ".webp"))
    for field in (4, 16):
        for value in (0, 2**31, 2**32 - 1):
            data = webp.copy()
            struct.pack_into("<I", data, field, value)
            yield f"webp field {field} = {value}", bytes(data), "image/webp"
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + b"\xff\xff\xff" * 2
    yield "webp of 16 million squared", b"RIFF" + struct.pack("<I", 22) + b"WEBP" + canvas, "image/webp"


def polyglots() -> Iterator[Hostile]:
    """Files that are two things at once, or say to be one and are another."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../etc/passwd", "x" * 1000)
    for suffix in (".jpg", ".png", ".webp", ".bmp", ".tiff"):
        picture = painted("green", 32, 32, suffix)
        yield f"{suffix} and a zip", picture + archive.getvalue(), "image/jpeg"
        yield f"{suffix} and a page", picture + b"<script>alert(1)</script>", "image/svg+xml"
        yield f"{suffix} after a page", b"<html>" + picture, "image/jpeg"
        yield f"{suffix} twice", picture + picture, "image/gif"
    yield "svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="99999" height="99999"/>', "image/svg+xml"
    yield "gif", b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + bytes(20), "image/gif"
    yield "exr", b"\x76\x2f\x31\x01" + bytes(500), "image/x-exr"
    yield "hdr", b"#?RADIANCE\n\n-Y 99999 +X 99999\n" + bytes(50), "image/vnd.radiance"
    yield "pnm", b"P6 99999 99999 255\n" + bytes(50), "image/x-portable-pixmap"
    yield "avif", b"\0\0\0\x20ftypavif" + bytes(200), "image/avif"
    yield "jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(200), "image/jp2"
    yield "pickle", b"\x80\x04\x95cos\nsystem\n(S'true'\ntR.", "application/octet-stream"
    yield "elf", b"\x7fELF" + bytes(200), "image/jpeg"


def bodies() -> Iterator[Hostile]:
    """Forms and JSON that are not what they say."""
    yield "form without a boundary", form(GOOD), "multipart/form-data"
    yield "form with another boundary", form(GOOD, boundary=b"y"), FORM
    yield "form that never ends", form(GOOD)[:-8], FORM
    yield "form with an endless boundary", form(GOOD), "multipart/form-data; boundary=" + "x" * 20_000
    yield "form with an empty boundary", form(GOOD), "multipart/form-data; boundary="
    yield "a hundred thousand parts", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 100_000, FORM
    yield "a hundred thousand files", (form(b"")[:-5] + b"\r\n") * 100_000 + b"--x--", FORM
    yield "a hundred thousand boundaries", b"--x\r\n" * 100_000, FORM
    yield "one part of newlines", form(b"\r\n" * 1_000_000), FORM
    yield "one part of half boundaries", form(b"\r\n--" * 1_000_000), FORM
    head = b"--x\r\n" + b"X-Header: y\r\n" * 50_000
    yield "fifty thousand headers in a part", head + b"\r\n\r\n--x--", FORM
    yield (
        "a header of a megabyte in a part",
        b"--x\r\nContent-Disposition: " + b"a" * 1_000_000 + b"\r\n\r\n--x--",
        FORM,
    )
    yield (
        "a field of five megabytes",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"a" * (5 << 20),
        FORM,
    )
    for name in (
        b"../../etc/passwd",
        b"a\0b",
        b"\xff\xfe",
        b"%0d%0aSet-Cookie: a=b",
        b"n" * 100_000,
        b"'\";--",
        b"CON",
    ):
        yield f"a file named {name[:20]!r}", form(b"no picture", name), FORM
    for text in (
        "",
        "null",
        "1",
        "NaN",
        '"x"',
        "[]",
        "{}",
        '{"image"',
        '{"image": null}',
        '{"image": {"a": 1}}',
        "[" * 200_000,
        '{"a":' * 50_000,
        '{"image": "' + "A" * 1_000_000 + '"}',
        '{"image": "\\ud800"}',
        "1" * 100_000,
        '{"images": []}',
        '{"images": {}}',
        '{"images": [[[]]]}',
        '{"image": 1e999}',
        '{"image": -0}',
        "\ufeff{}",
        '{"image": "data:,"}',
        '{"images": ["", "", ""]}',
        '{"image": "data:text/html;base64,PGh0bWw+"}',
        '{"image": "\x00"}',
    ):
        yield f"json {text[:24]!r}", text.encode(), "application/json"
    yield "json that is not utf-8", b'{"image": "\xff\xfe"}', "application/json"
    yield "json in utf-16", '{"image": ""}'.encode("utf-16"), "application/json; charset=utf-16"
    seventeen = json.dumps({"images": [base64.b64encode(painted("red")).decode()] * 17}).encode()
    yield "one picture too many", seventeen, "application/json"
    yield (
        "a bomb in json",
        json.dumps({"image": base64.b64encode(zlib.compress(bytes(10 << 20))).decode()}).encode(),
        ("application/json"),
    )
    for kind in (
        "",
        "x",
        "image/",
        "/",
        "text/html",
        "application/x-www-form-urlencoded",
        "a" * 5000,
        "image/jpeg; q=\xff",
    ):
        yield f"content type {kind[:20]!r}", b"a=b" * 100, kind


CORPUS = [*damaged(), *bombs(), *polyglots(), *bodies()]


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) >= 400
    assert len({name for name, _, _ in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("part", range(8))
def test_no_body_breaks_it_and_none_is_answered_with_more_than_a_sentence(
    served: tuple[WebSide, int], part: int
) -> None:
    side, pid = served
    for name, body, kind in CORPUS[part::8]:
        for path in ("/predict",) if part % 2 else ("/predict?crop=0,0,1,1", "/v2/models/colours/infer"):
            status, answer = post(side.port, body, kind, path)
            assert status == 200 or status in REFUSALS, (name, status)
            content = json.loads(answer)
            if status != 200:
                assert set(content) == {"error"}, name
                assert not any(leak in content["error"] for leak in ("Traceback", ".py", "edge/", "packages")), name
                assert len(content["error"]) < 300
        assert memory_mb(pid) < MOST_MEMORY_MB, name


def raw(port: int, data: bytes, then_close: bool = False) -> bytes:
    """What comes back for bytes that no client would send."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(data)
        if then_close:
            return b""
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(OSError):
            while chunk := sock.recv(65536):
                received += chunk
        return received


REQUESTS = {
    "nothing": b"",
    "bytes": os.urandom(5000),
    "no version": b"GET /\r\n\r\n",
    "a version to come": b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "http 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a bad address": b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a long address": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a climbing address": b"GET /static/../../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a climbing address in disguise": b"GET /static/%2e%2e/%2e%2e/server.py HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an address with a null": b"GET /crops/%00.jpg HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an enormous item": b"GET /crops/" + b"9" * 5000 + b".jpg HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
    "a strange host": b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "a host with a port of letters": b"GET / HTTP/1.1\r\nHost: localhost:port\r\n\r\n",
    "headers without end": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000,
    "one header without end": b"GET / HTTP/1.1\r\nX: " + b"y" * 1_000_000,
    "a header of nothing": b"GET / HTTP/1.1\r\n: y\r\n\r\n",
    "a bare return": b"GET / HTTP/1.1\r\nHost: localhost\rX: y\r\n\r\n",
    "folded headers": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: y\r\n z\r\n\r\n",
    "a length of words": b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: five\r\n\r\nhello",
    "a negative length": b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\nhello",
    "an enormous length": b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
    + b"9" * 30
    + b"\r\n\r\nhello",
    "a length of 5000 digits": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
    + b"9" * 5000
    + b"\r\n\r\nhello",
    "two lengths": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "a length and chunks": (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    ),
    "bad chunks": b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n",
    "a chunk of 2^64": b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"F" * 16
    + b"\r\nx",
    "chunks without end": (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 200_000
    ),
    "an unknown encoding": b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\nhello",
    "a wrong cookie": b"GET /state.json HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"a=b;" * 5000 + b"\r\n\r\n",
    "too many expectations": b"POST /predict HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n",
    "a thousand at once": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000,
    "a strange method": b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "trace": b"TRACE / HTTP/1.1\r\nHost: localhost\r\nCookie: a=b\r\n\r\n",
    "connect": b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("name", REQUESTS)
def test_no_request_breaks_it(served: tuple[WebSide, int], name: str) -> None:
    side, _ = served
    answer = raw(side.port, REQUESTS[name])
    first = answer.split(b"\r\n", 1)[0].split()
    if first and answer.startswith(b"HTTP/"):
        assert int(first[1]) in REFUSALS | {100, 200, 302}, answer[:200]
    assert b"Traceback" not in answer
    assert b"root:" not in answer
    assert b"def " not in answer
    raw(side.port, REQUESTS[name], then_close=True)


def test_a_smuggled_request_is_not_answered_as_a_second_one(served: tuple[WebSide, int]) -> None:
    side, _ = served
    answer = raw(
        side.port,
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\nTransfer-Encoding: xchunked\r\n\r\n"
        b"0\r\n\r\n"
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    )
    assert b"sortline_" not in answer


def test_slow_clients_are_hung_up_on_and_hold_up_nobody(served: tuple[WebSide, int]) -> None:
    """Forty connections that send a byte now and then: others are answered at once, the slow ones told and ended."""
    side, _ = served
    starts = (
        b"GET / HTTP/1.1\r\nHost: loc",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 100000\r\n\r\n\xff",
    )
    slow = []
    for n in range(40):
        sock = socket.create_connection(("127.0.0.1", side.port), timeout=30)
        sock.sendall(starts[n % 2])
        slow.append(sock)
    ended: set[int] = set()
    told: dict[int, bytes] = {}
    deadline = time.monotonic() + 45
    try:
        while len(ended) < len(slow):
            assert time.monotonic() < deadline, f"{len(slow) - len(ended)} slow clients are still served"
            assert post(side.port, GOOD, "image/jpeg")[0] == 200
            for n, sock in enumerate(slow):
                try:
                    if answer := sock.recv(1000, socket.MSG_DONTWAIT):
                        told[n] = told.get(n, b"") + answer
                    else:
                        ended.add(n)
                except BlockingIOError:
                    with contextlib.suppress(OSError):
                        sock.sendall(b"a")
                except OSError:
                    ended.add(n)
            time.sleep(0.25)
        # One that looks later than the server waits for it after its answer sees only that it was hung up on.
        assert {n % 2 for n in told} == {0, 1}
        for answer in told.values():
            assert answer.split()[1] == b"408"
        assert any(b"within 10 s" in answer for answer in told.values())
    finally:
        for sock in slow:
            sock.close()


def test_large_bodies_that_arrive_together_are_bounded(served: tuple[WebSide, int]) -> None:
    side, _ = served
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 16000000\r\n\r\n"
    holding = []
    refused: dict[socket.socket, bytes] = {}
    try:
        for _ in range(12):
            sock = socket.create_connection(("127.0.0.1", side.port), timeout=30)
            sock.sendall(head + bytes(1000))
            holding.append(sock)
        deadline = time.monotonic() + 30
        while len(refused) < 6:
            assert time.monotonic() < deadline
            for sock in select.select(holding, [], [], 1.0)[0]:
                refused[sock] = refused.get(sock) or sock.recv(100).split()[1]
        assert set(refused.values()) == {b"503"}
        others = [sock for sock in holding if sock not in refused]
        assert select.select(others, [], [], 0.5)[0] == [], "the rest of these is waited for"
        assert post(side.port, GOOD, "image/jpeg")[0] == 200
    finally:
        for sock in holding:
            sock.close()


def test_an_answer_that_nobody_reads_is_given_up(served: tuple[WebSide, int]) -> None:
    """A viewer who stops reading does not hold its place for ever."""
    side, _ = served
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", side.port))
    sock.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    stop = threading.Event()

    state = fake_line.state_at(60.0, 100)
    state["incidents"] = {"x" * 200_000: 1}

    def talk() -> None:
        while not stop.wait(0.2):
            side.state(state)

    talker = threading.Thread(target=talk)
    talker.start()
    deadline = time.monotonic() + 60
    try:
        while viewers(side.port) == 0:
            assert time.monotonic() < deadline
        while viewers(side.port) > 0:
            assert time.monotonic() < deadline, "it is still a viewer"
            time.sleep(0.2)
    finally:
        stop.set()
        talker.join()
        sock.close()


def viewers(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    (line,) = (line for line in text.splitlines() if line.startswith("sortline_viewers "))
    return float(line.split()[1])

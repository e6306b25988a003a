"""A request as it arrives: waitress' parser, with a bound on everything and no doubt about where a body ends.

What two programs on the way may read differently is refused (RFC 9112, sections 3.2, 6.1 and 6.3). Bodies in chunks
are put together here: waitress has no bound for what stands around a chunk and copies all of it with every packet,
so that 3 MB of digits for a chunk's size stopped it, for everybody, for 16 s.
"""

import re
import threading
import weakref
from typing import Any

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.utilities import BadRequest, Error, RequestEntityTooLarge, RequestHeaderFieldsTooLarge

MAX_BODY = 16 << 20
MAX_AROUND = 64 << 10  # a form has so much more around its pictures
MAX_BODIES = 96 << 20  # of all requests that are arriving or being answered
SMALL_BODY = 128 << 10  # up to here a body is kept in memory and counted by the number of connections alone
MAX_CHUNK_LINE = 512
MAX_TRAILER = 8 << 10
_SIZE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_HOST = re.compile(rb"^host:", re.IGNORECASE | re.MULTILINE)
_CODING = re.compile(rb"^transfer-encoding:(.*)$", re.IGNORECASE | re.MULTILINE)


class Allowance:
    """A number of bytes that many share."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    def take(self, owner: object, size: int) -> bool:
        """Takes bytes for as long as the owner lives; False when there are not so many left."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
        weakref.finalize(owner, self._give, size)
        return True

    def _give(self, size: int) -> None:
        with self._lock:
            self._left += size


class Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """waitress' parser; a large body is let in only while there is room for it."""

    completed: bool
    headers_finished: bool
    body_rcv: Any
    error: Error | None
    _admitted = False
    _unclear: Error | None = None

    def received(self, data: bytes) -> int:
        consumed: int = super().received(data)
        self.error = self._unclear or self.error
        if self.headers_finished and not self.completed and not self._admitted:
            self._admitted = True
            size = MAX_BODY if self.chunked else self.content_length
            if size > SMALL_BODY and not self.adj.bodies.take(self, size):
                self.refuse(Busy(""))
        # What comes behind a request that is refused is the rest of it, and no other request.
        return len(data) if self.completed and self.error else consumed

    @property
    def blank(self) -> bool:
        """Whether nothing but line ends has come, which some clients send behind a body (RFC 9112, section 2.2)."""
        return not self.headers_finished and not self.header_plus.strip()

    def refuse(self, error: Error) -> None:
        """Ends the request, however much of it has come, with the answer that an error stands for."""
        if not self.headers_finished:
            super().parse_header(b"GET / HTTP/1.0\r\n")  # what answers it reads these
        self.error, self.completed = error, True

    def parse_header(self, header: bytes) -> None:
        try:
            super().parse_header(header)
        except ValueError as error:  # a length of five thousand digits, an address like http://[::1
            raise ParsingError(str(error)) from None
        hosts = _HOST.findall(header.replace(b"\r\n", b"\n").partition(b"\n")[2])
        if len(hosts) > 1 or (not hosts and self.version == "1.1"):
            self._unclear = Refused("A request names the host that it is meant for once, in a Host header")
            raise ParsingError("no host, or several")
        if codings := _CODING.findall(header.replace(b"\r\n", b"\n")):
            # waitress takes the coding, and a proxy before it may have taken the length, or the last of two codings.
            whole = len(codings) == 1 and codings[0].strip(b" \t").lower() == b"chunked"
            if not whole or self.version != "1.1" or "CONTENT_LENGTH" in self.headers:
                self._unclear = Refused("A body comes in chunks or with a Content-Length, not both, and is coded once")
                raise ParsingError("where the body ends can be read in two ways")
            self.body_rcv = _Chunks(self.body_rcv.getbuf(), self.adj.max_request_body_size)


class _Chunks:
    """Puts a body that comes in chunks (RFC 9112, section 7.1) together in a buffer. Trailers are thrown away."""

    def __init__(self, buffer: Any, most: int) -> None:
        self._buffer, self._room = buffer, most
        self._line = bytearray()  # of what stands around the chunks: the part that has come
        self._chunk = 0  # bytes of it that are still to come
        self._after = self._over = False  # a chunk's end comes next; the last chunk was there
        self._trailer = 0
        self.completed = False
        self.error: Error | None = None

    def __len__(self) -> int:
        return int(self._buffer.__len__())

    def getbuf(self) -> Any:
        return self._buffer

    def getfile(self) -> Any:
        return self._buffer.getfile()

    def received(self, data: bytes) -> int:
        """Takes bytes and returns how many of them belong to this body."""
        at, pieces = 0, []
        while at < len(data) and not self.completed:
            if self._chunk:
                piece = data[at : at + self._chunk]
                pieces.append(piece)
                at += len(piece)
                self._chunk -= len(piece)
                self._after = not self._chunk
                continue
            end = data.find(b"\n", at, at + MAX_CHUNK_LINE) + 1
            stop = end or min(at + MAX_CHUNK_LINE, len(data))
            self._line += data[at:stop]
            at = stop
            if len(self._line) > MAX_CHUNK_LINE or (end and not self._take(bytes(self._line))):
                self.error = self.error or Refused("The chunks of the body are not as they must be")
            if self.error:
                return len(data)  # what comes behind it is nothing that can be relied on
            if end:
                self._line.clear()
        self._buffer.append(b"".join(pieces))
        return at

    def _take(self, line: bytes) -> bool:
        """Whether a whole line is what had to come."""
        if self._over:
            self.completed = line == b"\r\n"
            self._trailer += len(line)
            if self._trailer > MAX_TRAILER:
                self.error = RequestHeaderFieldsTooLarge("")
            return line.endswith(b"\r\n")
        if self._after:
            self._after = False
            return line == b"\r\n"
        found = _SIZE.fullmatch(line)
        if not found:
            return False
        self._chunk = int(found[1], 16)
        self._room -= self._chunk
        if self._room < 0:
            self.error = RequestEntityTooLarge("")
        self._over = not self._chunk
        return True


class Busy(Error):  # type: ignore[misc]
    """Too much is arriving already."""

    code = 503
    reason = "Service Unavailable"


class Late(Error):  # type: ignore[misc]
    """The rest of a request did not come in time."""

    code = 408
    reason = "Request Timeout"


class Refused(BadRequest):  # type: ignore[misc]
    """A request that is not HTTP as it must be; its text is one sentence for the client."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence

"""The channel between the line and its web side: messages over a socket, a JSON header and raw bytes each."""

import json
import math
import select
import socket
import struct
import threading
from typing import Any

import numpy as np

_PREFIX = struct.Struct("!II")  # length of the header and of the payload, in bytes
_MAX_HEADER = 4 << 20
_MAX_PAYLOAD = 64 << 20

Message = dict[str, Any]


def to_json(value: Any) -> bytes:
    """A value as compact JSON that every browser reads: numpy's numbers as numbers, NaN and infinity as null."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError):
        return json.dumps(_plain(value), separators=(",", ":"), allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class ChannelClosed(ConnectionError):
    """The other side has gone, or what it sent is not of this protocol."""


class Channel:
    """One end of a connected stream socket, which it owns.

    Nothing on it is ever unpickled or executed: a header is a JSON object, a payload is bytes. Any
    thread may send; one thread receives.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._socket.setblocking(True)
        self._sending = threading.Lock()
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)

    def send(self, message: Message, payload: bytes | memoryview = b"") -> None:
        """Sends one message, waiting while the other side is slow; raises ChannelClosed when it has gone."""
        header = to_json(message)
        size = memoryview(payload).nbytes
        with self._sending:
            try:
                self._socket.sendall(_PREFIX.pack(len(header), size) + header)
                if size:
                    self._socket.sendall(payload)
            except OSError as error:
                raise ChannelClosed(str(error)) from None

    def receive(self, timeout_s: float | None = None) -> tuple[Message, bytearray]:
        """The next message and its payload; raises ChannelClosed at the end and TimeoutError when none comes."""
        if not self._poll.poll(None if timeout_s is None else timeout_s * 1e3):
            raise TimeoutError
        header_size, payload_size = _PREFIX.unpack(self._exactly(_PREFIX.size))
        if header_size > _MAX_HEADER or payload_size > _MAX_PAYLOAD:
            raise ChannelClosed(f"a message of {header_size} + {payload_size} bytes is not of this protocol")
        try:
            message = json.loads(self._exactly(header_size))
        except ValueError:
            raise ChannelClosed("a header that is not JSON is not of this protocol") from None
        return message, self._exactly(payload_size)

    def shutdown(self) -> None:
        """Ends both directions; whoever sends or receives on either end stops waiting. May be called twice."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has ended already, which is what was wanted

    def close(self) -> None:
        """Releases the socket; only once no thread uses it any more."""
        self._socket.close()

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            try:
                got = self._socket.recv_into(view)
            except OSError as error:
                raise ChannelClosed(str(error)) from None
            if not got:
                raise ChannelClosed("the other side has gone")
            view = view[got:]
        return data

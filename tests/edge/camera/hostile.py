"""Servers that are no cameras, or try to do harm: each is a function that talks to one connection."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import cv2
import numpy as np

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=p\r\n\r\n"

Handler = Callable[[socket.socket], None]


def part(data: bytes, promised: int | None = None) -> bytes:
    """One part of a multipart answer; promised is a length that it only claims to have."""
    head = f"--p\r\nContent-Type: image/jpeg\r\nContent-Length: {promised or len(data)}\r\n\r\n"
    return head.encode() + data + b"\r\n"


def garbage(client: socket.socket) -> None:
    client.sendall(HEAD)
    while True:
        client.sendall(os.urandom(1 << 16))


def garbage_in_good_parts(client: socket.socket) -> None:
    client.sendall(HEAD)
    while True:
        client.sendall(part(os.urandom(5000)))


def a_part_without_end(client: socket.socket) -> None:
    client.sendall(HEAD + part(b"\xff\xd8", promised=99_999_999_999))
    while True:
        client.sendall(bytes(1 << 12))


def headers_without_end(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        client.sendall(b"X-A: " + b"a" * 4000 + b"\r\n")


def a_part_with_headers_without_end(client: socket.socket) -> None:
    client.sendall(HEAD + b"--p\r\n")
    while True:
        client.sendall(b"X-A: " + b"a" * 4000 + b"\r\n")


def pictures_that_unpack_to_gigabytes(client: socket.socket) -> None:
    data = cv2.imencode(".jpg", np.zeros((9000, 12000, 3), np.uint8))[1].tobytes()
    client.sendall(HEAD)
    while True:
        client.sendall(part(data))


def a_way_to_a_file(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n")


def rtsp_of_garbage(client: socket.socket) -> None:
    while True:
        client.sendall(os.urandom(4096))


def rtsp_that_breaks_off(client: socket.socket) -> None:
    client.sendall(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n")
    while client.recv(4096):
        pass


HTTP: tuple[Handler, ...] = (
    garbage,
    garbage_in_good_parts,
    a_part_without_end,
    headers_without_end,
    a_part_with_headers_without_end,
    pictures_that_unpack_to_gigabytes,
    a_way_to_a_file,
)
RTSP: tuple[Handler, ...] = (rtsp_of_garbage, rtsp_that_breaks_off)


@contextmanager
def server(handler: Handler) -> Iterator[str]:
    """Serves every connection with the handler; gives host and port."""
    clients: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(client: socket.socket) -> None:
        with suppress(OSError), client:
            client.recv(1 << 12)
            handler(client)

    def accept() -> None:
        with suppress(OSError):
            while True:
                clients.append(listener.accept()[0])
                threads.append(threading.Thread(target=serve, args=(clients[-1],)))
                threads[-1].start()

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        threads.append(threading.Thread(target=accept))
        threads[0].start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            threads[0].join()
            for client in clients:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
            for thread in threads[1:]:
                thread.join()

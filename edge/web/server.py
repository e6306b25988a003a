"""The web side's process: one channel to the line, one waitress server, and a quick end when either is over."""

import logging
import os
import signal
import socket
import threading
from types import FrameType

import cv2
from flask import Flask
from waitress import wasyncore
from waitress.server import TcpWSGIServer

from edge.config import LineConfig
from edge.errors import ModelError
from edge.model import Classifier
from edge.web.app import MAX_BODY, create_app
from edge.web.channel import Channel, ChannelClosed, Message
from edge.web.hub import MAX_VIEWERS, Hub
from edge.web.predict import MAX_RUNNING, MAX_WAITING

_log = logging.getLogger("sortline.web")
NICENESS = 10
EXIT_S = 0.3
# Every viewer and every admitted picture holds a thread; the rest is for what is answered at once.
THREADS = MAX_VIEWERS + MAX_RUNNING + MAX_WAITING + 6


def serve(listening: socket.socket, channel: Channel) -> None:
    """Serves one line until its channel ends or SIGTERM comes. Both sockets are this process's own."""
    # Before any thread is born: they inherit it. The line has the processor first.
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the line's to handle; it ends this process
    cv2.setNumThreads(1)
    hello, _ = channel.receive()
    config = LineConfig.model_validate(hello["config"])
    hub = Hub(lambda message: _send(channel, message))
    hub.set_facts(hello["facts"])
    app = create_app(hub, _classifier(config), config, hello["token"])
    reader = threading.Thread(target=_read, args=(channel, hub), name="web-channel", daemon=True)
    server = Server(app, listening)

    def leave(number: int, frame: FrameType | None) -> None:
        hub.close()
        raise SystemExit

    signal.signal(signal.SIGTERM, leave)
    reader.start()
    try:
        server.run()
    finally:
        hub.close()
        channel.shutdown()
        reader.join()


class Server(TcpWSGIServer):  # type: ignore[misc]  # waitress has no types
    """waitress on a socket that listens already: bounded in all it keeps, and quick to end."""

    def __init__(self, app: Flask, listening: socket.socket) -> None:
        super().__init__(
            app,
            _sock=listening,
            bind_socket=False,
            sockinfo=(listening.family, listening.type, listening.proto, listening.getsockname()),
            threads=THREADS,
            ident=None,
            connection_limit=200,
            channel_timeout=20,
            cleanup_interval=5,
            max_request_header_size=32 << 10,
            max_request_body_size=MAX_BODY + (64 << 10),
            # Looking ahead keeps the socket watched while an answer streams, so a viewer who leaves is noticed.
            channel_request_lookahead=1,
            outbuf_high_watermark=1 << 20,
            clear_untrusted_proxy_headers=True,
            log_socket_errors=False,
        )

    def run(self) -> None:
        """Serves until SystemExit is raised in this thread, which a signal's handler does."""
        try:
            wasyncore.loop(timeout=self.adj.asyncore_loop_timeout, map=self._map, use_poll=True)
        except SystemExit:
            self.task_dispatcher.shutdown(timeout=EXIT_S)
            wasyncore.close_all(self._map)


def _classifier(config: LineConfig) -> Classifier | None:
    """The web side's own model session. Without one the page still works, and /predict says why it does not."""
    try:
        return Classifier(config.model.path, config.model.provider, 1)
    except ModelError as error:
        _log.error("/predict is closed: %s", error)
        return None


def _read(channel: Channel, hub: Hub) -> None:
    """The channel's thread: takes what the line says until it is gone, and then ends the process."""
    try:
        while True:
            hub.receive(*channel.receive())
    except ChannelClosed:
        os.kill(os.getpid(), signal.SIGTERM)


def _send(channel: Channel, message: Message) -> None:
    try:
        channel.send(message)
    except ChannelClosed:
        return  # the line has gone; the channel's thread is ending this process

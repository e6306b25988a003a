"""The web side's process: one channel to the line, one waitress server, and a quick end when either is over."""

import logging
import os
import signal
import socket
import threading
from functools import partial
from types import FrameType

import cv2
import numpy as np

from edge.config import LineConfig
from edge.engines import cores
from edge.errors import ModelError
from edge.model import Classifier
from edge.priority import hand_over_quickly
from edge.web.album import Album
from edge.web.app import create_app
from edge.web.channel import Channel, ChannelClosed, Message
from edge.web.hub import MAX_VIEWERS, Hub, Kept
from edge.web.predict import Predictor
from edge.web.shadow import Shadow
from edge.web.workers import MAX_RUNNING, MAX_WAITING
from edge.web.wsgi import Server

_log = logging.getLogger("sortline.web")
# Every viewer and every admitted picture holds a thread; the rest is for what is answered at once.
THREADS = MAX_VIEWERS + MAX_RUNNING + MAX_WAITING + 6


def serve(listening: socket.socket, channel: Channel) -> None:
    """Serves one line until its channel ends or SIGTERM comes. Both sockets are this process's own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the line's to handle; it ends this process
    cv2.setNumThreads(1)
    hand_over_quickly()
    hello, _ = channel.receive()
    config = LineConfig.model_validate(hello["config"])
    provider = hello["facts"].get("model", {}).get("provider", config.model.provider)
    folder = config.journal.pictures

    def told(refuses: str | None) -> None:
        _send(channel, {"kind": "command", "command": {"command": "pictures", "refuses": refuses}})

    album = Album(folder, config.journal.pictures_mb * 1_000_000, told) if folder else None
    shadow = Shadow(config, provider) if config.model.shadow else None
    hub = Hub(lambda message: _send(channel, message), partial(_look_on, album, shadow))
    hub.set_facts(hello["facts"])
    classifier = _classifier(config, provider)
    predictor = Predictor(classifier, config) if classifier else None
    app = create_app(hub, predictor, config, hello["token"], album=album, shadow=shadow)
    server = Server(app, listening, THREADS)
    reader = threading.Thread(target=_read, args=(channel, hub, server), name="web-channel", daemon=True)

    def leave(number: int, frame: FrameType | None) -> None:
        server.end()

    signal.signal(signal.SIGTERM, leave)
    if shadow:
        shadow.start()
    reader.start()
    server.run()
    hub.close()
    server.finish()
    if shadow:
        shadow.stop()
    if predictor:
        predictor.close()  # who waits for a picture gets a 503 now
    server.let_go()
    channel.shutdown()
    reader.join()
    # Taking down the interpreter and the model's libraries is slow beside a busy line, which ends who is late, and
    # a thread that comes out of native code in the middle of it aborts the process.
    logging.shutdown()
    os._exit(0)


def _classifier(config: LineConfig, provider: str) -> Classifier | None:
    """The web side's own session, on the provider that the line has measured to be the fastest.

    Without one the page still works, and /predict says why it does not.
    """
    try:
        return Classifier(config.model.path, provider, 1, parallel=cores())
    except ModelError as error:
        _log.error("/predict is closed: %s", error)
        return None


def _look_on(album: Album | None, shadow: Shadow | None, kept: Kept, crop: np.ndarray) -> None:
    """What is done with each decision besides showing it."""
    decision = kept.decision
    if shadow:
        shadow.saw(decision, crop)
    if album and kept.crop is not None and decision["reason"] == "unknown":
        album.unsure(decision["item_id"], decision["wall"], kept.crop)


def _read(channel: Channel, hub: Hub, server: Server) -> None:
    """The channel's thread: takes what the line says until it is gone, and then ends the server."""
    try:
        while True:
            hub.receive(*channel.receive())
    except ChannelClosed:
        server.end(for_good=True)


def _send(channel: Channel, message: Message) -> None:
    try:
        channel.send(message)
    except ChannelClosed:
        return  # the line has gone; the channel's thread is ending the server

"""A real MQTT broker, mosquitto, at a port of its own, and somebody who listens to all of it."""

import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.edge.outputs.servers import Certificates, free_port

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin")
USER, PASSWORD = "line3", "a password that nobody sees"


@dataclass
class Broker:
    """mosquitto on 127.0.0.1; it is started, stopped, and held up as one that hangs."""

    folder: Path
    port: int
    password: bool = False
    tls: Certificates | None = None
    strict: bool = False
    process: Any = field(default=None, repr=False)

    def start(self) -> None:
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", "log_dest none", "user root"]
        lines.append(f"allow_anonymous {'false' if self.password else 'true'}")
        if self.password:
            subprocess.run(["mosquitto_passwd", "-b", "-c", self.folder / "users", USER, PASSWORD], check=True)
            lines.append(f"password_file {self.folder / 'users'}")
        if self.tls:
            lines += [f"certfile {self.tls.certificate}", f"keyfile {self.tls.key}"]
            if self.strict:  # it takes only who shows a certificate of the same authority
                lines += [f"cafile {self.tls.ca}", "require_certificate true"]
        config = self.folder / f"{self.port}.conf"
        config.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen(
            [str(MOSQUITTO), "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None, "mosquitto has ended"
                assert time.monotonic() < until, "mosquitto does not listen"
                time.sleep(0.005)

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def hang(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def broker(folder: Path, *, started: bool = True, **options: Any) -> Iterator[Broker]:
    pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt")
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    made = Broker(folder, free_port(), **options)
    try:
        if started:
            made.start()
        yield made
    finally:
        made.stop()


class Listener:
    """Hears everything; messages are (topic, payload, retained)."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self.changed = threading.Condition()

    def of(self, topic: str) -> list[bytes]:
        return [payload for name, payload, _ in self.messages.copy() if name == topic]

    def wait_for(self, what: Any) -> None:
        with self.changed:
            assert self.changed.wait_for(what, 5), self.messages


@contextmanager
def listening(broker: Broker) -> Iterator[Listener]:
    import paho.mqtt.client as paho

    heard, ready = Listener(), threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "listener")

    def on_message(_: Any, __: Any, message: Any) -> None:
        with heard.changed:
            heard.messages.append((message.topic, message.payload, message.retain))
            heard.changed.notify_all()

    client.on_message, client.on_subscribe = on_message, lambda *_: ready.set()
    client.connect("127.0.0.1", broker.port)
    client.subscribe("#", 1)
    client.loop_start()
    try:
        assert ready.wait(5)
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()

"""A connection to an MQTT broker that never delivers late: kept by a thread of its own, begun anew when it was lost.

Each connection has a client of its own, which is given up with it. paho would reconnect by itself, but it then sends
again what had no receipt, however late that is, and cannot be ended while it waits.
"""

import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from edge.errors import ConfigError, OutputError
from edge.hosts import AT_ONCE, why_silent
from edge.priority import ask_for_real_time
from edge.tls import OWN, why_no_tls

KEEPALIVE_S = 10  # a broker takes a line for dead after half as much again without a word (MQTT 3.1.1, 3.1.2.10)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0  # between two tries to connect; each is twice the one before
LOOK_S = 0.05  # whoever waits looks so often whether the connection is there yet
NOT_LET_IN = {134, 135}  # bad user name or password, not authorized (MQTT 5, 2.4)


class _Tls(ssl.SSLSocket):
    """Keeps why the other side ended it: from TLS 1.3 on that is heard after the handshake, where paho drops it."""

    refusal: ssl.SSLError | None = None

    def recv(self, *args: Any, **kwargs: Any) -> bytes:
        try:
            return super().recv(*args, **kwargs)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            self.refusal = error
            raise


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker is and how it is spoken to. Every step of connecting takes at most timeout_s."""

    host: str
    port: int
    timeout_s: float
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Message:
    """What is published; a retained one is given to whoever asks later, too."""

    topic: str
    payload: bytes
    qos: int
    retain: bool = False


class MqttLink:
    """Publishes at once or not at all (`push`), or as soon as may be (`post`).

    online and offline are published as the link comes and goes; the broker says offline when it dies. most is how many
    messages of `post` may wait. Without paho-mqtt the constructor raises a ConfigError that names the key.
    on_change is told, from the link's thread, why there is no connection, and by an empty text that there is one.
    """

    def __init__(
        self, address: Address, client_id: str, online: Message, offline: Message, most: int, key: str
    ) -> None:
        try:
            import paho.mqtt.client as paho
        except ImportError:
            raise ConfigError(f'{key} = "mqtt" needs paho-mqtt: pip install "sortline[mqtt]"') from None
        self._paho: Any = paho
        self.address, self._client_id, self._online, self._offline, self._most = (
            address, client_id, online, offline, most,
        )  # fmt: skip
        if address.tls:
            address.tls.sslsocket_class = _Tls
        self.on_change: Callable[[str], None] = lambda why: None
        self._lock = threading.Lock()
        self._client: Any = None
        self._why = "it is not connected yet"
        self._waiting: deque[Message] = deque()
        self._under_way: deque[tuple[Any, Message]] = deque()
        self._closing, self._given_up = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name=f"sortline-mqtt-{address.host}", daemon=True)

    def start(self) -> None:
        """Begins to connect."""
        self._thread.start()

    def push(self, message: Message, within_s: float) -> None:
        """Publishes now; raises OutputError when the broker has not taken it within within_s, and gives it up.

        Taken is a message of QoS 1 that has its receipt, and one of QoS 0 that is in the system's hands.
        """
        until = monotonic() + within_s
        with self._lock:
            client = self._client
            if client is None or self._closing.is_set():
                raise OutputError(f"{self.address}: {self._why}")
            info = self._publish(client, message)
        while not _arrived(info):
            if self._client is not client:
                raise OutputError(f"{self.address}: {self._why}")
            rest_s = until - monotonic()
            if rest_s <= 0:
                self._hang_up(client)
                raise OutputError(
                    f"{self.address}: has not taken it within {within_s * 1e3:g} ms; the connection is given up, "
                    "so that it does not come late"
                )
            with suppress(ValueError, RuntimeError):
                info.wait_for_publish(min(rest_s, LOOK_S))

    def post(self, message: Message) -> None:
        """Publishes as soon as there is a connection, perhaps twice when one is lost meanwhile; raises OutputError
        when too many wait already."""
        with self._lock:
            while self._under_way and _arrived(self._under_way[0][0]):
                self._under_way.popleft()
            if self._closing.is_set():
                raise OutputError(f"{self.address}: the output is closed")
            if len(self._waiting) + len(self._under_way) >= self._most:
                raise OutputError(f"{self.address}: {self._why}; {self._most} messages wait, this one is not sent")
            self._waiting.append(message)
            if self._client is not None:
                self._send_waiting()

    def try_once(self) -> None:
        """Connects and disconnects, under another name and without a word to others; raises OutputError."""
        client = self._new_client(f"{self._client_id}-check", None)
        try:
            self._connect(client)
            client.disconnect()
            client.loop(LOOK_S)
        except (ValueError, struct.error) as error:  # what paho makes of what no packet can hold
            raise OutputError(f"{self.address}: {type(error).__name__}: {error}") from None
        finally:
            _abandon(client)

    def close(self, within_s: float) -> int:
        """Publishes what waits and that the line is offline, and ends; how many messages could not be published."""
        until = monotonic() + within_s
        first = not self._closing.is_set()
        self._closing.set()
        with self._lock:
            client = self._client
            last = self._publish(client, self._offline) if client is not None and first else None
            sent = [*(info for info, _ in self._under_way), last]
        if last is not None:
            # One look at each: what was under way in one may have arrived by the next.
            while (away := [info for info in sent if not _arrived(info)]) and self._client is client:
                if (rest_s := until - monotonic()) <= LOOK_S:
                    break
                with suppress(ValueError, RuntimeError):
                    away[0].wait_for_publish(min(rest_s, LOOK_S))
            client.disconnect()
        self._given_up = True
        if self._thread.is_alive():
            self._thread.join(max(until - monotonic(), LOOK_S))
        with self._lock:
            lost = len(self._waiting) + sum(not _arrived(info) for info, _ in self._under_way)
            self._waiting.clear()
            self._under_way.clear()
        return lost

    def _run(self) -> None:
        ask_for_real_time(49)  # a push waits for this thread to write it
        pause_s = FIRST_PAUSE_S
        while not self._closing.is_set():
            client = self._new_client(self._client_id, self._offline)
            try:
                self._connect(client)
                pause_s = FIRST_PAUSE_S
                self._serve(client)
                why = "the connection was lost"
            except OutputError as error:
                why = str(error).removeprefix(f"{self.address}: ")
            except Exception as error:  # the outermost loop: without it nothing would ever be sent again, in silence
                why = f"{type(error).__name__}: {error}"
            finally:
                _abandon(client)
            self._lost(why)
            self._closing.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _serve(self, client: Any) -> None:
        """While the connection lasts."""
        with self._lock:
            if self._closing.is_set():
                return
            self._client = client
            self._publish(client, self._online)
            self._send_waiting()
        self.on_change("")
        while client.loop(2 * LOOK_S) == self._paho.MQTT_ERR_SUCCESS and not self._given_up:
            pass

    def _lost(self, why: str) -> None:
        """What has no receipt waits for the next connection; only what `post` took is among it."""
        with self._lock:
            self._client, self._why = None, why
            self._waiting.extendleft(message for info, message in reversed(self._under_way) if not _arrived(info))
            self._under_way.clear()
        if not self._closing.is_set():
            self.on_change(why)

    def _send_waiting(self) -> None:
        """With the lock held, and a connection."""
        while self._waiting:
            message = self._waiting.popleft()
            self._under_way.append((self._publish(self._client, message), message))

    def _publish(self, client: Any, message: Message) -> Any:
        return client.publish(message.topic, message.payload, message.qos, message.retain)

    def _hang_up(self, client: Any) -> None:
        """Throws away what lies unsent; the link's thread, which waits for the other side, sees the end and closes."""
        sock = client.socket()
        if sock is not None:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _new_client(self, client_id: str, will: Message | None) -> Any:
        client = self._paho.Client(self._paho.CallbackAPIVersion.VERSION2, client_id)
        client.connect_timeout = self.address.timeout_s
        # Without it a message would be written by whoever publishes, in between what the link's thread writes.
        client.on_socket_register_write = lambda *_: None
        client.username_pw_set(self.address.username, self.address.password)
        if self.address.tls:
            client.tls_set_context(self.address.tls)
        if will:
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        return client

    def _connect(self, client: Any) -> None:
        """Until the broker has said that it takes the client; raises OutputError."""
        said: list[Any] = []
        client.on_connect = lambda _, __, ___, reason, ____: said.append(reason)
        address = self.address
        try:
            client.connect(address.host, address.port, KEEPALIVE_S)
            sock = client.socket()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # What the other machine does not acknowledge is thrown away with the connection (tcp(7)), not sent late.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(int(address.timeout_s * 1e3), 1))
        except OSError as error:
            raise OutputError(f"{address}: {_said(error, address)}") from None
        until = monotonic() + address.timeout_s
        while not said:
            if client.loop(LOOK_S) != self._paho.MQTT_ERR_SUCCESS and not said:
                if refusal := getattr(sock, "refusal", None):
                    raise OutputError(f"{address}: {_said(refusal, address)}")
                wants = OWN if address.tls else "wants TLS (tls = true)"
                raise OutputError(f"{address}: it hung up, as what is no MQTT broker does, or one that {wants}")
            if monotonic() > until:
                raise OutputError(f"{address}: no answer within {address.timeout_s * 1e3:g} ms")
        if said[0].is_failure:
            mend = "; see username and password_file" if said[0].value in NOT_LET_IN else ""
            raise OutputError(f"{address}: it refuses the connection ({str(said[0]).lower()}){mend}")


def _arrived(info: Any) -> bool:
    try:
        return bool(info.is_published())
    except (ValueError, RuntimeError):  # it never got as far as the socket
        return False


def _abandon(client: Any) -> None:
    """Closes whatever a client still holds."""
    sock = client.socket()
    if sock is not None:
        with suppress(OSError):
            sock.close()
    client.on_connect = client.on_socket_register_write = None


def _said(error: OSError, address: Address) -> str:
    """Why there is no connection, in words."""
    if isinstance(error, ssl.SSLError) and not isinstance(error, TimeoutError):
        return why_no_tls(error, address.host, "host")
    hung_up = "it hung up, as a broker does that does not speak TLS at this port" if address.tls else "it hung up"
    return why_silent(error, address.timeout_s, hung_up)

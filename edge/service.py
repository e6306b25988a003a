"""A line as a service: what a supervisor such as systemd is told, over the socket that NOTIFY_SOCKET names.

The protocol is that of sd_notify(3): datagrams of NAME=VALUE. Under nobody's supervision nothing is told.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic

FED_EARLY = 3  # times within what the watchdog allows
STATUS_S = 5.0  # how often what the line does is told anew


class Supervisor:
    """The one that started this process as a service, or nobody. No call waits, and none raises.

    WATCHDOG_USEC, where it is meant for this process, is how long the supervisor waits for `alive` before it
    kills the process and starts it anew.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._socket: socket.socket | None = None
        self._feed_s: float | None = None
        self._fed_at = self._status_at = float("-inf")
        self._status = ""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
            return
        if address.startswith("@"):  # an abstract socket of Linux begins with a 0 byte
            address = "\0" + address[1:]
        with suppress(OSError, ValueError):
            opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            opened.setblocking(False)
            try:
                opened.connect(address)
            except OSError:
                opened.close()
                raise
            self._socket = opened
        allowed, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(os.getpid()))
        if allowed.isdecimal() and int(allowed) and process == str(os.getpid()):
            self._feed_s = int(allowed) / 1e6 / FED_EARLY

    @property
    def there(self) -> bool:
        """Whether anybody supervises this process."""
        return self._socket is not None

    def ready(self) -> None:
        """The line runs."""
        self._tell("READY=1")

    def alive(self) -> None:
        """All threads of the line come round. To be called often; told as often as the watchdog needs it."""
        if self._feed_s is not None and monotonic() - self._fed_at >= self._feed_s:
            self._fed_at = monotonic()
            self._tell("WATCHDOG=1")

    def status(self, text: str) -> None:
        """What the line does, as `systemctl status` shows it. To be called often; told when it changes."""
        if text != self._status and monotonic() - self._status_at >= STATUS_S:
            self._status, self._status_at = text, monotonic()
            self._tell(f"STATUS={text}")

    def stopping(self) -> None:
        """The line was asked to end, and does."""
        self._tell("STOPPING=1")

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None

    def _tell(self, text: str) -> None:
        if self._socket:
            with suppress(OSError):  # a supervisor that reads nothing must not hold up a line
                self._socket.send(" ".join(text.splitlines()).encode(errors="replace"))

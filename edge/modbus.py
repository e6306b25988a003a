"""A Modbus TCP device (a PLC, a remote I/O block): bits and registers read and written, reached again when lost."""

import logging
import socket
import struct
import time
from contextlib import suppress
from typing import Any, Literal

from pydantic import Field

from edge.errors import ConfigError, OutputError, OutputRefused
from edge.hosts import AT_ONCE, Host
from edge.settings import Settings

Bits = Literal["coil", "discrete"]
Registers = Literal["holding", "input"]
Writable = Literal["coil", "holding"]

# A device that could not be reached is not called again sooner: a PLC has few connections to give.
PAUSE_S = 0.25
# A connection that is silent for KEEP_S is felt out by the systems at its ends, every KEEP_S: one whose cable was
# pulled, or whose device lost its power, is known to be gone after KEEP_TRIES of these.
KEEP_S, KEEP_TRIES = 1, 3
# What an exception code says (Modbus Application Protocol V1.1b3, section 7), and of which codes it is sure that
# nothing was done.
EXCEPTIONS = {
    1: "it does not know this function", 2: "it has no such address", 3: "it does not take this value",
    4: "it failed", 5: "it needs longer", 6: "it is busy", 10: "its gateway has no path to the unit",
    11: "the unit behind its gateway does not answer",
}  # fmt: skip
NOT_DONE = {1, 2, 3, 6, 10}
_SILENT = logging.NullHandler()  # silent unless a program that embeds the line, or --debug, has handlers of its own


class ModbusSettings(Settings):
    """The keys of everything that reads or writes a Modbus TCP device."""

    host: Host = Field(min_length=1)
    port: int = Field(default=502, ge=1, le=65535)
    unit: int = Field(default=1, ge=0, le=255)
    timeout_ms: float = Field(default=100.0, gt=0, le=10_000)


class ModbusDevice:
    """A device that is connected to when it is first asked. For one thread at a time; addresses count from 0.

    key names the setting that asks for it: without pymodbus the constructor raises a ConfigError that says
    how to install it. Every question raises OutputError, naming the device, when there is no answer.
    """

    def __init__(self, settings: ModbusSettings, key: str) -> None:
        try:
            from pymodbus.client import ModbusTcpClient
        except ImportError:
            raise ConfigError(f'{key} = "modbus" needs pymodbus: pip install "sortline[modbus]"') from None
        # Its lines would come raw to the screen; what they mean stands in the error, and in the line's incident.
        logging.getLogger("pymodbus").addHandler(_SILENT)
        self._name, self._unit = f"{settings.host}:{settings.port}", settings.unit
        self._timeout_s = settings.timeout_ms / 1e3
        self._client: Any = ModbusTcpClient(settings.host, port=settings.port, timeout=self._timeout_s, retries=0)
        self._not_before = 0.0

    @property
    def name(self) -> str:
        """Where it is: host:port."""
        return self._name

    def registers(self, kind: Registers, address: int, count: int = 1) -> list[int]:
        """Registers of 16 bits from an address on."""
        question = "read_holding_registers" if kind == "holding" else "read_input_registers"
        answer = self._ask(question, address, count=count)
        return [int(word) for word in self._all(answer.registers, address, count)]

    def bit(self, kind: Bits, address: int) -> bool:
        """A coil or a discrete input."""
        answer = self._ask("read_coils" if kind == "coil" else "read_discrete_inputs", address, count=1)
        return bool(self._all(answer.bits[:1], address, 1)[0])

    def write(
        self, kind: Writable, address: int, value: int, timeout_s: float | None = None, else_value: int | None = None
    ) -> None:
        """Sets a coil (0 or 1) or a holding register (16 bits); the device has said that it did when this returns.

        Raises OutputRefused when it says no. Without an answer in time nobody knows whether it did it, or will:
        then else_value is sent behind, on the same connection, and the connection is given up. Whatever of the
        two the device still finds there it does in this order.
        """
        question, sent = ("write_coil", bool(value)) if kind == "coil" else ("write_register", value)
        behind = None if else_value is None else type(sent)(else_value)
        answer = self._ask(question, address, timeout_s, behind, value=sent)
        echo = answer.bits[:1] if kind == "coil" else answer.registers[:1]
        if (answer.address, list(echo)) != (address, [sent]):
            self._cut()
            raise OutputError(f"{self._name}: address {address}: it answered that it did something else")

    def connect(self) -> None:
        """Connects, unless it is connected; raises OutputError when the device cannot be reached."""
        if self._client.connected:
            return
        # The machine's own clock, as pymodbus has it too: a device outside does not live on a virtual one.
        reached = False
        if (now := time.monotonic()) >= self._not_before:
            self._not_before = now + PAUSE_S
            reached = self._client.connect()
        if not reached:
            raise OutputError(f"{self._name}: cannot be reached")
        self._tune(self._client.socket)

    def lost(self) -> bool:
        """Whether there is no connection, or it has ended: seen without asking the device anything."""
        if not self._client.connected:
            return True
        try:
            ended = self._client.socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False  # nothing to read, as it should be
        except OSError:
            ended = True
        if ended:
            self._client.close()
        return ended

    def wake(self) -> None:
        """Ends a wait for the device's answer, from any thread: there will be none."""
        if waiting := self._client.socket:
            with suppress(OSError):
                waiting.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._client.close()

    @staticmethod
    def _tune(connection: socket.socket) -> None:
        # Nagle's algorithm would hold back a write until the one before it is acknowledged.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", KEEP_S), ("TCP_KEEPINTVL", KEEP_S), ("TCP_KEEPCNT", KEEP_TRIES)):
            if hasattr(socket, option):  # Linux has all of them
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        connection.setblocking(False)  # pymodbus waits with select

    def _all(self, values: list[Any], address: int, count: int) -> list[Any]:
        """What was asked for: half a counter, or an answer to something else, would be another place of the belt."""
        if len(values) != count:
            raise OutputError(f"{self._name}: address {address}: it gave {len(values)} values, not {count}")
        return values

    def _ask(
        self, question: str, address: int, timeout_s: float | None = None, behind: Any = None, **words: Any
    ) -> Any:
        from pymodbus.exceptions import ConnectionException, ModbusException

        ask = getattr(self._client, question)
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        silent_at = time.monotonic() + timeout_s
        try:
            self._client.comm_params.timeout_connect = timeout_s
            self.connect()
            answer = ask(address, device_id=self._unit, **words)
        except (ModbusException, OSError, struct.error) as error:
            if behind is not None and self._client.connected:
                with suppress(ModbusException, OSError):
                    ask(address, device_id=self._unit, value=behind, no_response_expected=True)
            self._cut()
            # pymodbus says both in words of its own, with the address of an object.
            lost = isinstance(error, ConnectionException | OSError)
            silent = f"did not answer within {timeout_s * 1e3:.0f} ms" if time.monotonic() >= silent_at else None
            said = silent or ("the connection was lost" if lost else error)
            raise OutputError(f"{self._name}: address {address}: {said}") from None
        finally:
            self._client.comm_params.timeout_connect = self._timeout_s
        if answer.isError():
            code = getattr(answer, "exception_code", 0)
            said = f"{self._name}: address {address}: {EXCEPTIONS.get(code, 'it refuses')} (Modbus exception {code})"
            raise (OutputRefused if code in NOT_DONE else OutputError)(said)
        return answer

    def _cut(self) -> None:
        """Gives the connection up at once: what was not sent yet never is, and the device has it free for the next."""
        if failed := self._client.socket:
            with suppress(OSError):
                failed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        self._client.close()

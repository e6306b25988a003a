"""A Modbus TCP device (a PLC, a remote input block): asked for bits and registers, reached again when it was lost."""

import logging
import time
from typing import Any, Literal

from pydantic import Field

from edge.errors import ConfigError, OutputError
from edge.settings import Settings

Bits = Literal["coil", "discrete"]
Registers = Literal["holding", "input"]

# A device that could not be reached is not called again sooner: a PLC has few connections to give.
PAUSE_S = 0.25
_SILENT = logging.NullHandler()  # silent unless a program that embeds the line, or --debug, has handlers of its own


class ModbusSettings(Settings):
    """The keys of everything that reads a Modbus TCP device."""

    host: str
    port: int = Field(default=502, ge=1, le=65535)
    unit: int = Field(default=1, ge=0, le=255)
    timeout_ms: float = Field(default=100.0, gt=0, le=10_000)


class ModbusDevice:
    """A device that is connected to when it is first asked. For one thread; addresses count from 0.

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
        self._client: Any = ModbusTcpClient(
            settings.host, port=settings.port, timeout=settings.timeout_ms / 1e3, retries=0
        )
        self._not_before = 0.0

    def registers(self, kind: Registers, address: int, count: int = 1) -> list[int]:
        """Registers of 16 bits from an address on."""
        answer = self._ask("read_holding_registers" if kind == "holding" else "read_input_registers", address, count)
        return [int(word) for word in self._all(answer.registers, address, count)]

    def bit(self, kind: Bits, address: int) -> bool:
        """A coil or a discrete input."""
        answer = self._ask("read_coils" if kind == "coil" else "read_discrete_inputs", address, 1)
        return bool(self._all(answer.bits[:1], address, 1)[0])

    def close(self) -> None:
        self._client.close()

    def _all(self, values: list[Any], address: int, count: int) -> list[Any]:
        """What was asked for: half a counter, or an answer to something else, would be another place of the belt."""
        if len(values) != count:
            raise OutputError(f"{self._name}: address {address}: it gave {len(values)} values, not {count}")
        return values

    def _ask(self, question: str, address: int, count: int) -> Any:
        from pymodbus.exceptions import ModbusException

        try:
            self._connect()
            answer = getattr(self._client, question)(address, count=count, device_id=self._unit)
        except (ModbusException, OSError) as error:
            self._client.close()
            raise OutputError(f"{self._name}: {error}") from None
        if answer.isError():
            raise OutputError(f"{self._name}: address {address}: {answer}")
        return answer

    def _connect(self) -> None:
        if self._client.connected:
            return
        # The machine's own clock, as pymodbus has it too: a device outside does not live on a virtual one.
        reached = False
        if (now := time.monotonic()) >= self._not_before:
            self._not_before = now + PAUSE_S
            reached = self._client.connect()
        if not reached:
            raise OutputError(f"{self._name}: cannot be reached")

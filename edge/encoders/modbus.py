"""An encoder whose counter stands in the registers of a Modbus TCP device (a PLC, a counter module)."""

from typing import Literal

from pydantic import Field

from edge.clock import Clock
from edge.encoders import EncoderSettings
from edge.errors import ConfigError, OutputError


class ModbusSettings(EncoderSettings):
    """The counter is 32 bits in two registers, or 16 bits in one; it may wrap. high_first tells the words' order."""

    host: str
    port: int = Field(default=502, ge=1, le=65535)
    unit: int = Field(default=1, ge=0, le=255)
    register_at: int = Field(ge=0, le=65535)
    kind: Literal["holding", "input"] = "holding"
    words: Literal[1, 2] = 2
    high_first: bool = True
    timeout_ms: float = Field(default=100.0, gt=0, le=10_000)


class Modbus:
    """Reads the counter and unrolls it when it wraps."""

    Settings = ModbusSettings

    def __init__(self, settings: ModbusSettings, clock: Clock) -> None:
        try:
            from pymodbus.client import ModbusTcpClient
        except ImportError:
            raise ConfigError('belt.encoder.type = "modbus" needs pymodbus: pip install "sortline[modbus]"') from None
        self._settings = settings
        self._client = ModbusTcpClient(settings.host, port=settings.port, timeout=settings.timeout_ms / 1e3, retries=0)
        self._span = 1 << (16 * settings.words)
        self._last: int | None = None
        self._counts = 0

    def read(self) -> int:
        """The counts since the first reading; raises OutputError when the device does not answer."""
        raw = self._raw()
        if self._last is not None:
            # The shorter way round the counter's ring is the one that the belt went.
            step = (raw - self._last + self._span // 2) % self._span - self._span // 2
            self._counts += step
        self._last = raw
        return self._counts

    def close(self) -> None:
        self._client.close()

    def _raw(self) -> int:
        from pymodbus.exceptions import ModbusException

        s = self._settings
        ask = self._client.read_holding_registers if s.kind == "holding" else self._client.read_input_registers
        try:
            if not self._client.connected and not self._client.connect():
                raise OutputError(f"{s.host}:{s.port}: cannot be reached")
            answer = ask(s.register_at, count=s.words, device_id=s.unit)
        except (ModbusException, OSError) as error:
            self._client.close()
            raise OutputError(f"{s.host}:{s.port}: {error}") from None
        if answer.isError():
            raise OutputError(f"{s.host}:{s.port}: register {s.register_at}: {answer}")
        words = answer.registers if s.high_first else answer.registers[::-1]
        return int(sum(word << (16 * n) for n, word in enumerate(reversed(words))))

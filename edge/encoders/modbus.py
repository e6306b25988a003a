"""An encoder whose counter stands in the registers of a Modbus TCP device (a PLC, a counter module)."""

from typing import Literal

from pydantic import Field

from edge.clock import Clock
from edge.encoders import EncoderSettings
from edge.modbus import ModbusDevice, Registers
from edge.modbus import ModbusSettings as DeviceSettings


class ModbusSettings(EncoderSettings, DeviceSettings):
    """The counter is 32 bits in two registers, or 16 bits in one; it may wrap. high_first tells the words' order."""

    register_at: int = Field(ge=0, le=65535)
    kind: Registers = "holding"
    words: Literal[1, 2] = 2
    high_first: bool = True


class Modbus:
    """Reads the counter and unrolls it when it wraps."""

    Settings = ModbusSettings

    def __init__(self, settings: ModbusSettings, clock: Clock) -> None:
        self._settings = settings
        self._device = ModbusDevice(settings, "belt.encoder.type")
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
        self._device.close()

    def _raw(self) -> int:
        s = self._settings
        words = self._device.registers(s.kind, s.register_at, s.words)
        if not s.high_first:
            words.reverse()
        return sum(word << (16 * n) for n, word in enumerate(reversed(words)))

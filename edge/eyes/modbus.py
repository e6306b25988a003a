"""A photo-eye on an input of a Modbus TCP device: a coil, a discrete input, or one bit of a register."""

from typing import Literal

from pydantic import Field

from edge.clock import Clock
from edge.eyes import EyeSettings
from edge.modbus import ModbusDevice
from edge.modbus import ModbusSettings as DeviceSettings


class ModbusSettings(EyeSettings, DeviceSettings):
    """address counts from 0; bit is the one that counts of a holding or input register, 0 the lowest."""

    address: int = Field(ge=0, le=65535)
    kind: Literal["coil", "discrete", "holding", "input"] = "discrete"
    bit: int = Field(default=0, ge=0, le=15)
    poll_ms: float = Field(default=5.0, ge=0.5, le=1000)


class Modbus:
    """Asks the device at every poll; OutputError when it does not answer."""

    Settings = ModbusSettings

    def __init__(self, settings: ModbusSettings, clock: Clock) -> None:
        self._settings = settings
        self._device = ModbusDevice(settings, "type")

    def read(self) -> bool:
        s = self._settings
        if s.kind == "holding" or s.kind == "input":  # noqa: PLR1714 - mypy narrows a comparison, not a membership
            return bool(self._device.registers(s.kind, s.address)[0] >> s.bit & 1)
        return self._device.bit(s.kind, s.address)

    def close(self) -> None:
        self._device.close()

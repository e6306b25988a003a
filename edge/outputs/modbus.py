"""The modbus output: a diverter on a coil or holding register of a Modbus TCP device (a PLC, a remote output block)."""

from math import inf
from time import monotonic
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from edge.modbus import ModbusDevice, Writable
from edge.modbus import ModbusSettings as DeviceSettings
from edge.outputs import OutputSettings
from edge.pulse import PulsedOutput


class ModbusSettings(OutputSettings, DeviceSettings):
    """address counts from 0. out_value pushes and rest_value does not: 1 and 0 unless given, a coil has no others.

    reset_by = "plc" leaves the end of each pulse to the device: it is told to push, and nothing else. Without
    must_answer the line starts while the device is away, and pushes from when it is there. Every alive_ms
    (0 is never) the device is told what holds anyway, for one that goes to its safe state when it hears nothing.
    """

    address: int = Field(ge=0, le=65535)
    kind: Writable = "coil"
    out_value: int = Field(default=1, ge=0, le=65535)
    rest_value: int = Field(default=0, ge=0, le=65535)
    reset_by: Literal["line", "plc"] = "line"
    must_answer: bool = True
    alive_ms: float = Field(default=0.0, ge=0, le=60_000)

    @model_validator(mode="after")
    def _possible(self) -> "ModbusSettings":
        if self.kind == "coil" and max(self.out_value, self.rest_value) > 1:
            key = "out_value" if self.out_value > 1 else "rest_value"
            raise ValueError(f'{key} must be 0 or 1: a coil has no other (kind = "holding" for a register)')
        if self.out_value == self.rest_value:
            raise ValueError(f"out_value must not be the same as rest_value, which is {self.rest_value}")
        return self


class Modbus(PulsedOutput):
    """Writes out_value for a push and rest_value behind it. Each write is answered within timeout_ms, or has failed."""

    Settings = ModbusSettings
    settings: ModbusSettings
    connects: ClassVar[bool] = True

    def __init__(self, name: str, settings: OutputSettings) -> None:
        assert isinstance(settings, ModbusSettings)
        self._device = ModbusDevice(settings, f"outputs.{name}.type")
        super().__init__(
            name, settings,
            answer_s=settings.timeout_ms / 1e3,
            brings_back=settings.reset_by == "line",
            alive_s=settings.alive_ms / 1e3 or inf,
            must_answer=settings.must_answer,
        )  # fmt: skip

    def check(self) -> str:
        begun = monotonic()
        value = self._asked(self._value)
        took_ms = (monotonic() - begun) * 1e3
        s = self.settings
        state = {s.rest_value: "at rest", s.out_value: "out"}.get(value, "neither at rest nor out")
        return f"{s.kind} {s.address} of {self._device.name} is {value} ({state}), answered in {took_ms:.1f} ms"

    def _value(self) -> int:
        s = self.settings
        if s.kind == "coil":
            return int(self._device.bit(s.kind, s.address))
        return self._device.registers(s.kind, s.address)[0]

    def _at_rest(self) -> bool:
        return self._value() == self.settings.rest_value

    def _set_out(self, until: float) -> None:
        self._write(self.settings.out_value, until, self.settings.rest_value)

    def _set_back(self, until: float) -> None:
        self._write(self.settings.rest_value, until)

    def _write(self, value: int, until: float, else_value: int | None = None) -> None:
        timeout_s = max(until - monotonic(), 0.0)
        self._device.write(self.settings.kind, self.settings.address, value, timeout_s, else_value)

    def _keep_alive(self, until: float) -> None:
        if self.settings.reset_by == "plc":
            self._value()
        else:
            self._set_back(until)

    def _is_lost(self) -> bool:
        return self._device.lost()

    def _wake(self) -> None:
        self._device.wake()

    def _let_go(self) -> None:
        self._device.close()

"""The gpio output: a diverter on a pin of a small computer, through gpiozero."""

from edge.errors import ConfigError, OutputError
from edge.gpio import Pin, claim
from edge.outputs import OutputSettings
from edge.pulse import PulsedOutput


class GpioSettings(OutputSettings):
    """pin is named as gpiozero names it: 17 or "GPIO17", "BOARD11". With active_high = false it is low to push."""

    pin: Pin
    active_high: bool = True


class Gpio(PulsedOutput):
    """Holds the pin at rest from its making to its closing, and out for the length of a push.

    The constructor raises ConfigError when there is no such pin, or nothing to reach it with.
    """

    Settings = GpioSettings
    settings: GpioSettings

    def __init__(self, name: str, settings: OutputSettings) -> None:
        assert isinstance(settings, GpioSettings)
        try:
            self._pin = claim("OutputDevice", settings.pin, active_high=settings.active_high, initial_value=False)
        except ConfigError as error:
            raise ConfigError(f"outputs.{name}: {error}") from None
        super().__init__(name, settings)

    def check(self) -> str:
        state = "high" if self._pin.pin.state else "low"
        return f"{self._pin.pin} is {state}, at rest"

    def _set_out(self, until: float) -> None:
        self._set(True)

    def _set_back(self, until: float) -> None:
        self._set(False)

    def _set(self, out: bool) -> None:
        try:
            self._pin.value = out
        except Exception as error:  # each pin driver has errors of its own
            raise OutputError(f"pin {self.settings.pin}: {type(error).__name__}: {error}") from error

    def _let_go(self) -> None:
        self._pin.close()

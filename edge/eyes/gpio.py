"""A photo-eye on a pin of a small computer, through gpiozero: told by the pin's own interrupt."""

import warnings
from typing import Any, Literal

from edge.clock import Clock
from edge.errors import ConfigError
from edge.eyes import EyeSettings, Tell


class GpioSettings(EyeSettings):
    """pin is named as gpiozero names it: 17 or "GPIO17", "BOARD11".

    With pull = "up" the beam is broken while the pin is low (an NPN sensor, or a contact to ground), with
    "down" and "none" while it is high; inverted turns that round.
    """

    pin: int | str
    pull: Literal["up", "down", "none"] = "up"


class Gpio:
    """Holds the pin until it is closed. Raises ConfigError when there is no such pin, or nothing to reach it with."""

    Settings = GpioSettings

    def __init__(self, settings: GpioSettings, clock: Clock) -> None:
        try:
            import gpiozero
        except ImportError:
            raise ConfigError('type = "gpio" needs gpiozero: pip install "sortline[gpio]"') from None
        self._clock = clock
        floating = settings.pull == "none"
        try:
            with warnings.catch_warnings():
                # gpiozero would go on with the next pin driver that it finds, with nothing but a warning.
                warnings.simplefilter("error", gpiozero.PinFactoryFallback)
                gpiozero.Device.ensure_pin_factory()
            self._pin: Any = gpiozero.DigitalInputDevice(
                settings.pin,
                pull_up=None if floating else settings.pull == "up",
                active_state=True if floating else None,
            )
        except (gpiozero.GPIOZeroError, gpiozero.PinFactoryFallback, OSError) as error:
            raise ConfigError(f"pin = {settings.pin!r}: {error}") from None

    def listen(self, tell: Tell) -> None:
        self._pin.when_activated = lambda: tell(True, self._clock.now())
        self._pin.when_deactivated = lambda: tell(False, self._clock.now())
        tell(bool(self._pin.is_active), self._clock.now())

    def close(self) -> None:
        self._pin.close()

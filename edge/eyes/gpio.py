"""A photo-eye on a pin of a small computer, through gpiozero: told by the pin's own interrupt."""

from typing import Literal

from edge.clock import Clock
from edge.eyes import EyeSettings, Tell
from edge.gpio import Pin, claim


class GpioSettings(EyeSettings):
    """pin is named as gpiozero names it: 17 or "GPIO17", "BOARD11".

    With pull = "up" the beam is broken while the pin is low (an NPN sensor, or a contact to ground), with
    "down" and "none" while it is high; inverted turns that round.
    """

    pin: Pin
    pull: Literal["up", "down", "none"] = "up"


class Gpio:
    """Holds the pin until it is closed. Raises ConfigError when there is no such pin, or nothing to reach it with."""

    Settings = GpioSettings

    def __init__(self, settings: GpioSettings, clock: Clock) -> None:
        self._clock = clock
        floating = settings.pull == "none"
        self._pin = claim(
            "DigitalInputDevice", settings.pin,
            pull_up=None if floating else settings.pull == "up",
            active_state=True if floating else None,
        )  # fmt: skip

    def listen(self, tell: Tell) -> None:
        self._pin.when_activated = lambda: tell(True, self._clock.now())
        self._pin.when_deactivated = lambda: tell(False, self._clock.now())
        tell(bool(self._pin.is_active), self._clock.now())

    def close(self) -> None:
        self._pin.close()

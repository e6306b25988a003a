"""A pin of a small computer, through gpiozero: claimed for one part of the line, or refused in a sentence."""

import warnings
from typing import Annotated, Any

from pydantic import BeforeValidator

from edge.errors import ConfigError


def _a_name(pin: Any) -> Any:
    if not isinstance(pin, int | str) or not str(pin).strip():
        raise ValueError('must be a pin as gpiozero names it: 17, "GPIO17", "BOARD11"')
    return pin


Pin = Annotated[int | str, BeforeValidator(_a_name)]
"""The key that names a pin."""


def claim(kind: str, pin: int | str, **how: Any) -> Any:
    """One of gpiozero's devices (`OutputDevice`, …) on a pin, which is its own until it is closed.

    Raises ConfigError when gpiozero is not installed, when there is no such pin, or when another part has it.
    """
    try:
        import gpiozero
    except ImportError:
        raise ConfigError('type = "gpio" needs gpiozero: pip install "sortline[gpio]"') from None
    try:
        with warnings.catch_warnings():
            # gpiozero would go on with the next pin driver that it finds, with nothing but a warning.
            warnings.simplefilter("error", gpiozero.PinFactoryFallback)
            gpiozero.Device.ensure_pin_factory()
        return getattr(gpiozero, kind)(pin, **how)
    except (gpiozero.GPIOZeroError, gpiozero.PinFactoryFallback, OSError) as error:
        raise ConfigError(f"pin = {pin!r}: {error}") from None

"""A photo-eye that a Python function of the user's own knows about."""

from edge.clock import Clock
from edge.eyes import EyeSettings
from edge.functions import FunctionName, load_function


class CallableSettings(EyeSettings):
    """function is written package.module:function; it takes nothing and returns True while the beam is broken."""

    function: FunctionName


class Callable:
    """Calls the function at every poll; what it raises is the eye's silence."""

    Settings = CallableSettings

    def __init__(self, settings: CallableSettings, clock: Clock) -> None:
        self._function = load_function(settings.function, "function")

    def read(self) -> bool:
        return bool(self._function())

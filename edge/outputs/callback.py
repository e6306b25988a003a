"""The callback output: calls a Python function of the user's with the Decision."""

import importlib
from collections.abc import Callable

from pydantic import field_validator

from edge.errors import OutputError
from edge.outputs import Output, OutputSettings
from edge.records import Actuation, Decision


class CallbackSettings(OutputSettings):
    """function is written package.module:function."""

    function: str

    @field_validator("function")
    @classmethod
    def _has_both_parts(cls, value: str) -> str:
        module, colon, name = value.partition(":")
        if not (module and colon and name):
            raise ValueError("must be written package.module:function")
        return value


class Callback(Output):
    """Calls `function(decision)` at the item's millimetre, or with on = "decision" as soon as it is decided."""

    Settings = CallbackSettings
    settings: CallbackSettings

    def __init__(self, name: str, settings: OutputSettings) -> None:
        super().__init__(name, settings)
        self._function = load_function(self.settings.function, f"outputs.{name}.function")

    def fire(self, actuation: Actuation) -> None:
        self._call(actuation.decision)

    def decided(self, decision: Decision) -> None:
        self._call(decision)

    def check(self) -> str:
        return f"calls {self.settings.function}"

    def _call(self, decision: Decision) -> None:
        try:
            self._function(decision)
        except Exception as error:  # the user's code may raise anything; it must not stop the line
            raise OutputError(f"{self.settings.function} raised {type(error).__name__}: {error}") from error


def load_function(name: str, key: str) -> Callable[[Decision], object]:
    """Imports the function that `package.module:function` names; raises OutputError naming the key."""
    module_name, _, function_name = name.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), function_name)
    except ImportError as error:
        raise OutputError(f"{key} = {name!r}: cannot be imported ({error})") from None
    except AttributeError:
        raise OutputError(f"{key} = {name!r}: module {module_name} has no {function_name}") from None
    if not callable(found):
        raise OutputError(f"{key} = {name!r}: is not a function")
    return found

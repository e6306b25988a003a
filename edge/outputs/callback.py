"""The callback output: calls a Python function of the user's with the Decision."""

from edge.errors import OutputError, pass_interrupt
from edge.functions import FunctionName, load_function
from edge.outputs import Output, OutputSettings
from edge.records import Actuation, Decision


class CallbackSettings(OutputSettings):
    """function is written package.module:function."""

    function: FunctionName


class Callback(Output):
    """Calls `function(decision)` at the item's millimetre, or with on = "decision" as soon as it is decided."""

    Settings = CallbackSettings
    settings: CallbackSettings

    def __init__(self, name: str, settings: OutputSettings) -> None:
        super().__init__(name, settings)
        self._function = load_function(self.settings.function, f"outputs.{name}.function")

    @property
    def called(self) -> str:
        return self.settings.function

    def fire(self, actuation: Actuation) -> None:
        if self.settings.on == "fire":
            self._call(actuation.decision)

    def decided(self, decision: Decision) -> None:
        self._call(decision)

    def check(self) -> str:
        return f"calls {self.settings.function}"

    def _call(self, decision: Decision) -> None:
        try:
            self._function(decision)
        except BaseException as error:  # the user's code may raise anything; it must not stop the line
            pass_interrupt(error)
            raise OutputError(f"{self.settings.function} raised {type(error).__name__}: {error}") from error

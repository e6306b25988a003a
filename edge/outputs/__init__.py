"""What a decision moves: one small interface, one file a kind of output.

An output of your own is one class that extends Output, with a nested `Settings` when it has keys of
its own; `type = "plant7:Diverter"` names it. Each output is served by a worker of its own, so a slow
one delays no other.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal, Protocol, Self

from pydantic import Field, model_validator

from edge.records import Actuation, Decision
from edge.settings import Settings


class OutputSettings(Settings):
    """The keys that every [outputs.NAME] table has.

    lead_ms is how long before the item's arrival the command must leave: the time from command to
    blade. pulse_ms is how long the diverter stays out, repeat_ms the shortest time between two
    pushes. on = "decision" calls the output as soon as an item of its lane is decided instead of at
    the item's millimetre; with every_item it is called for the items of all lanes.
    """

    type: str
    lead_ms: float = Field(default=0.0, ge=0, le=10_000)
    pulse_ms: float = Field(default=50.0, gt=0, le=10_000)
    repeat_ms: float = Field(default=0.0, ge=0, le=10_000)
    on: Literal["fire", "decision"] = "fire"
    every_item: bool = False

    @model_validator(mode="after")
    def _hears_of_all(self) -> Self:
        if self.every_item and self.on != "decision":
            raise ValueError('every_item needs on = "decision": there is no push of the items of other lanes')
        return self

    def in_the_clear(self) -> str:
        """Which secret would go to another machine unencrypted, as key, what happens and the mend; empty for none."""
        return ""


class Report(Protocol):
    """How an output tells, from any thread, of what happens between its pushes: an incident's name, what happened,
    and what is done about it. It is told again when the reason becomes another. recovered says that it is over."""

    def __call__(self, name: str, cause: str, action: str, *, recovered: bool = False) -> None: ...


class Output(ABC):
    """A diverter, or anything else that must know of an item. Ready when its constructor returns.

    The constructor raises OutputError when the other side cannot be reached.
    """

    Settings: type[OutputSettings] = OutputSettings
    left_so: ClassVar[str] = "the line ends; a diverter on it may still be out"
    """How things are left when `close` fails."""

    def __init__(self, name: str, settings: OutputSettings) -> None:
        self.name = name
        self.settings = settings
        self.about: Mapping[str, str] = {}

    def begin(self, about: Mapping[str, str]) -> None:
        """A line begins to use it, which `sortline check` does not: what stays connected connects here.

        about tells the line's run and model apart, as --decisions writes them beside each decision.
        """
        self.about = about

    @property
    def called(self) -> str:
        """What a push calls, for a sentence about it: the output's kind, or the user's function."""
        return self.settings.type

    @abstractmethod
    def fire(self, actuation: Actuation) -> None:
        """Pushes now, for actuation.pulse_s seconds; raises OutputError when it could not.

        A command that cannot leave within actuation.within_s seconds must not leave at all.
        """

    def decided(self, decision: Decision) -> None:  # noqa: B027 - most outputs have no use for it
        """Called for each decision of the output's lane when its `on` is "decision"."""

    def report_to(self, report: Report) -> None:  # noqa: B027 - most outputs have nothing to say between two pushes
        """From now on the output tells of its troubles here. Called once, before the first push."""

    def check(self) -> str:
        """Reaches the other side and says what was found, in one line; raises OutputError."""
        return "ready"

    def close(self) -> None:  # noqa: B027 - an output that holds nothing has nothing to release
        """Leaves the diverter in its resting place and lets go; may be called twice."""

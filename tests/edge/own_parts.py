"""Parts as a user writes them: an output that remembers its pushes, and one that fails when told to."""

import asyncio
import threading
from typing import Literal

from pydantic import Field

from edge.errors import OutputError
from edge.outputs import Output, OutputSettings, Report
from edge.records import Actuation, Decision

let_go = threading.Event()


def hang(decision: Decision) -> None:
    """A user's function that does not come back until it is let go."""
    let_go.wait(20)


heard: list[Decision] = []


def hear(decision: Decision) -> None:
    """A user's function that remembers what it is told."""
    heard.append(decision)


class BladeSettings(OutputSettings):
    angle: float = Field(default=45, ge=0, le=90)
    fails: bool = False


class Blade(Output):
    """Remembers every push."""

    Settings = BladeSettings
    settings: BladeSettings

    def __init__(self, name: str, settings: OutputSettings) -> None:
        super().__init__(name, settings)
        self.pushes: list[Actuation] = []
        self.heard: list[Decision] = []
        self.closed = False

    def fire(self, actuation: Actuation) -> None:
        if self.settings.fails:
            raise OutputError("the blade is jammed")
        self.pushes.append(actuation)

    def decided(self, decision: Decision) -> None:
        self.heard.append(decision)

    def report_to(self, report: Report) -> None:
        self.report = report

    def close(self) -> None:
        self.closed = True


class Deaf(Blade):
    """Cannot be told of a decision, as long as it is deaf."""

    deaf = True

    def decided(self, decision: Decision) -> None:
        if self.deaf:
            raise OutputError("nobody listens")


class Lingering(Blade):
    """Is told of a decision for a while; knows whether it was closed meanwhile, and of which run it was told."""

    def __init__(self, name: str, settings: OutputSettings) -> None:
        super().__init__(name, settings)
        self.entered, self.closing = threading.Event(), threading.Event()
        self.closed_while_told: list[bool] = []

    def decided(self, decision: Decision) -> None:
        self.entered.set()
        self.closed_while_told.append(self.closing.wait(0.2))

    def close(self) -> None:
        self.closing.set()


class Cancelled(Blade):
    """Its library gives the first push up in asyncio's way, which is no Exception."""

    def fire(self, actuation: Actuation) -> None:
        super().fire(actuation)
        if len(self.pushes) == 1:
            raise asyncio.CancelledError


class ClingingSettings(OutputSettings):
    clings: Literal["hangs", "raises", "exits"]


class Clinging(Blade):
    """Does not let go as it should when the line ends."""

    Settings = ClingingSettings  # type: ignore[assignment]
    settings: ClingingSettings  # type: ignore[assignment]

    def fire(self, actuation: Actuation) -> None:
        self.pushes.append(actuation)

    def close(self) -> None:
        if self.settings.clings == "hangs":
            let_go.wait(20)
        elif self.settings.clings == "exits":
            raise SystemExit(5)
        else:
            raise RuntimeError("the port is gone")


class Slow(Output):
    """Does not come back from a push until it is let go."""

    def __init__(self, name: str, settings: OutputSettings) -> None:
        super().__init__(name, settings)
        self.entered, self.go_on = threading.Event(), threading.Event()

    def fire(self, actuation: Actuation) -> None:
        self.entered.set()
        self.go_on.wait(10)

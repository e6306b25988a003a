"""An output with pushes for it, and an ear for what it tells between them."""

import threading
import time
from collections.abc import Callable
from math import inf
from typing import Any

import pytest

from edge.config import LineConfig
from edge.errors import ConfigError, OutputError
from edge.outputs import Output
from edge.parts import open_output, typed_outputs
from edge.records import Actuation, Box, Decision

DECISION = Decision(7, "good", "bolt", 1.0, {"bolt": 1.0}, "classified", 0, 0.0, 0.0, None, 0.0, Box(0, 0, 9, 9))


def push(pulse_s: float = 0.05, within_s: float = inf) -> Actuation:
    return Actuation(7, "good", "gate", 500.0, 0.0, 0.0, DECISION, pulse_s, within_s)


def opened(table: dict[str, Any], *, begun: bool = True) -> Output:
    problems: list[str] = []
    settings = typed_outputs({"gate": table}, problems)
    assert problems == []
    output = open_output("gate", settings["gate"])
    if begun:
        output.begin({})
    return output


def wait_until(what: Callable[[], object], within_s: float) -> None:
    until = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.002)


def refusal(output: Output, actuation: Actuation, within_s: float) -> str:
    """What an output says of a push that it does not make, in so many seconds."""
    began = time.monotonic()
    with pytest.raises(OutputError) as caught:
        output.fire(actuation)
    assert time.monotonic() - began < within_s
    return str(caught.value)


class Ear:
    """Remembers what an output tells: (incident, cause, recovered)."""

    def __init__(self, output: Output) -> None:
        self.told: list[tuple[str, str, bool]] = []
        self._changed = threading.Condition()
        output.report_to(self.hear)

    def hear(self, name: str, cause: str, action: str, *, recovered: bool = False) -> None:
        with self._changed:
            self.told.append((name, cause, recovered))
            self._changed.notify_all()

    def wait_for(self, name: str, recovered: bool = False) -> str:
        """Waits until an incident, or its end, has been told; its cause."""

        def causes() -> list[str]:
            return [cause for one, cause, over in self.told if (one, over) == (name, recovered)]

        with self._changed:
            assert self._changed.wait_for(causes, 10), self.told
            return causes()[-1]


def problems(lanes: list[dict[str, Any]] | None = None, **outputs: dict[str, Any]) -> list[str]:
    """What is wrong with the outputs of a configuration, key by key; a key that is None is left out."""
    tables = {name: {key: value for key, value in one.items() if value is not None} for name, one in outputs.items()}
    return refusals(content_of(lanes or [], tables))


def refusals(content: dict[str, Any]) -> list[str]:
    """What is wrong with a configuration, a sentence each."""
    try:
        LineConfig.parse(content)
    except ConfigError as error:
        return [line.removeprefix("the configuration: ") for line in str(error).splitlines()]
    return []


def notes(**outputs: dict[str, Any]) -> list[str]:
    """What `sortline check` and the start of a line say of outputs that are told of every item."""
    tables = {name: {**one, "on": "decision", "every_item": True} for name, one in outputs.items()}
    return LineConfig.parse(content_of([], tables)).notes()


def content_of(lanes: list[dict[str, Any]], outputs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "model": {"path": "t.onnx"},
        "camera": {"source": 0},
        "belt": {"pixels_per_mm": 1, "speed_mm_s": 1},
        "lanes": [*lanes, {"name": "rest", "default": True}],
        "outputs": outputs,
    }

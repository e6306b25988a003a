"""The benchmark: what this machine makes of a model, a line and /predict; `sortline bench` runs it.

A scenario is one file with a function `measure(bench) -> Findings` and one entry in SCENARIOS. Every
figure is measured in the run that prints it, and what is compared is measured side by side.
"""

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from edge.bench.belt import measure as measure_belt
from edge.bench.camera import measure as measure_camera
from edge.bench.floats import FloatNetwork
from edge.bench.line import measure as measure_line
from edge.bench.machine import Meanwhile, describe
from edge.bench.model import measure as measure_model
from edge.bench.predict import measure as measure_predict
from edge.bench.preprocessing import measure as measure_preprocessing
from edge.bench.scenario import Bench, Scenario
from edge.bench.screen import Screen
from edge.bench.servers import measure as measure_servers
from edge.bench.soak import measure as measure_soak
from edge.bench.startup import measure as measure_startup
from edge.demo import bundled_model
from edge.errors import ConfigError, SortlineError
from edge.files import write_whole
from edge.model import Classifier
from edge.simulator.arrivals import class_names
from edge.simulator.settings import SimulatorSettings

__all__ = ["SCENARIOS", "Bench", "run_bench"]

SCENARIOS: dict[str, Scenario] = {
    "model": measure_model,
    "preprocessing": measure_preprocessing,
    "camera": measure_camera,
    "line": measure_line,
    "belt": measure_belt,
    "predict": measure_predict,
    "servers": measure_servers,
    "startup": measure_startup,
    "soak": measure_soak,
}
# Takes ten minutes by itself, so it has to be named.
ONLY_WHEN_NAMED = {"soak"}
JSON_FORMAT = 1


def run_bench(
    scenarios: Sequence[str] | None = None,
    model: Path | None = None,
    json_path: Path | None = None,
    *,
    items: Path | None = None,
    effort: float = 1.0,
    against: Path | None = None,
    floats: Path | None = None,
) -> int:
    """Measures the named scenarios, without names all of them but `soak`, and prints a table for each.

    model is the file to measure with, the bundled one by default; items is a folder of class folders with
    pictures that it knows, which travel on the belt of scenario `belt` besides the drawn parts. json_path
    gets everything, and is written anew after each scenario, so that a run that is cut short leaves what it
    had. effort is the share of the usual measuring time (1 takes about eight minutes for all).

    against is a second model file; the scenario `model` measures it in the same turns. floats is the network
    of model as it was before its pre-processing became part of it, which is measured there too.

    Returns 0, or 1 when a scenario could not be measured; a bar that does not hold is a finding, not a
    failure. Raises ConfigError for a name that is no scenario, ModelError for a file that is no model.
    """
    names = _known(scenarios)
    model = (model or bundled_model()).resolve()
    classifier = Classifier(model, "cpu")
    card = classifier.card
    if against is not None:
        against = Classifier(against.resolve(), "cpu").path
    if floats is not None:
        if "calibration" in card.quantization:
            raise ConfigError(f"--floats: {model} computes in integers; hold the fp32 file of its run against {floats}")
        FloatNetwork(floats, card.height, card.width)
    _check_items(items, card.classes)
    screen = Screen()
    about_machine = describe()
    about_model = {
        "path": str(model),
        "sha256": classifier.sha256,
        "name": card.name,
        "version": card.version,
        "size": f"{card.width}x{card.height}",
        "megabytes": model.stat().st_size / 1e6,
    }
    content: dict[str, Any] = {
        "format": JSON_FORMAT,
        "machine": about_machine,
        "model": about_model,
        "effort": effort,
        "scenarios": {},
    }
    screen.machine(about_machine, about_model)
    status = 0
    for name in names:
        started, meanwhile = perf_counter(), Meanwhile()
        try:
            with screen.progress(name) as say:
                findings = SCENARIOS[name](Bench(model, card.classes, effort, say, against, items, floats))
        except SortlineError as error:
            screen.failed(name, error)
            content["scenarios"][name] = {"failed": str(error)}
            status = 1
        else:
            taken = meanwhile.taken()
            screen.findings(findings, taken)
            content["scenarios"][name] = {
                **findings.as_dict(),
                "seconds": perf_counter() - started,
                "others_share_of_machine": taken.others if taken else None,
                "host_share_of_machine": taken.host if taken else None,
            }
        if json_path is not None:
            _write(json_path, content)
    return status


def _known(scenarios: Sequence[str] | None) -> list[str]:
    """The scenarios to run, each once, in the order they were named."""
    for name in scenarios or ():
        if name not in SCENARIOS:
            close = difflib.get_close_matches(name, SCENARIOS, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise ConfigError(f"--scenario {name}: there is no such scenario ({hint}there are: {', '.join(SCENARIOS)})")
    return list(dict.fromkeys(scenarios or (name for name in SCENARIOS if name not in ONLY_WHEN_NAMED)))


def _check_items(items: Path | None, classes: Sequence[str]) -> None:
    """The pictures on the belt must be of classes that the model knows; ConfigError says which are not."""
    if items is None:
        return
    unknown = [name for name in class_names(SimulatorSettings(items=items)) if name not in classes]
    if unknown:
        known = ", ".join(classes)
        raise ConfigError(f"--items {items}: the model does not know {', '.join(unknown)} (--model, it knows: {known})")


def _write(path: Path, content: dict[str, Any]) -> None:
    try:
        write_whole(path, json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise ConfigError(f"--json {path}: cannot be written ({error.strerror})") from None

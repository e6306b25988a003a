"""`sortline replay`: the same clip through one or two models, item by item."""

from dataclasses import dataclass
from pathlib import Path

from edge.camera import is_recorded, redacted
from edge.clock import VirtualClock
from edge.config import JournalSettings, LineConfig
from edge.errors import ConfigError
from edge.line import Line
from edge.outputs import OutputSettings
from edge.records import Decision


@dataclass(frozen=True, slots=True)
class Replay:
    """pairs holds an item's decision by the line's own model and, when one was given, by the other."""

    models: tuple[str, ...]
    pairs: tuple[tuple[Decision, Decision | None], ...]

    @property
    def differing(self) -> tuple[tuple[Decision, Decision], ...]:
        return tuple((a, b) for a, b in self.pairs if b is not None and (a.lane, a.label) != (b.lane, b.label))


def replay(config: LineConfig, clip: str, other: Path | None = None) -> Replay:
    """Plays a clip on a virtual clock, nothing dropped. Items are found the same way both times, so
    their ids agree; no output is moved, no photo-eye is read and nothing is journalled. Raises ConfigError
    when items are announced by a photo-eye, of which a clip knows nothing, when the clip is a live camera, and
    when a model lacks a class of the line's."""
    if config.items.mode == "trigger":
        raise ConfigError('items.mode = "trigger" cannot be replayed: a clip does not hold what the photo-eye saw')
    still = config.model_copy(
        update={
            "camera": config.camera.model_copy(update={"source": clip, "type": None}),
            "journal": JournalSettings(),
            "lanes": tuple(lane.model_copy(update={"confirm": None}) for lane in config.lanes),
            "outputs": {name: _log(settings) for name, settings in config.outputs.items()},
        }
    )
    if not is_recorded(still.camera):
        raise ConfigError(f"{redacted(clip)}: is a live camera; a clip, pictures or a simulated belt can be replayed")
    models = [config.model.path, *([other] if other else [])]
    runs = []
    for path in models:
        one = still.model_copy(update={"model": still.model.model_copy(update={"path": path})})
        heard: list[Decision] = []
        try:
            line = Line(one, on_decision=heard.append, clock=VirtualClock())
        except ConfigError as error:  # of two models it must be said which one lacks a class
            raise ConfigError(str(error).replace("which the model does not", f"which {path} does not")) from None
        try:
            line.play()
        finally:
            line.stop()
        runs.append({decision.item_id: decision for decision in heard})
    second = runs[1] if other else {}
    return Replay(tuple(str(path) for path in models), tuple((d, second.get(i)) for i, d in runs[0].items()))


def _log(settings: OutputSettings) -> OutputSettings:
    return OutputSettings(type="log", lead_ms=settings.lead_ms, pulse_ms=settings.pulse_ms)

"""LineConfig: one typed, frozen object from one TOML file, with all of its errors reported at once."""

import difflib
import importlib
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError

from edge.camera import CameraSettings
from edge.encoders import EncoderSettings
from edge.errors import ConfigError
from edge.outputs import Output, OutputSettings
from edge.settings import Settings

OUTPUT_TYPES = ("callback", "log")
ENCODER_TYPES = ("modbus", "simulated")
Direction = Literal["right", "left", "down", "up"]


class ModelSettings(Settings):
    """The [model] table."""

    path: Path
    provider: Literal["auto", "cpu", "openvino", "cuda", "tensorrt", "coreml"] = "auto"
    threads: int = Field(default=0, ge=0, le=256)


class BeltSettings(Settings):
    """The [belt] table: which way items travel in the picture, the picture's scale, the belt's speed.

    Where the belt is comes from [belt.encoder] when there is one; else position = "speed" reckons with
    speed_mm_s, and "pictures" measures how the items travel, for which speed_mm_s is a first guess.
    """

    direction: Direction = "right"
    pixels_per_mm: float = Field(gt=0, le=1000)
    speed_mm_s: float = Field(gt=0, le=20_000)
    position: Literal["speed", "pictures"] = "speed"
    encoder: EncoderSettings | None = None


class ItemsSettings(Settings):
    """The [items] table: how items are found. roi is x, y, width, height in pixels of the picture.

    motion finds what travels on the belt; frame takes the whole picture as one item.
    """

    mode: Literal["motion", "frame"] = "motion"
    roi: tuple[int, int, int, int] | None = None
    min_mm: float = Field(default=8.0, gt=0)
    max_mm: float = Field(default=400.0, gt=0)
    max_views: int = Field(default=5, ge=1, le=100)


class DecideSettings(Settings):
    """The [decide] table. An item whose vote is below min_confidence is `unknown`, whatever the card says.

    reach_mm is the stretch of belt that a diverter sweeps: no other item may be in it. tolerance_mm is
    how far past its place an item may be when its push is made, a quarter of the reach unless given:
    beyond it the push is not made.
    """

    min_confidence: float = Field(default=0.5, ge=0, le=1)
    thresholds: dict[str, float] = {}
    reach_mm: float = Field(default=20.0, gt=0, le=2000)
    tolerance_mm: float | None = Field(default=None, gt=0, le=1000)


class LaneSettings(Settings):
    """One [[lanes]] entry. distance_mm is from the camera's centre line to the lane's diverter."""

    name: str = Field(min_length=1)
    classes: tuple[str, ...] = ()
    output: str | None = None
    distance_mm: float | None = Field(default=None, gt=0)
    default: bool = False


class WebSettings(Settings):
    """The [web] table. Off the loopback address a token is required, unless insecure says otherwise."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    token_file: Path | None = None
    insecure: bool = False


class JournalSettings(Settings):
    """The [journal] table: a SQLite file. Without a path nothing is journalled."""

    path: Path | None = None


class LineConfig(Settings):
    """A whole line. Build one with `load`, or from keyword arguments in Python."""

    model: ModelSettings
    camera: CameraSettings
    belt: BeltSettings
    items: ItemsSettings = ItemsSettings()
    decide: DecideSettings = DecideSettings()
    lanes: tuple[LaneSettings, ...] = Field(min_length=1)
    outputs: dict[str, OutputSettings] = {}
    web: WebSettings = WebSettings()
    journal: JournalSettings = JournalSettings()

    @property
    def default_lane(self) -> LaneSettings:
        return next(lane for lane in self.lanes if lane.default)

    def lane_of(self, label: str) -> LaneSettings:
        """The lane that takes a class; the default lane for a class that no lane names."""
        return next((lane for lane in self.lanes if label in lane.classes), self.default_lane)

    @classmethod
    def load(cls, path: str | Path) -> "LineConfig":
        """Reads and validates a TOML file; raises ConfigError with one line for every error in it.

        Relative paths in it are looked up beside the file first, then in the working directory.
        """
        path = Path(path)
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read as text ({error})") from None
        try:
            content = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: is not TOML: {error}") from None
        return cls.parse(content, path)

    @classmethod
    def parse(cls, content: dict[str, Any], path: Path = Path("the configuration")) -> "LineConfig":
        """Validates a configuration that is a dict already; path names it in messages."""
        problems: list[str] = []
        content = _beside(content, path.parent)
        outputs = _typed_outputs(content.get("outputs", {}), problems)
        camera = _typed_camera(content.get("camera"), problems)
        rest = {key: value for key, value in content.items() if key not in {"outputs", "camera"}}
        belt = content.get("belt")
        if isinstance(belt, dict) and "encoder" in belt:
            rest["belt"] = {**belt, "encoder": _typed_encoder(belt["encoder"], problems)}
        config = None
        try:
            config = cls.model_validate({**rest, "outputs": outputs, "camera": camera})
        except ValidationError as error:
            seen_elsewhere = {"outputs", "camera"}
            errors = error.errors(include_url=False)
            inside_lanes = any(one["loc"][0] == "lanes" and len(one["loc"]) > 1 for one in errors)
            problems += [
                sentence(cls, one)
                for one in errors
                if one["loc"][0] not in seen_elsewhere
                # A lane with an error of its own is left out of the tuple, which then looks too short.
                and not (inside_lanes and one["loc"] == ("lanes",) and one["type"] == "too_short")
            ]
        problems += _contradictions(content)
        if problems or config is None:
            raise ConfigError("\n".join(f"{path}: {problem}" for problem in dict.fromkeys(problems)))
        return config

    def check_classes(self, classes: tuple[str, ...], path: str | Path = "the configuration") -> None:
        """Raises ConfigError when a lane or threshold names a class that the model does not have."""
        has = f"the model does not have (it has: {', '.join(classes)})"
        named = [(f"lanes[{i}].classes", name) for i, lane in enumerate(self.lanes) for name in lane.classes]
        named += [("decide.thresholds", name) for name in self.decide.thresholds]
        problems = [f"{path}: {key} names {name!r}, which {has}" for key, name in named if name not in classes]
        if problems:
            raise ConfigError("\n".join(problems))


def sentence(model: type[BaseModel], error: Any, table: str = "") -> str:
    """One validation error as a sentence: the key, what is wrong with its value, the nearest known key.

    table is the dotted name of the table that model describes, empty for the whole file.
    """
    loc = error["loc"]
    key = _key((table, *loc) if table else loc)
    kind, said = error["type"], error["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        known = list(_fields_at(model, loc[:-1]))
        close = difflib.get_close_matches(str(loc[-1]), known, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        where = _key((table, *loc[:-1]) if table else loc[:-1])
        where = f"[{where}]" if where else "the file"
        return f"{key} is not a key of {where} ({hint}it has: {', '.join(known)})"
    if kind == "missing":
        return f"{key} is missing"
    return f"{key} = {error['input']!r}: {said[0].lower() + said[1:]}"


def _key(loc: tuple[Any, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _fields_at(model: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    for part in loc:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        inner = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)


def load_class(name: str, builtin: str, kind: type | None, what: str) -> type[Any]:
    """The class that a `type` key names: a built-in's file in the package builtin, or module:Class."""
    module_name, _, class_name = name.partition(":")
    if not class_name:
        module_name, class_name = f"{builtin}.{name}", name.capitalize()
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except ImportError as error:
        raise ConfigError(f"{what} = {name!r}: cannot be imported ({error})") from None
    except AttributeError:
        raise ConfigError(f"{what} = {name!r}: module {module_name} has no {class_name}") from None
    if not isinstance(found, type) or (kind is not None and not issubclass(found, kind)):
        raise ConfigError(f"{what} = {name!r}: is not a class of the right kind")
    return found


def output_class(type_name: str, what: str = "type") -> type[Output]:
    """The class of an output type; raises ConfigError naming the types there are."""
    if ":" not in type_name and type_name not in OUTPUT_TYPES:
        raise ConfigError(
            f"{what} = {type_name!r}: is not an output type (there are: {', '.join(OUTPUT_TYPES)}; "
            "a class of your own is written module:Class)"
        )
    return load_class(type_name, "edge.outputs", Output, what)


def _typed_outputs(tables: Any, problems: list[str]) -> dict[str, OutputSettings]:
    """Validates each [outputs.NAME] against its own class's Settings."""
    if not isinstance(tables, dict):
        problems.append("outputs must be tables: [outputs.NAME]")
        return {}
    result = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or not isinstance(table.get("type"), str):
            problems.append(f"outputs.{name}.type is missing (there are: {', '.join(OUTPUT_TYPES)})")
            continue
        try:
            settings = output_class(table["type"], f"outputs.{name}.type").Settings
            result[name] = settings.model_validate(table)
        except ConfigError as error:
            problems.append(str(error))
        except ValidationError as error:
            problems += [sentence(settings, e, f"outputs.{name}") for e in error.errors(include_url=False)]
    return result


def _typed_camera(table: Any, problems: list[str]) -> CameraSettings | None:
    if not isinstance(table, dict):
        problems.append("camera is missing: [camera] needs a source" if table is None else "camera must be a table")
        return None
    settings: type[CameraSettings] = CameraSettings
    try:
        if isinstance(own := table.get("type"), str):
            settings = getattr(load_class(own, "edge.camera", None, "camera.type"), "Settings", CameraSettings)
        return settings.model_validate(table)
    except ConfigError as error:
        problems.append(str(error))
    except ValidationError as error:
        problems += [sentence(settings, e, "camera") for e in error.errors(include_url=False)]
    return None


def encoder_class(type_name: str) -> type[Any]:
    """The class of an encoder type; raises ConfigError naming the types there are."""
    if ":" not in type_name and type_name not in ENCODER_TYPES:
        raise ConfigError(
            f"belt.encoder.type = {type_name!r}: is not an encoder type (there are: {', '.join(ENCODER_TYPES)}; "
            "a class of your own is written module:Class)"
        )
    return load_class(type_name, "edge.encoders", None, "belt.encoder.type")


def _typed_encoder(table: Any, problems: list[str]) -> EncoderSettings | None:
    if not isinstance(table, dict) or not isinstance(table.get("type"), str):
        problems.append(f"belt.encoder.type is missing (there are: {', '.join(ENCODER_TYPES)})")
        return None
    settings: type[EncoderSettings] = EncoderSettings
    try:
        settings = getattr(encoder_class(table["type"]), "Settings", EncoderSettings)
        return settings.model_validate(table)
    except ConfigError as error:
        problems.append(str(error))
    except ValidationError as error:
        problems += [sentence(settings, e, "belt.encoder") for e in error.errors(include_url=False)]
    return None


def _contradictions(content: dict[str, Any]) -> list[str]:
    """What no single key shows: lanes and outputs that do not fit each other."""
    lanes = content.get("lanes", [])
    if not isinstance(lanes, list) or not all(isinstance(lane, dict) for lane in lanes):
        return []
    problems = []
    outputs = content.get("outputs", {})
    known = ", ".join(outputs) if isinstance(outputs, dict) and outputs else "none"
    names: set[str] = set()
    owner: dict[str, str] = {}
    for i, lane in enumerate(lanes):
        name, output = lane.get("name"), lane.get("output")
        if name in names:
            problems.append(f"lanes[{i}].name {name!r} is used twice")
        names.add(str(name))
        if output is not None and (not isinstance(outputs, dict) or output not in outputs):
            problems.append(f"lanes[{i}].output names {output!r}, which [outputs] does not define (it has: {known})")
        if output is not None and lane.get("distance_mm") is None:
            problems.append(f"lanes[{i}].distance_mm is missing: lane {name!r} has an output, so it needs its place")
        if output is None and not lane.get("default"):
            problems.append(f"lanes[{i}].output is missing: only the default lane can do without a diverter")
        for label in lane.get("classes", []) if isinstance(lane.get("classes", []), list) else []:
            if label in owner:
                problems.append(f"lanes[{i}].classes names {label!r}, which lane {owner[label]!r} takes already")
            owner[label] = str(name)
    defaults = sum(bool(lane.get("default")) for lane in lanes)
    if lanes and defaults != 1:
        problems.append(
            f"lanes: exactly one lane must have default = true, it takes everything unsure; there are {defaults}"
        )
    return problems


def _beside(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Resolves the relative paths of a configuration against its own folder.

    What must exist already is taken from the working directory when it is not beside the file.
    """

    def resolved(value: Any, must_exist: bool) -> Any:
        if not isinstance(value, str) or not value or Path(value).is_absolute():
            return value
        beside = folder / value
        return value if must_exist and not beside.exists() and Path(value).exists() else str(beside)

    content = {key: dict(value) if isinstance(value, dict) else value for key, value in content.items()}
    for table, key, must_exist in (("model", "path", True), ("web", "token_file", True), ("journal", "path", False)):
        if isinstance(content.get(table), dict) and key in content[table]:
            content[table][key] = resolved(content[table][key], must_exist)
    camera = content.get("camera")
    if isinstance(camera, dict) and isinstance(camera.get("source"), str) and _is_path(camera["source"]):
        camera["source"] = resolved(camera["source"], not any(c in camera["source"] for c in "*?["))
    return content


def _is_path(source: str) -> bool:
    return not source.isdigit() and ":" not in source.split("/", 1)[0]

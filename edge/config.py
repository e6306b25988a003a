"""LineConfig: one typed, frozen object from one TOML file, with all of its errors reported at once."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from edge.camera import CameraSettings
from edge.encoders import EncoderSettings
from edge.errors import ConfigError
from edge.eyes import TRIGGER, ConfirmSettings, EyeSettings, TriggerSettings
from edge.files import read_text
from edge.outputs import OutputSettings
from edge.parts import sentence, type_parts, typed_camera, typed_outputs
from edge.settings import Settings
from edge.wiring import shared_wires

PATHS = (
    ("model", "path", True),
    ("model", "shadow", True),
    ("web", "token_file", True),
    ("journal", "path", False),
    ("journal", "pictures", False),
)
"""The table and key of every path of a configuration, and whether it must exist already."""

OUTPUT_FILES = (
    "ca_file",
    "certificate_file",
    "key_file",
    "password_file",
    "secret_file",
    "server_certificate_file",
    "token_file",
)
"""The keys of built-in outputs that name a file, which must exist already."""

Direction = Literal["right", "left", "down", "up"]

LEAST_FULL_PX = 12  # what the smallest item must still measure in the picture, for fewer show a speck rather than one
NARROW = 0.25  # an item is at least this much of that size wide, a scratch is not


class ModelSettings(Settings):
    """The [model] table. shadow is a second file that looks on, in the web side's process, and decides nothing."""

    path: Path
    provider: Literal["auto", "cpu", "openvino", "cuda", "tensorrt", "coreml"] = "auto"
    threads: int = Field(default=0, ge=0, le=256)
    shadow: Path | None = None


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

    @property
    def by_pictures(self) -> bool:
        """Whether the pictures themselves tell where the belt is."""
        return self.position == "pictures" and self.encoder is None


class ItemsSettings(Settings):
    """The [items] table: how items are found. roi is x, y, width, height in pixels of the picture.

    motion finds what travels on the belt; trigger has a photo-eye say when an item is there, and takes the
    roi of the picture that shows it, or the whole of it; frame takes every whole picture as one item.
    max_mm is the length of the largest item: what is up to three times as long is two or three items that
    touch, what is longer is none.
    """

    mode: Literal["motion", "trigger", "frame"] = "motion"
    trigger: TriggerSettings | None = None
    roi: tuple[int, int, int, int] | None = None
    min_mm: float = Field(default=8.0, gt=0)
    max_mm: float = Field(default=400.0, gt=0)
    max_views: int = Field(default=5, ge=1, le=100)

    @model_validator(mode="after")
    def _possible(self) -> "ItemsSettings":
        if self.min_mm >= self.max_mm:
            raise ValueError(f"min_mm {self.min_mm:g} must be below max_mm {self.max_mm:g}")
        return self

    @field_validator("roi")
    @classmethod
    def _is_a_rectangle(cls, roi: tuple[int, int, int, int] | None) -> tuple[int, int, int, int] | None:
        if roi is not None and (min(roi) < 0 or min(roi[2:]) < 1):
            raise ValueError("must be x, y, width, height in pixels, none below 0, no side 0")
        return roi

    def outside(self, width: int, height: int) -> str:
        """What is wrong where the roi does not lie in pictures of width x height pixels, else nothing."""
        if self.roi is None or (self.roi[0] + self.roi[2] <= width and self.roi[1] + self.roi[3] <= height):
            return ""
        return f"items.roi = {list(self.roi)} reaches out of the picture, which has {width}x{height} pixels"

    def no_room(self, pixels_per_mm: float, picture: tuple[int, int] | None = None) -> str:
        """Why nothing can ever be found on the belt, else nothing; picture is its width and height, once known."""
        at = f"at belt.pixels_per_mm = {pixels_per_mm:g}"
        least, most = self.min_mm * pixels_per_mm, self.max_mm * pixels_per_mm
        size = self.roi[2:] if self.roi else picture
        if self.mode != "motion":
            return ""
        if most < LEAST_FULL_PX:
            return (
                f"items.max_mm = {self.max_mm:g} is {most:.4g} pixels {at}, and nothing below {LEAST_FULL_PX} is taken "
                "for an item: mend one of them, or have the camera see the belt larger"
            )
        needed = max(least, LEAST_FULL_PX)
        if size is None or (max(size) >= needed and min(size) >= NARROW * needed):
            return ""
        where = f"items.roi = {list(self.roi)}" if self.roi else f"the picture of {size[0]}x{size[1]} pixels"
        floor = f", and nothing below {LEAST_FULL_PX} is taken for one" if least < needed else ""
        return f"{where} has no room for an item: items.min_mm = {self.min_mm:g} is {least:.4g} pixels {at}{floor}"


class DecideSettings(Settings):
    """The [decide] table. An item whose vote is below min_confidence is `unknown`, whatever the card says.

    reach_mm is the stretch of belt that a diverter sweeps: no other item may be in it. tolerance_mm is
    how far past its place an item may be when its push is made, a quarter of the reach unless given:
    beyond it the push is not made. So it is never more than the reach, past which the blade hits something else.
    """

    min_confidence: float = Field(default=0.5, ge=0, le=1)
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    reach_mm: float = Field(default=20.0, gt=0, le=2000)
    tolerance_mm: float | None = Field(default=None, gt=0, le=1000)

    @model_validator(mode="after")
    def _possible(self) -> "DecideSettings":
        if self.tolerance_mm is not None and self.tolerance_mm > self.reach_mm:
            raise ValueError(f"tolerance_mm {self.tolerance_mm:g} must not be above reach_mm {self.reach_mm:g}")
        return self


class LaneSettings(Settings):
    """One [[lanes]] entry. distance_mm is from the camera's centre line to the lane's diverter."""

    name: str = Field(min_length=1)
    classes: tuple[str, ...] = ()
    output: str | None = None
    distance_mm: float | None = Field(default=None, gt=0, le=100_000)
    default: bool = False
    confirm: ConfirmSettings | None = None


class WebSettings(Settings):
    """The [web] table. Off the loopback address a token is required, unless insecure says otherwise."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    token_file: Path | None = None
    insecure: bool = False


class JournalSettings(Settings):
    """The [journal] table: a SQLite file, and a folder of pictures worth labelling, at most pictures_mb large.

    Without a path nothing is journalled, without pictures none is kept.
    """

    path: Path | None = None
    pictures: Path | None = None
    pictures_mb: int = Field(default=500, ge=1, le=1_000_000)


class RunSettings(Settings):
    """The [line] table. With start_armed = false no output moves until a person arms them on the page."""

    start_armed: bool = True


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
    line: RunSettings = RunSettings()

    @property
    def default_lane(self) -> LaneSettings:
        return next(lane for lane in self.lanes if lane.default)

    def lane_of(self, label: str) -> LaneSettings:
        """The lane that takes a class; the default lane for a class that no lane names."""
        return next((lane for lane in self.lanes if label in lane.classes), self.default_lane)

    @property
    def photo_eyes(self) -> dict[str, EyeSettings]:
        """Every photo-eye of the line by its name: `trigger`, or its lane's. Those of type http are told by it."""
        eyes: dict[str, EyeSettings] = {lane.name: lane.confirm for lane in self.lanes if lane.confirm}
        return {TRIGGER: self.items.trigger, **eyes} if self.items.trigger else eyes

    @classmethod
    def load(cls, path: str | Path) -> "LineConfig":
        """Reads and validates a TOML file; raises ConfigError with one line for every error in it.

        Relative paths in it are looked up beside the file first, then in the working directory.
        """
        path = Path(path)
        try:
            text = read_text(path)
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file") from None
        except (OSError, ValueError) as error:  # a NUL in the name is a ValueError, as bytes are that are no text
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"{path}: cannot be read as text ({reason})") from None
        try:
            content = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # a number of 5000 digits is no TOMLDecodeError
            raise ConfigError(f"{path}: is not TOML: {error}") from None
        return cls.parse(content, path)

    @classmethod
    def parse(cls, content: dict[str, Any], path: Path = Path("the configuration")) -> "LineConfig":
        """Validates a configuration that is a dict already; path names it in messages."""
        problems: list[str] = []
        problems += _unfit_texts(content)
        content = _beside(content, path.parent)
        outputs = typed_outputs(content.get("outputs", {}), problems)
        camera = typed_camera(content.get("camera"), problems)
        rest = {key: value for key, value in content.items() if key not in {"outputs", "camera"}}
        type_parts(rest, problems)
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
        if config and (wrong := config.items.no_room(config.belt.pixels_per_mm)):
            problems.append(wrong)
        problems += _contradictions(content) + _blind_spots(content) + shared_wires(content)
        if problems or config is None:
            raise ConfigError("\n".join(f"{path}: {problem}" for problem in dict.fromkeys(problems)))
        return config

    def notes(self) -> list[str]:
        """What is no error and still not what somebody will have meant: a sentence each."""
        floor, used = self.decide.min_confidence, {lane.output for lane in self.lanes}
        unused = [
            f"outputs.{name}: no lane names it, so it is never used; every_item = true tells it of all lanes' items"
            for name, output in self.outputs.items()
            if name not in used and not output.every_item
        ]
        bare = [f"outputs.{name}.{said}" for name, output in self.outputs.items() if (said := output.in_the_clear())]
        idle = [
            f"decide.thresholds.{name} = {least:g} has no effect: decide.min_confidence = {floor:g} is above it and "
            "holds for every class; lower that one, and give the other classes a threshold"
            for name, least in self.decide.thresholds.items()
            if least < floor
        ]
        return [*unused, *bare, *idle]

    def hints(self) -> list[str]:
        """What nobody has said and a real line should be told: a sentence each."""
        if self.items.mode != "motion" or "max_mm" in self.items.model_fields_set:
            return []
        return [
            f"items.max_mm is not given, so {self.items.max_mm:g} is taken: two items that touch can pass for a long "
            "one and be pushed, until some of their class have been seen singly; give the length of your longest"
        ]

    def check_classes(
        self, classes: tuple[str, ...], path: str | Path = "the configuration", who: str | Path = "the model"
    ) -> None:
        """Raises ConfigError when a lane or threshold names a class that the model, or another one, does not have."""
        has = f"{who} does not have (it has: {', '.join(classes)})"
        named = [(f"lanes[{i}].classes", name) for i, lane in enumerate(self.lanes) for name in lane.classes]
        named += [("decide.thresholds", name) for name in self.decide.thresholds]
        problems = [f"{path}: {key} names {name!r}, which {has}" for key, name in named if name not in classes]
        if problems:
            raise ConfigError("\n".join(problems))

    def shadow_lacks(self, classes: tuple[str, ...], path: str | Path = "the configuration") -> str:
        """Which of the lanes' classes a shadow does not know, else nothing: it may look on all the same."""
        try:
            self.check_classes(classes, path, "the shadow")
        except ConfigError as error:
            return f"{error}; it takes no item for one, and could not take the model's place"
        return ""


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
        if isinstance(name, str) and name in names:
            problems.append(f"lanes[{i}].name {name!r} is used twice")
        names.add(str(name))
        if isinstance(output, str) and (not isinstance(outputs, dict) or output not in outputs):
            problems.append(f"lanes[{i}].output names {output!r}, which [outputs] does not define (it has: {known})")
        if output is not None and lane.get("distance_mm") is None:
            problems.append(f"lanes[{i}].distance_mm is missing: lane {name!r} has an output, so it needs its place")
        if output is None and not lane.get("default"):
            problems.append(f"lanes[{i}].output is missing: only the default lane can do without a diverter")
        for label in lane.get("classes", []) if isinstance(lane.get("classes", []), list) else []:
            if not isinstance(label, str):
                continue
            if label in owner:
                problems.append(f"lanes[{i}].classes names {label!r}, which lane {owner[label]!r} takes already")
            owner[label] = str(name)
    defaults = sum(bool(lane.get("default")) for lane in lanes)
    if lanes and defaults != 1:
        problems.append(
            f"lanes: exactly one lane must have default = true, it takes everything unsure; there are {defaults}"
        )
    return problems


def _blind_spots(content: dict[str, Any]) -> list[str]:
    """Photo-eyes that would see nothing or see it too late, and a mode that lacks its photo-eye."""
    items, belt, web, lanes = (content.get(key, {}) for key in ("items", "belt", "web", "lanes"))
    if not all(isinstance(table, dict) for table in (items, belt, web)) or not isinstance(lanes, list):
        return []
    problems: list[str] = []
    mode, trigger = items.get("mode", "motion"), items.get("trigger")
    if mode == "trigger" and trigger is None:
        problems.append('items.trigger is missing: items.mode = "trigger" needs the photo-eye that says when')
    elif mode != "trigger" and trigger is not None:
        problems.append(f'items.trigger is not used with items.mode = "{mode}": set items.mode = "trigger"')
    if mode == "trigger" and belt.get("position") == "pictures" and "encoder" not in belt:
        problems.append(
            'belt.position = "pictures" needs items.mode = "motion": what a photo-eye saw is not followed '
            "from picture to picture"
        )
    eyes = {"items.trigger": trigger}
    for i, lane in enumerate(lanes):
        if isinstance(lane, dict):
            problems += _blind_lane(f"lanes[{i}]", lane, trigger)
            eyes[f"lanes[{i}].confirm"] = lane.get("confirm")
    told = [key for key, eye in eyes.items() if isinstance(eye, dict) and eye.get("type") == "http"]
    if web.get("enabled") is False:
        problems += [f'{key}.type = "http" needs the web side: set web.enabled = true' for key in told]
    return problems


def _blind_lane(key: str, lane: dict[str, Any], trigger: Any) -> list[str]:
    problems, confirm = [], lane.get("confirm")
    first_seen, diverter, exit_seen = (
        _number(table, place)
        for table, place in ((trigger, "position_mm"), (lane, "distance_mm"), (confirm, "distance_mm"))
    )
    if diverter is not None and first_seen is not None and first_seen >= diverter:
        problems.append(
            f"items.trigger.position_mm = {first_seen:g} is not ahead of {key}.distance_mm = {diverter:g}: "
            "items would come to the diverter unseen"
        )
    if diverter is not None and exit_seen is not None and exit_seen <= diverter:
        problems.append(f"{key}.confirm.distance_mm = {exit_seen:g} is not behind the lane's diverter at {diverter:g}")
    if confirm is not None and lane.get("output") is None:
        problems.append(f"{key}.confirm needs a lane with an output: only what was pushed can be confirmed")
    if confirm is not None and trigger is not None and lane.get("name") == TRIGGER:
        problems.append(f'{key}.name = "{TRIGGER}": that is what the photo-eye of [items.trigger] is called')
    return problems


def _number(table: Any, key: str) -> float | None:
    value = table.get(key) if isinstance(table, dict) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9 else None


def _unfit_texts(content: dict[str, Any]) -> list[str]:
    """Texts that can never name a file; a source is not shown, for it may hold a password."""
    problems = []
    named = [(table, content.get(table), key) for table, key in (("camera", "source"), *(path[:2] for path in PATHS))]
    outputs = content.get("outputs")
    for name, output in outputs.items() if isinstance(outputs, dict) else ():
        named += [(f"outputs.{name}", output, key) for key in OUTPUT_FILES if _is_built_in(output)]
    for table, keys, key in named:
        value = keys.get(key) if isinstance(keys, dict) else None
        if not isinstance(value, str):
            continue
        if not value.strip():
            problems.append(f"{table}.{key} is empty")
        elif "\0" in value:
            problems.append(f"{table}.{key} has a NUL character (\\u0000) in it")
        elif (key != "source" or _is_path(value)) and (
            len(os.fsencode(value)) > 4000 or max(len(os.fsencode(part)) for part in value.split("/")) > 255
        ):
            problems.append(f"{table}.{key} is too long to name a file")
    return problems


def _beside(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Resolves the relative paths of a configuration against its own folder.

    What must exist already is taken from the working directory when it is not beside the file.
    """

    def resolved(value: Any, must_exist: bool) -> Any:
        if not isinstance(value, str) or not value or Path(value).is_absolute():
            return value
        beside = folder / value
        return value if must_exist and not _exists(beside) and _exists(Path(value)) else str(beside)

    content = {key: dict(value) if isinstance(value, dict) else value for key, value in content.items()}
    for table, key, must_exist in PATHS:
        if isinstance(content.get(table), dict) and key in content[table]:
            content[table][key] = resolved(content[table][key], must_exist)
    outputs = content.get("outputs")
    if isinstance(outputs, dict):
        content["outputs"] = {
            name: {key: resolved(value, True) if key in OUTPUT_FILES else value for key, value in table.items()}
            if _is_built_in(table)
            else table
            for name, table in outputs.items()
        }
    camera = content.get("camera")
    if isinstance(camera, dict) and isinstance(camera.get("source"), str) and _is_path(camera["source"]):
        camera["source"] = resolved(camera["source"], not any(c in camera["source"] for c in "*?["))
    return content


def _is_built_in(output: Any) -> bool:
    """Whether a table is of a type that comes with sortline; a class of the user's own finds its files itself."""
    return isinstance(output, dict) and ":" not in str(output.get("type"))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long
        return False


def _is_path(source: str) -> bool:
    return not source.isdigit() and ":" not in source.split("/", 1)[0]

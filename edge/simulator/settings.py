"""What a simulated belt is made of: every key of the `sim:` address, parsed and checked."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qsl

from pydantic import Field, ValidationError

from edge.errors import ConfigError
from edge.settings import Settings

Direction = Literal["right", "left", "down", "up"]
MotionName = Literal["steady", "ramps", "stop_and_go", "reverse"]
SCHEME = "sim:"


class SimulatorSettings(Settings):
    """The keys of `sim:?key=value&...`. Lengths in mm of belt, times in seconds unless the name says ms.

    The belt: speed_mm_s is its speed when it runs; motion says how that changes over each period_s;
    speed_error is the share by which the real belt is faster than speed_mm_s says.

    The items: rate is their mean number a second at full speed, laid in rows side by side, at least
    min_gap_mm apart; touching is the share of items that lie against the one before. items is a
    folder of class folders to cut the items from, otherwise parts are drawn, of which `variants`
    different ones a class exist; foreign is the share of objects of no class. item_mm is an item's
    longest side; without it each kind of part has its own size.

    The camera: noise is the sensor's standard deviation in grey levels, brightness the light's strength,
    light the share by which the darkest corner is darker than the brightest spot, exposure_ms what
    blurs the moving belt.
    light_drift and flicker are the share by which the light wanders slowly and trembles fast. drop is
    the share of pictures that are lost, drop_burst at a time; at freeze_at seconds no picture comes
    for freeze_s. A hand passes through the picture `hand` times a minute. After `seconds` the source
    ends; 0 stands for never.
    """

    all_is_text: ClassVar[bool] = True

    speed_mm_s: float = Field(default=500.0, gt=0, le=20_000)
    motion: MotionName = "steady"
    period_s: float = Field(default=4.0, ge=0.2, le=3600)
    speed_error: float = Field(default=0.0, ge=-0.5, le=0.5)
    direction: Direction = "right"

    rate: float = Field(default=10.0, gt=0, le=1000)
    rows: int = Field(default=1, ge=1, le=8)
    min_gap_mm: float = Field(default=6.0, ge=0, le=10_000)
    touching: float = Field(default=0.0, ge=0, le=1)
    items: Path | None = None
    item_mm: float | None = Field(default=None, gt=0, le=2000)
    variants: int = Field(default=16, ge=1, le=1_000_000_000)
    foreign: float = Field(default=0.05, ge=0, le=1)
    seed: int = Field(default=1, ge=0, le=2**63 - 1)

    width: int = Field(default=1280, ge=64, le=8192)
    height: int = Field(default=720, ge=64, le=8192)
    fps: float = Field(default=60.0, gt=0, le=1000)
    pixels_per_mm: float = Field(default=1.6, gt=0, le=100)
    noise: float = Field(default=3.0, ge=0, le=60)
    brightness: float = Field(default=1.0, ge=0.1, le=3)
    light: float = Field(default=0.25, ge=0, le=0.9)
    exposure_ms: float = Field(default=1.0, ge=0, le=100)
    light_drift: float = Field(default=0.0, ge=0, le=0.9)
    flicker: float = Field(default=0.0, ge=0, le=0.9)
    drop: float = Field(default=0.0, ge=0, lt=1)
    drop_burst: int = Field(default=1, ge=1, le=1000)
    freeze_at: float | None = Field(default=None, ge=0)
    freeze_s: float = Field(default=1.0, gt=0, le=3600)
    hand: float = Field(default=0.0, ge=0, le=20)
    seconds: float = Field(default=0.0, ge=0)

    @property
    def along_px(self) -> int:
        """The picture's size along the belt's travel, in pixels."""
        return self.width if self.direction in {"right", "left"} else self.height

    @property
    def across_px(self) -> int:
        """The picture's size across the belt, in pixels."""
        return self.height if self.direction in {"right", "left"} else self.width

    @property
    def field_mm(self) -> float:
        """How much belt the picture shows, along its travel."""
        return self.along_px / self.pixels_per_mm

    @classmethod
    def from_source(cls, source: str, **overrides: Any) -> "SimulatorSettings":
        """Parses a camera source `sim:?key=value&...`; raises ConfigError naming the key and the mend.

        overrides that are not None replace what the source says.

        >>> SimulatorSettings.from_source("sim:?speed_mm_s=1000&rate=10").speed_mm_s
        1000.0
        """
        what, _, query = source.removeprefix(SCHEME).partition("?")
        if not source.startswith(SCHEME) or what:
            raise ConfigError(f"camera.source = {source!r}: a simulated belt is written sim:?key=value&key=value")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError:
            raise ConfigError(f"camera.source = {source!r}: each key needs a value, written key=value") from None
        keys = [key for key, _ in pairs]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise ConfigError(f"camera.source = {source!r}: {twice} is given twice")
        return cls.from_mapping({**dict(pairs), **{k: v for k, v in overrides.items() if v is not None}})

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "SimulatorSettings":
        """Validates keys and values, texts too; raises ConfigError with a sentence for each that is wrong."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ConfigError("\n".join(_sentence(one) for one in error.errors(include_url=False))) from None


def _sentence(error: Any) -> str:
    key = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        known = list(SimulatorSettings.model_fields)
        close = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"camera.source: {key} is not a key of sim: ({hint}it has: {', '.join(known)})"
    said = error["msg"].removeprefix("Value error, ")
    return f"camera.source: {key} = {error['input']!r}: {said[0].lower() + said[1:]}"

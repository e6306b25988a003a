"""The model card: what training promises and the edge relies on, as JSON inside the .onnx file."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge.errors import ModelError
from edge.novelty import Novelty

FORMAT = 1
METADATA_KEY = "sortline"
MOST_LOOKS = 8  # the mirrors and turns of a square


class Resize(BaseModel):
    """How a crop becomes the model's input size.

    letterbox keeps the shape and repeats the border pixels beside it, stretch does not keep it.
    area averages when shrinking (no aliasing) and is bilinear when growing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["letterbox", "stretch"] = "letterbox"
    interpolation: Literal["area", "linear"] = "area"


class ClassPurity(BaseModel):
    """What a purity contract says of one class.

    promised says whether it could be shown; pictures were called this class on the held-out pictures,
    wrong of those that the threshold lets through were another.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    promised: bool
    threshold: float = Field(ge=0, le=1)
    pictures: int = Field(ge=0)
    wrong: int = Field(ge=0)


class Purity(BaseModel):
    """A promise of how pure each class's lane will be: training.purity says how it is shown.

    Of single pictures that a promised class's threshold lets through at least `purity` are right, with
    `confidence`; `unknown` is the share of all pictures that is then expected to become unknown. Where
    `fewest` pictures of a class were not to be had, nothing can be promised of it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    purity: float = Field(gt=0, lt=1)
    confidence: float = Field(gt=0, lt=1)
    pictures: int = Field(ge=0)
    fewest: int = Field(ge=1)
    unknown: float = Field(ge=0, le=1)
    classes: dict[str, ClassPurity]


class ModelCard(BaseModel):
    """What training promises and the edge relies on; travels inside the .onnx file as JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    format: int
    name: str = Field(min_length=1)
    version: str
    classes: tuple[str, ...] = Field(min_length=2)
    height: int = Field(ge=8, le=4096)
    width: int = Field(ge=8, le=4096)
    resize: Resize = Resize()
    crop_margin: float = Field(default=0.1, ge=0, le=2)
    thresholds: dict[str, float] = {}
    purity: Purity | None = None
    novelty: Novelty | None = None
    calibration: dict[str, Any] = {}
    test: dict[str, Any] = {}
    quantization: dict[str, Any] = {}
    dataset: dict[str, Any] = {}
    training: dict[str, Any] = {}
    libraries: dict[str, str] = {}
    created: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "ModelCard":
        if self.format != FORMAT:
            raise ValueError(f"its card has format {self.format}, this version of sortline reads format {FORMAT}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("its card names a class twice")
        if strangers := sorted(set(self.thresholds) - set(self.classes)):
            raise ValueError(f"its card has a threshold for {strangers[0]!r}, which is not one of its classes")
        if self.purity and (strangers := sorted(set(self.purity.classes) - set(self.classes))):
            raise ValueError(f"its card promises the purity of {strangers[0]!r}, which is not one of its classes")
        if any(not 0 <= value <= 1 for value in self.thresholds.values()):
            raise ValueError("its card has a threshold outside 0 to 1")
        if self.novelty is not None:
            try:
                directions = self.novelty.arrays()[1]
            except ValueError:
                raise ValueError("its card's novelty is damaged: its arrays do not fit each other") from None
            if len(directions) != len(self.classes):
                raise ValueError(f"its card's novelty is of {len(directions)} classes, not of {len(self.classes)}")
        return self

    @property
    def looks(self) -> int:
        """How many times the file looks at each picture, mirrored and turned; 1 for one that says nothing of it."""
        told = self.calibration.get("looks", 1)
        return told if isinstance(told, int) and 1 <= told <= MOST_LOOKS else 1

    @classmethod
    def from_json(cls, text: str, path: Path) -> "ModelCard":
        """Reads the card of the file at path; raises ModelError saying what is missing or wrong."""
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise ModelError(f"{path}: its card is not JSON ({error.msg} at character {error.pos})") from None
        except (ValueError, RecursionError):  # a number, or a nest of lists, that is longer than Python reads
            raise ModelError(f"{path}: its card is not JSON that can be read: it goes on without end") from None
        if not isinstance(content, dict):
            raise ModelError(f"{path}: its card is not a JSON object")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            said = first["msg"].removeprefix("Value error, ")
            said = said[0].lower() + said[1:]
            raise ModelError(f"{path}: its card's {key}: {said}" if key else f"{path}: {said}") from None

    def to_json(self) -> str:
        return self.model_dump_json(indent=1)

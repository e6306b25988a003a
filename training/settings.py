"""All that decides the result of a fit besides the pictures, typed, from flags or from a TOML file."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from edge.files import read_text
from training.augment import AugmentSettings
from training.errors import InputError
from training.processor import processor_flags

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class FitSettings(BaseModel):
    """Settings of the training loop. Written to the run folder and the card.

    lr is the highest learning rate of stage two; it rises to it over the first epoch and falls to
    nearly nothing along a cosine. head_lr is stage one's, constant. average is the decay, a step, of
    an exponential moving average of the weights, which then is what is judged and kept; 0 is none.
    keep says which weights are kept: those of the epoch with the lowest loss on the validation
    part, after which training ends `patience` epochs later, or those of the last epoch. mixup is
    the parameter of its Beta distribution, 0 is none. balance makes up for classes of unequal size.
    precision bf16 runs the network's pass forward and back in bfloat16 where torch finds it safe;
    auto becomes bf16 on a processor with AMX and fp32 elsewhere.
    grow_from is the share of the input's side at which the first epoch trains; sides grow evenly
    from there, in steps of 32 pixels, and the last quarter of the epochs has the whole (progressive
    learning: Tan and Le, "EfficientNetV2", 2021): half the time for little or no accuracy.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str = "efficientnet_lite0"
    weights: str | None = None
    from_scratch: bool = False
    seed: int = Field(default=0, ge=0)
    batch: int = Field(default=32, ge=2)
    head_epochs: int = Field(default=2, ge=0)
    epochs: int = Field(default=10, ge=1)
    keep: Literal["best", "last"] = "best"
    patience: int = Field(default=4, ge=1)
    optimizer: Literal["adam", "sgd"] = "adam"
    head_lr: float = Field(default=3e-3, gt=0)
    lr: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=0.02, ge=0)
    average: float = Field(default=0.0, ge=0, lt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    mixup: float = Field(default=0.0, ge=0)
    balance: Literal["none", "weights", "sampling"] = "none"
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    grow_from: float = Field(default=1.0, ge=0.25, le=1)
    augment: AugmentSettings = AugmentSettings()

    @field_validator("precision")
    @classmethod
    def _by_the_processor(cls, value: str) -> str:
        if value != "auto":
            return value
        return "bf16" if "amx_bf16" in (processor_flags() or ()) else "fp32"

    @classmethod
    def choose(cls, **given: Any) -> Self:
        """Settings from what was given, the rest from what suits the network and the optimizer."""
        given = {key: value for key, value in given.items() if value is not None}
        fresh = given.get("from_scratch", False) or given.get("network") == "simple_cnn"
        suits: dict[str, Any] = {"head_epochs": 0, "epochs": 40, "patience": 8, "lr": 2e-3} if fresh else {}
        if given.get("optimizer") == "sgd":
            suits |= {"head_lr": 0.1, "lr": 0.1 if fresh else 0.02, "weight_decay": 1e-4}
        return cls.model_validate(suits | given)

    @classmethod
    def gather(cls, file: Path | None, flags: dict[str, Any], augment: dict[str, str]) -> Self:
        """Settings from a TOML file, where one is named, and the words of a command, which weigh more.

        augment holds single values of the augmentation as text. Raises InputError, which names the
        file or the command and the key of everything that does not fit.
        """
        given = _read(file) if file else {}
        varied = given.pop("augment", {})
        if not isinstance(varied, dict):
            raise InputError(f"{file}: augment is a table, [augment]")
        given |= {key: value for key, value in flags.items() if value is not None}
        try:
            return cls.choose(**given, augment=varied | augment)
        except ValidationError as error:
            said = []
            for wrong in error.errors():
                place = wrong["loc"]
                typed = flags.get(str(place[0])) is not None or (len(place) > 1 and place[1] in augment)
                where = "the command" if typed or not file else str(file)
                fields = (AugmentSettings if place[0] == "augment" else cls).model_fields
                said.append(f"{where}: {'.'.join(map(str, place))} {_in_words(wrong, fields)}")
            raise InputError("; ".join(said)) from None

    @classmethod
    def asked(cls, file: Path | None, flags: dict[str, Any], augment: dict[str, str]) -> dict[str, Any]:
        """What a file of settings and the words of a command ask for and nothing else, by key; as `gather` takes it."""
        chosen = cls.gather(file, flags, augment)
        in_file = _read(file) if file else {}
        keys = [key for key in cls.model_fields if key != "augment" and (key in in_file or flags.get(key) is not None)]
        varied = [key for key in AugmentSettings.model_fields if key in in_file.get("augment", {}) or key in augment]
        found = {key: getattr(chosen, key) for key in keys}
        return found | {f"augment.{key}": getattr(chosen.augment, key) for key in varied}


def _in_words(wrong: "ErrorDetails", fields: Iterable[str]) -> str:
    """What does not fit, as pydantic found it, in plain words; fields are the settings that there are."""
    kind, limits = wrong["type"], wrong.get("ctx", {})
    bounds = {
        "greater_than": ("gt", "above"),
        "greater_than_equal": ("ge", "at least"),
        "less_than": ("lt", "below"),
        "less_than_equal": ("le", "at most"),
    }
    if kind == "extra_forbidden":
        return f"is no setting (there are: {', '.join(fields)})"
    if kind in bounds:
        key, word = bounds[kind]
        wanted = f"{word} {limits[key]:g}"
    elif kind == "literal_error":
        wanted = f"{limits['expected']}"
    else:
        kinds = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text"}
        wanted = next((words for start, words in kinds.items() if kind.startswith(start)), "")
    if not wanted:
        return wrong["msg"][0].lower() + wrong["msg"][1:]
    return f"must be {wanted}, not {wrong['input']!r}"


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(file))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{file}: cannot be read as TOML ({reason})") from None

"""The base of every settings model: frozen, and strict about keys it does not know."""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Settings(BaseModel):
    """One table of the configuration file. A user's own camera or output brings a subclass of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    all_is_text: ClassVar[bool] = False
    """Of settings that come from an address, which has nothing but text."""

    @field_validator("*", mode="before")
    @classmethod
    def _as_written(cls, value: Any, info: ValidationInfo) -> Any:
        """Python counts with True as with 1, pydantic reads "500" as 500 and "yes" as true: a file means neither."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        kinds = _kinds(annotation)
        numbers, truth = bool(kinds & {int, float}), bool in kinds
        if _names_numbers(annotation) and isinstance(value, dict):  # keys of the user's own: the wrong one is named
            for key, one in value.items():
                if isinstance(one, bool):
                    raise ValueError(f"{key} must be a number, not true or false")
                if isinstance(one, str) and not cls.all_is_text:
                    raise ValueError(f"{key} must be a number, without quotes")
        if numbers and not truth and _holds(bool, value):
            raise ValueError("must be a number, not true or false")
        if cls.all_is_text:
            return value
        no_list = not isinstance(value, str) or {annotation, *get_args(annotation)} & kinds - {NoneType}
        if kinds <= {int, float, bool, NoneType} and no_list and _holds(str, value):
            raise ValueError("must be true or false, without quotes" if truth else "must be a number, without quotes")
        if truth and not numbers and _holds(int | float, value) and not _holds(bool, value):
            raise ValueError("must be true or false")
        return value


def _names_numbers(annotation: Any) -> bool:
    """Whether what is annotated may be a table from names to numbers."""
    parts = get_args(annotation)
    origin = get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _kinds(parts[1]) <= {int, float}
    return any(_names_numbers(part) for part in parts)


def _holds(kind: type | UnionType, value: Any) -> bool:
    """Whether a value, or one of those in it, is of a kind."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return isinstance(value, kind) or any(isinstance(one, kind) for one in inner)


def _kinds(annotation: Any) -> set[type]:
    """The plain types that an annotation is made of."""
    parts = get_args(annotation)
    if get_origin(annotation) is Literal:
        return {type(one) for one in parts}
    if not parts:
        return {annotation} if isinstance(annotation, type) else set()
    return set().union(*(_kinds(part) for part in parts))

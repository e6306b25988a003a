"""The classes that the configuration names by `type`, and the tables that their settings describe."""

import datetime
import difflib
import inspect
import json
import re
from collections.abc import Callable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError, create_model

from edge.bounded import NotBack, within
from edge.camera import CameraSettings, redacted
from edge.clock import Clock
from edge.encoders import Encoder, EncoderSettings
from edge.errors import ConfigError, SortlineError, pass_interrupt
from edge.eyes import ConfirmSettings, EyeSettings, TriggerSettings
from edge.functions import load_name
from edge.outputs import Output, OutputSettings
from edge.settings import Settings

SECRET = re.compile(r"(?i)source|pass|pwd|secret|token|auth")
"""Keys whose values are never shown."""

OPEN_S = 5.0  # a part of the user's own is given so long to be made
OUTPUT_TYPES = ("callback", "gpio", "log", "modbus", "mqtt", "opcua", "webhook")
ENCODER_TYPES = ("modbus", "simulated")
EYE_TYPES = ("callable", "gpio", "http", "modbus", "simulated")


def output_class(type_name: str, what: str = "type") -> type[Output]:
    """The class of an output type; raises ConfigError naming the types there are."""
    return _part_class(type_name, what, "an output", OUTPUT_TYPES, "edge.outputs", Output)


def encoder_class(type_name: str, what: str = "belt.encoder.type") -> type[Any]:
    """The class of an encoder type; raises ConfigError naming the types there are."""
    return _part_class(type_name, what, "an encoder", ENCODER_TYPES, "edge.encoders")


def eye_class(type_name: str, what: str = "type") -> type[Any]:
    """The class of a photo-eye type; raises ConfigError naming the types there are."""
    return _part_class(type_name, what, "a photo-eye", EYE_TYPES, "edge.eyes")


def _part_class(
    type_name: str, what: str, a_part: str, types: tuple[str, ...], package: str, kind: type | None = None
) -> type[Any]:
    if ":" not in type_name and type_name not in types:
        raise ConfigError(
            f"{what} = {type_name!r}: is not {a_part} type (there are: {', '.join(types)}; "
            "a class of your own is written module:Class)"
        )
    return load_class(type_name, package, kind, what)


def open_output(name: str, settings: OutputSettings) -> Output:
    """An output, ready; raises ConfigError or OutputError when it cannot be made."""
    key = f"outputs.{name}.type"
    output: Output = _made(output_class(settings.type, key), "(name, settings)", (name, settings), key, settings.type)
    return output


def open_encoder(settings: EncoderSettings, clock: Clock) -> Encoder:
    """An encoder, ready; raises ConfigError when it cannot be made, or its constructor does not come back."""
    key = "belt.encoder.type"
    encoder: Encoder = _made(encoder_class(settings.type), "(settings, clock)", (settings, clock), key, settings.type)
    return encoder


def open_eye(settings: EyeSettings, clock: Clock, table: str) -> Any:
    """A photo-eye, ready; raises ConfigError when it cannot be made, or its constructor does not come back."""
    kind = eye_class(settings.type, f"{table}.type")
    return _made(kind, "(settings, clock)", (settings, clock), f"{table}.type", settings.type)


def _made(kind: type[Any], takes: str, arguments: tuple[Any, ...], key: str, type_name: str) -> Any:
    """A part of a class that may be the user's own: whatever goes wrong becomes one sentence that names the key."""
    if ":" not in type_name:
        return kind(*arguments)  # its own errors are sentences
    what, name = f"{key} = {type_name!r}", kind.__name__
    try:
        inspect.signature(kind).bind(*arguments)
    except TypeError as error:
        raise ConfigError(f"{what}: its constructor must take {takes} ({error})") from error
    except ValueError:  # a class written in C need not have a signature
        pass
    try:
        return within(OPEN_S, lambda: kind(*arguments), f"{name}{takes}")
    except SortlineError:
        raise
    except NotBack as error:
        raise ConfigError(f"{what}: {error}") from None
    except BaseException as error:
        pass_interrupt(error)
        raise ConfigError(f"{what}: {name}{takes} failed ({type(error).__name__}: {error})") from error


def load_class(name: str, builtin: str, kind: type | None, what: str) -> type[Any]:
    """The class that a `type` key names: a built-in's file in the package builtin, or module:Class."""
    module_name, _, class_name = name.partition(":")
    if not class_name:
        module_name, class_name = f"{builtin}.{name}", name.capitalize()
    found = load_name(module_name, class_name, f"{what} = {name!r}")
    if not isinstance(found, type) or (kind is not None and not issubclass(found, kind)):
        raise ConfigError(f"{what} = {name!r}: is not a class of the right kind")
    return found


def typed_outputs(tables: Any, problems: list[str]) -> dict[str, OutputSettings]:
    """Validates each [outputs.NAME] against its own class's Settings."""
    if not isinstance(tables, dict):
        problems.append("outputs must be tables, each [outputs.NAME]")
        return {}
    result = {}
    for name, table in tables.items():
        if said := _untyped(table, f"outputs.{name}", OUTPUT_TYPES):
            problems.append(said)
            continue
        try:
            settings = output_class(table["type"], f"outputs.{name}.type").Settings
            result[name] = settings.model_validate(table)
        except ConfigError as error:
            problems.append(str(error))
        except ValidationError as error:
            problems += [sentence(settings, e, f"outputs.{name}") for e in error.errors(include_url=False)]
    return result


def typed_camera(table: Any, problems: list[str]) -> CameraSettings | None:
    """Validates [camera], against the settings of its own class when it has a type."""
    if not isinstance(table, dict):
        problems.append("camera is missing: [camera] needs a source" if table is None else _no_table("camera", table))
        return None
    settings: type[CameraSettings] = CameraSettings
    try:
        if isinstance(own := table.get("type"), str):
            found = load_class(own, "edge.camera", None, "camera.type")
            if not (hasattr(found, "read") and hasattr(found, "close")):
                raise ConfigError(f"camera.type = {own!r}: is not a camera: its class must have read and close")
            settings = getattr(found, "Settings", CameraSettings)
        return settings.model_validate(table)
    except ConfigError as error:
        problems.append(str(error))
    except ValidationError as error:
        problems += [sentence(settings, e, "camera") for e in error.errors(include_url=False)]
    return None


def type_parts(content: dict[str, Any], problems: list[str]) -> None:
    """Replaces the tables of encoder and photo-eyes, where there are any, by the settings of their own classes."""
    belt, items, lanes = (content.get(key) for key in ("belt", "items", "lanes"))
    if isinstance(belt, dict) and "encoder" in belt:
        encoder = _typed_part(
            belt["encoder"], "belt.encoder", encoder_class, ENCODER_TYPES, EncoderSettings, problems,
            "an encoder", ("read",),
        )  # fmt: skip
        content["belt"] = {**belt, "encoder": encoder}
    if isinstance(items, dict) and "trigger" in items:
        eye = _typed_part(items["trigger"], "items.trigger", eye_class, EYE_TYPES, TriggerSettings, problems)
        content["items"] = {**items, "trigger": eye}
    if isinstance(lanes, list):
        content["lanes"] = typed = list(lanes)
        for i, lane in enumerate(lanes):
            if isinstance(lane, dict) and "confirm" in lane:
                key = f"lanes[{i}].confirm"
                eye = _typed_part(lane["confirm"], key, eye_class, EYE_TYPES, ConfirmSettings, problems)
                typed[i] = {**lane, "confirm": eye}


def _typed_part(
    table: Any,
    key: str,
    class_of: Callable[[str, str], type[Any]],
    types: tuple[str, ...],
    base: type[Settings],
    problems: list[str],
    a_part: str = "a photo-eye",
    needs: tuple[str, ...] = ("read", "listen"),
) -> Settings | None:
    """Validates a table against base and the settings that the class named by its type brings, as one model."""
    if said := _untyped(table, key, types):
        problems.append(said)
        return None
    settings = base
    try:
        kind = class_of(table["type"], f"{key}.type")
        if not any(callable(getattr(kind, name, None)) for name in needs):
            raise ConfigError(
                f"{key}.type = {table['type']!r}: is not {a_part}: its class must have {' or '.join(needs)}"
            )
        own = getattr(kind, "Settings", base)
        if not issubclass(base, own):
            settings = own if issubclass(own, base) else create_model(own.__name__, __base__=(own, base))
        return settings.model_validate(table)
    except ConfigError as error:
        problems.append(str(error))
    except ValidationError as error:
        problems += [sentence(settings, e, key) for e in error.errors(include_url=False)]
    return None


def _untyped(table: Any, key: str, types: tuple[str, ...]) -> str | None:
    """What keeps a table from naming its class, if anything does."""
    if not isinstance(table, dict):
        return _no_table(key, table)
    if "type" not in table:
        return f"{key}.type is missing (there are: {', '.join(types)})"
    if not isinstance(table["type"], str):
        return f"{key}.type{_shown(f'{key}.type', table['type'])}: must be a text (there are: {', '.join(types)})"
    return None


def _no_table(key: str, value: Any) -> str:
    return f"{key} must be one table, [{key}]" if isinstance(value, list) else f"{key} must be a table, [{key}]"


def _shown(key: str, value: Any) -> str:
    """A value as a message shows it: not one that may be secret, nor a whole table, nor all of an address."""
    tables = isinstance(value, dict) or (isinstance(value, list | tuple) and any(isinstance(v, dict) for v in value))
    if SECRET.search(key) or tables:
        return ""
    text = value.isoformat() if isinstance(value, datetime.date | datetime.time) else repr(value)
    text = redacted({"True": "true", "False": "false"}.get(text, text))
    return f" = {text if len(text) <= 80 else text[:80] + '…'}"


TABLE_ERRORS = ("model_type", "model_attributes_type", "dict_type")
PLAIN = {
    "string_type": "must be a text, in quotes",
    "path_type": "must be a text, in quotes",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "finite_number": "must be a number, neither infinite nor nan",
}
"""What pydantic says in Python's words, in those of the file."""


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
    given = error["input"]
    if kind in TABLE_ERRORS:
        return _no_table(key, given)
    if kind == "value_error" and isinstance(given, dict):  # said by a whole table, most often of one of its keys
        named = re.match(r"\w*", said)
        return f"{key}{'.' if named and named[0] in _fields_at(model, loc) else ': '}{said}"
    if kind in ("tuple_type", "list_type"):
        said = f"must be a list: [{json.dumps(given)}]" if isinstance(given, str) else "must be a list, in [ ]"
        if key == "lanes":
            return "lanes must be written with two pairs of brackets: [[lanes]], once for each lane"
        if key == "items.roi":
            said = "must be a list: [x, y, width, height]"
    if kind == "too_long":
        said = f"must have at most {error['ctx']['max_length']} entries"
    if kind == "literal_error":
        said = re.sub(r"\b(True|False)\b", lambda word: word[0].lower(), said)
    said = PLAIN.get(kind, said)
    # A source may hold a password, whatever it was meant to be.
    return f"{key}{_shown(key, given)}: {said[0].lower() + said[1:]}"


def _key(loc: tuple[Any, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _fields_at(model: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    for part in loc:
        if isinstance(part, int):
            continue
        if part not in model.model_fields:
            return []
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        inner = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)

"""Functions of the user's own, named in the configuration as `package.module:function`."""

import importlib
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator

from edge.errors import ConfigError


def _has_both_parts(value: str) -> str:
    module, colon, name = value.partition(":")
    if not (module and colon and name):
        raise ValueError("must be written package.module:function")
    return value


FunctionName = Annotated[str, AfterValidator(_has_both_parts)]


def load_function(name: str, key: str) -> Callable[..., Any]:
    """Imports the function that `package.module:function` names; raises ConfigError naming the key."""
    module_name, _, function_name = name.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), function_name)
    except ImportError as error:
        raise ConfigError(f"{key} = {name!r}: cannot be imported ({error})") from None
    except AttributeError:
        raise ConfigError(f"{key} = {name!r}: module {module_name} has no {function_name}") from None
    if not callable(found):
        raise ConfigError(f"{key} = {name!r}: is not a function")
    function: Callable[..., Any] = found
    return function

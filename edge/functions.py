"""Functions of the user's own, named in the configuration as `package.module:function`."""

import importlib
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator

from edge.errors import ConfigError, pass_interrupt


def _has_both_parts(value: str) -> str:
    module, colon, name = value.partition(":")
    if not (module and colon and name):
        raise ValueError("must be written package.module:function")
    return value


FunctionName = Annotated[str, AfterValidator(_has_both_parts)]


def load_function(name: str, key: str) -> Callable[..., Any]:
    """Imports the function that `package.module:function` names; raises ConfigError naming the key."""
    module_name, _, function_name = name.partition(":")
    found = load_name(module_name, function_name, f"{key} = {name!r}")
    if not callable(found):
        raise ConfigError(f"{key} = {name!r}: is not a function")
    function: Callable[..., Any] = found
    return function


def load_name(module_name: str, name: str, what: str) -> Any:
    """What a module calls by a name; raises ConfigError, which begins with what, whatever the module raises."""
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"{what}: cannot be imported ({error})") from None
    except (TypeError, ValueError, SyntaxError) as error:  # "..a:b", ":b", or a mistake in the user's own file
        raise ConfigError(f"{what}: cannot be imported ({error})") from error
    except BaseException as error:  # whatever the user's own file runs into
        pass_interrupt(error)
        raise ConfigError(f"{what}: cannot be imported ({type(error).__name__}: {error})") from error
    if not hasattr(module, name):
        raise ConfigError(f"{what}: module {module_name} has no {name}")
    return getattr(module, name)

"""Calling a plugin's part with options that are checked first: a mistyped option never becomes a bare TypeError."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any

from trimkit.deprecation import Deprecated, current_options
from trimkit.errors import OptionError, PluginError, TrimkitError, nearest
from trimkit.registry.loader import summary

_BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def call(label: str, target: Callable[..., Any], args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """What a class or factory function returns, called with options that are checked first.

    Args:
        label: what error messages call it, such as ``"transform 'fft'"``.
        target: what is called.
        args: positional arguments.
        options: keyword arguments; those of `trimkit.deprecation.renamed_option` by their old names too.
    Raises:
        OptionError: an option is unknown, missing, or refused by the target (its TypeError or ValueError).
        PluginError: the target cannot be called, or raised something else.
        TrimkitError: the target's own, as it is.
    """
    options = current_options(label, _renamed(target), options)
    _check(label, target, args, options)
    try:
        return target(*args, **options)
    except TrimkitError:
        raise
    except (TypeError, ValueError) as error:
        reason = _mistyped(target, options) or str(error)
        raise OptionError(f"{label} refuses its options: {reason}") from error
    except Exception as error:
        raise PluginError(f"{label} could not be made: {summary(error)}") from error


def bind(label: str, function: Callable[..., Any], options: Mapping[str, Any]) -> Callable[..., Any]:
    """A pure function ``(scores, **options) → (N,)`` with its options filled in; itself where there are none.

    Raises:
        OptionError: an option is unknown or missing, or the scores are given already.
        PluginError: the target cannot be called.
    """
    options = current_options(label, _renamed(function), options)
    _check(label, function, (None,), options)
    return functools.partial(function, **options) if options else function


def _renamed(target: Any) -> dict[str, Deprecated]:
    """The options that a function, or a class with its parents, takes by old names."""
    callables = _constructors(target) if isinstance(target, type) else [target]
    return {old: new for each in reversed(callables) for old, new in getattr(each, "renamed_options", {}).items()}


def _check(label: str, target: Any, args: Sequence[Any], options: Mapping[str, Any]) -> None:
    if not callable(target):
        raise PluginError(f"{label} is of type {type(target).__name__}; expected a class or a function")
    signature = signature_of(target)
    if signature is None:
        return
    accepted = _accepted(signature, len(args))
    takes_any = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    for name in options:
        if name not in accepted and not takes_any:
            hint = nearest(name, accepted)
            near = f"{hint} " if hint.startswith("Did you mean") else ""
            raise OptionError(f"{label} has no option {name!r}. {near}{_listing(accepted)}")
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        raise OptionError(f"{label}: {error}. {_listing(accepted)}") from error


def _mistyped(target: Any, options: Mapping[str, Any]) -> str:
    """``"bands: expected int, got 'x'"`` for the first option whose plain type is another than declared, or ""."""
    try:
        hints = _hints(target)
    except Exception:  # hints of a plugin that cannot be resolved
        return ""
    for name, value in options.items():
        if name in hints and not _fits(value, hints[name]):
            quoted = not isinstance(value, str) and _fits("", hints[name])
            hint = f"; a name that looks like something else is quoted: {name}=\"'…'\"" if quoted else ""
            return f"{name}: expected {_type_name(hints[name])}, got {value!r}{hint}"
    return ""


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a plain type (numbers, words, unions of them); True for every hint that is not plain."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint) if hint in (bool, str, type(None)) else True


def _type_name(hint: Any) -> str:
    """``int``, ``int or None``, ``1, 2 or None``."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_type_name, typing.get_args(hint)))
    if origin is typing.Literal:
        return ", ".join(map(repr, typing.get_args(hint)))
    return "None" if hint is type(None) else getattr(hint, "__name__", str(hint))


def signature_of(target: Callable[..., Any]) -> Signature | None:
    """The signature of a function or class; a class's ``**options`` are replaced by those of its parents' constructors.

    A constructor that ends in ``**common: Any`` hands these to the next one, ``super().__init__(…, **common)``. Walking
    the method resolution order until a constructor takes no such rest gives every option by its name.

    None where Python knows no signature, as for some builtins.
    """
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return None
    return _with_inherited(signature, target) if isinstance(target, type) else signature


def _with_inherited(signature: Signature, target: type) -> Signature:
    parameters = dict(signature.parameters)
    for constructor in _constructors(target)[1:]:
        rest = next((name for name, p in parameters.items() if p.kind is Parameter.VAR_KEYWORD), None)
        if rest is None:
            break
        inherited = list(inspect.signature(constructor).parameters.values())[1:]
        handed = [p for p in inherited if p.name not in parameters and p.kind in _BY_NAME]
        more = {p.name: p.replace(kind=Parameter.KEYWORD_ONLY) for p in handed}
        del parameters[rest]
        parameters |= more | {p.name: p for p in inherited if p.kind is Parameter.VAR_KEYWORD}
    return signature.replace(parameters=list(parameters.values()))


def _constructors(target: type) -> list[Callable[..., Any]]:
    """The ``__init__`` of each class that defines one, the nearest first; without object's, which takes nothing."""
    return [vars(each)["__init__"] for each in target.__mro__[:-1] if "__init__" in vars(each)]


def _hints(target: Any) -> dict[str, Any]:
    if not isinstance(target, type):
        return typing.get_type_hints(target)
    return {
        name: hint for each in reversed(_constructors(target)) for name, hint in typing.get_type_hints(each).items()
    }


def _accepted(signature: Signature, given: int) -> dict[str, Parameter]:
    parameters = list(signature.parameters.values())
    free = [p for i, p in enumerate(parameters) if i >= given or p.kind is Parameter.KEYWORD_ONLY]
    return {parameter.name: parameter for parameter in free if parameter.kind in _BY_NAME}


def _listing(accepted: Mapping[str, Parameter]) -> str:
    shown = [
        f"{name} (required)" if parameter.default is Parameter.empty else f"{name}={parameter.default!r}"
        for name, parameter in accepted.items()
    ]
    return f"It takes {', '.join(shown)}." if shown else "It takes no options."

"""Calling a plugin's part with options that are checked first: a mistyped option never becomes a bare TypeError."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any

from trimkit.errors import OptionError, PluginError, TrimkitError, nearest
from trimkit.registry.loader import summary


def call(label: str, target: Callable[..., Any], args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Call a class or factory function with checked options.

    Args:
        label: what error messages call it, such as ``"transform 'fft'"``.
        target: what is called.
        args: positional arguments.
        options: keyword arguments.
    Returns:
        What the target returns.
    Raises:
        OptionError: an option is unknown, missing, or refused by the target (its TypeError or ValueError).
        PluginError: the target cannot be called, or raised something else.
        TrimkitError: the target's own, as it is.
    """
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
    """A pure function of scores with its options filled in; the function itself where there are none.

    Args:
        label: what error messages call it, such as ``"penalty 'l1'"``.
        function: ``(scores, **options) → (N,)``.
        options: keyword arguments after the first.
    Raises:
        OptionError: an option is unknown or missing, or the scores are given already.
        PluginError: the target cannot be called.
    """
    _check(label, function, (None,), options)
    return functools.partial(function, **options) if options else function


def _check(label: str, target: Any, args: Sequence[Any], options: Mapping[str, Any]) -> None:
    if not callable(target):
        raise PluginError(f"{label} is of type {type(target).__name__}; expected a class or a function")
    signature = _signature(target)
    if signature is None:
        return
    accepted = _accepted(signature, len(args))
    for name in options:
        if name not in accepted and not _takes_any(signature):
            raise OptionError(f"{label} has no option {name!r}. {_hint(name, accepted)}{_listing(accepted)}")
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        raise OptionError(f"{label}: {error}. {_listing(accepted)}") from error


def _mistyped(target: Any, options: Mapping[str, Any]) -> str:
    """``"bands: expected int, got 'x'"`` for the first option whose plain type is another than declared, or ""."""
    try:
        hints = typing.get_type_hints(target.__init__ if isinstance(target, type) else target)
    except Exception:  # hints of a plugin that cannot be resolved
        return ""
    for name, value in options.items():
        if name in hints and not _fits(value, hints[name]):
            return f"{name}: expected {_type_name(hints[name])}, got {value!r}"
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


def _signature(target: Callable[..., Any]) -> Signature | None:
    try:
        return inspect.signature(target)
    except (TypeError, ValueError):  # some builtins have none
        return None


def _takes_any(signature: Signature) -> bool:
    return any(parameter.kind is Parameter.VAR_KEYWORD for parameter in signature.parameters.values())


def _accepted(signature: Signature, given: int) -> dict[str, Parameter]:
    by_name = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    parameters = list(signature.parameters.values())
    free = [p for i, p in enumerate(parameters) if i >= given or p.kind is Parameter.KEYWORD_ONLY]
    return {parameter.name: parameter for parameter in free if parameter.kind in by_name}


def _hint(name: str, accepted: Mapping[str, Parameter]) -> str:
    hint = nearest(name, accepted)
    return f"{hint} " if hint.startswith("Did you mean") else ""


def _listing(accepted: Mapping[str, Parameter]) -> str:
    shown = [
        f"{name} (required)" if parameter.default is Parameter.empty else f"{name}={parameter.default!r}"
        for name, parameter in accepted.items()
    ]
    return f"It takes {', '.join(shown)}." if shown else "It takes no options."

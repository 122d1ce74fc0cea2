"""Values of options, checked: what is out of range is refused in one way, by one exception, before any work is done."""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Integral, Real
from typing import Any

from trimkit.errors import OptionError


def whole_number(owner: str, least: int = 1, **options: Any) -> None:
    """Refuse options that are no whole numbers from ``least``.

    Args:
        owner: whose options they are, for the message, such as "fft"; "" for nobody's.
        least: the smallest that is taken.
        options: by name.
    Raises:
        OptionError: the first one that does not fit.

    Example:
        >>> whole_number("fft", bands=0)
        Traceback (most recent call last):
        ...
        trimkit.errors.OptionError: fft: expected bands ≥ 1, got 0
    """
    for name, value in options.items():
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not whole or value < least:
            raise refused(owner, name, f"{'' if whole else 'as a whole number '}≥ {least}", value)


def real_number(owner: str, least: float = 0.0, most: float = math.inf, *, above: bool = False, **options: Any) -> None:
    """Refuse options that are no finite numbers in [least, most].

    Args:
        owner: whose options they are, for the message.
        least: the smallest that is taken; with ``above``, only what is larger.
        most: the largest that is taken.
        above: ``least`` itself is refused.
        options: by name.
    Raises:
        OptionError: the first one that does not fit.
    """
    bounds = (
        f"{'>' if above else '≥'} {least:g}" if most == math.inf else f"in {'(' if above else '['}{least:g}, {most:g}]"
    )
    for name, value in options.items():
        real = isinstance(value, Real) and not isinstance(value, bool)
        if not real or not least <= float(value) <= most or not math.isfinite(value) or (above and value == least):
            raise refused(owner, name, f"{'' if real else 'as a number '}{bounds}", value)


def one_of(owner: str, choices: Collection[Any], **options: Any) -> None:
    """Refuse options that are none of the choices.

    Args:
        owner: whose options they are, for the message.
        choices: what is taken; None stands for leaving the option out.
        options: by name.
    Raises:
        OptionError: the first one that does not fit, with the choices.
    """
    for name, value in options.items():
        if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in choices):
            *others, last = (repr(choice) for choice in choices if choice is not None)
            raise refused(owner, name, f"{', '.join(others)} or {last}" if others else last, value)


def refused(owner: str, name: str, expected: str, value: Any) -> OptionError:
    """The error that says what was expected of an option, ``"fft: expected bands ≥ 1, got 0"``, to be raised.

    >>> str(refused("fft", "bands", "a number ≥ 1", 0))
    'fft: expected bands a number ≥ 1, got 0'
    """
    return OptionError(f"{owner}{owner and ': '}expected {name} {expected}, got {value!r}")

"""Parts with options as they are typed: ``fft:bands=4,dims=1``, ``sprites:size=32``, ``captum:Name:layer=3``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from trimkit.errors import OptionError


def parse_spec(text: str) -> tuple[str, dict[str, Any]]:
    """The name, and its options: numbers, truth values, lists or words, as in YAML.

    Options start at the first colon that ``name=`` follows, so qualified names, paths and ``package.module:function``
    stay whole, also as the value of an option.

    Raises:
        OptionError: a pair without ``=``, or a value that is no YAML.

    Example:
        >>> parse_spec("acme:mellin"), parse_spec("mine.data:faces:size=32,kinds=[a, b]")
        (('acme:mellin', {}), ('mine.data:faces', {'size': 32, 'kinds': ['a', 'b']}))
    """
    start = re.search(r":(?=\w+=)", text)
    name, options = (text[: start.start()], text[start.end() :]) if start else text.rpartition(":")[::2]
    if not name or "=" not in options:
        return text, {}
    return name, parse_values(re.split(r",(?![^\[]*\])", options), text)  # not within a list


def parse_values(pairs: Sequence[str], of: str) -> dict[str, Any]:
    """``name=value`` pairs; values are numbers, truth values, lists or words, as in YAML.

    Args:
        pairs: as typed.
        of: what they belong to, for the message.
    Raises:
        OptionError: a pair without ``=``, or a value that is no YAML.
    """
    import yaml

    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise OptionError(f"{of}: expected name=value, got {pair!r}")
        try:
            values[name] = _number(yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise OptionError(f"{of}: the value of {name!r} cannot be read: {value!r}") from error
    return values


def _number(value: Any) -> Any:
    """YAML 1.1 takes 1e-3 for a word."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value

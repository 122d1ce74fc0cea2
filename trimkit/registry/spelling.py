"""Parts with options as they are typed: ``fft:bands=4,dims=1``, ``sprites:size=32``, ``captum:Name:layer=3``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Any

from trimkit.errors import OptionError

_UNDECODED = re.compile("[\udc80-\udcff]")
"""A byte of a file's name that is no UTF-8, as Python has it in text; YAML knows none."""

_QUOTED = r"'[^']*'|\"[^\"]*\""


def parse_spec(text: str) -> tuple[str, dict[str, Any]]:
    """The name, and its options: numbers, truth values, lists or words, as in YAML.

    Options start at the first colon that ``name=`` follows, so qualified names, paths and ``package.module:function``
    stay whole, also as the value of an option.

    A value with a comma, a colon or an equals sign in it, or a word that looks like a number, is quoted.

    Raises:
        OptionError: a pair without ``=``, or a value that is no YAML.

    Example:
        >>> parse_spec("latent:run='a,b',space=z"), parse_spec("latent:run='7'")
        (('latent', {'run': 'a,b', 'space': 'z'}), ('latent', {'run': '7'}))
        >>> parse_spec("acme:mellin"), parse_spec("mine.data:faces:size=32,kinds=[a, b]")
        (('acme:mellin', {}), ('mine.data:faces', {'size': 32, 'kinds': ['a', 'b']}))
    """
    start = re.search(r":(?=\w+=)", text)
    name, options = (text[: start.start()], text[start.end() :]) if start else text.rpartition(":")[::2]
    if not name or "=" not in options:
        return text, {}
    return name, parse_values(_split(options), text)


def _split(options: str) -> list[str]:
    """The parts between commas that are neither within a list nor within quotes."""
    masked = re.sub(rf"(?<==)(?:{_QUOTED})(?=,|$)|\[[^\[]*\]", lambda part: "_" * len(part[0]), options)
    commas = [comma.start() for comma in re.finditer(",", masked)]
    return [options[i + 1 : j] for i, j in zip([-1, *commas], [*commas, len(options)], strict=True)]


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
            hint = "; quote a value with a comma in it: name=\"'a,b'\"" if values and not equals else ""
            raise OptionError(f"{of}: expected name=value, got {pair!r}{hint}")
        if name in values:
            raise OptionError(f"{of}: {name} is given twice, as {values[name]!r} and as {value!r}; give it once")
        try:
            word = value[1:-1] if re.fullmatch(_QUOTED, value) else value if _UNDECODED.search(value) else None
            values[name] = _plain(value, yaml.safe_load(value)) if word is None else word
        except yaml.YAMLError as error:
            raise OptionError(
                f"{of}: the value of {name!r} cannot be read: {value!r}; quote a name: {name}=\"'…'\""
            ) from error
    return values


def _plain(text: str, value: Any) -> Any:
    """What YAML 1.1 makes of a text, but 1e-3 is no word and 2024-01-05 is one."""
    if isinstance(value, date):
        return text
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value

"""Parsers whose mistakes are one line with the nearest option, never a page of usage."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from trimkit.errors import OptionError, PluginError, TrimkitError, nearest
from trimkit.registry import default
from trimkit.registry.loader import printable, summary

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

_UNRECOGNISED = re.compile(r"unrecognized arguments: ([^\s=]+)")
_NOT_A_KEY = re.compile(r"(?:Group '(\S+)' does not accept option|Option) '(\S+)'")
"""How argparse and jsonargparse report an unknown option on the command line, and an unknown key of a YAML file."""


class _Extend(argparse.Action):
    """Values of an option that takes several: those of its first use replace the default, those of others join them."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        given = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, list(values) if given is self.default or given is None else [*given, *values])


class _OneLine:
    """Mixin for parsers: every usage error becomes an `OptionError`, and options that take several values add up."""

    prog: str
    _option_string_actions: dict[str, Any]

    def add_argument(self, *names: Any, **options: Any) -> Any:
        """As usual; an option with several values may be repeated."""
        if options.get("nargs") in ("+", "*") and any(name.startswith("-") for name in names):
            options.setdefault("action", _Extend)
        return super().add_argument(*names, **options)  # type: ignore[misc]

    def format_help(self) -> str:
        """As usual, ending with the example of the command's record, where it has one."""
        return super().format_help() + example_of(self.prog)  # type: ignore[misc]

    def error(self, message: str, *_: Any, **__: Any) -> NoReturn:
        """Raise OptionError, where argparse would print its usage and exit."""
        see = f"See `{self.prog} --help`."
        if message.endswith(see):  # jsonargparse takes the first error for one of a value, and reports it again
            raise OptionError(message)
        raise OptionError(f"{_mended(message, self._option_string_actions)} {see}")


class _PlainParser(_OneLine, argparse.ArgumentParser):
    pass


def example_of(prog: str) -> str:
    """The last lines of a command's help.

    Args:
        prog: what the user typed, such as ``"trimkit train beta-vae"``.
    Returns:
        The example of the record of the command that this begins with; "" where there is none.
    """
    command = prog.removeprefix("trimkit ").partition(" ")[0]
    spec = default().available("commands").get(command)
    example = getattr(spec, "example", "")
    return f"\nexample:\n  {printable(example)}\n" if example else ""


def plain_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """A parser for a command of a few flags, which needs no jsonargparse; usage errors as in `parser`.

    Args:
        prog: what the user typed, such as ``"trimkit list"``.
        description: one sentence for ``--help``.
    """
    return _PlainParser(prog=prog, description=description, allow_abbrev=False)


def parser(prog: str, description: str) -> ArgumentParser:
    """A parser for a command that takes YAML files (``action="config"``) and the typed options of parts.

        p = parser("trimkit train beta-vae", "Train a method.")
        p.add_argument("--config", action="config", help="YAML file of options")
        add_part(p, "method", "beta-vae", "method")
        config = p.parse_args(argv)
        method = make_part(p, config, "method", "beta-vae", "method")

    Args:
        prog: what the user typed, such as ``"trimkit train beta-vae"``.
        description: one sentence for ``--help``.
    Returns:
        A parser that raises OptionError, with the nearest option, where jsonargparse would print its usage and exit.
    """
    import jsonargparse

    class Parser(_OneLine, jsonargparse.ArgumentParser):
        def parse_args(self, args: Any = None, namespace: Any = None, **more: Any) -> Any:  # type: ignore[override]
            """As jsonargparse, and refuse what stands there twice."""
            words = [str(word) for word in args or ()]
            if twice := _list_given_twice(words, self._option_string_actions):
                self.error(f"{twice} is given more than once, and takes all its values at once, such as [a, b].")
            if twice := _key_given_twice(words):
                self.error(f"{twice} stands there twice; write it once.")
            try:
                return super().parse_args(words, namespace, **more)
            except TrimkitError:
                raise
            except Exception as error:  # a value that jsonargparse takes for another type than it is
                raise OptionError(f"{_blamed(words, super(), error)}. See `{prog} --help`.") from error

    return Parser(prog=prog, description=description, allow_abbrev=False)


def _list_given_twice(words: Sequence[str], actions: Mapping[str, Any]) -> str | None:
    """The option of a part that takes a list or mapping and is repeated: the parser would take the last alone."""
    names = [word.partition("=")[0] for word in words if word.startswith("--")]
    kinds = r"\b(list|tuple|[Ss]equence|dict|[Mm]apping)\b"
    repeated = (name for name in names if names.count(name) > 1)
    return next((name for name in repeated if re.search(kinds, str(getattr(actions.get(name), "_typehint", "")))), None)


def _key_given_twice(words: Sequence[str]) -> str | None:
    """The file and the first key in it that YAML would take the last of; None for files that cannot be read."""
    import yaml

    split = (part.split("=", 1) if part.startswith("--config=") else [part] for part in words)
    for option, path in pairwise(chain.from_iterable(split)):
        with suppress(OSError, ValueError, yaml.YAMLError):
            if option == "--config" and (key := _doubled(yaml.compose(Path(path).read_text("utf-8")))):
                return f"{path}, key {key!r}"
    return None


def _doubled(node: Any, above: tuple[Any, ...] = ()) -> str | None:
    """The first key of a YAML mapping, or of one within, that is there twice; one that holds itself is read once."""
    pairs = node.value if getattr(node, "id", "") == "mapping" and node not in above else []
    keys = [key.value for key, _ in pairs]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    return twice or next(filter(None, (_doubled(value, (*above, node)) for _, value in pairs)), None)


def _blamed(words: Sequence[str], plain: Any, error: Exception) -> str:
    """The option, or the key of a YAML file, that cannot be parsed even alone, and why."""
    options: list[list[str]] = []
    for word in words:
        if word.startswith("--") or not options:
            options.append([])
        options[-1].append(word)
    trials = [trial for option in options for trial in _trials(option, plain)]
    for name, parse in trials:
        try:
            parse()
        except TrimkitError:
            continue
        except Exception as alone:
            return f"{name} cannot be read ({summary(alone)})"
    names = " and ".join(name for name, _ in trials)
    return f"{names} do not go together, or one is of another type than it must be ({summary(error)})"


def _trials(option: Sequence[str], plain: Any) -> list[tuple[str, Callable[[], Any]]]:
    if option[0] != "--config" or len(option) < 2:
        return [(" ".join(option), lambda: plain.parse_args(list(option)))]
    import yaml

    try:
        content = yaml.safe_load(Path(option[1]).read_text("utf-8"))
        keys = [(f"{option[1]}, key {key!r}", {key: value}) for key, value in content.items()]
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        return [(" ".join(option), lambda: plain.parse_args(list(option)))]
    return [(name, partial(plain.parse_object, one)) for name, one in keys]


def add_part(to: ArgumentParser, kind: str, name: str, key: str, skip: Collection[str] = ()) -> None:
    """Add the options of a part, from its typed signature and docstring, as ``--KEY.OPTION``.

    Args:
        to: a parser of `parser`.
        kind: of the part.
        name: of the part.
        key: group of its options; `make_part` takes them from there.
        skip: options that the command gives itself.
    Raises:
        UnknownNameError, NameConflictError: see `trimkit.registry.Registry.find`.
        PluginError: the part cannot be imported, or its signature gives no options because it lacks types.
    """
    part = default().find(kind, name)
    target = part.load()
    try:
        if isinstance(target, type):
            to.add_class_arguments(target, key, skip=set(skip), instantiate=False)
        else:
            scores = list(inspect.signature(target).parameters)[:1] if part.spec.kind == "penalty" else []
            to.add_function_arguments(target, key, skip={*skip, *scores})
    except (TypeError, ValueError) as error:
        raise PluginError(f"{part.label} has a signature without options: {summary(error)}; give it types") from error


def make_part(of: ArgumentParser, config: Any, kind: str, name: str, key: str, **more: Any) -> Any:
    """Create a part from the options that `add_part` has added.

    Args:
        of: the parser.
        config: what it parsed.
        kind: of the part.
        name: of the part.
        key: group of its options.
        **more: options that the command gives itself.
    Returns:
        As `trimkit.create`, with its errors.
    """
    section = config.get(key)  # None: of a YAML file, with nothing in it
    if section is not None and not hasattr(section, "__dict__"):
        raise OptionError(f"{key}: expected a mapping of options, such as {key}: {{option: value}}, got {section!r}")
    options = {} if section is None else vars(of.instantiate(config)[key])
    return default().create(kind, name, **{**options, **more})


def _mended(message: str, options: Iterable[str]) -> str:
    """One line for an error of argparse or jsonargparse, with the nearest option for an unknown one."""
    known = [option for option in options if option.startswith("--")]
    if match := _UNRECOGNISED.search(message):
        return _unknown(match[1], known)
    if match := _NOT_A_KEY.search(message):
        return _unknown(".".join(filter(None, match.groups())), [option[2:] for option in known])
    message = re.sub(r"<class '([\w.]+)'>", r"\1", message)
    message = re.sub(r"Parser key \"([\w.]+)\":", r"--\1:", message)
    return f"{' '.join(message.split()).removesuffix('.')}."


def _unknown(name: str, known: Iterable[str]) -> str:
    hint = nearest(name, known, most=1)
    return f"Unexpected {name!r}." + (f" {hint}" if hint.startswith("Did you mean") else "")

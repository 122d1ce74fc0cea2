"""Writes each command's options into docs/commands.md, from the parsers: ``python docs/list_commands.py``."""

from __future__ import annotations

import sys
from argparse import SUPPRESS, Action, ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from trimkit.registry import available, default

PAGE = Path(__file__).with_name("commands.md")
BEGIN, END = "<!-- options: written by docs/list_commands.py -->\n", "<!-- end of the options -->\n"
FORMS = {
    "train": {"train METHOD": ["train", "vae"]},
    "audit": {"audit": ["audit"], "audit --selftest": ["audit", "--selftest"]},
}
"""How commands with several forms are called, and the words that show each; a method's own options are left out."""


def commands() -> dict[str, list[str]]:
    """Each command of trimkit and of the plugins in its repository, and the words that make its parser."""
    own = [c for c in available("commands") if default().find("command", c).plugin.distribution.startswith("trimkit")]
    return {title: words for name in own for title, words in FORMS.get(name, {name: [name]}).items()}


def parser_of(words: Sequence[str]) -> ArgumentParser:
    """The parser that a command makes for its help.

    Raises:
        ValueError: the command shows its help in another way.
    """
    shown: list[ArgumentParser] = []
    with patch.object(ArgumentParser, "print_help", lambda parser, *_: shown.append(parser)), suppress(SystemExit):
        default().find("command", words[0]).load()([*words[1:], "--help"])
    if not shown:
        raise ValueError(f"`trimkit {' '.join(words)} --help` makes no parser")
    return shown[0]


def options_of(words: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Each option in the order of the help: how it is written, what it says, and its default, "required" or ""."""
    for action in parser_of(words)._actions:
        name = action.option_strings[-1] if action.option_strings else ""
        if action.help != SUPPRESS and name not in ("--help", "--print_config") and not name.startswith("--method"):
            yield _spelled(action, name), *_said(action)


def page(text: str) -> str:
    """The page with the options of today in place of those that it has."""
    head, _, rest = text.partition(BEGIN)
    sections = (_section(title, words) for title, words in commands().items())
    return head + BEGIN + "\n".join(sections) + "\n" + END + rest.partition(END)[2]


def _spelled(action: Action, name: str) -> str:
    value = action.metavar or (",".join(map(str, action.choices)) if action.choices else action.dest.upper())
    more = " …" if action.nargs == "+" else ""
    return " ".join(filter(None, [name, "" if action.nargs == 0 else f"{value}{more}"]))


def _said(action: Action) -> tuple[str, str]:
    text = (action.help or "").replace("%%", "%").replace("|", "\\|")
    if not action.option_strings or action.required:
        return text, "" if action.nargs in ("?", "*") else "required"
    if action.default is None or action.default is False or action.default in (SUPPRESS, []):
        return text, ""
    value = " ".join(action.default) if isinstance(action.default, list) else str(action.default)
    return text.removesuffix(f" ({value})"), f"`{value}`"


def _section(title: str, words: Sequence[str]) -> str:
    rows = "".join(f"| `{option}` | {text} | {value} |\n" for option, text, value in options_of(words))
    table = f"| option | what it says | default |\n|---|---|---|\n{rows}"
    spec = available("commands")[words[0]]
    summary = spec.summary if words[0] == "train" else " ".join((parser_of(words).description or "").split())
    example = "" if words[-1] == "--selftest" else f"\nExample: `{getattr(spec, 'example', '')}`\n"
    return f"### trimkit {title}\n\n{summary}\n\n{table}{example}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")

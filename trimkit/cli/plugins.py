"""``trimkit plugins``: where parts come from, and why a plugin is not loaded."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from trimkit.cli._arguments import plain_parser
from trimkit.cli._tables import write_table
from trimkit.registry import PluginRecord, default


def run(argv: list[str]) -> int:
    """Print the state of every plugin.

    Args:
        argv: arguments after ``trimkit plugins``.
    Returns:
        0, also when a plugin failed: showing it is this command's task.
    Raises:
        OptionError: an unknown option.
    """
    parser = plain_parser("trimkit plugins", "Every plugin that is installed or selected: its origin, state and parts.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    if parser.parse_args(argv).json:
        sys.stdout.write(json.dumps(default().provenance(), indent=2) + "\n")
        return 0
    rows = [(r.name, r.distribution, r.version, r.state, _described(r)) for r in default().plugins()]
    write_table(("name", "distribution", "version", "state", "adds, or why it does not"), rows)
    return 0


def _described(record: PluginRecord) -> str:
    """What a plugin adds, with the names that it cannot have; or why it is not loaded."""
    parts = _grouped(record.adds) if record.state == "loaded" else ""
    return "; ".join(filter(None, (parts, record.reason)))


def _grouped(adds: Iterable[str]) -> str:
    """``transform:fft``, ``transform:dct``, ``penalty:l1`` → ``transform fft, dct; penalty l1``."""
    names: dict[str, list[str]] = {}
    for part in adds:
        kind, _, name = part.partition(":")
        names.setdefault(kind, []).append(name)
    return "; ".join(f"{kind} {', '.join(those)}" for kind, those in names.items()) or "nothing"

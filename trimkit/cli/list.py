"""``trimkit list [KIND]``: the parts that are installed."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from trimkit.cli._arguments import plain_parser
from trimkit.cli._tables import write_entries
from trimkit.errors import PluginError
from trimkit.hooks import KINDS
from trimkit.registry import Part, default, plural

_IF_GIVEN = ("deprecated", "example")
"""Fields of records that few have."""


def run(argv: list[str]) -> int:
    """Print the parts of one kind, or of all: 0. UnknownNameError where there is no such kind."""
    arguments = _parser().parse_args(argv)
    kinds = [plural(arguments.kind)] if arguments.kind else list(KINDS)
    parts = {kind: default().parts(kind) for kind in kinds}
    if arguments.json:
        plain = {kind: [_plain(part) for part in found] for kind, found in parts.items()}
        sys.stdout.write(json.dumps(plain, indent=2) + "\n")
    else:
        _write(parts)
    failed = sum(record.state == "failed" for record in default().plugins())
    if failed:
        sys.stderr.write(f"trimkit: plugins that failed to load: {failed}; `trimkit plugins` says why\n")
    return 0


def _parser() -> Any:
    parser = plain_parser("trimkit list", "The parts that are installed, trimkit's own and those of plugins.")
    parser.add_argument("kind", nargs="?", metavar="KIND", help=f"one of {', '.join(KINDS)}; all by default")
    parser.add_argument("--json", action="store_true", help="print JSON, with the capabilities of each part")
    return parser


def _write(parts: dict[str, list[Part]]) -> None:
    for number, (kind, found) in enumerate(parts.items()):
        if number:
            sys.stdout.write("\n")
        rows = [(p.name, _summary(p), p.spec.reference, p.plugin.distribution) for p in found]
        if rows:
            write_entries(("name", "summary", "reference", "distribution"), rows, kind if len(parts) > 1 else "")
        else:
            sys.stdout.write(f"{kind}: none is installed; `trimkit plugins` shows what is.\n")


def _summary(part: Part) -> str:
    going = part.spec.deprecated
    return f"{part.spec.summary} Going: use {going.instead!r}." if going else part.spec.summary


def _plain(part: Part) -> dict[str, Any]:
    origin = {"distribution": part.plugin.distribution, "version": part.plugin.version}
    spec = {field: value for field, value in asdict(part.spec).items() if value or field not in _IF_GIVEN}
    return {**spec, **_facts(part), "name": part.name, **origin}


def _facts(part: Part) -> dict[str, Any]:
    """What its class says of itself, which is imported for it; or why it cannot be."""
    try:
        return part.facts
    except PluginError as error:
        return {"error": str(error)}

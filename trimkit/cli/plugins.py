"""``trimkit plugins``: where parts come from, why a plugin is not loaded, and whether parts keep their promises."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence

from trimkit.cli._arguments import plain_parser
from trimkit.cli._tables import write_table
from trimkit.errors import OptionError, UnknownNameError, nearest
from trimkit.registry import PluginRecord, default
from trimkit.registry.lazy import import_target


def run(argv: list[str]) -> int:
    """Print the state of every plugin: 0, also where one failed, since showing it is the task.

    With ``--check``, 1 where a promise is broken; UnknownNameError where there is no such plugin to check.
    """
    arguments = _parser().parse_args(argv)
    if arguments.check:
        return _check(arguments.plugin)
    if arguments.plugin:
        raise OptionError(f"expected --check before {arguments.plugin[0]!r}, the plugin whose parts are to be tried")
    if arguments.trace:
        _trace()
    elif arguments.json:
        sys.stdout.write(json.dumps(default().provenance(), indent=2) + "\n")
    else:
        rows = [(r.name, r.distribution, r.version, r.state, _described(r)) for r in default().plugins()]
        write_table(("name", "distribution", "version", "state", "adds, or why it does not"), rows)
    return 0


def _parser():  # noqa: ANN202, argparse's own
    parser = plain_parser("trimkit plugins", "Every plugin that is installed or selected: its origin, state and parts.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--json", action="store_true", help="print JSON")
    what.add_argument("--check", action="store_true", help="try the quick promises of every part; 1 if broken")
    what.add_argument("--trace", action="store_true", help="every call into a plugin as it was loaded, with its time")
    parser.add_argument("plugin", nargs="*", metavar="PLUGIN", help="with --check: only the parts of these")
    return parser


def _check(plugins: Sequence[str]) -> int:
    """Try every part; what is broken comes below the table, with what to change."""
    names = [record.name for record in default().plugins()]
    for name in plugins:
        if name not in names:
            raise UnknownNameError(f"There is no plugin {name!r}. {nearest(name, names)}")
    results = list(import_target("trimkit.testing.items:try_parts")(default(), plugins))
    rows = [
        (each.part.plugin.name, each.part.spec.kind, each.part.name, f"{each.kept} kept{_trouble(each)}")
        for each in results
    ]
    write_table(("plugin", "kind", "name", "promises"), rows)
    broken = [message for each in results for message in each.broken]
    sys.stdout.write("".join(f"\n{message}\n" for message in broken))
    return 1 if broken else 0


def _trouble(result) -> str:  # noqa: ANN001, of a module that imports torch
    broken = f", {len(result.broken)} broken" if result.broken else ""
    return broken + (f"; the rest was not tried: {result.untried}" if result.untried else "")


def _trace() -> None:
    rows = [
        (call.plugin, call.what, f"{1000 * call.seconds:.1f} ms", str(call.records) if call.records else "")
        for call in default().calls
    ]
    write_table(("plugin", "call", "time", "records"), rows)


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

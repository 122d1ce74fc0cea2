"""One shard of ``trimkit audit``: into a file, for ``trimkit merge``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from trimkit.cli._intake import said_once, take_in
from trimkit.errors import DataError, OptionError

DEFAULT_FOLDER = "trimkit-shards"
"""Where shards go without --out."""

_OWN = ("shard", "resume", "engine", "until_decided", "fail_on", "junit", "summary", "out", "force")
"""Options of ``trimkit audit`` that say nothing of the numbers."""


def run_shard(arguments: argparse.Namespace, options: dict[str, Any]) -> int:
    """Measure one shard and write it down: 0.

    Args:
        arguments: of ``trimkit audit``.
        options: of `trimkit.audit`.
    Raises:
        OptionError: a shard that is there already, without --resume or --force; options that a shard cannot take.
    """
    from trimkit.audit.shards import SUFFIX, parse_shard

    number, count = parse_shard(arguments.shard)
    _refuse_others(arguments)
    name = f"shard-{number:0{len(str(count))}}-of-{count}{SUFFIX}"
    path = Path(arguments.out or DEFAULT_FOLDER) / name
    if path.exists() and not arguments.force:
        if not arguments.resume:
            raise OptionError(f"{path} is there already; add --resume to leave it, or --force to measure it again")
        if _is_done(path, arguments):
            sys.stdout.write(f"{path} is there already\n")
            return 0
    _measure(arguments, options, (number, count), path)
    return 0


def _measure(arguments: argparse.Namespace, options: dict[str, Any], shard: tuple[int, int], path: Path) -> None:
    import trimkit
    from trimkit.cli._progress import show_progress

    intake = take_in(arguments, options)
    intake.write(str(path))
    begun = time.monotonic()
    with said_once(), show_progress() as progress:
        part: Any = trimkit.audit(intake.model, intake.data, shard=shard, progress=progress, **intake.options)
    part.arguments = _recorded(arguments)
    part.save(path)
    done, seconds = part.part.tally.n, time.monotonic() - begun
    sys.stderr.write(f"shard {arguments.shard}: {done} samples in {seconds:.1f} s, {done / seconds:.3g} a second\n")
    sys.stdout.write(f"{path}\n")


def _recorded(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that all shards share, as plain JSON values."""
    return {name: value for name, value in vars(arguments).items() if name not in _OWN}


def _refuse_others(arguments: argparse.Namespace) -> None:
    for name in ("engine", "until_decided", "junit", "summary"):
        if getattr(arguments, name):
            raise OptionError(f"--{name.replace('_', '-')} does not go with --shard, which writes no report")


def _is_done(path: Path, arguments: argparse.Namespace) -> bool:
    """The file holds this shard of these options; a torn one is measured again."""
    from trimkit.audit.shards import read_header

    try:
        header = read_header(path)
    except DataError:
        return False
    if header["arguments"] != _recorded(arguments):
        raise OptionError(f"{path} was made with other options; name another --out, or add --force to replace it")
    return True

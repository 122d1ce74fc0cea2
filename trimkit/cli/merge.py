"""``trimkit merge``: one report from the shards of an audit."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trimkit.cli._arguments import plain_parser
from trimkit.cli._folders import free_folder, reserved_folder
from trimkit.cli._intake import said_once, take_in
from trimkit.cli.audit import DEFAULT_FOLDER, add_outputs, audit_options, write_report
from trimkit.errors import DataError, OptionError

_DESCRIPTION = """\
Merge what `trimkit audit --shard i/n` wrote into one report, the same as that of one run. Model and data are read
again, as the shards name them, so merge in the folder where the shards ran. Exit codes as those of `trimkit audit`."""


def run(argv: list[str]) -> int:
    """Merge shards and write the report: 0 pass, 1 fail, 3 inconclusive.

    Shards that are missing, there twice, or of another audit are refused.
    """
    p = plain_parser("trimkit merge", _DESCRIPTION)
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    p.add_argument("shards", metavar="PART", nargs="+", help="files of shards, or folders of them")
    p.add_argument(
        "--allow-pickle", action="store_true", help="let the shards' --model be a pickled module: runs code from it"
    )
    add_outputs(p)
    arguments = p.parse_args(argv)

    import trimkit

    files = _files(arguments.shards)
    audited = _common_arguments(files, arguments.allow_pickle)
    free_folder(arguments.out, DEFAULT_FOLDER, replace=arguments.force)  # refused before any work
    intake = take_in(audited, audit_options(audited))
    with reserved_folder(arguments.out, DEFAULT_FOLDER, replace=arguments.force) as folder:
        sys.stdout.write(f"{'shards':<12} {len(files)}\n")
        intake.write(str(folder))
        with said_once():
            report = trimkit.merge(files, intake.model, intake.data, **intake.options)
        return write_report(report, arguments, folder)


def _files(named: Sequence[str]) -> list[Path]:
    from trimkit.audit.shards import SUFFIX

    files: list[Path] = []
    for path in map(Path, named):
        held = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not held:
            raise DataError(f"folder {path} holds no shards (*{SUFFIX}); name where `trimkit audit --shard` wrote them")
        files += held
    return files


def _common_arguments(files: Sequence[Path], allow_pickle: bool) -> argparse.Namespace:
    """What the shards were audited with; gaps and doubles are refused before model and data are read."""
    from trimkit.audit.shards import read_header, require_all

    headers: dict[str, dict[str, Any]] = {}
    for file in files:
        if str(file) in headers:
            raise DataError(f"{file} is named twice; merge each shard once")
        headers[str(file)] = read_header(file)
    require_all(headers)
    first = next(iter(headers.values()))["arguments"]
    if first is None:
        raise OptionError(
            "these shards were made in Python: merge them there, with trimkit.merge(files, model, data, …) and "
            "the same options"
        )
    if first["allow_pickle"] and not allow_pickle:
        raise OptionError("the shards' model is a pickled module, which runs code: add --allow-pickle if you trust it")
    return argparse.Namespace(**first)

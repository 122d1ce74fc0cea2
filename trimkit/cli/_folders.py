"""Result folders that a reader sees whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trimkit.errors import DataError, OptionError


@contextmanager
def written_aside(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder to write into, beside the wanted one, which takes its place at the end.

    Args:
        folder: must not exist, unless ``replace``.
        replace: put the new folder in the place of an older one, which is back if that fails.
    Yields:
        The folder to write into; gone again after an exception.
    """
    aside, old = (folder.with_name(f".{folder.name}.{what}-{os.getpid()}") for what in ("tmp", "old"))
    aside.mkdir(parents=True)
    try:
        yield aside
        _put(aside, folder, old if replace and folder.exists() else None)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def free_folder(out: str | None, default: str, *, replace: bool = False) -> Path:
    """The folder of a report, refused or numbered before any work where it is taken.

    Args:
        out: what the user typed after ``--out``, or None.
        default: its name where nothing was typed; a number is added where it exists.
        replace: take the place of an older report (``--force``).
    Raises:
        OptionError: a folder that exists.
        DataError: a folder to replace that holds something else than a report.
    """
    if out is None:
        return _numbered(Path(default))
    folder = Path(out)
    if not folder.exists():
        return folder
    if not replace:
        raise OptionError(f"--out {out} exists; name another folder, or add --force to replace the report in it")
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / "results.json").is_file()):
        raise DataError(f"--out {out} is no report folder (it has no results.json), so --force does not replace it")
    return folder


def _numbered(folder: Path) -> Path:
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _put(aside: Path, folder: Path, old: Path | None) -> None:
    if old is not None:
        os.replace(folder, old)
    try:
        os.replace(aside, folder)
    except OSError:
        if old is not None:
            os.replace(old, folder)
        raise

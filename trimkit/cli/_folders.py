"""Result folders that a reader sees whole or not at all."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trimkit.errors import DataError, OptionError

WRITTEN = ("report.html", "results.json")
"""All that a report's folder holds."""


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
    replaced = replace and folder.exists()
    try:
        yield aside
        if replaced:
            os.replace(folder, old)
        elif os.name == "nt":  # elsewhere a folder takes the place of an empty one, such as a reserved one
            with suppress(OSError):
                folder.rmdir()
        try:
            os.replace(aside, folder)
        except OSError:
            if replaced:
                os.replace(old, folder)
            raise
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
        DataError: to replace a link, the home or working folder or one above, or what holds anything but a report.
    """
    if out is None:
        return next(folder for folder in _numbered(Path(default)) if not folder.exists())
    folder = Path(out)
    if not folder.exists():
        return folder
    if not replace:
        raise OptionError(f"--out {out} exists; name another folder, or add --force to replace the report in it")
    _check_is_report(folder)
    return folder


@contextmanager
def reserved_folder(out: str | None, default: str, *, replace: bool = False) -> Iterator[Path]:
    """The folder of a report, as `free_folder`; a numbered one is nobody else's within.

    Yields:
        Path of the folder: a reserved one is there, empty, and goes again where nothing took its place.
    Raises:
        OptionError, DataError: see `free_folder`.
    """
    if out is not None:
        yield free_folder(out, default, replace=replace)
        return
    folder = next(folder for folder in _numbered(Path(default)) if _is_made(folder))
    try:
        yield folder
    finally:
        with suppress(OSError):  # it holds the report
            folder.rmdir()


def _is_made(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    return True


def _check_is_report(folder: Path) -> None:
    """Refuse to replace anything but a folder that holds a report and nothing else."""
    refused = f"--out {folder} is no report folder"
    if folder.is_symlink() or not folder.is_dir():
        raise DataError(f"{refused} but a {'link' if folder.is_symlink() else 'file'}; --force does not replace it")
    if any(place.resolve().is_relative_to(folder.resolve()) for place in (Path.cwd(), Path.home())):
        raise DataError(f"{refused} of its own: you live or work in it; name a new folder in it, such as report")
    own = {folder / name for name in WRITTEN if (folder / name).is_file() and not (folder / name).is_symlink()}
    others = sorted(path.name for path in folder.iterdir() if path not in own)
    more = f" and {len(others) - 1} more" if others[1:] else ""
    if others:
        raise DataError(
            f"{refused}: it holds {others[0]!r}{more} beside a report's files ({', '.join(WRITTEN)}), and --force "
            "would delete all; name another folder"
        )


def _numbered(folder: Path) -> Iterator[Path]:
    """The folder, and those of its name with a number, from 2."""
    yield folder
    yield from (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2))

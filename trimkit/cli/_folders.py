"""Result folders that a reader sees whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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


def _put(aside: Path, folder: Path, old: Path | None) -> None:
    if old is not None:
        os.replace(folder, old)
    try:
        os.replace(aside, folder)
    except OSError:
        if old is not None:
            os.replace(old, folder)
        raise

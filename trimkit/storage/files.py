"""Files that a crash cannot tear."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that after a crash there is the old one or the new one, never a part.

    The temporary file is in the same folder, since renaming is atomic only within a file system.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename survives a power cut; nothing where none can be opened."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def named_in_utf8(path: Path) -> Iterator[Path]:
    """The path of a file, or of a link to it where its name is no UTF-8, since safetensors opens no such file."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        with TemporaryDirectory() as folder:
            link = Path(folder) / f"file{path.suffix}"
            link.symlink_to(path.absolute())
            yield link
        return
    yield path


def hash_file(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     hash_file(Path(file.name))[:8]      # of no bytes
    'e3b0c442'
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

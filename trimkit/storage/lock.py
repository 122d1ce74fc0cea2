"""A lock on a folder's name, which the system releases when its holder dies."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trimkit.errors import TrainingError, TrimkitWarning

_held: set[Path] = set()  # the system's locks are a process's: it would give this process the same one twice

UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


class BusyError(TrainingError):
    """A folder that another process works on."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within, this process alone works on a folder, which need not exist and may be renamed.

    The lock is on ``.NAME.lock`` beside it, which holds who has it and goes at the end. A process that dies, however,
    loses it at once.

    Raises:
        BusyError: another process has it; names its id and machine.

    Warns:
        TrimkitWarning: the file system knows no locks.
    """
    path = folder.absolute().with_name(f".{folder.name}.lock")
    if path in _held:
        raise BusyError(f"{folder} is in use by this process already; wait for that run, or choose another name")
    made = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(folder, path)
    _held.add(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        _held.discard(path)
        for parent in made:  # of a run that was refused, nothing stays
            with suppress(OSError):
                parent.rmdir()


def _acquire(folder: Path, path: Path) -> int:
    """An open file with the lock on it, which is the one at the path: its last holder removes it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                holder = _read_holder(descriptor)
                os.close(descriptor)
                raise BusyError(
                    f"{folder} is in use by {holder}; wait until it is done, or stop it, or choose another name"
                ) from error
            warnings.warn(f"no lock on {folder}: its file system knows none", TrimkitWarning, stacklevel=4)
        if _is_at(descriptor, path):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode())
            return descriptor
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _read_holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.read(descriptor, 1000))
        return f"process {int(holder['process'])} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"

"""A lock on a folder's name, which the system releases when its holder dies."""

from __future__ import annotations

import errno
import json
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trimkit.errors import TrainingError, TrimkitWarning

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
try:
    import msvcrt
except ImportError:
    msvcrt = None

_held: set[Path] = set()  # the system's locks are a process's: it would give this process the same one twice

UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}

BEYOND = 2**30
"""The byte that is locked on Windows: one behind all that is written, since there nobody else can read a locked one."""


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
        TrimkitWarning: the file system or this Python knows no locks.
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
        _release(descriptor, path)
        _held.discard(path)
        for parent in made:  # of a run that was refused, nothing stays
            with suppress(OSError):
                parent.rmdir()


def _acquire(folder: Path, path: Path) -> int:
    """An open file with the lock on it, which is the one at the path: its last holder removes it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                holder = _read_holder(descriptor)
                os.close(descriptor)
                raise BusyError(
                    f"{folder} is in use by {holder}; wait until it is done, or stop it, or choose another name"
                ) from error
            why = "its file system knows none" if error.errno != errno.ENOSYS else "this Python knows none"
            warnings.warn(f"no lock on {folder}: {why}", TrimkitWarning, stacklevel=4)
        if _is_at(descriptor, path):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode())
            return descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Take the system's lock on an open file.

    Raises:
        OSError: another process has it, or there are none: see `UNSUPPORTED`.
    """
    if fcntl is not None:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif msvcrt is not None:
        os.lseek(descriptor, BEYOND, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        raise OSError(errno.ENOSYS, "no locks")


def _release(descriptor: int, path: Path) -> None:
    """Give the lock back, and remove its file."""
    if fcntl is not None:
        path.unlink(missing_ok=True)
    os.close(descriptor)
    if fcntl is None:  # Windows removes no open file: neither this one before, nor one that somebody else holds by now
        with suppress(OSError):
            path.unlink()


def _is_at(descriptor: int, path: Path) -> bool:
    if fcntl is None:  # nobody could remove it
        return True
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

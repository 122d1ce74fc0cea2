"""What is written to disk: whole or not at all, known by its hash, and by one process at a time. Needs no torch."""

from trimkit.storage.files import hash_file, named_in_utf8, sync_folder, write_atomically
from trimkit.storage.lock import BusyError, locked
from trimkit.storage.manifest import (
    CHECKPOINTS,
    MANIFEST,
    find_damage,
    list_damage,
    warn_if_unchecked,
    warn_of_damage,
    write_manifest,
)
from trimkit.storage.versions import installed_version

__all__ = [
    "CHECKPOINTS",
    "MANIFEST",
    "BusyError",
    "find_damage",
    "hash_file",
    "installed_version",
    "list_damage",
    "locked",
    "named_in_utf8",
    "sync_folder",
    "warn_if_unchecked",
    "warn_of_damage",
    "write_atomically",
    "write_manifest",
]

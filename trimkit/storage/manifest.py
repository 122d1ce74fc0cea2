"""The hashes of a folder's files, in a file that has a hash of its own."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trimkit.errors import TrimkitWarning
from trimkit.storage.files import hash_file, write_atomically

MANIFEST, CHECKPOINTS = "MANIFEST.json", "checkpoints"

FORMAT = 1


def write_manifest(folder: Path, later: Mapping[str, bytes], leave_out: Iterable[str] = ()) -> None:
    """Write MANIFEST.json: size and sha256 of every file in a folder and below.

    Args:
        folder: whose files are finished.
        later: name → content of files that will be written after it, such as the one that says that all is there.
        leave_out: names of files that will go.
    """
    skipped = {MANIFEST, *later, *leave_out}
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files = {
        name: {"bytes": path.stat().st_size, "sha256": hash_file(path)}
        for name, path in paths.items()
        if name not in skipped
    }
    for name, content in later.items():
        files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest = signed({"format": FORMAT, "files": files})
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=2).encode())


def find_damage(folder: Path, names: Iterable[str] | None = None) -> str | None:
    """What is wrong with files of a folder that has a manifest.

    Args:
        folder: such as a complete run.
        names: of files below it, as in its manifest; None for all.
    Returns:
        The first fault in words; None where all are as they were written, or where the folder has no manifest, as
        those that older versions wrote.
    """
    return next(iter(list_damage(folder, names)), None)


def warn_of_damage(folder: Path, advice: str, but: Iterable[str] = ()) -> None:
    """Name the files of a run that are there, but not as they were written, in a warning each; or a missing manifest.

    Args:
        folder: of a complete run; its checkpoints have manifests of their own and are left to them.
        advice: what it means for whoever reads this.
        but: names of files of which more is said elsewhere.
    """
    warn_if_unchecked(folder, stacklevel=4)
    try:
        names = [name for name in _read_files(folder) if (folder / name).exists() and name not in but]
    except DamagedManifestError:
        names = []
    for fault in list_damage(folder, [name for name in names if not name.startswith(f"{CHECKPOINTS}/")]):
        warnings.warn(f"{fault}; {advice}", TrimkitWarning, stacklevel=3)


def warn_if_unchecked(folder: Path, stacklevel: int = 3) -> None:
    """Say in a warning that a run has no manifest, as those of old versions and those whose manifest was lost."""
    if not (folder / MANIFEST).exists():
        message = f"{folder / MANIFEST} is missing, so that no file of the run is held against what was written, its "
        warnings.warn(f"{message}weights and options among them", TrimkitWarning, stacklevel=stacklevel)


def list_damage(folder: Path, names: Iterable[str] | None = None) -> list[str]:
    """All faults, as `find_damage` gives the first."""
    if not (folder / MANIFEST).exists():
        return []
    try:
        files = _read_files(folder)
    except DamagedManifestError as error:
        return [str(error)]
    faults = (_compare(folder / name, files.get(name)) for name in (files if names is None else names))
    return list(filter(None, faults))


class DamagedManifestError(ValueError):
    """A MANIFEST.json that is not as it was written."""


def _read_files(folder: Path) -> dict[str, tuple[int, str]]:
    """Size and sha256 of each file by name; none where there is no manifest."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        whole = is_signed(manifest)
        files = {name: (entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedManifestError(f"{path} is damaged") from error
    if not whole:
        raise DamagedManifestError(f"{path} is damaged: its sha256 is not the one that was written")
    return files


def signed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Plain JSON values, with the sha256 of all of them under "manifest_sha256"."""
    return {**content, "manifest_sha256": _hash(content)}


def is_signed(manifest: Mapping[str, Any]) -> bool:
    """True where the hash of `signed` is that of the other values."""
    rest = {name: value for name, value in manifest.items() if name != "manifest_sha256"}
    return manifest.get("manifest_sha256") == _hash(rest)


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _compare(path: Path, written: tuple[int, str] | None) -> str | None:
    if written is None:
        return f"{path} is not among the files that were written"
    try:
        size = path.stat().st_size
        if size != written[0]:
            return f"{path} is damaged: expected {written[0]} bytes, got {size}"
        return None if hash_file(path) == written[1] else f"{path} is damaged: its sha256 is not the one written"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"

"""Checkpoints that a crash cannot tear and a flipped bit cannot pass."""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trimkit.errors import CheckpointError, TrimkitWarning

FORMAT = 2
"""Of the state tree and its manifest; another number is refused."""

KEEP = 2


class Checkpoints:
    """A folder of checkpoints: ``step-00000500.pt`` with its manifest ``step-00000500.json``.

    Each file is written beside its target, flushed to the disk and renamed; the manifest, with size and sha256, comes
    last and is the record that the checkpoint is whole. No file is ever overwritten.

    Args:
        folder: made when the first checkpoint is saved.
        identity: what run this is: plain JSON values by name. A checkpoint of another run is refused.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self._identity = json.loads(json.dumps(identity))

    def save(self, state: Mapping[str, Any]) -> Path:
        """Write a state, then remove all but the newest two.

        Args:
            state: plain containers, numbers, strings and tensors; ``state["step"]`` names the file.
        Returns:
            The checkpoint's file.
        Raises:
            CheckpointError: it cannot be written; those before are as they were.
        """
        path = self.folder / f"step-{state['step']:08d}.pt"
        if _manifest(path).exists():
            return path
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        try:
            self._write(path, buffer.getvalue(), state["step"])
        except OSError as error:
            raise CheckpointError(
                f"cannot write checkpoint {path}: {error.strerror}; the one before it is whole"
            ) from error
        return path

    def _write(self, path: Path, content: bytes, step: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for stale in self.folder.glob("*.tmp-*"):
            stale.unlink()
        write_atomically(path, content)
        manifest = {
            "name": path.name,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "format": FORMAT,
            "step": step,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "identity": self._identity,
        }
        write_atomically(_manifest(path), json.dumps(manifest, indent=2).encode())
        for old in self.files()[:-KEEP]:
            _manifest(old).unlink()
            old.unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """The checkpoints that were written whole, oldest first."""
        return sorted(manifest.with_suffix(".pt") for manifest in self.folder.glob("step-*.json"))

    def newest(self) -> dict[str, Any]:
        """The newest undamaged state; a damaged one is named in a warning, set aside, and the one before is taken.

        Raises:
            CheckpointError: there is none, all are damaged, or they belong to another run.
        """
        faults: dict[Path, str] = {}
        for path in reversed(self.files()):
            try:
                state = self.load(path)
            except DamagedError as error:
                faults[path] = str(error)
                continue
            for damaged, fault in faults.items():
                warnings.warn(f"{fault}; going on from {path.name}", TrimkitWarning, stacklevel=2)
                _set_aside(damaged)
            return state
        found = "; ".join(faults.values()) or "no checkpoint was written"
        raise CheckpointError(f"nothing to resume in {self.folder}: {found}; start the run anew")

    def load(self, path: Path) -> dict[str, Any]:
        """One state, verified.

        Raises:
            DamagedError: size, hash or content are not as written.
            CheckpointError: it belongs to another run or another version.
        """
        manifest = _read_manifest(_manifest(path))
        self._check_identity(path, manifest)
        content = _read_content(path, manifest)
        _compare_threads(path, manifest["threads"])
        try:
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:
            raise DamagedError(f"checkpoint {path} cannot be read: {str(error).splitlines()[0]}") from error

    def _check_identity(self, path: Path, manifest: Mapping[str, Any]) -> None:
        if manifest["format"] != FORMAT:
            raise CheckpointError(f"checkpoint {path} has format {manifest['format']}, expected {FORMAT}; train anew")
        was, now = _flat(manifest["identity"]), _flat(self._identity)
        for key in [*now, *(key for key in was if key not in now)]:
            if was.get(key) != now.get(key):
                raise CheckpointError(
                    f"checkpoint {path} is of another run: {key} was {was.get(key)!r}, is {now.get(key)!r}; resume "
                    "with the same settings, or start a new run"
                )


class DamagedError(CheckpointError):
    """A checkpoint whose bytes are not those that were written."""


def _manifest(path: Path) -> Path:
    return path.with_suffix(".json")


def _set_aside(path: Path) -> None:
    """Make room for a checkpoint of the same step, and keep the damaged one for whoever looks for the cause."""
    _manifest(path).unlink(missing_ok=True)
    if path.exists():
        path.rename(path.with_suffix(".damaged"))


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
        return {key: manifest[key] for key in ("bytes", "sha256", "format", "threads", "identity")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"checkpoint manifest {path} is damaged") from error


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _compare_threads(path: Path, threads: int) -> None:
    """Kernels sum in another order on another number of threads (a difference of 1e-8, but not the same bits)."""
    if threads != torch.get_num_threads():
        warnings.warn(
            f"{path.name} was written with {threads} threads and goes on with {torch.get_num_threads()}: the result is "
            "as good, but not bit for bit that of an uninterrupted run",
            TrimkitWarning,
            stacklevel=4,
        )


def _read_content(path: Path, manifest: Mapping[str, Any]) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    if len(content) != manifest["bytes"]:
        raise DamagedError(f"checkpoint {path} is damaged: expected {manifest['bytes']} bytes, got {len(content)}")
    if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
        raise DamagedError(f"checkpoint {path} is damaged: its sha256 is not the one that was written")
    return content


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that after a crash there is the old one or the new one, never a part.

    The temporary file is in the same folder, since renaming is atomic only within a file system.
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
    """Flush a folder's entries to the disk, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

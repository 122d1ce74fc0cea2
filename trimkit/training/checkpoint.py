"""Checkpoints that a crash cannot tear and a flipped bit cannot pass."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from trimkit.errors import CheckpointError, TrimkitWarning
from trimkit.storage import write_atomically
from trimkit.storage.manifest import is_signed, signed

FORMAT = 3
"""Of the state tree and its manifest, which has a hash of its own from 3 on."""

READABLE = (2, 3)
"""Formats that are gone on from; another is refused."""

KEEP = 2


class Checkpoints:
    """A folder of checkpoints: ``step-00000500.pt`` with its manifest ``step-00000500.json``.

    Each file is written beside its target, flushed to the disk and renamed; the manifest, with size and sha256, comes
    last and is the record that the checkpoint is whole. No file is ever overwritten.

    Args:
        folder: made when the first checkpoint is saved.
        identity: what run this is: plain JSON values by name. A checkpoint of another run is refused.
        free: names in the identity, with dots where they are nested, that may be others.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], free: Collection[str] = ()) -> None:
        self.folder = folder
        self._free = set(free)
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
        path = self.folder / _name(state["step"])
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
        write_atomically(_manifest(path), json.dumps(signed(manifest), indent=2).encode())
        for old in self.files()[:-KEEP]:
            _manifest(old).unlink()
            old.unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """The checkpoints that were written whole, oldest first."""
        return sorted(manifest.with_suffix(".pt") for manifest in self.folder.glob("step-*.json"))

    def newest(self, *, set_aside: bool = True) -> dict[str, Any]:
        """The newest undamaged state; a damaged one is named in a warning, and the one before is taken.

        Args:
            set_aside: see `set_aside_after`.

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
            for fault in faults.values():
                warnings.warn(f"{fault}; going on from {path.name}", TrimkitWarning, stacklevel=2)
            if set_aside:
                self.set_aside_after(state["step"])
            self._warn_of_older(path)
            return state
        reason = "; ".join(faults.values()) or "no checkpoint was written"
        raise CheckpointError(f"nothing to resume in {self.folder}: {reason}; remove the run and start it anew")

    def _warn_of_older(self, path: Path) -> None:
        """Say that a checkpoint is the only whole one, where the others are damaged."""
        for older in (file for file in self.files() if file < path):
            try:
                _read_content(older, _read_manifest(older))
            except CheckpointError as error:
                warnings.warn(f"{error}; {path.name}, which is gone on from, is whole", TrimkitWarning, stacklevel=3)

    def load(self, path: Path) -> dict[str, Any]:
        """One state, verified.

        Raises:
            DamagedError: size, hash or content are not as written.
            CheckpointError: it belongs to another run or another version.
        """
        manifest = _read_manifest(path)
        self._check_identity(path, manifest)
        content = _read_content(path, manifest)
        _compare_threads(path, manifest["threads"])
        try:
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:
            raise DamagedError(f"checkpoint {path} cannot be read: {str(error).splitlines()[0]}") from error
        step = state.get("step") if isinstance(state, dict) else None
        if step != manifest["step"]:
            raise DamagedError(f"checkpoint {path} is damaged: expected step {manifest['step']} in it, got {step}")
        return state

    def set_aside_after(self, step: int) -> None:
        """Make room for the checkpoints after a step, and keep damaged ones for whoever looks for the cause."""
        for path in self.files():
            if path.name > _name(step):
                _manifest(path).unlink()
                if path.exists():
                    path.rename(path.with_suffix(".damaged"))

    def recorded(self, step: int) -> dict[str, Any]:
        """The identity that the checkpoint of a step was written with."""
        return _read_manifest(self.folder / _name(step))["identity"]

    @property
    def started(self) -> bool:
        """True where there is anything but what a run leaves that stopped before its first checkpoint was whole."""
        first = {"step-00000000.pt"} if not self.files() else set()
        return any(path.name not in first and ".tmp-" not in path.name for path in self.folder.glob("*"))

    def _check_identity(self, path: Path, manifest: Mapping[str, Any]) -> None:
        was, now = _flat(manifest["identity"]), _flat(self._identity)
        for key in [*now, *(key for key in was if key not in now)]:
            if was.get(key) != now.get(key) and key not in self._free:
                way_out = "give the same data, or say that they changed (--data-changed)"
                raise CheckpointError(
                    f"checkpoint {path} is of another run: {key} was {was.get(key)!r}, is {now.get(key)!r}; "
                    f"{way_out if key == 'data' else 'resume with the same settings, or start a new run'}"
                )


class DamagedError(CheckpointError):
    """A checkpoint whose bytes are not those that were written."""


def _manifest(path: Path) -> Path:
    return path.with_suffix(".json")


def _read_manifest(path: Path) -> dict[str, Any]:
    """A checkpoint's manifest, with the name, the step and the hash that it must have.

    Raises:
        DamagedError: it is not as it was written.
        CheckpointError: another version wrote it.
    """
    try:
        manifest = json.loads(_manifest(path).read_bytes())
        version = manifest["format"]
        if isinstance(version, int) and version not in READABLE:
            raise CheckpointError(
                f"checkpoint {path} has format {version}, expected {' or '.join(map(str, READABLE))}; train anew"
            )
        whole = is_signed(manifest) or (version == 2 and "manifest_sha256" not in manifest)
        if whole and path.name == manifest["name"] == _name(manifest["step"]):
            _flat(manifest["identity"])
            return {key: manifest[key] for key in ("bytes", "sha256", "step", "threads", "identity")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"checkpoint manifest {_manifest(path)} is damaged") from error
    raise DamagedError(f"checkpoint manifest {_manifest(path)} is damaged: its sha256 is not the one that was written")


def _name(step: int) -> str:
    return f"step-{step:08d}.pt"


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


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

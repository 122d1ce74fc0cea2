"""The folder of a run: made aside, renamed when complete, never overwritten."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml

from trimkit.errors import TrainingError
from trimkit.methods.stored import MARKER, finite, plain
from trimkit.registry import provenance
from trimkit.training.checkpoint import sync_folder, write_atomically

STALE = ("evaluation.json",)
"""Files that say something of the finished run, which is another once it has been gone on with."""

VERSIONED = ("trimkit", "torch", "lightning-fabric", "numpy", "captum")


class RunFolder:
    """``runs/a``, built as ``runs/a.partial``.

    Files: config.yaml, command.txt, environment.json, metrics.jsonl, checkpoints/, pictures and films, pictures/ and
    tensorboard/ where they are asked for, results.json, method.json, model.safetensors, and COMPLETE with the number of
    steps, written last.

    Args:
        path: of the complete run.
        command: what started it, a line of command.txt.
        config: plain values for config.yaml; by default those that `begin` is given.

    Attributes:
        path: as given.
        working: where it is built.
    """

    def __init__(self, path: str | Path, command: str = "", config: Mapping[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.working = self.path.with_name(f"{self.path.name}.partial")
        self._command = command or f"trimkit.train, called from {Path(sys.argv[0]).name or 'an interactive session'}"
        self._config = config

    @property
    def current(self) -> Path:
        """Where its files are now."""
        return self.path if self.path.exists() else self.working

    def check(self, *, resume: bool) -> None:
        """Refuse, before any work, to overwrite a run or to resume one that is not there.

        Raises:
            TrainingError: with the way out.
        """
        present = [path for path in (self.path, self.working) if path.exists()]
        if not present:
            if resume:
                raise TrainingError(f"there is no run {self.path} to resume; start it without resume")
            return
        if self.path in present and not (self.path / MARKER).is_file():
            raise TrainingError(f"{self.path} exists and is no run; choose another name")
        if len(present) == 2:
            raise TrainingError(f"both {self.path} and {self.working} exist; remove the one that is not wanted")
        if not resume:
            state = "complete" if present == [self.path] else "unfinished"
            raise TrainingError(
                f"{present[0]} exists already ({state}); choose another name, remove it, or resume it (--resume)"
            )

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Make or reopen the working folder and record what runs where.

        Args:
            settings: plain values, for config.yaml.
        """
        if self.path.exists():
            (self.path / MARKER).unlink()
            self.path.rename(self.working)
        for name in STALE:
            (self.working / name).unlink(missing_ok=True)
        self.working.mkdir(parents=True, exist_ok=True)
        config = yaml.safe_dump(plain(self._config or settings), sort_keys=False, allow_unicode=True)
        self.write("config.yaml", config)
        self.write_json("environment.json", environment())
        with (self.working / "command.txt").open("a", encoding="utf-8") as file:
            file.write(self._command + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a text file, whole or not at all."""
        write_atomically(self.working / name, text.encode())

    def write_json(self, name: str, value: Any) -> None:
        """Write plain values as a JSON file, whole or not at all; null for NaN and infinity."""
        self.write(name, json.dumps(finite(value), indent=2, allow_nan=False))

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl; null for NaN and infinity."""
        with (self.working / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite(row), allow_nan=False) + "\n")

    def keep_metrics(self, steps: int) -> list[dict[str, Any]]:
        """Drop the lines after a step that is gone on from, and any torn one; returns those that stay."""
        path = self.working / "metrics.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        rows = [row for row in map(_row, lines) if row and row["step"] <= steps]
        self.write("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        return rows

    def complete(self, steps: int) -> None:
        """Mark the run as complete and give it its name.

        Raises:
            TrainingError: something of that name has appeared meanwhile.
        """
        self.write(MARKER, f"{steps} steps\n")
        if self.path.exists():
            raise TrainingError(f"{self.path} has appeared during the run, whose results are in {self.working}")
        self.working.rename(self.path)
        sync_folder(self.path.parent)


def environment() -> dict[str, Any]:
    """Versions, plugins, machine: what a run depends on besides its settings."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in VERSIONED},
        "plugins": provenance(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
    }


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _row(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except ValueError:
        return None

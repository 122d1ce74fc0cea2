"""The folder of a run: made aside, renamed when complete, never overwritten."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

import torch
import yaml

from trimkit.errors import OptionError, TrainingError, TrimkitWarning
from trimkit.methods.stored import MARKER, finite, plain
from trimkit.registry import provenance
from trimkit.storage import (
    CHECKPOINTS,
    find_damage,
    installed_version,
    locked,
    sync_folder,
    warn_of_damage,
    write_atomically,
    write_manifest,
)

CONTINUES = "CONTINUES"
"""What an unfinished run holds that goes on from the complete one beside it."""

METRICS = "metrics.jsonl"

DATA_CHANGES = "data_changes.jsonl"
"""What a run holds that went on with other data: the step, and the hashes of the data before and after."""

TAKEN_ON = (CHECKPOINTS, METRICS, DATA_CHANGES, "command.txt", "pictures", "tensorboard")
"""What a longer run takes from the complete one that it goes on from; everything else is written anew."""

VERSIONED = ("trimkit", "torch", "lightning-fabric", "numpy", "captum")


class RunFolder:
    """``runs/a``, built as ``runs/a.partial``.

    Files: config.yaml, command.txt, environment.json, metrics.jsonl, checkpoints/, pictures and films, pictures/ and
    tensorboard/ where they are asked for, results.json, method.json, model.safetensors; MANIFEST.json with the hashes
    of all, and COMPLETE with the number of steps, written last. A run that goes on is built beside the complete one,
    which stays as it is until the longer one takes its place.

    Args:
        path: of the complete run; of a link, what it points to.
        command: what started it, a line of command.txt.
        config: plain values for config.yaml; by default those that `begin` is given.

    Raises:
        OptionError: a path without a name of its own, such as ``.``.

    Attributes:
        path: of the complete run.
        working: where it is built.
    """

    def __init__(self, path: str | Path, command: str = "", config: Mapping[str, Any] | None = None) -> None:
        self.path = Path(path).resolve() if Path(path).is_symlink() else Path(path)  # renames would replace the link
        if self.path.name in ("", ".."):
            raise OptionError(f"expected a new folder for the run, got {str(path)!r}; give it a name, such as runs/a")
        self.working = self.path.with_name(f"{self.path.name}.partial")
        self._replaced = self.path.with_name(f".{self.path.name}.before")
        self._command = command or f"trimkit.train, called from {Path(sys.argv[0]).name or 'an interactive session'}"
        self._config = config

    @property
    def current(self) -> Path:
        """Where its newest files are now."""
        return self.path if self.path.exists() and not self.working.exists() else self.working

    @property
    def is_complete(self) -> bool:
        """True where the newest files are those of a complete run."""
        return self.current == self.path and self.path.exists()

    @contextmanager
    def held(self, *, resume: bool) -> Iterator[None]:
        """Within, no other process works on the run; what a killed process left half done is finished first.

        Raises:
            TrainingError: another process works on it, or see `check`.
        """
        with locked(self.path):
            self._recover()
            self.check(resume=resume)
            yield

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
        if self.path in present and not (_is_complete(self.path) or _is_unfinished(self.path)):
            raise TrainingError(f"{self.path} exists and is no run; choose another name")
        if len(present) == 2 and not (self.working / CONTINUES).exists():
            raise TrainingError(f"both {self.path} and {self.working} exist; remove the one that is not wanted")
        if not resume:
            state = "complete" if _is_complete(present[0]) else "unfinished"
            raise TrainingError(
                f"{present[0]} exists already ({state}); choose another name, remove it, or resume it (--resume)"
            )

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Make or reopen the working folder and record what runs where.

        Args:
            settings: plain values, for config.yaml.
        """
        if self.current == self.path:
            self._take_on()
        self.working.mkdir(parents=True, exist_ok=True)
        config = yaml.safe_dump(plain(self._config or settings), sort_keys=False, allow_unicode=True)
        self.write("config.yaml", config)
        self.write_json("environment.json", environment())
        with (self.working / "command.txt").open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(self._command + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a text file, whole or not at all."""
        write_atomically(self.working / name, text.encode())

    def write_json(self, name: str, value: Any) -> None:
        """Write plain values as a JSON file, whole or not at all; null for NaN and infinity."""
        self.write(name, json.dumps(finite(value), indent=2, allow_nan=False))

    def append_row(self, row: Mapping[str, Any], name: str = METRICS) -> None:
        """Add a line of JSON to a file, metrics.jsonl by default; null for NaN and infinity."""
        with (self.working / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite(row), allow_nan=False) + "\n")

    def keep_metrics(self, steps: int) -> list[dict[str, Any]]:
        """Drop the lines after a step that is gone on from, and any torn one; returns those that stay.

        Warns:
            TrimkitWarning: lines that cannot be read, other than a last one that was not written to its end.
        """
        path = self.working / METRICS
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        read = [(line, _row(line)) for line in lines]
        damaged = sum(row is None and line.endswith(b"\n") for line, row in read)
        if damaged:
            warnings.warn(
                f"{path} is damaged: {damaged} of its {len(lines)} lines cannot be read and are dropped",
                TrimkitWarning,
                stacklevel=2,
            )
        rows = [row for _, row in read if row and row["step"] <= steps]
        self.write(METRICS, "".join(json.dumps(row) + "\n" for row in rows))
        return rows

    def complete(self, steps: int) -> None:
        """Write the hashes of all files, mark the run as complete and give it its name.

        Raises:
            TrainingError: something of that name has appeared meanwhile.
        """
        marker = f"{steps} steps\n"
        write_manifest(self.working, later={MARKER: marker.encode()}, leave_out=[CONTINUES])
        self.write(MARKER, marker)
        if self.path.exists() and not (self.working / CONTINUES).exists():
            raise TrainingError(f"{self.path} has appeared during the run, whose results are in {self.working}")
        self._put_in_place()

    def _put_in_place(self) -> None:
        """Give the complete run its name; a kill between the two renames is mended by `_recover`."""
        if self.path.exists():
            shutil.rmtree(self._replaced, ignore_errors=True)
            self.path.rename(self._replaced)
        self.working.rename(self.path)
        (self.path / CONTINUES).unlink(missing_ok=True)
        sync_folder(self.path.parent)
        shutil.rmtree(self._replaced, ignore_errors=True)

    def _recover(self) -> None:
        """Finish what a process that was killed left half done."""
        if _is_complete(self.working) and (not self.path.exists() or (self.working / CONTINUES).exists()):
            self._put_in_place()
        if self._replaced.exists() and not self.path.exists():
            self._replaced.rename(self.path)
        if _is_unfinished(self.path) and not self.working.exists():
            self.path.rename(self.working)
        for left in (self._replaced, *self.path.parent.glob(f".{escape(self.path.name)}.tmp-*")):
            shutil.rmtree(left, ignore_errors=True)

    def _take_on(self) -> None:
        """Make the working folder from the complete run, whole or not at all."""
        if (self.path / METRICS).exists() and (fault := find_damage(self.path, [METRICS])):
            warnings.warn(f"{fault}; the lines that can be read are kept", TrimkitWarning, stacklevel=4)
        warn_of_damage(self.path, "the run goes on from its checkpoints, which are whole", but=[METRICS])
        aside = self.path.with_name(f".{self.path.name}.tmp-{os.getpid()}")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for name in TAKEN_ON:
            source, target = self.path / name, aside / name
            if source.is_dir():
                shutil.copytree(source, target, copy_function=_link if name == CHECKPOINTS else shutil.copy2)
            elif source.exists():
                shutil.copy2(source, target)
        write_atomically(aside / CONTINUES, (self.path / MARKER).read_bytes())
        aside.rename(self.working)


def environment() -> dict[str, Any]:
    """Versions, plugins, machine: what a run depends on besides its settings."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: installed_version(name) for name in VERSIONED},
        "plugins": provenance(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
    }


def _is_complete(folder: Path) -> bool:
    return (folder / MARKER).is_file()


def _is_unfinished(folder: Path) -> bool:
    """True for a run without its mark, as older versions left one that was killed as it began to go on."""
    return (
        not _is_complete(folder)
        and (folder / "config.yaml").is_file()
        and any((folder / CHECKPOINTS).glob("step-*.json"))
    )


def _link(source: str, target: str) -> None:
    """A second name for a file that is never written into again; a copy where the file system has no such names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
        return row if isinstance(row["step"], int) else None
    except (ValueError, KeyError, TypeError):
        return None

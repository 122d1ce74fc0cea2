"""Runs of ``trimkit train`` for all methods, small enough that hundreds can be killed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

STEPS, EVERY, LONGER = 12, 2, 16
VECTORS = ("ica", "picard", "infomax", "ivae", "tcl", "icebeem", "sae")
"""Methods with one of these in their name get vectors, all others pictures."""


@dataclass(frozen=True)
class Case:
    """A command that trains, and where its result is.

    Attributes:
        method: registered name.
        devices: processes.
    """

    method: str
    devices: int = 1

    def __str__(self) -> str:
        return self.method if self.devices == 1 else f"{self.method} on {self.devices} processes"

    def arguments(self, folder: Path, steps: int = STEPS) -> list[str]:
        """After ``trimkit``: goes on where something of the run is there."""
        data = "vectors" if any(word in self.method for word in VECTORS) else "pictures"
        resume = ["--resume"] if folder.exists() or folder.with_name(f"{folder.name}.partial").exists() else []
        many = ["--devices", str(self.devices), "--timeout-minutes", "1"] if self.devices > 1 else []
        return [
            *("train", self.method, "--data", str(folder.parent / f"{data}.npz"), "--out", str(folder)),
            *(
                "--steps",
                str(steps),
                "--batch-size",
                "8",
                "--checkpoint-every",
                str(EVERY),
                "--log-every",
                "1",
                *many,
                *resume,
            ),
        ]


def cases() -> list[Case]:
    """Every method that is installed, in one process."""
    import trimkit

    return [Case(name) for name in trimkit.available("methods")]


def pairs() -> list[Case]:
    """Methods on two processes."""
    return [Case(name, 2) for name in ("vae", "factor-vae", "stylegan2", "ivae", "topk-sae")]


def write_data(folder: Path) -> None:
    """48 pictures (1, 16, 16) and 96 vectors (6,), with labels as auxiliary variables."""
    keys = np.random.default_rng(0)
    labels = keys.integers(0, 3, 48)
    np.savez(folder / "pictures.npz", x=keys.random((48, 1, 16, 16)).astype("f4"), y=labels, aux=labels)
    vectors = keys.laplace(size=(96, 6)).astype("f4")
    np.savez(folder / "vectors.npz", x=vectors, aux=np.repeat(np.arange(4), 24))


def train(case: Case, folder: Path, steps: int = STEPS) -> int:
    """Run the command in this process; 0 also where the run is complete, which cannot be gone on with."""
    code = go_on(case, folder, steps)
    marker = folder / "COMPLETE"  # killed after the last file was written: then there is nothing left to do
    return 0 if marker.exists() and marker.read_text() in (f"{steps} steps\n", "0 steps\n") else code


def go_on(case: Case, folder: Path, steps: int) -> int:
    """Run the command in this process."""
    from trimkit.cli import main

    return main(case.arguments(folder, steps))


def evaluate(case: Case, folder: Path) -> int:
    """Evaluate a run in this process, on little data."""
    from trimkit.cli import main

    data = case.arguments(folder)[3]
    return main(["evaluate", str(folder), "--data", data, "--samples", "48", "--split", "train"])


def result_of(folder: Path) -> str:
    """What a finished run came to: the hashes of its weights, its results and the rows of its log."""
    log = folder / "metrics.jsonl"  # which a fit in one go has not
    rows = [_timeless(json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []
    results = _timeless(json.loads((folder / "results.json").read_text()))
    text = json.dumps([rows, results], sort_keys=True).encode()
    return hashlib.sha256(hashlib.sha256((folder / "model.safetensors").read_bytes()).digest() + text).hexdigest()


def _timeless(record: dict[str, object]) -> dict[str, object]:
    """Without what the clock says."""
    return {key: value for key, value in record.items() if not any(word in key for word in ("seconds", "per_second"))}

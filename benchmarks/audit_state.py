"""What an audit keeps of its samples, and what that costs: memory by the number of samples, time beside bare passes.

    python benchmarks/audit_state.py memory --samples 100000 1000000
    python benchmarks/audit_state.py cost --samples 256

memory: a linear model of 16 inputs, data that are made when asked for, the checks completeness, reconstruction and
reliance; each number of samples in a process of its own. "state" is the size of the file of a shard that holds all of
it, "peak" the largest memory of the process.

cost: a convolutional network on 3 × 16 × 16 pictures, all checks; the same audit with and without its sums, in turn,
the fastest of each. What is left without them is the forwards and gradients that the audit needs.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn

import trimkit
from trimkit.audit.batch import blocks_of
from trimkit.audit.options import make_checks
from trimkit.audit.runner import _SETTINGS, start
from trimkit.audit.state import State
from trimkit.data import Dataset, Samples

CHECKS = ["completeness", "reconstruction", "reliance"]


class Waves(Samples):
    """Sixteen sines of the sample's number."""

    def __init__(self, n: int) -> None:
        self.n = n

    @property
    def shape(self) -> torch.Size:
        """(n, 16)."""
        return torch.Size((self.n, 16))

    @property
    def fingerprint(self) -> str:
        """The same for all."""
        return "waves"

    def make(self, numbers: Tensor) -> Tensor:
        """The sines."""
        return torch.sin(numbers[:, None] * torch.linspace(0.7, 97.0, 16, dtype=torch.float64)).float()


def memory(samples: int) -> None:
    """Print the size of the state and the peak of this process after an audit of so many samples."""
    torch.manual_seed(0)
    model = nn.Linear(16, 3).eval()
    data = Dataset("waves", Waves(samples))
    begun = time.process_time()
    options = {"attributions": "input_x_gradient", "batch_size": 4096, "checks": CHECKS}
    shard = trimkit.audit(model, data, shard=(1, 1), samples=None, **options)
    seconds = time.process_time() - begun
    with tempfile.TemporaryDirectory() as folder:
        size = shard.save(Path(folder) / "shard").stat().st_size / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{samples:>9} samples: state {size:6.2f} MB, peak {peak:6.0f} MB, {seconds:6.0f} s", flush=True)


def cost(samples: int, repeats: int) -> None:
    """Print the processor time of an audit with its sums and without."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 10),
    ).eval()  # fmt: skip
    x = torch.randn(samples, 3, 16, 16)
    options = {**_SETTINGS, "transform": "fft", "samples": None}
    run = start(model, (x, model(x).argmax(1).detach()), **options)
    assert len(run.checks) == len(make_checks(None, {}))
    times: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(repeats):
        for name in times:
            begun = time.process_time()
            if name == "with":
                run.measure(blocks_of(run.subject.ids, 64))
            else:
                with patch.object(State, "update"):
                    run.measure(blocks_of(run.subject.ids, 64))
            times[name].append(time.process_time() - begun)
    whole, bare = min(times["with"]), min(times["without"])
    print(f"{samples} samples, all checks: {whole:.2f} s with sums, {bare:.2f} s without: {whole / bare:.3f} ×")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("memory", "cost"))
    parser.add_argument("--samples", type=int, nargs="+", default=[100_000])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.what == "cost":
        cost(arguments.samples[0], arguments.repeats)
    elif len(arguments.samples) == 1:
        memory(arguments.samples[0])
    else:
        for n in arguments.samples:
            subprocess.run([sys.executable, __file__, "memory", "--samples", str(n)], check=True)


if __name__ == "__main__":
    main()

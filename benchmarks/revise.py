"""Does a revision repair a model without being told what is wrong? Planted shortcuts in four spaces.

The shortcuts are those of `benchmarks/reliance.py`: in training they give the label away, in the test data they are
random. Each poisoned model is searched on test digits, corrected for what stands out by each of the three corrections,
which learn from the poisoned training data, and audited again with that forbidden. The ceiling is a model of the same
seed, trained on data in which the shortcut is random.

    python benchmarks/revise.py                # five seeds, chosen before: 0 … 4; a row a space and correction
    python benchmarks/revise.py --seeds 1
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

import torch
from reliance import SPACES, Shortcut, audit, counted, make_shortcut, train
from torch import nn

import trimkit
from trimkit.audit.selection import forbidden
from trimkit.audit.subject import filled
from trimkit.data import Dataset
from trimkit.demo.networks import accuracy
from trimkit.registry import resolve
from trimkit.revise.corrections import CORRECTIONS, Task
from trimkit.revise.runner import suggested

CLOSE = 0.02
"""How far below the ceiling's median a repaired model may be."""


def main() -> None:
    """Print the table."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument("--spaces", nargs="+", choices=SPACES, default=SPACES)
    arguments = p.parse_args()
    torch.set_num_threads(1)
    print(f"{'space':<14}{'correction':<12}{'accuracy':<24}{'model, audited again':<34}within {CLOSE} of the ceiling")
    for name in arguments.spaces:
        repair(make_shortcut(name), arguments.seeds)


def repair(shortcut: Shortcut, seeds: int) -> None:
    """The rows of one space."""
    data, test = shortcut.make("train", "label"), shortcut.make("test", "random")
    poisoned = [train(shortcut, "poisoned", seed) for seed in range(seeds)]
    ceiling = [accuracy(train(shortcut, "clean", seed), test) for seed in range(seeds)]
    print(f"{shortcut.name:<14}{'none':<12}{spread([accuracy(model, test) for model in poisoned])}")
    print(f"{'':<14}{'ceiling':<12}{spread(ceiling)}", flush=True)
    for by in CORRECTIONS:
        models = [corrected(model, data, test, shortcut, by, seed) for seed, model in enumerate(poisoned)]
        accuracies = [accuracy(model, test) for model, _ in models]
        close = statistics.median(accuracies) >= statistics.median(ceiling) - CLOSE
        verdicts = counted(verdict for _, verdict in models)
        print(f"{'':<14}{by:<12}{spread(accuracies):<24}{verdicts:<34}{'yes' if close else 'no'}", flush=True)


def corrected(
    model: nn.Module, data: Dataset, test: Dataset, shortcut: Shortcut, by: str, seed: int
) -> tuple[nn.Module, str]:
    """A model corrected for what a search shows, as `trimkit.revise` does it, and the audit's answer."""
    choice = suggested(audit(model, test, shortcut))
    if not choice:
        return model, "nothing found"
    space = resolve("transform", shortcut.transform)
    mask = forbidden(choice, None, filled(space.groups(data.shape)), len(data))[-1].mask
    better = CORRECTIONS[by](Task(model, data, space, mask, seed=seed))
    options = {"transform": shortcut.transform, "checks": ["reliance"], "samples": 256}
    return better, str(trimkit.audit(better, test, forbid=choice, **options).model)


def spread(values: Sequence[float]) -> str:
    """``0.961 (0.951–0.968)``: median and range."""
    return f"{statistics.median(values):.3f} ({min(values):.3f}–{max(values):.3f})"


if __name__ == "__main__":
    main()

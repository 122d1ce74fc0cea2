"""Several trainings from other weights, of which the one with the lowest loss on held-out data is kept.

Nonlinear ICA has poor optima: a run may end far from the sources, at a higher loss than another run of the same length.
Whether the loss tells them apart is a matter of method and data, and is shown by examples/nonlinear_ica.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import trimkit
from trimkit.data import Dataset
from trimkit.errors import OptionError
from trimkit.methods import Batch, Method

BATCH = 512
"""Samples that a loss is estimated from at once: terms that compare the codes of a batch depend on its size."""


@dataclass(frozen=True)
class Restarts:
    """What several trainings gave.

    Attributes:
        method: the trained one of the lowest loss.
        losses: seed → loss on held-out data, see `held_out_loss`.
    """

    method: Method
    losses: Mapping[int, float]


def train_restarts(
    make: Callable[[int], Method],
    data: Dataset,
    held_out: Dataset,
    *,
    seeds: Sequence[int],
    steps: int,
    **settings: Any,
) -> Restarts:
    """Train a method from several seeds, all equally long, and keep the one of the lowest held-out loss.

        make = lambda seed: trimkit.create("method", "icebeem", shape=(5,), segments=20, estimation="classes")
        restarts = train_restarts(make, load("imca"), load("imca", "test"), seeds=range(3), steps=2000)

    Args:
        make: seed → a new method; torch's generator is seeded by it, and is as before afterwards.
        data: to train on.
        held_out: other samples of the same kind, with their u.
        seeds: of weights, order and noise; at least one.
        steps: of each training.
        **settings: of `trimkit.train`.
    Raises:
        OptionError: no seed.
    """
    if not len(seeds):
        raise OptionError("train_restarts: expected at least one seed, got none")
    losses: dict[int, float] = {}
    best: Method | None = None
    for seed in seeds:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            method = make(seed)
        method = trimkit.train(method, data, steps=steps, seed=seed, **settings).method
        losses[seed] = held_out_loss(method, held_out, steps)
        if best is None or losses[seed] <= min(losses.values()):
            best = method
    assert best is not None
    return Restarts(best, losses)


@torch.no_grad()
def held_out_loss(method: Method, data: Dataset, step: int, batch_size: int = BATCH) -> float:
    """The weighted terms of a method's first phase, as it is in evaluation, in the mean over samples.

    Args:
        method: trained.
        data: other samples of the same kind, with their u.
        step: whose weights are taken: the last, where they change.
        batch_size: samples at once.
    """
    phase, draws, total = method.eval().phases()[0], torch.Generator().manual_seed(0), 0.0
    device = next(method.parameters()).device
    for rows in torch.randperm(len(data), generator=draws).split(batch_size):
        batch = Batch(data.x[rows].to(device), aux=None if data.aux is None else data.aux[rows].to(device))
        terms = phase.loss(batch, draws, step).terms
        weights = {name: weight(step) if callable(weight) else weight for name, weight in phase.weights.items()}
        total += len(rows) * sum(weights[name] * float(term.mean) for name, term in terms.items())
    return total / len(data)

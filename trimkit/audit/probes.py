"""What a group of coefficients says of the label by itself: a cross-validated linear probe."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trimkit.audit.columns import Array
from trimkit.audit.energy import label_row
from trimkit.audit.statistics import generator
from trimkit.audit.subject import Subject
from trimkit.coefficients import tree

FOLDS = 4
MOST_COLUMNS = 64
"""Columns that a probe sees; a larger group is projected to so many at random."""


def probe_accuracies(subject: Subject, groups: list[int]) -> dict[int, float]:
    """Accuracy of a ridge classifier on the coefficients of one group alone, over held-out samples.

    Real and imaginary parts are separate columns, standardised on the samples that are fitted. The folds are keyed by
    the audit's seed.

    Args:
        subject: its first samples are used (`trimkit.audit.subject.Subject.first`); they must have labels.
        groups: numbers of groups.
    Returns:
        Number of the group → share of samples whose label is predicted; {} for a single sample.
    """
    labels = subject.labels(subject.first)
    assert labels is not None
    if len(labels) < 2:
        return {}
    columns = _columns(subject)
    index = label_row(subject)
    order = torch.randperm(len(labels), generator=generator(subject.seed, "probe folds"))
    folds = [fold.numpy() for fold in order.tensor_split(min(FOLDS, len(labels)))]
    return {g: _accuracy(_narrow(columns[:, index == g], subject.seed), labels.numpy(), folds) for g in groups}


def _columns(subject: Subject) -> Tensor:
    """(n, coefficients, 1 or 2) float64: real and imaginary parts."""
    parts = [subject.coefficients(subject.data.x[p]) for p in torch.tensor(subject.first).split(subject.batch_size)]
    s = tree.map_leaves(lambda leaf: leaf.cpu(), tree.concatenate(parts))
    real = tree.rows(tree.map_leaves(lambda leaf: leaf.real if leaf.is_complex() else leaf, s))
    if not any(leaf.is_complex() for leaf in tree.leaves(s)):
        return real.double()[..., None]
    imaginary = tree.map_leaves(lambda leaf: leaf.imag if leaf.is_complex() else torch.zeros_like(leaf), s)
    return torch.stack([real, tree.rows(imaginary)], dim=2).double()


def _narrow(columns: Tensor, seed: int) -> Array:
    flat = columns.flatten(1)
    if flat.shape[1] > MOST_COLUMNS:
        draw = torch.randn(flat.shape[1], MOST_COLUMNS, generator=generator(seed, "probe columns"), dtype=flat.dtype)
        flat = flat @ draw
    return flat.numpy()


def _accuracy(x: Array, y: NDArray[np.int64], folds: list[NDArray[np.int64]]) -> float:
    from sklearn.linear_model import RidgeClassifier

    hits = 0
    for held in folds:
        fitted = np.setdiff1d(np.arange(len(y)), held)
        mean, spread = x[fitted].mean(0), x[fitted].std(0)
        scaled = (x - mean) / np.where(spread == 0, 1, spread)
        if len(np.unique(y[fitted])) < 2:
            hits += int((y[held] == y[fitted][0]).sum())
            continue
        predicted = RidgeClassifier().fit(scaled[fitted], y[fitted]).predict(scaled[held])
        hits += int(np.count_nonzero(predicted == y[held]))
    return hits / len(y)

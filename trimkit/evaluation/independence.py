"""Codes beside the true sources, and independence of components: what ``trimkit evaluate`` adds for ICA."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from trimkit.data import Dataset, in_memory, load
from trimkit.errors import DataError
from trimkit.evaluation.notes import Metrics
from trimkit.evaluation.representation import Encoder, Evaluation, Numbers, Settings, row_order
from trimkit.methods import Method
from trimkit.metrics import independence
from trimkit.registry import available

FITTED = 20_000
"""Training samples that PCA and FastICA are fitted to, at most."""

COMPARISONS: dict[str, dict[str, Any]] = {
    "Pearson": {"kind": "pearson", "magnitudes": False},
    "Spearman": {"kind": "spearman", "magnitudes": False},
    "Pearson with |s|": {"kind": "pearson", "magnitudes": True},
    "Spearman with |s|": {"kind": "spearman", "magnitudes": True},
}
"""All are told for every method, so that none is chosen by its outcome."""

BASELINES = {"x": "x itself", "pca": "PCA", "fastica": "FastICA", "rotation": "random rotations of s"}
"""Their names in tables: a method may be called fastica too."""


def add_independence(
    evaluation: Evaluation,
    method: Method,
    data: Dataset,
    settings: Settings,
    train: Dataset,
    *,
    space: str | None = None,
    device: str | torch.device = "cpu",
) -> Evaluation:
    """The evaluation of a run, with what its data and its family allow beside.

    Args:
        evaluation: of the same run and settings.
        method: that was trained.
        data: that it is judged on; where they have sources, codes are compared with them.
        settings: see `Settings`.
        train: whose samples PCA and FastICA are fitted to; see `training_data`.
        space: latent space; the method's first by default.
        device: of the encoder.
    Returns:
        With independence measures of the codes of a method of the family "ica", and with ``sources``.
    """
    spec = available("methods").get(evaluation.method)
    is_ica = getattr(spec, "family", "") == "ica"
    if data.sources is None and not is_ica:
        return evaluation
    rows = row_order(len(data), settings)[: settings.samples]
    codes = Encoder(method, method.space(space), data, torch.device(device)).means(rows)
    measured = independence.report(codes, seed=settings.seed) if is_ica else {}
    evaluation = replace(evaluation, metrics={**evaluation.metrics, **measured})
    if data.sources is None:
        return evaluation
    compared = _compared(evaluation.method, codes, data, train, rows, settings.seed)
    return replace(evaluation, sources=compared, notes=(*evaluation.notes, *_notes(data, train)))


def training_data(spec: str, data: Dataset) -> Dataset:
    """The samples that a method was trained on.

    Args:
        spec: of the data, see `trimkit.data.load`.
        data: that are evaluated; they stand in for a training split that does not exist.
    """
    if data.split == "train":
        return data
    with suppress(DataError):
        return load(spec, "train")
    return data


def _compared(name: str, codes: Tensor, data: Dataset, train: Dataset, rows: Numbers, seed: int) -> dict[str, Metrics]:
    """Name of the codes → comparison → mean correlation: the method's first, then the baselines'."""
    assert data.sources is not None
    numbers = torch.as_tensor(rows)
    x, sources, fitted = data.x[numbers], data.sources[numbers], in_memory(train.some(FITTED).x)
    table: dict[str, Metrics] = {}
    for comparison, named in COMPARISONS.items():
        target = sources.abs() if named["magnitudes"] else sources
        own = independence.mean_correlation(codes, target, kind=named["kind"], seed=seed)
        others = independence.mcc_baselines(x, sources, fitted_to=fitted, seed=seed, **named)
        table.setdefault(name, {})[comparison] = own
        for baseline, result in others.items():
            table.setdefault(BASELINES[baseline], {})[comparison] = result
    return table


def _notes(data: Dataset, train: Dataset) -> Iterator[str]:
    yield (
        f"correlations: posterior means beside the entries of x, PCA and FastICA fitted to {min(len(train), FITTED)} "
        f"samples ({train.split}), and random rotations of the true sources of {data.name}"
    )
    yield (
        "correlations within the rotations' band are no evidence of nonlinear ICA, nor are those that FastICA has too; "
        "compare with a VAE that is not given the auxiliary variables, trained on the same data"
    )
    yield (
        "columns with |s| are for features that know a source up to its sign (TCL); the baselines' magnitudes stand "
        "beside them"
    )

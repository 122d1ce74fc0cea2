"""What a mean correlation has to be compared with: codes that know nothing of a nonlinear map."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from trimkit.errors import OptionError
from trimkit.metrics.arrays import Floats, as_codes
from trimkit.metrics.bootstrap import DRAWS, generator, torch_generator
from trimkit.metrics.independence.correlation import Kind, mean_correlation
from trimkit.metrics.results import MetricResult
from trimkit.unmixing import Rotation, Whitening, contrast, fastica, random_rotation, whiten

ROTATIONS = 10
"""Random rotations of the true sources."""

STARTS = 5
"""Random starts of FastICA: on data that are no linear mixture it has several optima, of very different correlation."""


def mcc_baselines(
    x: Any,
    sources: Any,
    *,
    fitted_to: Any = None,
    magnitudes: bool = False,
    kind: Kind = "pearson",
    seed: int = 0,
    draws: int = DRAWS,
) -> dict[str, MetricResult]:
    """`mean_correlation` of the data themselves, of their linear codes, and of random rotations of the true sources.

    A nonlinear method that does not pass FastICA has learned nothing of the nonlinearity, and one within the band of
    the rotations no more than the space that the sources span.

    Args:
        x: (N, ...) the data of the rows that a method is judged on, N ≥ 20.
        sources: (N, d) of the same rows.
        fitted_to: (n, ...) data that PCA and FastICA are fitted to: those that the method was trained on; x by default.
        magnitudes: compare the codes' magnitudes with the sources', beside a method whose codes are magnitudes (TCL).
        kind: "pearson" or "spearman".
        seed: of FastICA's start, the rotations and the intervals.
        draws: resamples of the intervals; 0 for none.
    Returns:
        "x" (entries of the data), "pca" and "fastica" (as many components as sources, or as the data have; of five
        starts the one with the largest contrast, never the one nearest to the truth; its protocol says whether it has
        "converged"), and "rotation": the mean of ten uniformly random rotations of the sources, each brought to
        variance 1; it has no interval, and its parts are "draws", "lowest" and "highest".
    Raises:
        ShapeError, DataError, OptionError: arrays or options that do not fit.
    """
    rows, s = as_codes(x, "x"), as_codes(sources, "sources")
    fit = rows if fitted_to is None else as_codes(fitted_to, "fitted_to")
    if fit.shape[1] != rows.shape[1]:
        raise OptionError(f"fitted_to: expected samples of {rows.shape[1]} entries, as x has, got {fit.shape[1]}")
    shape = np.abs if magnitudes else np.asarray
    target = shape(s)
    named = {"kind": kind, "seed": seed}
    linear, told = _linear_codes(rows, fit, s.shape[1], seed)
    found = {
        name: mean_correlation(shape(codes), target, draws=draws, **named)
        for name, codes in {"x": rows, **linear}.items()
    }
    if told:
        found["fastica"] = replace(found["fastica"], protocol={**found["fastica"].protocol, **told})
    rotated = [mean_correlation(shape(codes), target, draws=0, **named).value for codes in _rotations(s, seed)]
    return {**found, "rotation": _band(rotated, len(s), named)}


def _linear_codes(rows: Floats, fit: Floats, components: int, seed: int) -> tuple[dict[str, Floats], dict[str, Any]]:
    """Codes by PCA and by FastICA after it, and what is to be told of the latter; none where the data do not vary."""
    if not np.ptp(fit, axis=0).any():
        return {}, {}
    whitening = _whitening(torch.from_numpy(fit), components)
    rotation = _best_rotation(whitening.apply(torch.from_numpy(fit)), seed)
    z = whitening.apply(torch.from_numpy(rows))
    codes = {"pca": z.numpy(), "fastica": (z @ rotation.matrix.T).numpy()}
    return codes, {"starts": STARTS, "converged": bool(rotation.converged)}


def _best_rotation(z: torch.Tensor, seed: int) -> Rotation:
    """Of several starts the fit that is least Gaussian, which needs no truth."""
    of = torch_generator(generator(seed, "mcc_baselines"))
    fits = [fastica(z, generator=of) for _ in range(STARTS)]
    return max(fits, key=lambda fit: float(contrast(z @ fit.matrix.T).sum()))


def _whitening(x: torch.Tensor, components: int) -> Whitening:
    """As many components as are asked for, or as there are.

    Numbers that single precision holds exactly were rounded to it, which hides dependence of the entries.
    """
    narrow = x.float()
    known = narrow if torch.equal(narrow.to(x), x) else x
    every = whiten(known)
    return every if every.rank <= components else whiten(known, components)


def _rotations(sources: Floats, seed: int) -> list[Floats]:
    """Random rotations of the sources at variance 1; a constant source stays 0."""
    of = torch_generator(generator(seed, "rotations of the sources"))
    centred = sources - sources[0]
    centred -= centred.mean(0)
    spread = centred.std(0)
    standard = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    return [standard @ random_rotation(sources.shape[1], of).numpy() for _ in range(ROTATIONS)]


def _band(values: list[float], samples: int, named: dict[str, Any]) -> MetricResult:
    parts = {"draws": values, "lowest": min(values), "highest": max(values)}
    protocol = {"samples": samples, **named, "rotations": len(values)}
    return MetricResult("mean_correlation", statistics.fmean(values), None, protocol, parts)

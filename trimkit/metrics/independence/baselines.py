"""What a mean correlation has to be compared with: codes that know nothing of a nonlinear map."""

from __future__ import annotations

import statistics
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA, FastICA
from sklearn.exceptions import ConvergenceWarning

from trimkit.errors import OptionError
from trimkit.metrics.arrays import Floats, as_codes
from trimkit.metrics.bootstrap import DRAWS, generator
from trimkit.metrics.independence.correlation import Kind, mean_correlation
from trimkit.metrics.independence.log_cosh import contrast
from trimkit.metrics.predictors import seed_of
from trimkit.metrics.results import MetricResult

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
    linear, protocol = _linear_codes(rows, fit, s.shape[1], seed)
    results = {
        name: mean_correlation(shape(codes), target, draws=draws, **named)
        for name, codes in {"x": rows, **linear}.items()
    }
    if protocol:
        results["fastica"] = replace(results["fastica"], protocol={**results["fastica"].protocol, **protocol})
    rotated = [mean_correlation(shape(codes), target, draws=0, **named).value for codes in _rotations(s, seed)]
    return {**results, "rotation": _band(rotated, len(s), named)}


def _linear_codes(rows: Floats, fit: Floats, components: int, seed: int) -> tuple[dict[str, Floats], dict[str, Any]]:
    """Codes by PCA and by FastICA after it, and what is to be told of the latter; none where the data do not vary."""
    if not np.ptp(fit, axis=0).any():
        return {}, {}
    centre = fit.mean(0)
    wanted = min(components, fit.shape[1])
    pca, units, kept = _principal(fit, np.ones(fit.shape[1]))
    if kept < wanted:  # entries whose units are far apart hide each other's directions
        spread = fit.std(0)
        alike = _principal(fit, np.where(spread > 0, spread, 1))
        pca, units, kept = alike if alike[2] > kept else (pca, units, kept)
    kept = max(1, min(components, kept))
    scales = np.sqrt(pca.explained_variance_[:kept] * (1 - 1 / len(fit)))  # so that the variance is 1 with ddof 0
    white, codes = (pca.transform((x - centre) / units)[:, :kept] / scales for x in (fit, rows))
    best = max(_fits(white, seed), key=lambda ica: float(contrast(torch.from_numpy(ica.transform(white))).sum()))
    protocol = {"starts": STARTS, "converged": best.n_iter_ < best.max_iter}
    return {"pca": codes, "fastica": best.transform(codes)}, protocol


def _principal(fit: Floats, units: Floats) -> tuple[PCA, Floats, int]:
    """PCA of data in units (p,), the units, and how many components stand above the rounding of the data."""
    pca = PCA(svd_solver="full").fit((fit - fit.mean(0)) / units)
    return pca, units, int((pca.explained_variance_ > _rounding(fit, units)).sum())


def _rounding(fit: Floats, units: Floats) -> float:
    """Variance that the rounding of the data gives a direction: of single precision, where that holds them exactly."""
    narrow = fit.astype(np.float32)
    dtype = np.float32 if np.array_equal(narrow, fit) else np.float64
    return float(np.finfo(dtype).eps ** 2 * np.square(fit / units).mean(0).max())


def _fits(white: Floats, seed: int) -> list[FastICA]:
    """FastICA from several random starts. Which one is least Gaussian needs no truth."""
    draws = generator(seed, "mcc_baselines")
    fits = [
        FastICA(whiten=False, tol=1e-6, max_iter=500, random_state=seed_of(draws))  # type: ignore[arg-type]
        for _ in range(STARTS)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told as "converged"
        return [ica.fit(white) for ica in fits]


def _rotations(sources: Floats, seed: int) -> list[Floats]:
    """Uniformly random rotations of the sources at variance 1; a constant source stays 0."""
    centred = sources - sources[0]
    centred -= centred.mean(0)
    spread = centred.std(0)
    standard = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    shape = (ROTATIONS, len(spread), len(spread))
    left, _, right = np.linalg.svd(generator(seed, "rotations of the sources").normal(size=shape))
    return list(standard @ left @ right)


def _band(values: list[float], samples: int, named: dict[str, Any]) -> MetricResult:
    parts = {"draws": values, "lowest": min(values), "highest": max(values)}
    protocol = {"samples": samples, **named, "rotations": len(values)}
    return MetricResult("mean_correlation", statistics.fmean(values), None, protocol, parts)

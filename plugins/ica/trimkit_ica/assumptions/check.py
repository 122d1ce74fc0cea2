"""Can x be unmixed by linear ICA? The assumptions as verdicts, each with what it rests on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from trimkit.errors import OptionError
from trimkit.metrics.arrays import Floats
from trimkit_ica.assumptions import dependence, gaussianity, space
from trimkit_ica.assumptions.findings import Component
from trimkit_ica.assumptions.fitted import Limits, Unmixing, as_rows, standardised, unmix
from trimkit_ica.assumptions.report import IcaReport
from trimkit_ica.assumptions.stability import stability

EDGES = np.linspace(-5, 5, 31)
"""Of the bins of a component's density, in standard deviations; what lies beyond is in the outermost."""

_DISTRIBUTIONS = ("trimkit", "trimkit-ica", "torch", "numpy", "scipy", "scikit-learn")


def check_ica(
    x: Any,
    components: int | None = None,
    *,
    samples: int = 20_000,
    bootstraps: int = 20,
    seed: int = 0,
    name: str = "x",
    limits: Limits | None = None,
) -> IcaReport:
    """Check the assumptions of linear ICA, x ≈ A s with independent s of which at most one is Gaussian.

    FastICA is fitted to a random half of the rows. Components are tested on the other half:

    - x ≈ f(z): rank, conditioning, share of the variance that is left out, eigenvalue gap at the cut, n against 5 k²,
      convergence;
    - non-Gaussianity: negentropy proxy and excess kurtosis with bootstrap intervals, then Anderson–Darling and
      Jarque–Bera p-values with Holm's adjustment;
    - independence: correlation of squares and mutual information of pairs, each beside the same of permuted columns;
    - stability: fits to resampled rows, beside those of Gaussian noise.

    Args:
        x: real (N, p), or (N, ...) which is flattened and shown in its shape; rows are independent samples.
        components: k ≥ 2; by default the rank of x, or where that is above 16, as many as n ≥ 5 k² allows, at most 16.
        samples: at most so many rows, drawn at random.
        bootstraps: fits to resampled rows, at least 2.
        seed: of every draw, ≥ 0.
        name: of the data, for the report.
        limits: what estimates are held against.
    Returns:
        The report; ``report.overall``, ``report.verdict("stability")``, ``report.save("report.html")``.
    Raises:
        ShapeError: no real numbers (N, p), or a single variable.
        DataError: fewer than 80 rows, NaN, constant data, rank below two or below ``components``, or a direction of
            variance that rests on a few rows alone.
        OptionError: options out of their range.

    Example:
        >>> import torch
        >>> s = torch.distributions.Laplace(0.0, 1.0).sample((4000, 2))
        >>> check_ica(s @ torch.tensor([[1.0, 0.5], [0.2, 1.0]])).verdict("rank").sentence
        'All 2 variables bring variance of their own.'
    """
    if bootstraps < 2:
        raise OptionError(f"bootstraps: expected at least 2, got {bootstraps}")
    rows, shape, dtype = as_rows(x, samples, seed)
    fitted = unmix(rows, components, dtype, seed, limits or Limits())
    shapes = gaussianity.shapes(fitted)
    stable, stabilities = stability(fitted, bootstraps)
    squares, information = dependence.measure_squares(fitted), dependence.measure_information(fitted)
    verdicts = (
        space.rank(fitted),
        space.conditioning(fitted),
        space.residual(fitted),
        space.gap(fitted),
        space.sample_size(fitted),
        space.convergence(fitted),
        gaussianity.non_gaussianity(fitted, shapes),
        dependence.squares_verdict(fitted, squares),
        dependence.information_verdict(fitted, information),
        stable,
    )
    about = {"name": name, "available": len(x), "shape": list(shape), "bootstraps": bootstraps, "sha256": _hash(rows)}
    evidence = {
        "eigenvalues": fitted.eigenvalues.tolist(),
        "squares": squares.as_dict(),
        "information": information.as_dict(),
    }
    described = _components(fitted, shapes, stabilities, float(stable.threshold or 0))
    return IcaReport(verdicts, described, tuple(EDGES.tolist()), evidence, {**about, **_record(fitted)})


def _components(
    fitted: Unmixing, shapes: list[gaussianity.NonGaussianity], stabilities: Floats, threshold: float
) -> tuple[Component, ...]:
    variances = (fitted.mixing**2).sum(0) / fitted.eigenvalues.sum()
    s = standardised(fitted.sources).clip(EDGES[0], EDGES[-1])
    densities = [np.histogram(column, EDGES, density=True)[0] for column in s.T]
    return tuple(
        Component(
            float(variances[i]),
            shape,
            float(stabilities[i]),
            bool(stabilities[i] >= threshold),
            tuple(densities[i].tolist()),
            fitted.mixing[:, i],
        )
        for i, shape in enumerate(shapes)
    )


def _record(fitted: Unmixing) -> Mapping[str, Any]:
    return {
        "rows": len(fitted.fit) + len(fitted.test),
        "fit": len(fitted.fit),
        "test": len(fitted.test),
        "variables": fitted.fit.shape[1],
        "rank": fitted.rank,
        "chosen": fitted.chosen,
        "seed": fitted.seed,
        "versions": {name: version(name) for name in _DISTRIBUTIONS},
    }


def _hash(rows: Floats) -> str:
    """Of the rows that were taken, as float64."""
    return hashlib.sha256(str(rows.shape).encode() + rows.tobytes()).hexdigest()

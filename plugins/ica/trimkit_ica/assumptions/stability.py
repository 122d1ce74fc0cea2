"""Stability: does a component come back when rows are drawn again, more reliably than one of Gaussian noise would?"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from trimkit.errors import DataError
from trimkit.metrics.arrays import Floats
from trimkit.metrics.bootstrap import generator, torch_generator
from trimkit.report.verdicts import Estimate, Status, Verdict, judge, number
from trimkit_ica.assumptions.fitted import TOLERANCE, Unmixing
from trimkit_ica.assumptions.space import Z95
from trimkit_ica.unmixing import fastica, match

ROWS = 10_000
"""Rows at most in the fits to resampled rows."""

SURROGATES = 39
"""Pairs of Gaussian components in the null; its 95 % quantile is the second largest."""

SURROGATE_ROWS = 1000
"""Rows of a surrogate. In Gaussian data, both a sample's own structure and what resampling changes of it are of order
1/√n, so the stability of noise does not depend on n."""

QUANTILE = 0.95
VANISHED = 1e-9
"""Variance of a white direction in resampled rows, 1 on average, below which it is not there."""

MAX_ITERATIONS = 200
"""Of the fits to resampled rows."""


def stability(fitted: Unmixing, bootstraps: int) -> tuple[Verdict, Floats]:
    """Fit again to resampled rows, match each fit's components to the first one's by |correlation|, and average.

    Args:
        fitted: the fit.
        bootstraps: B ≥ 2 fits.
    Returns:
        The verdict on the least stable component, and the (k,) mean |correlation| of each.
    """
    draws = generator(fitted.seed, "stability")
    z = torch.from_numpy(fitted.white[:, : fitted.components])
    if len(z) > ROWS:
        z = z[torch.from_numpy(draws.permutation(len(z))[:ROWS])]
    alike = similarities(torch.from_numpy(fitted.unmixing), refit(z, bootstraps, torch_generator(draws))).numpy()
    means = alike.mean(0)
    null = gaussian_null(min(len(z), SURROGATE_ROWS), bootstraps, fitted.seed)
    threshold = max(fitted.limits.stability, null)
    lowest = int(means.argmin())
    error = Z95 * float(alike[:, lowest].std(ddof=1)) / math.sqrt(bootstraps)
    estimate = Estimate(float(means[lowest]), float(means[lowest]) - error, min(1.0, float(means[lowest]) + error))
    status = judge(estimate, threshold, "≥")
    verdict = Verdict(
        "stability",
        "Do the components come back when rows are drawn again?",
        status,
        _sentence(status, means, threshold),
        estimate,
        threshold,
        "≥",
        len(z),
        fitted.seed,
        settings=fitted.settings(
            bootstraps=bootstraps,
            estimate="lowest mean |correlation| of a component",
            null=f"{number(null)}: {QUANTILE:.0%} quantile of {SURROGATES} pairs of Gaussian components",
            screen=fitted.limits.stability,
        ),
    )
    return verdict, means


def refit(z: Tensor, bootstraps: int, draws: torch.Generator) -> Tensor:
    """FastICA of resampled rows, each whitened again and started at random, in one batch.

    Args:
        z: (..., n, k) white rows of one problem or of several.
        bootstraps: B fits of each.
        draws: of rows and of starts.
    Returns:
        (..., B, k, k) unmixing matrices: their rows give the components of z's own rows.
    """
    *several, n, k = z.shape
    index = torch.randint(n, (*several, bootstraps, n), generator=draws)
    wide = z.unsqueeze(-3).expand(*several, bootstraps, n, k)
    rows = wide.gather(-2, index.unsqueeze(-1).expand(*index.shape, k))
    white, whitening = _white(rows.reshape(-1, n, k))
    fitted = fastica(white, tol=TOLERANCE, max_iter=MAX_ITERATIONS, generator=draws)
    return (fitted.matrix @ whitening).reshape(*several, bootstraps, k, k)


def similarities(reference: Tensor, fits: Tensor) -> Tensor:
    """|Correlation| of each component with its match in each fit, over white rows: (k, k), (B, k, k) → (B, k)."""
    unit = fits / fits.norm(dim=-1, keepdim=True)
    alike = (reference @ unit.mT).abs()
    return torch.stack([one[torch.arange(len(one)), match(one)] for one in alike])


@cache
def gaussian_null(rows: int, bootstraps: int, seed: int) -> float:
    """The stability that a component of a pair of Gaussian ones stays below in 95 of 100 data sets.

    Two is the worst case: in two dimensions chance alone makes matched directions most alike.

    Args:
        rows: of each data set.
        bootstraps: fits to resampled rows of each, as for the data.
        seed: of the draws.
    """
    draws = torch_generator(generator(seed, "gaussian null"))
    noise = torch.randn(SURROGATES, rows, 2, dtype=torch.float64, generator=draws)
    z, _ = _white(noise)
    reference = fastica(z, tol=TOLERANCE, max_iter=MAX_ITERATIONS, generator=draws).matrix
    fits = refit(z, bootstraps, draws)
    alike = [similarities(one, several).mean(0).max() for one, several in zip(reference, fits, strict=True)]
    return float(np.quantile([float(value) for value in alike], QUANTILE, method="higher"))


def _white(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (B, n, k) centred and whitened, and the (B, k, k) matrices that did it."""
    centred = rows - rows.mean(-2, keepdim=True)
    values, vectors = torch.linalg.eigh(centred.mT @ centred / rows.shape[-2])
    if float(values.min()) < VANISHED:
        raise DataError(
            "x: a direction of variance is gone where rows are drawn again, so it rests on a few rows alone; drop "
            "variables that hardly ever change, take fewer components, or add samples"
        )
    whitening = vectors.mT / values.sqrt().unsqueeze(-1)
    return centred @ whitening.mT, whitening


def _sentence(status: Status, means: Floats, threshold: float) -> str:
    moving = [str(i + 1) for i, value in enumerate(means) if value < threshold]
    if status is Status.PASS:
        return f"Every component comes back, the least stable with |correlation| {number(float(means.min()))}."
    if status is Status.FAIL:
        which = f"Component {moving[0]} moves" if len(moving) == 1 else f"Components {', '.join(moving)} move"
        if len(moving) == len(means):
            which = "All components move"
        return f"{which} as components of Gaussian noise do. Do not read meaning into them."
    return f"Component {int(means.argmin()) + 1} is near the threshold: more bootstraps would decide."

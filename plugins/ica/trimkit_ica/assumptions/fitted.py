"""What the checks look at: half of the rows unmixed by FastICA, and the other half, which the fit never saw."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trimkit.errors import DataError, OptionError, ShapeError
from trimkit.metrics.arrays import Floats, as_codes, halves
from trimkit.metrics.bootstrap import generator, torch_generator
from trimkit_ica.unmixing import canonical, fastica, whiten

FEWEST_ROWS = 80
"""Rows below which nothing is checked: 40 to fit, 40 to test."""

MOST_COMPONENTS = 16
"""Components that are taken by themselves; more only where they are asked for."""

ROWS_PER_SQUARE = 5
"""n ≥ 5 k² rows for k components: below, FastICA's estimates are mostly noise."""

MAX_ITERATIONS = 500

TOLERANCE = 1e-8
"""Of 1 − |w⁺·w|, an angle of 10⁻⁴: half-way between two components the iteration starts slowly, and a looser one would
take that for the end."""


@dataclass(frozen=True)
class Limits:
    """What the estimates are held against: conventions, recorded with every verdict.

    Attributes:
        condition: largest ratio of the variances of the first and the last direction that are kept.
        residual: largest share of the variance that the components may leave out.
        negentropy: smallest (E log cosh s − E log cosh ν)² of a component that is not Gaussian in practice; a t
            distribution with 10 degrees of freedom has about this.
        stability: smallest |correlation| of a component with itself in fits to resampled rows; the null of Gaussian
            data may ask for more.
        squares: largest |corr(s_i², s_j²)| that counts as small.
        information: largest mutual information of two components that counts as small, in nats.
    """

    condition: float = 1e8
    residual: float = 0.1
    negentropy: float = 1e-4
    stability: float = 0.95
    squares: float = 0.1
    information: float = 0.1

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise OptionError(f"limits: expected {name} as a number > 0, got {value!r}")


@dataclass(frozen=True)
class Unmixing:
    """Linear ICA of one half of the rows; everything in float64.

    Attributes:
        fit: (n, p) rows that the fit saw.
        test: (m, p) rows that it did not.
        eigenvalues: (p,) of the covariance of ``fit``, falling.
        rank: directions whose variance is above rounding.
        mean: (p,) of ``fit``.
        basis: (p, k) K⁺: z → x − mean; its columns are the principal directions that are kept.
        white: (n, k + 1) white scores of ``fit``, with the first direction that is left out; (n, k) where none is.
        unmixing: (k, k) rows w with s = w·z.
        mixing: (p, k) columns of the components, in the units of x; most variance first.
        sources: (m, k) components of ``test``.
        converged: of FastICA.
        iterations: of FastICA.
        chosen: the number of components was the user's.
        seed: of every draw.
        limits: what estimates are held against.
    """

    fit: Floats
    test: Floats
    eigenvalues: Floats
    rank: int
    mean: Floats
    basis: Floats
    white: Floats
    unmixing: Floats
    mixing: Floats
    sources: Floats
    converged: bool
    iterations: int
    chosen: bool
    seed: int
    limits: Limits

    @property
    def components(self) -> int:
        """Their number k."""
        return len(self.unmixing)

    def in_all(self, rows: int | None, half: int) -> int | None:
        """So many rows more in a half of ``of`` rows, as rows of the whole data."""
        return None if rows is None else math.ceil(rows * (len(self.fit) + len(self.test)) / half)

    def settings(self, **more: Any) -> Mapping[str, Any]:
        """What a verdict has to say of the fit, and more of itself."""
        return {"components": self.components, "rows of the fit": len(self.fit), **more}


def as_rows(x: Any, samples: int, seed: int) -> tuple[Floats, tuple[int, ...], torch.dtype]:
    """Data as they are given, checked.

    Args:
        x: real (N, ...): tensor, array or nested lists; rows are samples.
        samples: take at most so many rows, at random.
        seed: of that draw.
    Returns:
        (n, p) float64, the shape of a sample, and the type that the values were stored in.
    Raises:
        ShapeError: no real numbers (N, ...), or only one variable.
        DataError: fewer than `FEWEST_ROWS` rows, NaN or infinity, or all rows the same.
        OptionError: samples below `FEWEST_ROWS`.
    """
    if samples < FEWEST_ROWS:
        raise OptionError(f"samples: expected at least {FEWEST_ROWS}, half to fit and half to test, got {samples}")
    rows = as_codes(x, "x", fewest=FEWEST_ROWS)
    if rows.shape[1] < 2:
        raise ShapeError(f"x: expected at least two variables, got {tuple(np.shape(x))}; one mixes nothing")
    if (rows == rows[0]).all():
        raise DataError(f"x: all {len(rows)} rows are the same, so there is nothing to unmix")
    shape = tuple(np.shape(x))[1:]
    if len(rows) > samples:
        rows = rows[np.sort(generator(seed, "rows").permutation(len(rows))[:samples])]
    return rows, shape, _dtype(x)


def unmix(rows: Floats, components: int | None, dtype: torch.dtype, seed: int, limits: Limits) -> Unmixing:
    """Whiten and rotate one half of the rows.

    Args:
        rows: (n, p).
        components: k ≥ 2; by default the rank, or where that is more than `MOST_COMPONENTS`, as many as the rows allow
            (n ≥ 5 k²), at most `MOST_COMPONENTS`.
        dtype: that the values were stored in, whose rounding is no variance.
        seed: of the division into halves, and of FastICA's start.
        limits: kept for the checks.
    Raises:
        OptionError: fewer than two components.
        DataError: rank below two or below the number of components, or a component that rests on a few rows.
    """
    parts = halves(len(rows), 0.5, generator(seed, "halves"))
    fit, test = rows[parts.train], rows[parts.test]
    whitening = whiten(torch.from_numpy(fit).to(dtype))
    rank = min(whitening.rank, len(fit) - 1)
    k = _number(components, rank, len(fit))
    white = whitening.apply(torch.from_numpy(fit))[:, : min(k + 1, rank)]
    z = white[:, :k]
    start = torch_generator(generator(seed, "fastica"))
    rotation = fastica(z, tol=TOLERANCE, max_iter=MAX_ITERATIONS, generator=start)
    basis = whitening.backward[:, :k]
    order, signs = canonical(basis @ rotation.matrix.T, z @ rotation.matrix.T)
    unmixing = rotation.matrix[order] * signs[:, None]
    sources = (whitening.apply(torch.from_numpy(test))[:, :k] @ unmixing.T).numpy()
    _require_spread(sources)
    return Unmixing(
        fit=fit,
        test=test,
        eigenvalues=whitening.eigenvalues.numpy(),
        rank=rank,
        mean=whitening.mean.numpy(),
        basis=basis.numpy(),
        white=white.numpy(),
        unmixing=unmixing.numpy(),
        mixing=(basis @ unmixing.T).numpy(),
        sources=sources,
        converged=bool(rotation.converged),
        iterations=int(rotation.iterations),
        chosen=components is not None,
        seed=seed,
        limits=limits,
    )


def decides(samples: int | None) -> str:
    """The sentence that so many more samples would decide, or none."""
    return "" if samples is None else f" About {samples} more samples would decide."


def standardised(s: Floats) -> Floats:
    """Columns with mean 0 and variance 1 (ddof 0)."""
    centred = s - s.mean(0)
    return centred / np.sqrt((centred * centred).mean(0))


def _number(components: int | None, rank: int, rows: int) -> int:
    if rank < 2:
        raise DataError(f"x: expected at least two independent directions of variance, got rank {rank}")
    if components is None:
        affordable = math.isqrt(rows // ROWS_PER_SQUARE)
        return rank if rank <= MOST_COMPONENTS else min(MOST_COMPONENTS, max(2, affordable))
    if components < 2:
        raise OptionError(f"components: expected at least 2, got {components}; one is independent of nothing")
    if components > rank:
        raise DataError(f"components: expected at most {rank}, the rank of x, got {components}; ask for fewer")
    return components


def _dtype(x: Any) -> torch.dtype:
    """What the values were stored as: whitening takes their rounding for no variance. Float64 for integers."""
    if isinstance(x, Tensor):
        return x.dtype if x.is_floating_point() else torch.float64
    return {np.dtype("f2"): torch.float16, np.dtype("f4"): torch.float32}.get(np.asarray(x).dtype, torch.float64)


def _require_spread(sources: Floats) -> None:
    """Refuse components that rest on a few rows of the fit alone, such as one variable that is nearly always zero."""
    still = np.flatnonzero(sources.std(0) < 1e-6) + 1
    if len(still):
        raise DataError(
            f"x: component {', '.join(map(str, still))} is constant on the rows that the fit did not see, so it rests "
            "on a few rows alone; drop variables that hardly ever change, take fewer components, or add samples"
        )

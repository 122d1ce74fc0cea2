"""Whitening: an affine map after which the covariance is the identity, always computed in double precision.

In single precision the covariance of badly scaled data loses its small eigenvalues: with a mixing matrix of condition
5,000 the "white" data have variances of up to 30, and the components found in them are wrong without any sign of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from trimkit.errors import DataError, OptionError, ShapeError

Kind = Literal["pca", "zca", "cholesky"]

CHUNK = 4096
"""Samples that are worked on at once."""


BLUR = 1e-3
"""Share of the largest standard deviation that rounding may take before it is named for a direction that is missing."""


@dataclass(frozen=True)
class Whitening:
    """z = K (x − μ) with covariance I over the data it was computed from (divided by n: ddof 0).

    Attributes:
        mean: μ (p,).
        forward: K (k, p).
        backward: K⁺ (p, k), so that K K⁺ = I.
        eigenvalues: (p,) of the data's covariance, falling; ≥ 0.
        rank: how many eigenvalues stand above rounding, so that a component can have its direction: at least k.
    """

    mean: Tensor
    forward: Tensor
    backward: Tensor
    eigenvalues: Tensor
    rank: int

    @property
    def condition(self) -> float:
        """Largest over smallest eigenvalue of the covariance, infinite where the data are rank deficient."""
        return float(self.eigenvalues[0] / self.eigenvalues[-1]) if self.rank == len(self.eigenvalues) else float("inf")

    def apply(self, x: Tensor) -> Tensor:
        """White data: (n, p) → (n, k) in x's own type, computed in double precision."""
        white = x.new_empty(len(x), len(self.forward))
        for chunk, rows in zip(white.split(CHUNK), x.split(CHUNK), strict=True):
            chunk.copy_((rows.double() - self.mean) @ self.forward.T)
        return white

    def invert(self, z: Tensor) -> Tensor:
        """The data of white data, μ + K⁺ z: (n, k) → (n, p) in z's own type, computed in double precision."""
        return (z.double() @ self.backward.T + self.mean).to(z.dtype)

    def describe_lost(self, dtype: torch.dtype) -> str:
        """What rounding took from data that lie far from 0, in a sentence with the way out; "" for nothing.

        Args:
            dtype: in which the data were stored.
        """
        entries, size = len(self.eigenvalues), float(self.mean.abs().max())
        blur = torch.finfo(dtype).eps * size / float(self.eigenvalues[0]) ** 0.5
        if self.rank == entries or blur < BLUR:
            return ""
        return (
            f"{entries - self.rank} of {entries} directions cannot be told from the rounding of "
            f"{str(dtype).removeprefix('torch.')} at values of size {size:.2g}, and are left out; subtract the mean "
            "before the data are stored"
        )


@torch.no_grad()
def whiten(x: Tensor, components: int | None = None, *, kind: Kind = "pca") -> Whitening:
    """Whitening of data by the eigenvectors V and eigenvalues Λ of their covariance C.

    - "pca": K = Λ^−½ Vᵀ, of the k largest eigenvalues: the only kind that can keep fewer components than entries.
    - "zca": K = V Λ^−½ Vᵀ, which changes the data least.
    - "cholesky": K upper triangular with Kᵀ K = C⁻¹; entry i is what it says beyond the entries after it.

    Kessy, Lewin, Strimmer 2018. Where entries differ in scale by more than one covariance in float64 can hold, "pca"
    takes the principal components of the standardised entries: they span the same, and none is lost.

    Args:
        x: (n, p) real, floating, finite; n ≥ 2. Any precision: the covariance is computed in float64.
        components: k; None for all that the data have, which are fewer than p where entries depend on each other.
        kind: see above.
    Returns:
        In float64, on x's device.
    Raises:
        ShapeError: not (n, p), not floating, or fewer than two samples.
        DataError: NaN or infinity, squares that float64 does not hold, or fewer usable components than asked for.
        OptionError: a count that is no integer from 1 to p, or an unknown kind.
    """
    _require_samples(x)
    if kind not in ("pca", "zca", "cholesky"):
        raise OptionError(f"whiten: expected kind 'pca', 'zca' or 'cholesky', got {kind!r}")
    mean, covariance = _moments(x)
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    largest = float((covariance.diagonal() + mean.square()).max())
    rank = int((values > _rounding(values, largest, x.dtype)).sum())
    if kind == "pca" and rank < (components or x.shape[1]):
        units, alike, directions_alike, rank_alike = _standardised(x, mean, covariance)
        if rank_alike > rank:
            count = _usable(components, rank_alike, x.shape, kind)
            scales, directions = alike[:count].sqrt(), directions_alike[:, :count]
            forward, backward = (directions / scales).T / units, units[:, None] * directions * scales
            return Whitening(mean, forward, backward, values, rank_alike)
    count = _usable(components, rank, x.shape, kind)
    scales, directions = values[:count].sqrt(), vectors[:, :count]
    if kind == "pca":
        forward, backward = (directions / scales).T.contiguous(), directions * scales
    elif kind == "zca":
        forward, backward = directions / scales @ directions.T, directions * scales @ directions.T
    else:
        backward = _upper_factor(covariance)
        forward = torch.linalg.solve_triangular(backward, torch.eye(count).to(backward), upper=True)
    return Whitening(mean, forward, backward, values, rank)


def as_stored(x: Tensor) -> Tensor:
    """Float64 data as float32 where that holds every value exactly: so they were stored, and are rounded."""
    narrow = x.float()
    return narrow if x.dtype == torch.float64 and torch.equal(narrow.double(), x) else x


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance in float64, without a second copy of the data."""
    mean = torch.stack([rows.double().sum(0) for rows in x.split(CHUNK)]).sum(0) / len(x)
    covariance = mean.new_zeros(len(mean), len(mean))
    for rows in x.split(CHUNK):
        centred = rows.double() - mean
        covariance += centred.T @ centred
    covariance /= len(x)
    if not bool(torch.isfinite(covariance).all()) or (not bool(covariance.any()) and bool((x != x[0]).any())):
        size = float(x.double().abs().max())
        raise DataError(
            f"whiten: values of size {size:.2g} have squares outside float64; divide the data by {size:.2g}"
        )
    return mean, covariance


def _standardised(x: Tensor, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
    """Units σ (p,), eigenvalues (p,) falling and eigenvectors (p, p) of the correlations, and their rank.

    A direction v counts where its variance is above what rounding the entries gives it, Σ_j v_j² ε² E[x_j²] / σ_j², and
    above the error of the eigendecomposition: entries in units 10⁸ apart are told from rounding, each by its own.
    """
    deviations = covariance.diagonal().sqrt()
    units = torch.where(deviations > 0, deviations, 1.0)
    correlations = covariance.new_zeros(covariance.shape)
    for rows in x.split(CHUNK):
        standard = (rows.double() - mean) / units
        correlations += standard.T @ standard
    values, vectors = torch.linalg.eigh(correlations / len(x))
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    noise = torch.finfo(x.dtype).eps ** 2 * (1 + (mean / units).square())
    floor = (vectors.square() * noise[:, None]).sum(0).clamp_min(_rounding(values, 0.0, x.dtype))
    below = (values <= floor).nonzero()
    return units, values, vectors, int(below[0]) if len(below) else len(values)


def _rounding(values: Tensor, largest: float, dtype: torch.dtype) -> float:
    """What eigenvalues of 0 come out as: from the eigendecomposition, and from the rounding of the data to their type.

    An entry of size m was rounded by up to ε m / 2, with a variance of about ε² m² / 12, one twelfth of the bound. An
    eigenvalue at the bound of the eigendecomposition is known to about a hundredth, so that data come out white.

    Args:
        values: (p,), falling.
        largest: mean square of the largest entry.
        dtype: of the data.
    """
    of_sums = 100 * len(values) * torch.finfo(torch.float64).eps * float(values[0])
    return max(of_sums, torch.finfo(dtype).eps ** 2 * largest)


def _usable(components: int | None, rank: int, shape: torch.Size, kind: Kind) -> int:
    """How many components there will be, where the data allow them."""
    samples, entries = shape
    if components is not None and not (isinstance(components, int) and 1 <= components <= entries):
        raise OptionError(
            f"whiten: expected an integer from 1 to {entries} components for data of {entries} entries, got "
            f"{components!r}"
        )
    if rank == 0:
        raise DataError(
            "whiten: expected data that vary, got samples that are all alike or differ by no more than rounding; "
            "subtract the mean before the data are stored"
        )
    wanted = components or (rank if kind == "pca" else entries)
    if kind != "pca" and wanted < entries:
        raise OptionError(f"whiten: {kind} keeps all {entries} components, got components={components}; use kind='pca'")
    if wanted > rank:
        raise DataError(
            f"whiten: the data have {rank} usable components, got {wanted} asked for: {entries} entries in {samples} "
            f"samples depend on each other, or differ in scale by more than rounding leaves; ask for at most {rank} "
            "principal components, or bring the entries to one scale"
        )
    return wanted


def _upper_factor(covariance: Tensor) -> Tensor:
    """U, upper triangular, with U Uᵀ = C: Cholesky's factor of the entries in reverse order."""
    return torch.linalg.cholesky(covariance.flip(0, 1)).flip(0, 1)


def _require_samples(x: Tensor) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim != 2 or 0 in x.shape:
        got = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ShapeError(
            f"whiten: expected a floating tensor (n, p), one sample a row, got {got}; flatten samples with x.flatten(1)"
        )
    if len(x) < 2:
        raise ShapeError("whiten: expected at least two samples, got one, of which a covariance says nothing")
    if not bool(torch.isfinite(x).all()):
        raise DataError("whiten: expected finite data, got NaN or infinity; clean the data first")

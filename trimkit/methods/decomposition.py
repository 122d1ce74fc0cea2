"""KL(q(z|x) ‖ p(z)) taken apart: mutual information, total correlation and the KL of each dimension's marginal.

For any q, and p(z) = N(0, I) (Hoffman & Johnson 2016; Chen et al. 2018, arXiv:1802.04942, eq. 2),

    E_x KL(q(z|x) ‖ p(z)) = I(x; z) + KL(q(z) ‖ Π_d q(z_d)) + Σ_d KL(q(z_d) ‖ p(z_d)).

The aggregate posterior q(z) = 1/N Σ_n q(z|x_n) needs all N posteriors, and a batch has B of them. An estimator is a
weight W_ij of posterior j in the density at z_i:

    log q(z_i) ≈ log Σ_j W_ij Π_d q(z_id|x_j),        log q(z_id) ≈ log Σ_j W_ij q(z_id|x_j).

The three terms sum to log q(z|x) − log p(z) whatever log q(z) is, so a right sum says nothing of its parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from trimkit.errors import OptionError, ShapeError, nearest
from trimkit.methods.posteriors import DiagonalGaussian, Posterior
from trimkit.methods.precision import at_least_float32, no_autocast
from trimkit.processes import gather, share_index

Estimator: TypeAlias = Literal["symmetric", "mss", "mws", "batch", "leave-one-out"]
"""See `decompose_kl`."""

PAIRS = 2**22
"""Densities q(z_id|x_j) that `summarise_kl` holds at once: 16 MiB in float32."""


@dataclass(frozen=True)
class Decomposition:
    """The three parts of the KL, in nats.

    Attributes:
        mutual_information: log q(z|x) − log q(z); its mean is I(x; z).
        total_correlation: log q(z) − Σ_d log q(z_d); its mean is KL(q(z) ‖ Π_d q(z_d)).
        dimension_wise_kl: Σ_d (log q(z_d) − log p(z_d)).

    >>> parts = Decomposition(*torch.tensor([[0.5], [0.25], [1.0]]))
    >>> parts.mutual_information + parts.total_correlation + parts.dimension_wise_kl      # the KL of the sample
    tensor([1.7500])
    """

    mutual_information: Tensor
    total_correlation: Tensor
    dimension_wise_kl: Tensor


def decompose_kl(
    z: Tensor, posterior: DiagonalGaussian, *, estimator: Estimator = "symmetric", dataset_size: int | None = None
) -> Decomposition:
    """The parts of the KL of each sample, from one draw a sample.

    With N samples of data, B posteriors (those of all processes, see `gather`) and M = B − 1, the weights are

    | estimator | W_ii | W_ij | |
    |---|---|---|---|
    | "symmetric" | 1/N | (N − 1)/(N M) | unbiased for q(z); the batch mean at B = N |
    | "mss" | 1/N | 1/M, one of them (N − M)/(N M) | Chen et al. 2018, appendix C.2, with W's rows summing to 1 |
    | "batch" | 1/B | 1/B | exact at B = N; otherwise MI ≤ log B, and the rest shows as TC |
    | "leave-one-out" | 0 | 1/M | no sample is explained by its own posterior |
    | "mws" | 1/(B N) | 1/(B N) | gradients of "batch"; see below |

    "mws" (Chen et al. 2018, appendix C.1) is no number of nats: its values are those of "batch" plus log N in MI,
    (D − 1) log N in TC, and −D log N in the KL of the marginals.

    The logarithm of an unbiased density is biased: where the posteriors are narrow beside the distances among B codes,
    "batch" shows part of MI as TC and "symmetric" does the opposite, so the two bracket the truth. Means over batches
    of Gaussian posteriors with N = 737,280 (MI / TC / KL of the marginals in nats, `benchmarks/kl_decomposition.py`):

    | | D 2, s² .25, B 64 | the same, B 1024 | D 10, s² .25, B 64 | D 10, s² .1, B 1024 |
    |---|---|---|---|---|
    | truth | 1.242 / .144 / 0 | 1.242 / .144 / 0 | 6.788 / .144 / 0 | 11.513 / 0 / 0 |
    | "symmetric", "mss" | 1.312 / .126 / −.045 | 1.240 / .142 / −.003 | 9.33 / −2.19 / −.203 | 12.61 / −1.06 / −.031 |
    | "batch" | 1.202 / .158 / .033 | 1.232 / .145 / .002 | 3.958 / 2.805 / .177 | 6.868 / 4.629 / .027 |
    | "leave-one-out" | 1.313 / .125 / −.045 | 1.240 / .142 / −.003 | 10.41 / −3.26 / −.204 | 18.92 / −7.36 / −.032 |
    | "mws" | 14.7 / 13.7 / −27.0 | 14.7 / 13.7 / −27.0 | 17.5 / 124.4 / −134.9 | 20.4 / 126.2 / −135.1 |

    Args:
        z: (N, D) one draw from each posterior.
        posterior: of those N samples, over (N, D).
        estimator: see above.
        dataset_size: N, the number of samples of the training data; "batch" and "leave-one-out" do not use it.
    Returns:
        Three (N,) tensors, in float32 or better, with the graph of z and of all posteriors.
    Raises:
        OptionError: an unknown estimator, or a dataset size that is missing or smaller than the batch.
        ShapeError: codes that are not the posterior's, or one posterior where the estimator needs others.
    """
    if z.ndim != 2 or z.shape != posterior.mean.shape:
        raise ShapeError(
            f"expected one code (N, D) a posterior, {tuple(posterior.mean.shape)}, got {tuple(z.shape)}; flatten codes "
            "with several axes"
        )
    z, own = at_least_float32(z), _widened(posterior)
    columns = DiagonalGaussian(gather(own.mean), gather(own.log_variance))
    weights = mixture_weights(own_rows(z), len(columns.mean), estimator, dataset_size)
    return _decomposed(z, own, columns, weights)


def mixture_weights(own: Tensor, posteriors: int, estimator: Estimator, dataset_size: int | None = None) -> Tensor:
    """The weight of each posterior in the density at each code, see `decompose_kl`.

    Args:
        own: (N,) which of the posteriors is the code's own.
        posteriors: B.
        estimator: see `decompose_kl`.
        dataset_size: N of the data.
    Returns:
        (N, B) in float64; rows sum to 1, those of "mws" to 1/N.
    Raises:
        OptionError, ShapeError: see `decompose_kl`.
    """
    if estimator not in _WEIGHTS:
        raise OptionError(f"there is no estimator {estimator!r}. {nearest(estimator, _WEIGHTS)}")
    weigh, sized, others = _WEIGHTS[estimator]
    if sized and dataset_size is None:
        raise OptionError(
            f"estimator {estimator!r} needs dataset_size, the number of samples of the training data; 'batch' does not"
        )
    if sized and dataset_size is not None and dataset_size < posteriors:
        raise OptionError(f"expected dataset_size ≥ {posteriors}, the size of the batch, got {dataset_size}")
    if others and posteriors < 2:
        raise ShapeError(f"estimator {estimator!r} compares each sample with others: expected at least 2, got 1")
    return weigh(own, posteriors, dataset_size or posteriors)


@torch.no_grad()
def summarise_kl(
    posteriors: Iterable[Posterior],
    generator: torch.Generator | None = None,
    *,
    estimator: Estimator = "symmetric",
    dataset_size: int,
) -> dict[str, Any]:
    """The decomposition over all posteriors of a data set at once, as numbers that say how they were estimated.

    The larger B, the smaller the bias; with B = N there is none left for "symmetric" and "batch".

    Args:
        posteriors: of B samples in all, in batches, all of them on this process.
        generator: of the draw, one a posterior.
        estimator: see `decompose_kl`.
        dataset_size: N, at least B.
    Returns:
        "mi", "tc" and "dwkl" in nats, and "estimator", "posteriors" (B) and "dataset_size" (N); nothing where one
            is no Gaussian over (N, D), or there are fewer than two.
    Raises:
        OptionError: see `decompose_kl`.
    """
    columns = _joined(list(posteriors))
    if columns is None:
        return {}
    z = columns.rsample(generator)
    parts = []
    for rows in _chunks(len(z), max(1, PAIRS // z.numel()), z.device):
        own = DiagonalGaussian(columns.mean[rows], columns.log_variance[rows])
        parts.append(_decomposed(z[rows], own, columns, mixture_weights(rows, len(z), estimator, dataset_size)))
    return {
        "mi": _mean([part.mutual_information for part in parts]),
        "tc": _mean([part.total_correlation for part in parts]),
        "dwkl": _mean([part.dimension_wise_kl for part in parts]),
        "estimator": estimator,
        "posteriors": len(z),
        "dataset_size": dataset_size,
    }


def gaussian_decomposition(covariance: Tensor, variance: Tensor | float) -> Decomposition:
    """The parts in closed form where q(z) is Gaussian: means μ_n ~ N(0, C) and one posterior variance for all samples.

    With S = C + diag(s²): MI = ½ (log det S − Σ_d log s_d²), TC = ½ (Σ_d log S_dd − log det S), and the KL of the
    marginals is ½ Σ_d (S_dd − 1 − log S_dd).

    Args:
        covariance: C (D, D) of the posteriors' means.
        variance: s², a number or (D,).
    Returns:
        Three scalars.

    >>> c = torch.tensor([[0.75, 0.5], [0.5, 0.75]], dtype=torch.float64)
    >>> parts = gaussian_decomposition(c, 0.25)
    >>> round(float(parts.mutual_information), 4), round(float(parts.total_correlation), 4)
    (1.2425, 0.1438)
    """
    spread = torch.as_tensor(variance, dtype=covariance.dtype, device=covariance.device).expand(len(covariance))
    total = covariance + torch.diag(spread)
    marginal, joint = total.diagonal(), torch.linalg.slogdet(total).logabsdet
    return Decomposition(
        0.5 * (joint - spread.log().sum()),
        0.5 * (marginal.log().sum() - joint),
        0.5 * (marginal - 1 - marginal.log()).sum(),
    )


def own_rows(rows: Tensor) -> Tensor:
    """Where this process's rows are among the gathered ones.

    Args:
        rows: (N, ...) of this process.
    Returns:
        (N,) indices into ``gather(rows)``.
    """
    own = float(share_index())
    owners = gather(torch.full((len(rows),), own, device=rows.device))
    return (owners == own).nonzero()[:, 0]


def _decomposed(z: Tensor, own: DiagonalGaussian, columns: DiagonalGaussian, weights: Tensor) -> Decomposition:
    """The parts at codes z (N, D), from the posteriors in columns (B, D) with weights (N, B)."""
    with no_autocast(z):
        log_weights = weights.log().to(z.dtype)
        pairs = _log_normal(z[:, None], columns.mean, columns.log_variance)  # (N, B, D)
        joint = torch.logsumexp(log_weights + pairs.sum(2), 1)
        product = torch.logsumexp(log_weights[:, :, None] + pairs, 1).sum(1)
        prior = _log_normal(z, torch.zeros_like(z), torch.zeros_like(z)).sum(1)
    return Decomposition(own.log_prob(z) - joint, joint - product, product - prior)


def _log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    squared = (z - mean).square() * (-log_variance).exp()
    return -0.5 * (squared + (log_variance + math.log(2 * math.pi)))


def _symmetric(own: Tensor, posteriors: int, size: int) -> Tensor:
    return _two_weights(own, posteriors, 1 / size, (size - 1) / (size * (posteriors - 1)))


def _stratified(own: Tensor, posteriors: int, size: int) -> Tensor:
    others = posteriors - 1
    weights = _two_weights(own, posteriors, 1 / size, 1 / others)
    return weights.scatter(1, ((own + 1) % posteriors)[:, None], (size - others) / (size * others))


def _two_weights(own: Tensor, posteriors: int, self_weight: float, other_weight: float) -> Tensor:
    weights = torch.full((len(own), posteriors), other_weight, dtype=torch.float64, device=own.device)
    return weights.scatter(1, own[:, None], self_weight)


_WEIGHTS: dict[str, tuple[Callable[[Tensor, int, int], Tensor], bool, bool]] = {
    "symmetric": (_symmetric, True, True),
    "mss": (_stratified, True, True),
    "mws": (lambda own, b, n: _two_weights(own, b, 1 / (b * n), 1 / (b * n)), True, False),
    "batch": (lambda own, b, n: _two_weights(own, b, 1 / b, 1 / b), False, False),
    "leave-one-out": (lambda own, b, n: _two_weights(own, b, 0.0, 1 / (b - 1)), False, True),
}
"""Estimator → its weights, whether they depend on the size of the data, and whether they need a second posterior."""


def _widened(posterior: DiagonalGaussian) -> DiagonalGaussian:
    return DiagonalGaussian(at_least_float32(posterior.mean), at_least_float32(posterior.log_variance))


def _joined(posteriors: Sequence[Posterior]) -> DiagonalGaussian | None:
    """One batch of Gaussians over (B, D), B ≥ 2, or None where they are something else."""
    found = [q for q in posteriors if isinstance(q, DiagonalGaussian) and q.mean.ndim == 2]
    if len(found) < len(posteriors) or sum(len(q.mean) for q in found) < 2:
        return None
    return _widened(DiagonalGaussian(torch.cat([q.mean for q in found]), torch.cat([q.log_variance for q in found])))


def _chunks(n: int, size: int, device: torch.device) -> Iterator[Tensor]:
    return iter(torch.arange(n, device=device).split(size))


def _mean(parts: list[Tensor]) -> float:
    return float(torch.cat(parts).double().mean())

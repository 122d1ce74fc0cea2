"""How far each estimator of `trimkit.methods.decompose_kl` is from the truth, and what a call costs.

    python benchmarks/kl_decomposition.py

Posteriors N(μ_n, s²I) with μ_n ~ N(0, C), so that q(z) is Gaussian and the truth is known: C has variances 1 − s² and
a covariance (½, or 0) of the first two dimensions. Means over batches, in nats: MI / TC / KL of the marginals.
"""

from __future__ import annotations

import time
from typing import get_args

import torch
from torch import Tensor

from trimkit.methods import Decomposition, DiagonalGaussian, Estimator, decompose_kl, gaussian_decomposition

DATASET_SIZE = 737_280
"""Images of dSprites."""

CASES = ((2, 0.25, 0.5, 64, 400), (2, 0.25, 0.5, 1024, 50), (10, 0.25, 0.5, 64, 400), (10, 0.1, 0.0, 1024, 20))
"""D, s², covariance, B, batches."""


def covariance(dimensions: int, variance: float, coupled: float) -> Tensor:
    """C of the means."""
    found = (1 - variance) * torch.eye(dimensions, dtype=torch.float64)
    found[0, 1] = found[1, 0] = coupled
    return found


def estimate(case: tuple[int, float, float, int, int], estimator: Estimator) -> list[float]:
    """Means of the three parts over the case's batches."""
    dimensions, variance, coupled, size, batches = case
    generator = torch.Generator().manual_seed(0)
    factor = torch.linalg.cholesky(covariance(dimensions, variance, coupled)).float()
    sums = torch.zeros(3, dtype=torch.float64)
    for _ in range(batches):
        means = torch.randn(size, dimensions, generator=generator) @ factor.T
        posterior = DiagonalGaussian(means, torch.full_like(means, variance).log())
        z = posterior.rsample(generator)
        sums += torch.stack(means_of(decompose_kl(z, posterior, estimator=estimator, dataset_size=DATASET_SIZE)))
    return (sums / batches).tolist()


def means_of(parts: Decomposition) -> list[Tensor]:
    """The mean of each part."""
    return [p.double().mean() for p in (parts.mutual_information, parts.total_correlation, parts.dimension_wise_kl)]


def cost(size: int, dimensions: int) -> float:
    """Milliseconds of the decomposition and its gradient, least of 20."""
    generator = torch.Generator().manual_seed(0)
    codes = [torch.randn(size, dimensions, generator=generator, requires_grad=True) for _ in range(2)]
    posterior = DiagonalGaussian(*codes)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        z = posterior.rsample(generator)
        parts = decompose_kl(z, posterior, dataset_size=DATASET_SIZE)
        torch.autograd.grad(parts.total_correlation.mean(), codes)
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds)


def row(name: str, cells: list[list[float]]) -> None:
    """One line of the table."""
    print(f"| {name} | " + " | ".join(" / ".join(f"{value:.3f}" for value in cell) for cell in cells) + " |")


def main() -> None:
    """Print the table and the costs."""
    print("| | " + " | ".join(f"D {d}, s² {v:g}, cov {c:g}, B {b}" for d, v, c, b, _ in CASES) + " |")
    truths = [gaussian_decomposition(covariance(d, v, c), v) for d, v, c, _, _ in CASES]
    row("truth", [[float(value) for value in means_of(truth)] for truth in truths])
    for estimator in get_args(Estimator):
        row(estimator, [estimate(case, estimator) for case in CASES])
    for size, dimensions in ((64, 10), (256, 10), (1024, 10)):
        print(f"B {size}, D {dimensions}: {cost(size, dimensions):.2f} ms with gradient")


if __name__ == "__main__":
    main()

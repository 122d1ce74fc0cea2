"""What the sources of simulated data are drawn from: laws of mean 0 and variance 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from trimkit.errors import OptionError, nearest

Shape = tuple[int, ...]

FREEDOM = 5
"""Degrees of freedom of Student's t: its excess kurtosis is 6."""


def gaussian(shape: Shape, rng: torch.Generator) -> Tensor:
    """Standard normal.

    >>> abs(gaussian((10_000,), torch.Generator().manual_seed(0)).var().item() - 1) < 0.05
    True
    """
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def laplace(shape: Shape, rng: torch.Generator) -> Tensor:
    """Laplace of scale 1/√2: the difference of two exponentials. Excess kurtosis 3."""
    pair = torch.empty(2, *shape, dtype=torch.float64).exponential_(generator=rng)
    return (pair[0] - pair[1]) / math.sqrt(2)


def uniform(shape: Shape, rng: torch.Generator) -> Tensor:
    """Uniform between −√3 and √3. Excess kurtosis −1.2.

    >>> uniform((10_000,), torch.Generator().manual_seed(0)).abs().max().item() < 3**0.5
    True
    """
    return math.sqrt(3) * (2 * torch.rand(shape, generator=rng, dtype=torch.float64) - 1)


def hypersecant(shape: Shape, rng: torch.Generator) -> Tensor:
    """Hyperbolic secant, density ½ sech(πs/2): (2/π) log |ratio of two normals|. Excess kurtosis 2.

    >>> abs(hypersecant((100_000,), torch.Generator().manual_seed(0)).var().item() - 1) < 0.05
    True
    """
    pair = gaussian((2, *shape), rng).abs().log()
    return (pair[0] - pair[1]) * 2 / math.pi


def student(shape: Shape, rng: torch.Generator) -> Tensor:
    """Student's t of five degrees of freedom, scaled to variance 1. Excess kurtosis 6, heavy tails.

    >>> abs(student((100_000,), torch.Generator().manual_seed(0)).var().item() - 1) < 0.05
    True
    """
    chi_squared = gaussian((FREEDOM, *shape), rng).square().sum(0)
    return gaussian(shape, rng) / (chi_squared / (FREEDOM - 2)).sqrt()


def mixed(shape: Shape, rng: torch.Generator) -> Tensor:
    """Laplace in the even entries of the last axis, uniform in the odd: super- and sub-Gaussian sources together.

    >>> draws = mixed((10_000, 2), torch.Generator().manual_seed(0)).abs().amax(0)
    >>> (draws[0] > draws[1]).item()        # Laplace has tails, uniform has none
    True
    """
    return torch.where(torch.arange(shape[-1]) % 2 == 0, laplace(shape, rng), uniform(shape, rng))


Law = Callable[[Shape, torch.Generator], Tensor]


def law_of(data: str, name: str, laws: Mapping[str, Law]) -> Law:
    """The law of a name.

    Raises:
        OptionError: no such law.
    """
    if name not in laws:
        raise OptionError(f"{data}: there is no law {name!r} of sources. {nearest(str(name), laws)}")
    return laws[name]


def random_rotation(k: int, generator: torch.Generator) -> Tensor:
    """A uniformly distributed orthogonal matrix (k, k) in float64 on the generator's device."""
    normal = torch.randn(k, k, generator=generator, dtype=torch.float64, device=generator.device)
    left, _, right = torch.linalg.svd(normal)
    return left @ right

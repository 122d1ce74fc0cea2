"""What an encoder says of codes: q(z|x) as a Gaussian, or a point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from trimkit.processes import draw


@runtime_checkable
class Posterior(Protocol):
    """q(z|x) for N samples; codes are (N, *shape of the space)."""

    @property
    def mean(self) -> Tensor:  # type: ignore[empty-body]
        """The code of each sample, (N, ...), with its graph."""

    def rsample(self, generator: torch.Generator | None = None) -> Tensor:  # type: ignore[empty-body]
        """One draw a sample, (N, ...), through which gradients reach the encoder."""

    def log_prob(self, z: Tensor) -> Tensor:  # type: ignore[empty-body]
        """log q(z|x) of one code a sample in nats, (N,)."""


@dataclass(frozen=True)
class DiagonalGaussian:
    """N(mean, diag exp(log_variance)).

    Attributes:
        mean: (N, ...).
        log_variance: like ``mean``.
    """

    mean: Tensor
    log_variance: Tensor

    def rsample(self, generator: torch.Generator | None = None) -> Tensor:
        """mean + σ·ε with ε ~ N(0, I) from the generator: (N, ...)."""
        return self.mean + (0.5 * self.log_variance).exp() * standard_normal(self.mean, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of (N, ...) codes, summed over dimensions: (N,) nats."""
        squared = (z - self.mean).square() * (-self.log_variance).exp()
        return -0.5 * (squared + self.log_variance + math.log(2 * math.pi)).flatten(1).sum(1)

    def kl(self) -> Tensor:
        """KL to N(0, I) of each dimension, like ``mean``; see `gaussian_kl`."""
        return gaussian_kl(self.mean, self.log_variance)


@dataclass(frozen=True)
class Delta:
    """All mass on one code: what a deterministic encoder (ICA, PCA, a GAN's encoder) gives.

    Attributes:
        mean: (N, ...).
    """

    mean: Tensor

    def rsample(self, generator: torch.Generator | None = None) -> Tensor:
        """The code itself; nothing is drawn."""
        return self.mean

    def log_prob(self, z: Tensor) -> Tensor:
        """0 where z is the code, −∞ elsewhere: (N,)."""
        same = (z == self.mean).flatten(1).all(1)
        return torch.zeros_like(same, dtype=z.dtype).masked_fill(~same, -math.inf)


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) = ½ (μ² + σ² − log σ² − 1) of each dimension, in nats (Kingma & Welling 2013, appendix B).

    Args:
        mean: μ of any shape, such as (N, D).
        log_variance: log σ², like ``mean``.
    Returns:
        Values ≥ 0 like ``mean``; sum over dimensions for the divergence of a sample.
    """
    return 0.5 * (mean.square() + log_variance.expm1() - log_variance)


def standard_normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """N(0, I) noise of the shape, type and device of a tensor, drawn where the generator lives.

    In a training step on several processes, or with gradient accumulation, the rows of a share get the numbers that
    they would get within the whole batch (see `trimkit.processes.draw`): draw for the rows at hand, gather afterwards.

    Args:
        like: (N, ...).
        generator: source of randomness; None for torch's own.
    """
    device = like.device if generator is None else generator.device

    def make(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=generator, device=device, dtype=like.dtype)

    return draw(make, like.shape).to(like.device)

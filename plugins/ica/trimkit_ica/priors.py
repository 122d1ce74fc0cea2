"""Conditional priors p(z|u) = Π_i p(z_i|u), whose scale, and if wanted location, is a learned function of u."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn

from trimkit.errors import OptionError, nearest
from trimkit.methods import DiagonalGaussian, standard_normal
from trimkit_ica.auxiliary import Auxiliary, FunctionOfAux

PriorName: TypeAlias = Literal["gaussian", "laplace"]


class ConditionalPrior(nn.Module):
    """Base of the families: location m(u), 0 unless it is learned, and scale s(u).

    The network gives log s², as in the released iVAE, not log s, which would move twice as far in a step of Adam.

    Args:
        aux: what u is.
        latent_dim: D.
        location: learn m too.
        hidden: width of the function's network.
        layers: its linear layers; 1 for a table of labels.
    """

    name: ClassVar[str]

    def __init__(self, aux: Auxiliary, latent_dim: int, *, location: bool, hidden: int, layers: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.location = location
        self.function = FunctionOfAux(aux, (1 + location) * latent_dim, hidden=hidden, layers=layers)

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Location and log of the scale, (N, D) each."""
        values = self.function(u)
        if not self.location:
            return torch.zeros_like(values), 0.5 * values
        location, log_square = values.chunk(2, 1)
        return location, 0.5 * log_square

    @abstractmethod
    def log_prob(self, z: Tensor, u: Tensor) -> Tensor:
        """log p(z|u) of (N, D) codes in nats, (N,)."""

    @abstractmethod
    def kl(self, q: DiagonalGaussian, u: Tensor) -> Tensor:
        """KL(q(z_i|x, u) ‖ p(z_i|u)) of each dimension in nats, in closed form: (N, D)."""

    @abstractmethod
    def noise(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draws of location 0 and scale 1, (N, D)."""

    def sample(self, u: Tensor, generator: torch.Generator | None) -> Tensor:
        """One draw z ~ p(z|u) for each u: (N, D)."""
        location, log_scale = self(u)
        return location + log_scale.exp() * self.noise(location, generator)


class GaussianPrior(ConditionalPrior):
    """N(m(u), s(u)²)."""

    name = "gaussian"

    def log_prob(self, z: Tensor, u: Tensor) -> Tensor:
        """−Σ ½ (z − m)²/s² + log s + ½ log 2π."""
        location, log_scale = self(u)
        return DiagonalGaussian(location, 2 * log_scale).log_prob(z)

    def kl(self, q: DiagonalGaussian, u: Tensor) -> Tensor:
        """½ (σ²/s² + (μ − m)²/s² − 1 − log σ²/s²)."""
        location, log_scale = self(u)
        log_ratio = q.log_variance - 2 * log_scale
        offset = (q.mean - location).square() * (-2 * log_scale).exp()
        return 0.5 * (log_ratio.expm1() - log_ratio + offset)

    def noise(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Standard normal."""
        return standard_normal(like, generator)


class LaplacePrior(ConditionalPrior):
    """Laplace(m(u), b = s(u))."""

    name = "laplace"

    def log_prob(self, z: Tensor, u: Tensor) -> Tensor:
        """−Σ |z − m|/b + log 2b."""
        location, log_scale = self(u)
        return -((z - location).abs() * (-log_scale).exp() + log_scale + math.log(2)).sum(1)

    def kl(self, q: DiagonalGaussian, u: Tensor) -> Tensor:
        """log 2b + E|z − m|/b − ½ log 2πeσ², with E|z − m| the mean of a folded normal.

        For δ = μ − m: E|z − m| = σ √(2/π) exp(−δ²/2σ²) + δ erf(δ/(σ√2)).
        """
        location, log_scale = self(u)
        deviation, offset = (0.5 * q.log_variance).exp(), q.mean - location
        ratio = offset / (math.sqrt(2) * deviation)
        folded = deviation * math.sqrt(2 / math.pi) * (-ratio.square()).exp() + offset * torch.erf(ratio)
        entropy = 0.5 * (q.log_variance + math.log(2 * math.pi) + 1)
        return math.log(2) + log_scale + folded * (-log_scale).exp() - entropy

    def noise(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Standard Laplace: the difference of two exponentials, each half a sum of two squared normals."""
        four = standard_normal(like[..., None].expand(*like.shape, 4), generator)
        return 0.5 * (four[..., :2].square().sum(-1) - four[..., 2:].square().sum(-1))


def make_prior(name: PriorName, aux: Auxiliary, latent_dim: int, **options: bool | int) -> ConditionalPrior:
    """A conditional prior by its name.

    Args:
        name: "gaussian" or "laplace".
        aux: what u is.
        latent_dim: D.
        **options: location, hidden and layers, see `ConditionalPrior`.
    Raises:
        OptionError: an unknown name.
    """
    kinds = {kind.name: kind for kind in (GaussianPrior, LaplacePrior)}
    if name not in kinds:
        raise OptionError(f"there is no conditional prior {name!r}. {nearest(name, kinds)}")
    return kinds[name](aux, latent_dim, **options)  # type: ignore[arg-type]

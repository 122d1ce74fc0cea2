"""InfoVAE and WAE: the aggregate posterior q(z) is held to p(z) = N(0, I) by the maximum mean discrepancy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from trimkit.errors import OptionError
from trimkit.methods import (
    Batch,
    Delta,
    DiagonalGaussian,
    KernelName,
    LatentSpace,
    Posterior,
    Schedule,
    StepResult,
    Term,
    Weight,
    as_schedule,
    check_kernel,
    gather,
    maximum_mean_discrepancy,
    paired_discrepancy,
    require_weights,
    standard_normal,
)
from trimkit_vae.vae import VAE


class DiscrepancyVAE(VAE):
    """What both share: a term mmd, MMD(q(z), p(z)) of the batch's codes.

    Of a conditional one it is MMD(q(z|u), p(z)), in the mean over u. q(z) could be the prior while each class has
    another q(z|u): codes would then tell the class, and the prior's draws, decoded as it, would not look like it.

    Args:
        shape: of one sample: (C, H, W), (C, L) or (F,).
        latent_dim: number of latents D.
        kernel: "imq" or "rbf", see `trimkit.methods.maximum_mean_discrepancy`.
        common: network, likelihood, scale, learning_rate and conditional, see `VAE`.

    Raises:
        OptionError: an option out of range.
        ShapeError: data that the network does not take.
    """

    def __init__(
        self, shape: tuple[int, ...], latent_dim: int = 10, *, kernel: KernelName = "imq", **common: Any
    ) -> None:
        super().__init__(shape, latent_dim, **common)
        self.kernel: KernelName = kernel
        check_kernel(kernel)

    def loss(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """As `VAE.loss`, and mmd, a statistic of the whole batch."""
        result = super().loss(batch, generator, step)
        u = batch.aux if self.conditional else None
        mmd = prior_discrepancy(result.carried["z"], self.kernel, generator, u)
        return replace(result, terms={**result.terms, "mmd": mmd})


class InfoVAE(DiscrepancyVAE):
    """InfoVAE with MMD (Zhao et al. 2017, eq. 6): minimises recon + (1 − α) KL + (α + λ − 1) MMD(q(z), p(z)).

    α = 1 is the MMD-VAE, which leaves I(x; z) free; α = 0 and λ = 1 the VAE. See `DiscrepancyVAE` for conditional ones.

    Args:
        shape: of one sample: (C, H, W), (C, L) or (F,).
        latent_dim: number of latents D.
        alpha: α ≤ 1, how much of the mutual information is left free.
        lambda_mmd: λ with α + λ ≥ 1. Large, since recon is a sum over pixels and each kernel's MMD is below 2; as
            in wae-mmd by default.
        common: kernel, see `DiscrepancyVAE`; network, likelihood, scale, learning_rate and conditional, see `VAE`.

    Raises:
        OptionError: an option out of range.
        ShapeError: data that the network does not take.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int = 10,
        *,
        alpha: float = 1.0,
        lambda_mmd: float = 500.0,
        **common: Any,
    ) -> None:
        super().__init__(shape, latent_dim, **common)
        self.alpha = alpha
        self.lambda_mmd = lambda_mmd
        if not alpha <= 1:
            raise OptionError(f"expected alpha ≤ 1, got {alpha}: the KL would be maximised")
        if not alpha + lambda_mmd - 1 >= 0:
            raise OptionError(
                f"expected alpha + lambda_mmd ≥ 1, got {alpha} + {lambda_mmd}: the discrepancy would be maximised"
            )

    def weights(self) -> Mapping[str, Schedule]:
        """kl 1 − α, mmd α + λ − 1."""
        return {"kl": 1 - self.alpha, "mmd": self.alpha + self.lambda_mmd - 1}


class WAE(DiscrepancyVAE):
    """Wasserstein autoencoder with MMD (Tolstikhin et al. 2018, algorithm 2): minimises recon + λ MMD(q(z), p(z)).

    See `DiscrepancyVAE` for conditional ones.

    Args:
        shape: of one sample: (C, H, W), (C, L) or (F,).
        latent_dim: number of latents D.
        lambda_mmd: λ: a number ≥ 0 or a schedule; 500 is the paper's 10 on MNIST for a squared error, which a Gaussian
            likelihood with σ = 0.1 weighs 1/2σ² = 50.
        stochastic: draw z ~ q(z|x); otherwise the encoder is deterministic, z = μ(x), and has no variance.
        common: kernel, see `DiscrepancyVAE`; network, likelihood, scale, learning_rate and conditional, see `VAE`.

    Raises:
        OptionError: an option out of range.
        ShapeError: data that the network does not take.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int = 10,
        *,
        lambda_mmd: Weight = 500.0,
        stochastic: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(shape, latent_dim, **common)
        self.lambda_mmd = lambda_mmd
        self.stochastic = stochastic
        require_weights(lambda_mmd=lambda_mmd)

    def latent_spaces(self) -> Sequence[LatentSpace]:
        """One space z, whose posterior has a spread if the encoder is stochastic."""
        return [replace(space, stochastic=self.stochastic) for space in super().latent_spaces()]

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> Posterior:
        """q(z|x): a Gaussian, or the point μ(x) of a deterministic encoder."""
        q = self.gaussian(x, aux)
        return q if self.stochastic else Delta(q.mean)

    def weights(self) -> Mapping[str, Schedule]:
        """mmd λ."""
        return {"mmd": as_schedule(self.lambda_mmd)}

    def regularise(self, q: DiagonalGaussian, z: Tensor, generator: torch.Generator, step: int) -> dict[str, Term]:
        """Nothing: there is no KL."""
        return {}

    def draw(self, q: DiagonalGaussian, generator: torch.Generator) -> Tensor:
        """z ~ q(z|x), or μ(x)."""
        return q.rsample(generator) if self.stochastic else q.mean

    def diagnostics(self, q: DiagonalGaussian) -> dict[str, Tensor]:
        """KL of each dimension, where there is one."""
        return super().diagnostics(q) if self.stochastic else {}


def prior_discrepancy(z: Tensor, kernel: KernelName, generator: torch.Generator, u: Tensor | None = None) -> Term:
    """MMD between the whole batch's codes and as many draws from N(0, I): a scalar, a statistic of the batch.

    Args:
        z: (N, D).
        kernel: see `trimkit.methods.maximum_mean_discrepancy`.
        generator: of the draws.
        u: (N,) labels or (N, m) vectors, for codes that should follow the prior whatever u is.
    """
    codes, prior = gather(z), gather(standard_normal(z, generator))
    if u is None:
        return Term(maximum_mean_discrepancy(codes, prior, kernel))
    return Term(paired_discrepancy(codes, prior, likeness(gather(u)), kernel))


def likeness(u: Tensor) -> Tensor:
    """How alike the u of two samples are, from 0 to 1: (N, N).

    1 for equal labels, else 0; of vectors exp(−‖uᵢ − uⱼ‖² / 2m), with each entry in units of its standard deviation.

    Args:
        u: (N,) labels or (N, m) vectors.
    """
    if not u.is_floating_point():
        return u[:, None] == u
    spread = u.std(0, correction=0)
    standard = u / torch.where(spread > 0, spread, 1)
    return (-(standard[:, None] - standard).square().sum(2) / (2 * u.shape[1])).exp()

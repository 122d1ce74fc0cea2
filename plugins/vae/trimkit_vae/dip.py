"""DIP-VAE: L = recon + KL + λ_od Σ_{i≠j} S_ij² + λ_d Σ_i (S_ii − 1)², with S the covariance of the codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trimkit.errors import ShapeError
from trimkit.methods import (
    DiagonalGaussian,
    Schedule,
    Term,
    Weight,
    as_schedule,
    gather,
    no_autocast,
    require_weights,
)
from trimkit_vae.vae import VAE


class DIPVAEI(VAE):
    """DIP-VAE-I (Kumar et al. 2018, eq. 6): the covariance of the posteriors' means is driven to the identity.

    S = Cov(μ) over the batch, biased (1/B). By default λ_d = 10 λ_od, as in the paper.

    Args:
        shape: of one sample: (C, H, W), (C, L) or (F,).
        latent_dim: number of latents D.
        lambda_off_diagonal: λ_od, weight of Σ_{i≠j} S_ij²: a number ≥ 0 or a schedule.
        lambda_diagonal: λ_d, weight of Σ_i (S_ii − 1)²: a number ≥ 0 or a schedule.
        common: network, likelihood, scale, learning_rate and conditional, see `VAE`.

    Raises:
        OptionError: an option out of range.
        ShapeError: data that the network does not take.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int = 10,
        *,
        lambda_off_diagonal: Weight = 10.0,
        lambda_diagonal: Weight = 100.0,
        **common: Any,
    ) -> None:
        super().__init__(shape, latent_dim, **common)
        self.lambda_off_diagonal = lambda_off_diagonal
        self.lambda_diagonal = lambda_diagonal
        require_weights(lambda_off_diagonal=lambda_off_diagonal, lambda_diagonal=lambda_diagonal)

    def weights(self) -> Mapping[str, Schedule]:
        """kl 1, dip_off_diagonal λ_od, dip_diagonal λ_d."""
        return {
            "kl": 1.0,
            "dip_off_diagonal": as_schedule(self.lambda_off_diagonal),
            "dip_diagonal": as_schedule(self.lambda_diagonal),
        }

    def regularise(self, q: DiagonalGaussian, z: Tensor, generator: torch.Generator, step: int) -> dict[str, Term]:
        """KL, and the two parts of ‖S − I‖², statistics of the whole batch.

        Raises:
            ShapeError: a batch of one, whose covariance is 0 whatever the encoder gives.
        """
        s = self.covariance(q)
        variances = s.diagonal()
        return {
            **super().regularise(q, z, generator, step),
            "dip_off_diagonal": Term(s.square().sum() - variances.square().sum()),
            "dip_diagonal": Term((variances - 1).square().sum()),
        }

    def covariance(self, q: DiagonalGaussian) -> Tensor:
        """S = Cov(μ): (D, D)."""
        return biased_covariance(gather(q.mean))


class DIPVAEII(DIPVAEI):
    """DIP-VAE-II (Kumar et al. 2018, eq. 7): the covariance of the draws z is driven to the identity.

    S = Cov(μ) + E[diag σ²] over the batch, biased (1/B). By default λ_d = λ_od, as in the paper.

    Args:
        shape: of one sample: (C, H, W), (C, L) or (F,).
        latent_dim: number of latents D.
        lambda_diagonal: λ_d, weight of Σ_i (S_ii − 1)²: a number ≥ 0 or a schedule.
        common: lambda_off_diagonal, see `DIPVAEI`; the rest, see `VAE`.

    Raises:
        OptionError: an option out of range.
        ShapeError: data that the network does not take.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int = 10,
        *,
        lambda_diagonal: Weight = 10.0,
        **common: Any,
    ) -> None:
        super().__init__(shape, latent_dim, lambda_diagonal=lambda_diagonal, **common)

    def covariance(self, q: DiagonalGaussian) -> Tensor:
        """S = Cov(μ) + E[diag σ²]: (D, D)."""
        return super().covariance(q) + torch.diag(gather(q.log_variance.exp()).mean(0))


def biased_covariance(rows: Tensor) -> Tensor:
    """1/B Σ_i (a_i − ā)(a_i − ā)ᵀ: (B, D) → (D, D).

    Raises:
        ShapeError: fewer than two rows.
    """
    if len(rows) < 2:
        raise ShapeError("DIP-VAE takes the covariance of a batch's codes: expected at least 2 samples a batch, got 1")
    centred = rows - rows.mean(0)
    with no_autocast(rows):
        return centred.T @ centred / len(rows)

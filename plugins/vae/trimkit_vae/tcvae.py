"""β-TCVAE: L = recon + α I(x; z) + β TC(z) + γ Σ_d KL(q(z_d) ‖ p(z_d)), per image in nats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trimkit.errors import OptionError
from trimkit.methods import (
    DiagonalGaussian,
    Estimator,
    Schedule,
    Term,
    Weight,
    as_schedule,
    decompose_kl,
    mixture_weights,
    require_weights,
)
from trimkit_vae.vae import VAE


class BetaTCVAE(VAE):
    """β-TCVAE (Chen et al. 2018, eq. 4): the KL in three parts, of which the total correlation weighs β.

    Since KL = MI + TC + dwKL, it is minimised as recon + α KL + (β − α) TC + (γ − α) dwKL: the same objective, with the
    KL in closed form in place of the estimated MI, so that at α = γ = 1 only (β − 1) TC is estimated. The weights of
    the terms kl, tc and dwkl are therefore α, β − α and γ − α. See `trimkit.methods.decompose_kl` for the estimators.

    Args:
        shape: of one sample: (C, H, W), (C, L) or (F,).
        latent_dim: number of latents D.
        dataset_size: number of samples of the training data.
        alpha: weight of the mutual information, ≥ 0.
        beta: weight of the total correlation: a number ≥ 0 or a schedule.
        gamma: weight of the KL of the marginals, ≥ 0.
        estimator: of the aggregate posterior: "symmetric", "mss", "mws", "batch" or "leave-one-out".
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
        dataset_size: int,
        alpha: float = 1.0,
        beta: Weight = 6.0,
        gamma: float = 1.0,
        estimator: Estimator = "symmetric",
        **common: Any,
    ) -> None:
        super().__init__(shape, latent_dim, **common)
        self.dataset_size = dataset_size
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.estimator: Estimator = estimator
        require_weights(alpha=alpha, beta=beta, gamma=gamma)
        if not isinstance(dataset_size, int):
            raise OptionError(f"expected dataset_size as the number of samples, an integer, got {dataset_size!r}")
        mixture_weights(torch.zeros(1, dtype=torch.long), 2, estimator, dataset_size)  # refuses what no batch could use

    def weights(self) -> Mapping[str, Schedule]:
        """kl α, tc β − α, dwkl γ − α."""
        beta, alpha = as_schedule(self.beta), self.alpha
        excess = (lambda step: beta(step) - alpha) if callable(beta) else beta - alpha
        return {"kl": alpha, "tc": excess, "dwkl": self.gamma - alpha}

    def regularise(self, q: DiagonalGaussian, z: Tensor, generator: torch.Generator, step: int) -> dict[str, Term]:
        """KL in closed form, total correlation and KL of the marginals by the estimator, one value a sample each."""
        parts = decompose_kl(z, q, estimator=self.estimator, dataset_size=self.dataset_size)
        return {
            "kl": Term(q.kl().sum(1)),
            "tc": Term(parts.total_correlation),
            "dwkl": Term(parts.dimension_wise_kl),
        }

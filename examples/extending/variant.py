"""A VAE with one more term: its constructor takes one option of its own, and hands the family's on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from trimkit_vae.vae import VAE

from trimkit.methods import DiagonalGaussian, Schedule, Term, Weight, as_schedule, require_weights


class SparseMeansVAE(VAE):
    """A VAE whose posterior means are sparse: recon + KL + λ Σ_d |μ_d|, as in sparse coding."""

    def __init__(self, shape: tuple[int, ...], latent_dim: int = 10, *, sparsity: Weight = 1.0, **common: Any) -> None:
        super().__init__(shape, latent_dim, **common)
        self.sparsity = sparsity
        require_weights(sparsity=sparsity)

    def weights(self) -> Mapping[str, Schedule]:
        """kl 1, sparse λ."""
        return {**super().weights(), "sparse": as_schedule(self.sparsity)}

    def regularise(self, q: DiagonalGaussian, z: Tensor, generator: torch.Generator, step: int) -> dict[str, Term]:
        """The KL, and Σ_d |μ_d| of each sample: the Laplace prior's −log p(μ), but for its constant, in nats."""
        return {**super().regularise(q, z, generator, step), "sparse": Term(q.mean.abs().sum(1))}

"""β-VAE with controlled capacity: L = recon + γ |E[KL(q(z|x) ‖ N(0, I))] − C(t)|, per image in nats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trimkit.methods import DiagonalGaussian, Schedule, Term, Weight, as_schedule, gather, require_weights
from trimkit_vae.vae import VAE


class CapacityVAE(VAE):
    """β-VAE-B (Burgess et al. 2018, eq. 8): the KL is held at a capacity C that grows with the steps.

    The difference is that of the batch's mean, as in the paper; a mean of |KL_i − C| would be larger (Jensen) and would
    hold each image at C.

    Args:
        shape: of one sample: (C, H, W), (C, L) or (F,).
        latent_dim: number of latents D.
        gamma: weight of |mean KL − C|: a number ≥ 0 or a schedule.
        capacity: C in nats by step: a number, text such as "linear(0, 25, 100000)" for start, end and steps, rising or
            falling; from Python, any function of the step.
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
        gamma: Weight = 1000.0,
        capacity: Weight = "linear(0, 25, 100000)",
        **common: Any,
    ) -> None:
        super().__init__(shape, latent_dim, **common)
        self.gamma = gamma
        self.capacity = capacity
        require_weights(gamma=gamma, capacity=capacity)
        self._capacity = as_schedule(capacity)

    def weights(self) -> Mapping[str, Schedule]:
        """capacity γ."""
        return {"capacity": as_schedule(self.gamma)}

    def regularise(self, q: DiagonalGaussian, z: Tensor, generator: torch.Generator, step: int) -> dict[str, Term]:
        """|mean KL − C(step)|, a statistic of the whole batch."""
        wanted = self._capacity(step) if callable(self._capacity) else self._capacity
        return {"capacity": Term((gather(q.kl().sum(1)).mean() - wanted).abs())}

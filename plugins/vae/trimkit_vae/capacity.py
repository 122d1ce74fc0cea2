"""β-VAE with controlled capacity: L = recon + γ |E[KL(q(z|x) ‖ N(0, I))] − C(t)|, per image in nats."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trimkit.methods import DiagonalGaussian, LikelihoodChoice, Scale, Schedule, Term, Weight, as_schedule, gather
from trimkit_vae.networks import NetworkChoice
from trimkit_vae.vae import VAE, not_negative


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
        network: "burgess" for square images of 8, 16, … 256 pixels, "conv" for images and signals of any size from 16,
            "mlp" for data of any shape; or a function (shape, latent_dim) → (encoder, decoder), as pkg.mod:function.
        likelihood: p(x|z): "bernoulli" for binary data, "gaussian" or "laplace" for grey values and other real data,
            "logistic" for 256 grey levels, the energy "ms-ssim"; or a function shape → Likelihood, as pkg.mod:function.
        scale: σ, b or s of the likelihood, in data units, or "learned".
        learning_rate: of Adam.

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
        network: NetworkChoice = "burgess",
        likelihood: LikelihoodChoice = "gaussian",
        scale: Scale = 0.1,
        learning_rate: float = 5e-4,
    ) -> None:
        super().__init__(
            shape, latent_dim, network=network, likelihood=likelihood, scale=scale, learning_rate=learning_rate
        )
        self.gamma = gamma
        self.capacity = capacity
        not_negative(gamma=gamma, capacity=capacity)
        self._capacity = as_schedule(capacity)

    def weights(self) -> Mapping[str, Schedule]:
        """capacity γ."""
        return {"capacity": as_schedule(self.gamma)}

    def regularise(self, q: DiagonalGaussian, z: Tensor, generator: torch.Generator, step: int) -> dict[str, Term]:
        """|mean KL − C(step)|, a statistic of the whole batch."""
        wanted = self._capacity(step) if callable(self._capacity) else self._capacity
        return {"capacity": Term((gather(q.kl().sum(1)).mean() - wanted).abs())}

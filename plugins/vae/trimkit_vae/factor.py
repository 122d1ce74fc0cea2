"""FactorVAE: L = recon + KL + γ TC(z), the total correlation from a discriminator between q(z) and Π_d q(z_d)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trimkit.errors import OptionError, ShapeError
from trimkit.methods import (
    Batch,
    DiagonalGaussian,
    Phase,
    Schedule,
    StepResult,
    Term,
    Weight,
    adam,
    as_schedule,
    at_least_float32,
    gather,
    own_rows,
    require_weights,
)
from trimkit.registry.options import real_number
from trimkit_vae.initialisation import he_uniform
from trimkit_vae.vae import VAE

SLOPE = 0.2
"""Of the discriminator's leaky ReLUs, Kim & Mnih 2018, appendix."""

JOINT, PRODUCT = 0, 1
"""Classes of the discriminator: codes as encoded, and codes whose columns were permuted."""


class FactorVAE(VAE):
    """FactorVAE (Kim & Mnih 2018, algorithm 2): TC(z) ≈ mean of D₀(z) − D₁(z), with D trained beside it.

    A step has two phases. "vae" trains encoder and decoder with D frozen. "discriminator" trains D to tell z, the codes
    of the first phase, from z′, the codes of a second batch whose columns are permuted over the batch, with the encoder
    frozen: neither loss reaches the other's networks.

    Args:
        shape: of one sample: (C, H, W), (C, L) or (F,).
        latent_dim: number of latents D.
        gamma: weight of the total correlation: a number ≥ 0 or a schedule; 35 as in the paper on dSprites.
        discriminator_width: of each of its six hidden layers.
        discriminator_learning_rate: of its Adam, whose β are (.5, .9).
        learning_rate: of Adam for encoder and decoder; 10⁻⁴ as in the paper, where the other VAEs have 5·10⁻⁴.
        common: network, likelihood, scale and conditional, see `VAE`.

    Raises:
        OptionError: an option out of range.
        ShapeError: data that the network does not take.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int = 10,
        *,
        gamma: Weight = 35.0,
        discriminator_width: int = 1000,
        discriminator_learning_rate: float = 1e-4,
        learning_rate: float = 1e-4,
        **common: Any,
    ) -> None:
        super().__init__(shape, latent_dim, learning_rate=learning_rate, **common)
        self.gamma = gamma
        self.discriminator_width = discriminator_width
        self.discriminator_learning_rate = discriminator_learning_rate
        require_weights(gamma=gamma)
        real_number("", above=True, discriminator_learning_rate=discriminator_learning_rate)
        self.discriminator = make_discriminator(latent_dim, discriminator_width)

    def phases(self) -> Sequence[Phase]:
        """The autoencoder, then the discriminator."""
        discriminator = Phase(
            "discriminator",
            list(self.discriminator.parameters()),
            self.discriminate,
            {"discriminator": 1.0},
            optimiser=adam(self.discriminator_learning_rate, betas=(0.5, 0.9)),
            draws=2,
        )
        return [*super().phases(), discriminator]

    def weights(self) -> Mapping[str, Schedule]:
        """kl 1, tc γ."""
        return {"kl": 1.0, "tc": as_schedule(self.gamma)}

    def regularise(self, q: DiagonalGaussian, z: Tensor, generator: torch.Generator, step: int) -> dict[str, Term]:
        """KL, and D₀(z) − D₁(z) of each code."""
        logits = at_least_float32(self.discriminator(z))
        return {**super().regularise(q, z, generator, step), "tc": Term(logits[:, JOINT] - logits[:, PRODUCT])}

    def discriminate(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """½ [CE(D(z), joint) + CE(D(z′), product)], (N,) nats.

        Args:
            batch: with the codes z of the first phase, and a second batch.
            generator: of the draw of z′ and of the permutations.
            step: unused.
        Raises:
            ShapeError: a batch of one, whose columns cannot be permuted.
        """
        assert batch.other is not None
        with torch.no_grad():
            other = self.gaussian(batch.other.x, batch.other.aux).rsample(generator)
            product = permuted(gather(other), generator)[own_rows(other)]
        z = batch.carried["z"]
        logits = at_least_float32(self.discriminator(torch.cat([z, product])))
        classes = torch.tensor([JOINT, PRODUCT], device=z.device).repeat_interleave(len(z))
        cross_entropies = cross_entropy(logits, classes, reduction="none").view(2, -1)
        return StepResult({"discriminator": Term(cross_entropies.mean(0))})


def make_discriminator(latent_dim: int, width: int = 1000) -> nn.Sequential:
    """Six hidden layers with LeakyReLU 0.2, two logits (Kim & Mnih 2018, appendix): (N, D) → (N, 2).

    Args:
        latent_dim: D.
        width: of the hidden layers; 1000 in the paper.
    Raises:
        OptionError: width < 1.
    """
    if width < 1:
        raise OptionError(f"expected discriminator_width ≥ 1, got {width}")
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise((latent_dim, *[width] * 6)):
        layers += [nn.Linear(before, after), nn.LeakyReLU(SLOPE)]
    return he_uniform(nn.Sequential(*layers, nn.Linear(width, 2)), SLOPE)


def permuted(codes: Tensor, generator: torch.Generator) -> Tensor:
    """Each column permuted over the batch by itself: (B, D) draws from q(z) become draws from Π_d q(z_d).

    Raises:
        ShapeError: fewer than two rows.
    """
    if len(codes) < 2:
        raise ShapeError("FactorVAE permutes codes over the batch: expected at least 2 samples a batch, got 1")
    noise = torch.rand(codes.shape, generator=generator, device=generator.device)
    return codes.gather(0, noise.argsort(0).to(codes.device))

"""VAE and β-VAE: L = E_q[−log p(x|z)] + β KL(q(z|x) ‖ N(0, I)), per image in nats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from trimkit.errors import OptionError
from trimkit.methods import (
    RECONSTRUCTION,
    Batch,
    DiagonalGaussian,
    LatentSpace,
    LikelihoodName,
    Method,
    Phase,
    Schedule,
    StepResult,
    Term,
    Weight,
    adam,
    as_schedule,
    make_likelihood,
)
from trimkit_vae.networks import NetworkName, make_networks


class VAE(Method):
    """Variational autoencoder (Kingma & Welling 2013): minimises −ELBO = recon + KL.

    Args:
        shape: of one sample: (C, H, W), (C, L) or (F,).
        latent_dim: number of latents D.
        network: "burgess" for square images of 8, 16, … 256 pixels, "mlp" for data of any shape.
        likelihood: p(x|z): "bernoulli" for binary data, "gaussian" or "laplace" for grey values and other real data.
        scale: σ of the gaussian or b of the laplace likelihood, in data units.
        learning_rate: of Adam.

    Raises:
        OptionError: an option out of range.
        ShapeError: data that the network does not take.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int = 10,
        network: NetworkName = "burgess",
        likelihood: LikelihoodName = "gaussian",
        scale: float = 0.1,
        learning_rate: float = 5e-4,
    ) -> None:
        super().__init__(shape)
        self.latent_dim = latent_dim
        self.network = network
        self.likelihood = likelihood
        self.scale = scale
        self.learning_rate = learning_rate
        self.encoder, self.decoder = make_networks(network, self.shape, latent_dim)
        self.observation = make_likelihood(likelihood, scale)

    def latent_spaces(self) -> Sequence[LatentSpace]:
        """One space z of D independent standard normals."""
        return [LatentSpace("z", (self.latent_dim,), stochastic=True)]

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> DiagonalGaussian:
        """q(z|x) = N(μ(x), diag σ²(x)): (N, *shape) → Gaussians over (N, D)."""
        return DiagonalGaussian(*self.encoder(x).chunk(2, dim=1))

    def decode(self, z: Tensor, space: str | None = None) -> Tensor:
        """E[x|z]: (N, D) → (N, *shape) in data units."""
        return self.observation.mean(self.decoder(z))

    def sample(self, n: int, generator: torch.Generator | None = None, aux: Tensor | None = None) -> Tensor:
        """E[x|z] for n draws z ~ N(0, I): (n, *shape)."""
        weight = next(self.parameters())
        device = weight.device if generator is None else generator.device
        z = torch.randn(n, self.latent_dim, generator=generator, device=device, dtype=weight.dtype)
        return self.decode(z.to(weight.device))

    def check(self, x: Tensor) -> None:
        """As every method, and data in the likelihood's range."""
        super().check(x)
        self.observation.check(x)

    def phases(self) -> Sequence[Phase]:
        """One phase for both networks."""
        return [
            Phase(
                "vae",
                list(self.parameters()),
                self.loss,
                self.weights(),
                optimiser=adam(self.learning_rate),
                trains_decoder=True,
            )
        ]

    def weights(self) -> Mapping[str, Schedule]:
        """The weight of each term of `loss`."""
        return {RECONSTRUCTION: 1.0, "kl": 1.0}

    def loss(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """The two terms of −ELBO, estimated with one draw of z.

        Args:
            batch: of N samples.
            generator: of the draw.
            step: unused.
        Returns:
            Terms recon = −log p(x|z) and kl, (N,) nats each; x̂ of the draw; KL of each dimension, (D,).
        """
        posterior = self.encode(batch.x)
        r = self.decoder(posterior.rsample(generator))
        kl = posterior.kl()
        return StepResult(
            {RECONSTRUCTION: Term(self.observation(r, batch.x)), "kl": Term(kl.sum(1))},
            reconstruction=self.observation.mean(r),
            diagnostics={"kl_per_dimension": kl.detach().mean(0)},
        )


class BetaVAE(VAE):
    """β-VAE (Higgins et al. 2017): minimises recon + β·KL.

    β means the same for every likelihood and image size, since both terms are nats an image.

    Args:
        shape: of one sample: (C, H, W), (C, L) or (F,).
        latent_dim: number of latents D.
        beta: weight of the KL: a number ≥ 0; text such as "linear(0, 4, 5000)" for start, end and steps; from Python,
            any function of the step.
        network: "burgess" for square images of 8, 16, … 256 pixels, "mlp" for data of any shape.
        likelihood: p(x|z): "bernoulli" for binary data, "gaussian" or "laplace" for grey values and other real data.
        scale: σ of the gaussian or b of the laplace likelihood, in data units.
        learning_rate: of Adam.

    Raises:
        OptionError: an option out of range.
        ShapeError: data that the network does not take.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int = 10,
        beta: Weight = 4.0,
        network: NetworkName = "burgess",
        likelihood: LikelihoodName = "gaussian",
        scale: float = 0.1,
        learning_rate: float = 5e-4,
    ) -> None:
        super().__init__(shape, latent_dim, network, likelihood, scale, learning_rate)
        self.beta = beta
        schedule = as_schedule(beta)
        if not callable(schedule) and not schedule >= 0:
            raise OptionError(f"expected beta ≥ 0, got {beta}")

    def weights(self) -> Mapping[str, Schedule]:
        """recon 1, kl β."""
        return {**super().weights(), "kl": as_schedule(self.beta)}

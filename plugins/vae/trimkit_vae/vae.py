"""VAE and β-VAE: L = E_q[−log p(x|z)] + β KL(q(z|x) ‖ N(0, I)), per image in nats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trimkit.methods import (
    RECONSTRUCTION,
    Batch,
    ConditionalMethod,
    DiagonalGaussian,
    LatentSpace,
    LikelihoodChoice,
    Phase,
    Posterior,
    Scale,
    Schedule,
    StepResult,
    Term,
    Weight,
    adam,
    as_schedule,
    at_least_float32,
    make_likelihood,
    require_weights,
)
from trimkit.registry.options import real_number
from trimkit_vae.networks import Beside, NetworkChoice, make_networks


class VAE(ConditionalMethod):
    """Variational autoencoder (Kingma & Welling 2013): minimises −ELBO = recon + KL.

    The base of its relatives: they keep recon and replace `regularise` and `weights`. A conditional one models
    p(x|u) for classes or vectors u (Sohn et al. 2015): both networks see u beside x and z, and z is N(0, I) whatever u
    is, so that it has to say what u does not.

    Args:
        shape: of one sample: (C, H, W), (C, L) or (F,).
        latent_dim: number of latents D.
        network: "burgess" for square images of 8, 16, … 256 pixels, "conv" for images and signals of any size from 16,
            "mlp" for data of any shape; or a function (shape, latent_dim) → (encoder, decoder), as pkg.mod:function.
        likelihood: p(x|z): "bernoulli" for binary data, "gaussian" or "laplace" for grey values and other real data,
            "logistic" for 256 grey levels, the energy "ms-ssim"; or a function shape → Likelihood, as pkg.mod:function.
        scale: σ, b or s of the likelihood, in data units, or "learned".
        learning_rate: of Adam.
        conditions: conditional, see `trimkit.methods.ConditionalMethod`.

    Raises:
        OptionError: an option out of range, or conditional on nothing that is known of u.
        ShapeError: data that the network does not take.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int = 10,
        *,
        network: NetworkChoice = "burgess",
        likelihood: LikelihoodChoice = "gaussian",
        scale: Scale = 0.1,
        learning_rate: float = 5e-4,
        **conditions: Any,
    ) -> None:
        super().__init__(shape, **conditions)
        self.latent_dim = latent_dim
        self.network = network
        self.likelihood = likelihood
        self.scale = scale
        self.learning_rate = learning_rate
        real_number("", above=True, learning_rate=learning_rate)
        self.beside = None if self.condition is None else Beside(self.shape, self.condition.size)
        self.encoder, self.decoder = make_networks(network, self.shape, latent_dim, self.beside)
        self.observation = make_likelihood(likelihood, scale, self.shape)

    def latent_spaces(self) -> Sequence[LatentSpace]:
        """One space z of D independent standard normals."""
        needs = self.conditional
        return [
            LatentSpace(
                "z", (self.latent_dim,), stochastic=True, needs_aux=needs, decoding_needs_aux=needs, gaussian=True
            )
        ]

    def gaussian(self, x: Tensor, aux: Tensor | None = None) -> DiagonalGaussian:
        """N(μ(x), diag σ²(x)), in float32 or better: (N, *shape), and u where conditional → Gaussians over (N, D)."""
        seen = x if self.beside is None else self.beside(x, self._vectors(x, aux, "to encode"))
        return DiagonalGaussian(*at_least_float32(self.encoder(seen)).chunk(2, dim=1))

    def parameters_of(self, z: Tensor, aux: Tensor | None = None) -> Tensor:
        """r, the parameters of p(x|z), or of p(x|z, u): (N, D) → (N, *shape)."""
        return self.decoder(z if self.condition is None else torch.cat([z, self._vectors(z, aux, "to decode")], 1))

    def _vectors(self, rows: Tensor, aux: Tensor | None, what: str) -> Tensor:
        """u of each row as (N, size) numbers."""
        assert self.condition is not None
        return self.condition.vectors(self.condition.needed(aux, what, len(rows)), rows)

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> Posterior:
        """q(z|x) = N(μ(x), diag σ²(x)), or q(z|x, u): (N, *shape) → Gaussians over (N, D)."""
        return self.gaussian(x, aux)

    def decode(self, z: Tensor, space: str | None = None, aux: Tensor | None = None) -> Tensor:
        """E[x|z], or E[x|z, u]: (N, D) → (N, *shape) in data units."""
        return self.observation.mean(self.parameters_of(z, aux))

    def sample(self, n: int, generator: torch.Generator | None = None, aux: Tensor | None = None) -> Tensor:
        """E[x|z] for n draws z ~ N(0, I), of classes with equal chances where conditional and none are given."""
        if self.condition is not None and aux is None:
            aux = self.condition.draw(n, generator, "of each sample to draw")
        return self.decode(self.sample_codes(n, generator), aux=aux)

    def check(self, x: Tensor) -> None:
        """As every method, and data in the likelihood's range."""
        super().check(x)
        self.observation.check(x)

    def autoencoder_parameters(self) -> list[nn.Parameter]:
        """Those of encoder, decoder and likelihood."""
        modules = (self.encoder, self.decoder, self.observation, self.beside)
        return [parameter for module in modules if module is not None for parameter in module.parameters()]

    def phases(self) -> Sequence[Phase]:
        """One phase for both networks."""
        return [
            Phase(
                "vae",
                self.autoencoder_parameters(),
                self.loss,
                {RECONSTRUCTION: 1.0, **self.weights()},
                optimiser=adam(self.learning_rate),
                trains_decoder=True,
            )
        ]

    def weights(self) -> Mapping[str, Schedule]:
        """The weight of each term of `regularise`."""
        return {"kl": 1.0}

    def regularise(self, q: DiagonalGaussian, z: Tensor, generator: torch.Generator, step: int) -> dict[str, Term]:
        """What the objective adds to the reconstruction.

        Args:
            q: posteriors of N samples, over (N, D).
            z: (N, D) one draw from each.
            generator: for further draws.
            step: from 0, for schedules inside a term.
        Returns:
            The terms of `weights`, in nats, unweighted.
        """
        return {"kl": Term(q.kl().sum(1))}

    def loss(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """recon and the terms of `regularise`, estimated with one draw of z.

        Args:
            batch: of N samples.
            generator: of the draw.
            step: from 0.
        Returns:
            Terms recon = −log p(x|z), (N,) nats, and those of `regularise`; x̂ of the draw; KL of each dimension, (D,);
            z (N, D) for later phases.
        """
        q = self.gaussian(batch.x, batch.aux)
        z = self.draw(q, generator)
        r = self.parameters_of(z, batch.aux)
        return StepResult(
            {RECONSTRUCTION: Term(self.observation(r, batch.x)), **self.regularise(q, z, generator, step)},
            reconstruction=self.observation.mean(r),
            diagnostics=self.diagnostics(q),
            carried={"z": z},
        )

    def draw(self, q: DiagonalGaussian, generator: torch.Generator) -> Tensor:
        """The code that is decoded in training: (N, D), one draw a sample."""
        return q.rsample(generator)

    def diagnostics(self, q: DiagonalGaussian) -> dict[str, Tensor]:
        """Numbers for the log: the batch's mean KL of each dimension, (D,)."""
        return {"kl_per_dimension": q.kl().detach().mean(0)}


class BetaVAE(VAE):
    """β-VAE (Higgins et al. 2017): minimises recon + β·KL.

    β means the same for every likelihood and image size, since both terms are nats an image.

    Args:
        shape: of one sample: (C, H, W), (C, L) or (F,).
        latent_dim: number of latents D.
        beta: weight of the KL: a number ≥ 0; text such as "linear(0, 4, 5000)" for start, end and steps; from Python,
            any function of the step.
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
        beta: Weight = 4.0,
        **common: Any,
    ) -> None:
        super().__init__(shape, latent_dim, **common)
        self.beta = beta
        require_weights(beta=beta)

    def weights(self) -> Mapping[str, Schedule]:
        """kl β."""
        return {"kl": as_schedule(self.beta)}

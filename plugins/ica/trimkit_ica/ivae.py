"""iVAE: p(x, z|u) = p(x|z) p(z|u), whose prior depends on an auxiliary variable u. Per sample in nats, minimise

a E_q[−log p(x|z)] + b (log q(z|x, u) − log q(z)) + c (log q(z) − Σ_i log q(z_i)) + d (Σ_i log q(z_i) − log p(z|u)).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from trimkit.errors import OptionError, nearest
from trimkit.methods import (
    RECONSTRUCTION,
    Batch,
    DiagonalGaussian,
    Gaussian,
    LatentSpace,
    Method,
    Phase,
    Posterior,
    Schedule,
    StepResult,
    Term,
    Weight,
    adam,
    as_schedule,
    at_least_float32,
    decompose_kl,
    linear,
    require_weights,
)
from trimkit.registry.options import whole_number
from trimkit_ica.auxiliary import Auxiliary, FunctionOfAux, spread_uniformly
from trimkit_ica.networks import after, mlp
from trimkit_ica.priors import PriorName, make_prior

Preset: TypeAlias = Literal["elbo", "released", "annealed"]

PRESETS: dict[str, tuple[tuple[float, float], ...]] = {
    "elbo": ((1.0, 1.0), (1.0, 1.0), (1.0, 1.0), (1.0, 1.0)),
    "released": ((100.0, 100.0), (1.0, 1.0), (0.0, 0.0), (10.0, 10.0)),
    "annealed": ((50.0, 100.0), (15.0, 1.0), (0.0, 1.0), (25.0, 1.0)),
}
"""First and last weights a, b, c, d of reconstruction, mutual information, total correlation and dimension-wise KL."""


class IVAE(Method):
    """Identifiable VAE (Khemakhem et al. 2020, arXiv:1907.04809) with the weights a, b, c, d of its four terms.

    "elbo" is the paper's objective: all weights 1. "released" is what the authors' code trains, (100, 1, 0, 10), and no
    bound on the likelihood: without the total correlation, d (Σ_i log q(z_i) − log p(z|u)) asks each latent by itself
    to tell u, much as time-contrastive learning does. Its optimum need not be the sources: an encoder that sees u could
    write u itself into the latents, which ``encoder_aux=False`` rules out; with it, runs that had ended far from the
    sources at as low a loss found them (examples/nonlinear_ica.py).

    "annealed" follows a path in the authors' code that is off there: from (50, 15, 0, 25), where u tells latents apart,
    linearly to (100, 1, 1, 1) after ``anneal_steps``, the ELBO of an observation noise of σ²/100. In their code b and d
    fall to 0 and are held at 1 from there, which they reach a fifteenth and a twenty-fifth of the way earlier.

    Where b = c = d the terms of log q(z) cancel, and one term kl, in closed form, takes the place of the three.
    Otherwise they are estimated from one draw a sample, with q(z) the mean of the batch's posteriors.

    Latents are found up to order, scale and sign where u changes their variance (or mean and variance) enough; where it
    moves their means alone, up to a linear map only.

    Args:
        shape: of one sample.
        latent_dim: number of latents D.
        segments: number of values of u, where u are labels in 0 … segments − 1; the data tell ``trimkit train``.
        aux_dim: number of entries of u, where u are vectors; the data tell ``trimkit train``.
        preset: "elbo", "released" or "annealed", the weights that follow where they are not given.
        anneal_steps: steps in which "annealed" reaches its last weights; the authors take the run's steps / 1.6.
        reconstruction: a, weight of −log p(x|z): a number ≥ 0 or a schedule.
        mutual_information: b, weight of log q(z|x, u) − log q(z), whose mean is the index-code mutual information.
        total_correlation: c, weight of log q(z) − Σ_i log q(z_i).
        dimension_wise_kl: d, weight of Σ_i log q(z_i) − log p(z|u).
        prior: p(z_i|u), "gaussian" or "laplace".
        prior_layers: linear layers of the network of u that gives the prior's scale; 1 for a plain table of labels.
        prior_mean: let u move the prior's location too, not its scale alone.
        encoder_aux: q(z|x, u); False for q(z|x), whose space is a transform for penalties and audits.
        variance: σ² of p(x|z) = N(f(z), σ² I), fixed.
        hidden: width of all networks.
        layers: linear layers of each network, with tanh(x) + .1 x between.
        learning_rate: of Adam.
        rate: factor of the learning rate over the steps: a number, or text such as "cosine(1, 0, 20000)".

    Raises:
        OptionError: an option out of range, or nothing said of u.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int = 5,
        *,
        segments: int = 0,
        aux_dim: int = 0,
        preset: Preset = "elbo",
        anneal_steps: int = 0,
        reconstruction: Weight | None = None,
        mutual_information: Weight | None = None,
        total_correlation: Weight | None = None,
        dimension_wise_kl: Weight | None = None,
        prior: PriorName = "gaussian",
        prior_layers: int = 3,
        prior_mean: bool = False,
        encoder_aux: bool = True,
        variance: float = 0.1,
        hidden: int = 100,
        layers: int = 3,
        learning_rate: float = 1e-2,
        rate: Weight = 1.0,
    ) -> None:
        super().__init__(shape)
        self.latent_dim = latent_dim
        self.segments, self.aux_dim = segments, aux_dim
        self.preset: Preset = preset
        self.anneal_steps = anneal_steps
        self.reconstruction, self.mutual_information = reconstruction, mutual_information
        self.total_correlation, self.dimension_wise_kl = total_correlation, dimension_wise_kl
        self.prior: PriorName = prior
        self.prior_layers, self.prior_mean = prior_layers, prior_mean
        self.encoder_aux, self.variance = encoder_aux, variance
        self.hidden, self.layers = hidden, layers
        self.learning_rate, self.rate = learning_rate, rate
        whole_number("", latent_dim=latent_dim, hidden=hidden, layers=layers, prior_layers=prior_layers)
        self.auxiliary = self.condition = Auxiliary("IVAE", segments, aux_dim)
        given = (reconstruction, mutual_information, total_correlation, dimension_wise_kl)
        self._weights = choose_weights(preset, given, anneal_steps)
        if not (math.isfinite(variance) and variance > 0):
            raise OptionError(f"expected variance > 0, got {variance}")
        size = math.prod(self.shape)
        widths: dict[str, Any] = {"hidden": hidden, "layers": layers}
        self.encoder = Encoder(size, 2 * latent_dim, self.auxiliary if encoder_aux else None, **widths)
        self.decoder = nn.Sequential(mlp(latent_dim, size, **widths), nn.Unflatten(1, self.shape))
        self.conditional = make_prior(
            prior, self.auxiliary, latent_dim, location=prior_mean, hidden=hidden, layers=prior_layers
        )
        self.observation = Gaussian(math.sqrt(variance))

    def latent_spaces(self) -> Sequence[LatentSpace]:
        """One space z of D sources, independent given u."""
        reason = "q(z|x, u); make the method with encoder_aux=False for q(z|x)" if self.encoder_aux else ""
        return [LatentSpace("z", (self.latent_dim,), stochastic=True, needs_aux=self.encoder_aux, reason=reason)]

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> Posterior:
        """q(z|x, u) = N(μ, diag σ²): (N, *shape) and u → Gaussians over (N, D).

        Raises:
            DataError: no u, where the encoder needs it.
        """
        return self.gaussian(x, aux)

    def gaussian(self, x: Tensor, aux: Tensor | None) -> DiagonalGaussian:
        """As `encode`, in float32 or better."""
        u = self.auxiliary.needed(aux, "to encode", len(x)) if self.encoder_aux else None
        return DiagonalGaussian(*at_least_float32(self.encoder(x.flatten(1), u)).chunk(2, 1))

    def decode(self, z: Tensor, space: str | None = None) -> Tensor:
        """E[x|z] = f(z): (N, D) → (N, *shape)."""
        return self.decoder(z)

    def sample(self, n: int, generator: torch.Generator | None = None, aux: Tensor | None = None) -> Tensor:
        """E[x|z] for draws z ~ p(z|u), one for each u: (n, *shape).

        Raises:
            DataError: no u, or not n of them.
        """
        return self.decode(self.sample_codes(n, generator, aux=aux))

    def sample_codes(
        self,
        n: int,
        generator: torch.Generator | None = None,
        space: str | None = None,
        aux: Tensor | None = None,
    ) -> Tensor:
        """z ~ p(z|u), one for each u: (n, D).

        Raises:
            DataError: no u, or not n of them.
        """
        return self.conditional.sample(self.auxiliary.needed(aux, "of each sample to draw", n), generator)

    def phases(self) -> Sequence[Phase]:
        """One phase for all networks."""
        return [
            Phase(
                "ivae",
                list(self.parameters()),
                self.loss,
                self.weights(),
                optimiser=adam(self.learning_rate),
                trains_decoder=True,
                rate=as_schedule(self.rate),
            )
        ]

    @property
    def telescopes(self) -> bool:
        """True where b = c = d: log q(z) cancels, and is never computed."""
        return self._weights["mi"] == self._weights["tc"] == self._weights["dwkl"]

    def weights(self) -> Mapping[str, Schedule]:
        """recon a, and kl b where b = c = d; otherwise mi b, tc c, dwkl d."""
        if not self.telescopes:
            return self._weights
        return {RECONSTRUCTION: self._weights[RECONSTRUCTION], "kl": self._weights["mi"]}

    def loss(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """The terms of `weights`, with one draw of z.

        Args:
            batch: of N samples with their u.
            generator: of the draw.
            step: unused.
        Returns:
            Terms of (N,) nats; x̂ of the draw; the KL to p(z|u) of each dimension, (D,).
        """
        u = self.auxiliary.needed(batch.aux, "in every batch")
        q = self.gaussian(batch.x, u)
        z = q.rsample(generator)
        x_hat = self.decoder(z)
        kl = self.conditional.kl(q, u)
        rest = {"kl": Term(kl.sum(1))} if self.telescopes else self.parts(q, z, u)
        terms = {RECONSTRUCTION: Term(self.observation(x_hat, batch.x)), **rest}
        return StepResult(terms, x_hat, {"kl_per_dimension": kl.detach().mean(0)})

    def parts(self, q: DiagonalGaussian, z: Tensor, u: Tensor) -> dict[str, Term]:
        """mi, tc and dwkl of one draw a sample; they sum to log q(z|x, u) − log p(z|u).

        Args:
            q: posteriors of N samples, over (N, D).
            z: (N, D) one draw from each.
            u: of those samples.
        """
        split = decompose_kl(z, q, estimator="batch")
        standard = DiagonalGaussian(torch.zeros_like(z), torch.zeros_like(z)).log_prob(z)  # the prior it measures to
        return {
            "mi": Term(split.mutual_information),
            "tc": Term(split.total_correlation),
            "dwkl": Term(split.dimension_wise_kl + standard - self.conditional.log_prob(z, u)),
        }


class Encoder(nn.Module):
    """(x, u) → 2D numbers: an MLP on x, to whose first layer u adds a learned vector, as a one-hot u beside x would.

    Args:
        inputs: entries of x.
        outputs: 2D.
        aux: what u is; None for an encoder of x alone.
        hidden: width.
        layers: linear layers.
    """

    def __init__(self, inputs: int, outputs: int, aux: Auxiliary | None, *, hidden: int, layers: int) -> None:
        super().__init__()
        width = hidden if layers > 1 else outputs
        self.first = nn.Linear(inputs, width)
        self.shift = None if aux is None else FunctionOfAux(aux, width)
        spread_uniformly(self, (inputs + (0 if aux is None else aux.size)) ** -0.5)
        self.rest = after(hidden, outputs, layers=layers) if layers > 1 else nn.Identity()

    def forward(self, x: Tensor, u: Tensor | None = None) -> Tensor:
        """(N, inputs) and u → (N, outputs)."""
        first = self.first(x)
        return self.rest(first if self.shift is None or u is None else first + self.shift(u))


WEIGHTS = {
    RECONSTRUCTION: "reconstruction",
    "mi": "mutual_information",
    "tc": "total_correlation",
    "dwkl": "dimension_wise_kl",
}
"""Terms, and the options of their weights."""


def choose_weights(preset: str, given: Sequence[Weight | None], anneal_steps: int) -> dict[str, Schedule]:
    """The weights of recon, mi, tc and dwkl: those that were given, and the preset's for the rest.

    Args:
        preset: of `PRESETS`.
        given: a, b, c, d; None for the preset's.
        anneal_steps: in which weights that change do so.
    Raises:
        OptionError: an unknown preset, "annealed" without steps, text that is no weight, or a number below 0.
    """
    if preset not in PRESETS:
        raise OptionError(f"there is no preset {preset!r}. {nearest(preset, PRESETS)}")
    if preset == "annealed" and anneal_steps < 1:
        raise OptionError(
            f"preset 'annealed' expects anneal_steps ≥ 1, got {anneal_steps}: the steps of the run / 1.6, such as "
            "--method.anneal_steps 3750 with --steps 6000"
        )
    chosen: dict[str, Schedule] = {}
    for (term, option), own, (first, last) in zip(WEIGHTS.items(), given, PRESETS[preset], strict=True):
        usual = first if first == last else linear(first, last, anneal_steps)
        chosen[term] = as_schedule(usual if own is None else own)
        require_weights(**{option: chosen[term]})
    return chosen

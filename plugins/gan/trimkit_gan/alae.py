"""ALAE: min_{F,G} max_{E,D} V(G∘F, D∘E) and min_{E,G} E_z ‖F(z) − E(G(F(z)))‖²: an autoencoder of its own w."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from trimkit.errors import OptionError, ShapeError
from trimkit.methods import (
    RECONSTRUCTION,
    Batch,
    ConditionalMethod,
    Delta,
    LatentSpace,
    Phase,
    Posterior,
    StepResult,
    Term,
    Weight,
    adam,
    as_schedule,
    at_least_float32,
    standard_normal,
)
from trimkit_gan.autoencoding import AlaeChoice, LatentDiscriminator, StyleGenerator, make_alae
from trimkit_gan.conditions import seen_of, seen_or_drawn
from trimkit_gan.convolutional import Output, check_range
from trimkit_gan.mapping import Mapping, draw_cutoff, mix, truncate
from trimkit_gan.options import require_counts, require_positive, require_shares, require_weights
from trimkit_gan.regularisers import r1
from trimkit_gan.synthesis import NoiseMode

BETAS = (0.0, 0.99)
"""Of every Adam (Pidhorskyi et al. 2020, section 5, after Karras et al. 2018)."""

NO_ENCODE = "E gives w, and F, which maps z to w, has no inverse; encode in the space 'w'"


class ALAE(ConditionalMethod):
    """Adversarial latent autoencoder (Pidhorskyi et al. 2020, arXiv:2004.04467): MLP-ALAE and StyleALAE.

    F maps noise z to w, G maps w to data, E maps data back to w, D tells the w of data from those of generated data.
    A step has three phases, each with an optimiser of its own (algorithm 1):

    1. "discriminator", E and D: softplus(D(E(G(F(z))))) + softplus(−D(E(x))) + γ · ½ ‖∇_x D(E(x))‖²;
    2. "generator", F and G: softplus(−D(E(G(F(z)))));
    3. "reciprocity", E and G: ‖F(z) − E(G(F(z)))‖² with F still and without style mixing, and, where asked for,
       ½ ‖x − G(E(x))‖², which the paper does without. A predictor's terms join here, on x̂ = G(E(x)).

    A conditional one gives u to F and to D, as StyleGAN's mapping and projection discriminator take it; E and G do
    without, so that w, which holds u, is encoded and decoded as before.

    Spaces: ``w`` (encoded by E, decoded by G), with style-based networks ``w+`` (one w a layer), and ``z``, which is
    decoded only.

    Args:
        shape: of one sample: (C, H, W), (C, L) or (F,).
        w_dim: entries of w, and of z.
        network: "mlp" for data of any shape, "conv" for square images of 8, 16, 32 or 64 pixels, "style" for StyleALAE
            (square images of 8, 16, … 1024 pixels); or a function (shape, inputs) → (generator, trunk), as
            pkg.mod:function.
        mapping_layers: of F.
        discriminator_layers: of D.
        learning_rate_multiplier: of the layers of F and D.
        r1_weight: γ, ≥ 0.
        r1_interval: k: the penalty is taken at every k-th step, with k times the weight; 1 as published.
        reconstruction_weight: of ½ ‖x − G(E(x))‖²: 0 as published, or a schedule.
        style_mixing: chance that two w share an image in the adversarial phases; for style-based networks.
        truncation_psi: of samples: w̄ + ψ (w − w̄); 1 for none.
        output: "sigmoid" for data in [0, 1], "tanh" for [−1, 1], "linear" for any.
        ema: decay of the running average of all networks that is evaluated and saved, in [0, 1); 0 for none.
        learning_rate: of each Adam.
        conditions: conditional, see `trimkit.methods.ConditionalMethod`.

    Raises:
        OptionError: an option out of range.
        ShapeError: data that the network does not take.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        w_dim: int = 16,
        *,
        network: AlaeChoice = "mlp",
        mapping_layers: int = 4,
        discriminator_layers: int = 3,
        learning_rate_multiplier: float = 0.1,
        r1_weight: float = 10.0,
        r1_interval: int = 1,
        reconstruction_weight: Weight = 0.0,
        style_mixing: float = 0.9,
        truncation_psi: float = 1.0,
        output: Output = "sigmoid",
        ema: float = 0.0,
        learning_rate: float = 2e-3,
        **conditions: Any,
    ) -> None:
        super().__init__(shape, **conditions)
        self.w_dim = w_dim
        self.network = network
        self.mapping_layers = mapping_layers
        self.discriminator_layers = discriminator_layers
        self.learning_rate_multiplier = learning_rate_multiplier
        self.r1_weight = r1_weight
        self.r1_interval = r1_interval
        self.reconstruction_weight = reconstruction_weight
        self.style_mixing = style_mixing
        self.truncation_psi = truncation_psi
        self.output: Output = output
        self.ema = ema
        self.learning_rate = learning_rate
        self._check_options()
        size = 0 if self.condition is None else self.condition.size
        self.mapping = Mapping(w_dim, w_dim, mapping_layers, learning_rate_multiplier, size)
        self.generator, self.encoder = make_alae(network, self.shape, w_dim, output)
        self.discriminator = LatentDiscriminator(w_dim, discriminator_layers, learning_rate_multiplier, size)

    def _check_options(self) -> None:
        require_counts(self, "w_dim", "mapping_layers", "discriminator_layers", "r1_interval")
        if not math.isfinite(self.truncation_psi):
            raise OptionError(f"expected a finite truncation_psi, got {self.truncation_psi}")
        require_positive(self, "learning_rate_multiplier", "learning_rate")
        require_weights(self, "r1_weight", "reconstruction_weight")
        require_shares(self, "style_mixing")

    def latent_spaces(self) -> Sequence[LatentSpace]:
        """``w``, with style-based networks ``w+``, and ``z``."""
        spaces = [LatentSpace("w", (self.w_dim,))]
        if isinstance(self.generator, StyleGenerator):
            layout = self.generator.groups(self.w_dim)
            spaces.append(LatentSpace("w+", (self.generator.num_ws, self.w_dim), layout))
        needs = self.conditional
        z = LatentSpace("z", (self.w_dim,), can_encode=False, decoding_needs_aux=needs, gaussian=True, reason=NO_ENCODE)
        return [*spaces, z]

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> Posterior:
        """E(x), a point: (N, *shape) → w (N, D), or the same w for every layer of w+ (N, L, D).

        Raises:
            OptionError: the space z, to which nothing leads back.
        """
        chosen = self.space(space)
        if not chosen.can_encode:
            raise OptionError(f"ALAE: {NO_ENCODE}")
        w = self.encoder(x)
        return Delta(self.generator.spread(w) if chosen.name == "w+" else w)

    def decode(
        self,
        z: Tensor,
        space: str | None = None,
        aux: Tensor | None = None,
        *,
        noise: NoiseMode = "constant",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """G(w) or G(F(z)).

        Args:
            z: (N, D) codes of w or z, (N, L, D) of w+.
            space: None for w.
            aux: u of each, for z of a conditional method.
            noise: of the style-based networks: "constant", "none", or "random" from the generator.
            generator: source of randomness.
        Returns:
            (N, *shape) in data units.
        Raises:
            ShapeError: codes of another shape.
        """
        chosen = self.space(space)
        if z.shape[1:] != chosen.shape:
            sizes = ", ".join(map(str, chosen.shape))
            raise ShapeError(f"ALAE: expected codes (N, {sizes}) of {chosen.name!r}, got {tuple(z.shape)}")
        if chosen.name == "z":
            z = self.mapping(z, seen_of(self, aux, "to decode", len(z)))
        return self.generator(z if chosen.name == "w+" else self.generator.spread(z), noise, generator)

    def baseline(self, space: str | None = None) -> Tensor | None:
        """The mean of w that was tracked in training, for ``w`` and ``w+``; None, which means zeros, for ``z``."""
        name = self.space(space).name
        mean = self.mapping.w_mean[None]
        return None if name == "z" else self.generator.spread(mean) if name == "w+" else mean

    def sample(self, n: int, generator: torch.Generator | None = None, aux: Tensor | None = None) -> Tensor:
        """G(F(z)) for n draws z ~ N(0, I), truncated by ``truncation_psi``: (n, *shape).

        Where conditional, of classes with equal chances unless aux says which.
        """
        ws = self.generator.spread(self.sample_codes(n, generator, "w", aux))
        return self.generator(truncate(ws, self.mapping.w_mean, self.truncation_psi))

    def sample_codes(
        self,
        n: int,
        generator: torch.Generator | None = None,
        space: str | None = None,
        aux: Tensor | None = None,
    ) -> Tensor:
        """z ~ N(0, I), or their w, not truncated: (n, *shape of the space); aux as in `sample`."""
        name = self.space(space).name
        z = standard_normal(self.mapping.w_mean.new_empty(n, self.w_dim), generator)
        if name == "z":
            return z
        w = self.mapping(z, seen_or_drawn(self, n, generator, aux))
        return self.generator.spread(w) if name == "w+" else w

    def check(self, x: Tensor) -> None:
        """As every method, and data in the output's range."""
        super().check(x)
        check_range(x, self.output)

    def phases(self) -> Sequence[Phase]:
        """Discriminator (with a lazy R1 after it where its interval is above 1), generator, reciprocity."""
        e, g = list(self.encoder.parameters()), list(self.generator.parameters())
        critics, f = [*e, *self.discriminator.parameters()], list(self.mapping.parameters())
        lazy = self.r1_interval > 1
        optimiser = adam(self.learning_rate, BETAS, self.r1_interval if lazy else None)
        penalty = {"r1": self.r1_weight}
        adversarial = {"discriminator": 1.0, **({} if lazy else penalty)}
        reciprocity = {"reciprocity": 1.0, RECONSTRUCTION: as_schedule(self.reconstruction_weight)}
        plain = adam(self.learning_rate, BETAS)
        regular = Phase(
            "r1", critics, self.regularise, penalty, interval=self.r1_interval, lazy=True, shares="discriminator"
        )
        return [
            Phase("discriminator", critics, self.discriminate, adversarial, optimiser, ema=self.ema),
            *([regular] if lazy else []),
            Phase("generator", [*f, *g], self.generate, {"generator": 1.0}, plain, ema=self.ema),
            Phase("reciprocity", [*e, *g], self.reciprocate, reciprocity, plain, trains_decoder=True),
        ]

    def draw(self, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """z ~ N(0, I): (N, D), of the type and device of ``like`` (N, ...)."""
        return standard_normal(like.new_empty(len(like), self.w_dim), generator)

    def imagine(self, like: Tensor, generator: torch.Generator, c: Tensor | None = None) -> Tensor:
        """Images of fresh noise as the adversarial phases see them: random per-pixel noise, and style mixing.

        Args:
            like: (N, ...) of as many samples.
            generator: source of randomness.
            c: (N, size) what F sees of u.
        """
        ws = self.generator.spread(w := self.mapping(self.draw(like, generator), c))
        if self.training:
            self.mapping.track(w)
        if self.style_mixing and self.generator.num_ws > 1:
            other = self.generator.spread(self.mapping(self.draw(like, generator), c))
            ws = mix(ws, other, draw_cutoff(self.generator.num_ws, self.style_mixing, generator))
        return self.generator(ws, "random", generator)

    def judge(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """D(E(x)), or D(E(x), u), in float32 or better: (N, *shape), (N, size) → (N,) logits, above 0 for data."""
        return at_least_float32(self.discriminator(self.encoder(x), c))[:, 0]

    def discriminate(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """softplus(D(E(G(F(z))))) + softplus(−D(E(x))), (N,) nats, and R1 where it is not a phase of its own."""
        c = seen_of(self, batch.aux, "in every batch")
        real, made = self.judge(batch.x, c), self.judge(self.imagine(batch.x, generator, c), c)
        terms = {"discriminator": Term(softplus(made) + softplus(-real))}
        if self.r1_interval == 1:
            terms |= self.regularise(batch, generator, step).terms
        logits = torch.stack([real, made], 1).detach().mean(0)
        return StepResult(terms, diagnostics={"logits": logits})

    def regularise(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """R1: ½ ‖∇_x D(E(x))‖², (N,)."""
        c = seen_of(self, batch.aux, "in every batch")
        return StepResult({"r1": Term(r1(partial(self.judge, c=c), batch.x))})

    def generate(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """softplus(−D(E(G(F(z))))), (N,) nats."""
        c = seen_of(self, batch.aux, "in every batch")
        return StepResult({"generator": Term(softplus(-self.judge(self.imagine(batch.x, generator, c), c)))})

    def reciprocate(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """‖F(z) − E(G(F(z)))‖² and ½ ‖x − G(E(x))‖², each (N,)."""
        w = self.mapping(self.draw(batch.x, generator), seen_of(self, batch.aux, "in every batch")).detach()
        again = self.encoder(self.generator(self.generator.spread(w), "random", generator))
        x_hat = self.generator(self.generator.spread(self.encoder(batch.x)))
        errors = at_least_float32(again - w), at_least_float32(x_hat - batch.x)
        reciprocity, reconstruction = (error.square().flatten(1).sum(1) for error in errors)
        terms = {"reciprocity": Term(reciprocity), RECONSTRUCTION: Term(0.5 * reconstruction)}
        return StepResult(terms, x_hat, {"w_variance": w.var(0, correction=0).sum()})

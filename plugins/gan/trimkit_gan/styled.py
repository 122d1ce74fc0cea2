"""How StyleGAN and StyleGAN2 are trained: the options that they share, and the two players' losses.

G = synthesis ∘ affine maps ∘ mapping:    L_G = E softplus(−D(G(z)))
D:                                        L_D = E softplus(−D(x)) + E softplus(D(G(z))) + γ · ½ E ‖∇ₓ D(x)‖²
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from trimkit.errors import OptionError
from trimkit.methods import Batch, Phase, StepResult, Term, adam
from trimkit_gan.augmentation import Augmentation
from trimkit_gan.conditions import seen_of
from trimkit_gan.discriminator import GROUP, Discriminator
from trimkit_gan.generating import StyleSpaces
from trimkit_gan.growing import shrink
from trimkit_gan.layers import pixel_norm
from trimkit_gan.mapping import Mapping, draw_cutoff, mix
from trimkit_gan.options import require_counts, require_positive, require_shares
from trimkit_gan.projection import project
from trimkit_gan.regularisers import auto_r1_weight, r1
from trimkit_gan.synthesis import Modulation, Output, Stage, Synthesis

BETAS = (0.0, 0.99)
"""Of Adam, for both players (Karras et al. 2018)."""

USUAL_BATCH = 16
"""For which the usual weight of R1 is taken."""

SMALL_BELOW = 64
"""Images of fewer pixels a side have the usual options for small ones."""


PUBLISHED_MULTIPLIER = 0.01
"""Of the mapping network's learning rate."""


class Usual(NamedTuple):
    """Options where none are given, which depend on the size of the images.

    Attributes:
        mapping_layers: depth of the mapping network.
        mapping_multiplier: of its layers' learning rate.
        channel_max: most channels of a layer.
        mixing: probability of style mixing.
        r1_gamma: γ.
        learning_rate: of Adam.
        path_weight: of StyleGAN2's path length.
    """

    mapping_layers: int
    mapping_multiplier: float
    channel_max: int
    mixing: float
    r1_gamma: float
    learning_rate: float
    path_weight: float


SMALL = Usual(2, 0.1, 32, mixing=0.0, r1_gamma=1.0, learning_rate=4e-3, path_weight=0.0)
"""For images that are to be drawn in minutes of a CPU. That they need neither style mixing nor path length nor a deep
mapping is published (Karras et al. 2020, arXiv:2006.06676, on CIFAR-10); the rest is from the trials of
docs/methods/gan.md. The published γ, .0128 at 32 pixels, is too weak for thousands of images instead of millions."""


def usual_options(shape: Sequence[int], small_gamma: float = SMALL.r1_gamma) -> Usual:
    """What small images need to be drawn in minutes of a CPU, or the published options at a laptop's width.

    Args:
        shape: of an image, (C, S, S).
        small_gamma: γ of small images.
    """
    if shape[-1] < SMALL_BELOW:
        return SMALL._replace(r1_gamma=small_gamma)
    gamma = auto_r1_weight(shape, USUAL_BATCH)
    return Usual(
        8, PUBLISHED_MULTIPLIER, channel_max=64, mixing=0.9, r1_gamma=gamma, learning_rate=2e-3, path_weight=2.0
    )


class Drawn(NamedTuple):
    """Codes drawn from the prior.

    Attributes:
        z: (N, z_dim).
        w: (N, w_dim), of z alone.
        ws: (N, L, w_dim), mixed with those of other draws where style mixing is on.
    """

    z: Tensor
    w: Tensor
    ws: Tensor


class StyleBased(StyleSpaces):
    """A style-based generator and its discriminator; subclasses say what they are made of.

    Args:
        shape: of one sample: (C, S, S) with S = 8, 16, … 1024.
        z_dim: entries of z.
        w_dim: entries of w.
        mapping_layers: depth of the mapping network; by default 2 below 64 pixels, else 8 as in the papers.
        mapping_multiplier: of the learning rate of its layers; by default .1 below 64 pixels, else .01 as in the
            papers.
        convolutions: of each resolution in both networks, 2 as in the papers, or 1, which is faster and draws outlines
            less well. The discriminator's single ones are DCGAN's, see `Discriminator`.
        channel_base: layers at resolution r have min(channel_base / r, channel_max) channels. The papers' 16384
            (StyleGAN), 32768 (StyleGAN2) and 512 are for GPUs.
        channel_max: see there; by default 32 below 64 pixels, else 64.
        mixing: probability of style mixing in training; by default 0 below 64 pixels, else .9 as in the papers.
        r1_gamma: γ, 0 for none; by default 1 (`stylegan2`) or 3 (`stylegan`) below 64 pixels, else 2·10⁻⁴ · S² / 16.
            StyleGAN's paper has 10 at 1024 pixels.
        r1_interval: steps between two R1 phases; in StyleGAN's paper 1.
        learning_rate: of Adam, for both players; by default .004 below 64 pixels, else .002.
        ema_decay: of the generator's running average, which is what is evaluated and saved: half of it is from the last
            346 steps by default.
        low: data value that is as dark as can be.
        high: data value that is as bright as can be.
        conditions: conditional, see `trimkit.methods.ConditionalMethod`: mapping and discriminator see u, see `Mapping`
            and `Discriminator`; samples are asked to be what the batch's data are.

    Attributes:
        discriminator: image → logit.
        augmentation: adaptive, or None.
    """

    discriminator: Discriminator
    small_gamma: ClassVar[float] = SMALL.r1_gamma
    """γ by default for small images."""

    def __init__(
        self,
        shape: tuple[int, ...],
        z_dim: int = 64,
        w_dim: int = 64,
        mapping_layers: int | None = None,
        *,
        mapping_multiplier: float | None = None,
        convolutions: int = 2,
        channel_base: int = 2048,
        channel_max: int | None = None,
        mixing: float | None = None,
        r1_gamma: float | None = None,
        r1_interval: int = 16,
        learning_rate: float | None = None,
        ema_decay: float = 0.998,
        low: float = 0.0,
        high: float = 1.0,
        **conditions: Any,
    ) -> None:
        super().__init__(shape, **conditions)
        usual = usual_options(self.shape, self.small_gamma)
        self.z_dim, self.w_dim = z_dim, w_dim
        self.mapping_layers = usual.mapping_layers if mapping_layers is None else mapping_layers
        self.mapping_multiplier = usual.mapping_multiplier if mapping_multiplier is None else mapping_multiplier
        self.convolutions, self.channel_base = convolutions, channel_base
        self.channel_max = usual.channel_max if channel_max is None else channel_max
        self.mixing = usual.mixing if mixing is None else mixing
        self.r1_gamma = usual.r1_gamma if r1_gamma is None else r1_gamma
        self.r1_interval = r1_interval
        self.learning_rate = usual.learning_rate if learning_rate is None else learning_rate
        self.ema_decay = ema_decay
        self.low, self.high = low, high
        self.augmentation: Augmentation | None = None
        self._check_options()

    def _check_options(self) -> None:
        require_shares(self, "mixing")
        require_counts(self, "r1_interval")
        require_positive(self, "mapping_multiplier")
        if self.convolutions not in (1, 2):
            raise OptionError(f"expected convolutions as 1 or 2, got {self.convolutions}")
        if not -math.inf < self.low < self.high < math.inf:
            raise OptionError(f"expected finite low < high, got {self.low} and {self.high}")
        if not 0 <= self.r1_gamma < math.inf:
            raise OptionError(f"expected r1_gamma ≥ 0, or null for the usual one, got {self.r1_gamma}")

    def build(self, *, modulation: Modulation, output: Output, residual: bool, growing: bool = False) -> None:
        """Make the networks from the options.

        Args:
            modulation: see `Synthesis`.
            output: see `Synthesis`.
            residual: see `Discriminator`.
            growing: see `Discriminator`.
        """
        sizes = {
            "channel_base": self.channel_base,
            "channel_max": self.channel_max,
            "convolutions": self.convolutions,
        }
        size = 0 if self.condition is None else self.condition.size
        depth, multiplier = self.mapping_layers, self.mapping_multiplier
        self.mapping = Mapping(self.z_dim, self.w_dim, depth, multiplier, condition_size=size)
        self.synthesis = Synthesis(self.shape, self.w_dim, modulation=modulation, output=output, **sizes)
        self.discriminator = Discriminator(self.shape, residual=residual, growing=growing, condition_size=size, **sizes)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """As every module; files that do not tell the mapping's multiplier are from before it was an option."""
        state_dict.setdefault(f"{prefix}mapping.multiplier", torch.tensor(PUBLISHED_MULTIPLIER))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def reach(self, step: int) -> Stage:
        """The stage of a training step; networks that grow take note of it."""
        return self.stage

    def project(self, x: Tensor, space: str = "w", **options: Any) -> Tensor:
        """Codes of data by optimisation, see `trimkit_gan.projection.project`.

        Args:
            x: (N, *shape) data.
            space: "w", "w+" or "s".
            **options: steps, learning_rate, predictor, feature_weight, progress.
        Returns:
            (N, *shape of the space), detached.
        """
        return project(self, x, space, **options)

    def draw(self, n: int, generator: torch.Generator, c: Tensor | None = None) -> Drawn:
        """Codes for a training step, mixed at one cutoff for the whole batch (StyleGAN, section 3.1).

        Args:
            n: how many.
            generator: source of randomness.
            c: (n, size) what the mapping sees of u; codes are mixed with such of the same u.
        """
        z = self.draw_z(n, generator)
        w = self.mapping(z, c)
        ws = self.synthesis.spread(w)
        cutoff = draw_cutoff(self.synthesis.num_ws, self.mixing, generator)
        if cutoff < self.synthesis.num_ws:
            ws = mix(ws, self.synthesis.spread(self.mapping(self.draw_z(n, generator), c)), cutoff)
        return Drawn(z, w, ws)

    def play_generator(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """L_G on as many samples as the batch has.

        Args:
            batch: gives the number, and u of each sample where conditional.
            generator: of codes, noise and augmentation.
            step: from 0.
        Returns:
            The term "adversarial", (N,) nats; the samples' codes without mixing; where they were asked to be of
            classes, samples and classes.
        """
        stage, c = self.reach(step), seen_of(self, batch.aux, "in every batch")
        drawn = self.draw(len(batch), generator, c)
        images = self.synthesis(self.synthesis.styles(drawn.ws), "random", generator, stage)
        if self.training:
            self.mapping.track(drawn.w)
        logits = self.discriminator(self._augmented(images, generator), stage, c)
        codes = {"z": pixel_norm(drawn.z), **self.codes(drawn.w, "w")}
        terms = {"adversarial": Term(softplus(-logits))}
        if not self.drawn_classes:
            return StepResult(terms, codes=codes)
        return StepResult(terms, lambda _: self.as_data(images), codes=codes, labels=batch.aux)

    def play_discriminator(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """L_D without R1.

        Args:
            batch: real data.
            generator: of codes, noise and augmentation.
            step: from 0.
        Returns:
            Terms "real" and "fake", (N,) nats; the augmentation's p where there is one.
        """
        stage, c = self.reach(step), seen_of(self, batch.aux, "in every batch")
        with torch.no_grad():
            styles = self.synthesis.styles(self.draw(len(batch), generator, c).ws)
            images = self.synthesis(styles, "random", generator, stage)
        seen = [self._augmented(x, generator) for x in (images, self._seen(batch.x, stage))]
        fake, real = self._judge_apart(seen, stage, c)
        diagnostics: dict[str, Tensor] = {}
        if self.augmentation is not None:
            if self.training:
                self.augmentation.observe(real)
            diagnostics["augmentation_probability"] = self.augmentation.probability.clone()
        return StepResult({"real": Term(softplus(-real)), "fake": Term(softplus(fake))}, diagnostics=diagnostics)

    def _judge_apart(self, sets: Sequence[Tensor], stage: Stage, c: Tensor | None) -> Sequence[Tensor]:
        """The logits of sets of as many images; in one pass where groups of the deviation lie within a set."""
        if len(sets[0]) % GROUP:
            return [self.discriminator(x, stage, c) for x in sets]
        repeated = None if c is None else c.repeat(len(sets), 1)
        return self.discriminator(torch.cat(list(sets)), stage, repeated).chunk(len(sets))

    def penalise_discriminator(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """R1 on the batch.

        Args:
            batch: real data.
            generator: of the augmentation.
            step: from 0.
        Returns:
            The term "r1", (N,), to be weighted with γ.
        """
        stage, c = self.reach(step), seen_of(self, batch.aux, "in every batch")

        def critic(x: Tensor) -> Tensor:
            return self.discriminator(self._augmented(x, generator), stage, c)

        return StepResult({"r1": Term(r1(critic, self._seen(batch.x, stage)))})

    def generator_parameters(self) -> list[nn.Parameter]:
        """Those of mapping and synthesis."""
        return [*self.mapping.parameters(), *self.synthesis.parameters()]

    def generator_phase(self, interval: int | None = None) -> Phase:
        """The generator's turn.

        Args:
            interval: of a lazy phase that shares its optimiser; None where there is none.
        """
        return Phase(
            "generator",
            self.generator_parameters(),
            self.play_generator,
            {"adversarial": 1.0},
            adam(self.learning_rate, BETAS, interval=interval),
            trains_decoder=True,
            ema=self.ema_decay,
            generates=True,
        )

    def discriminator_phases(self) -> list[Phase]:
        """The discriminator's turn, and its lazy R1."""
        gamma = self.r1_gamma
        parameters = list(self.discriminator.parameters())
        optimiser = adam(self.learning_rate, BETAS, interval=self.r1_interval if gamma else None)
        weights = {"real": 1.0, "fake": 1.0}
        penalty = Phase(
            "discriminator_r1",
            parameters,
            self.penalise_discriminator,
            {"r1": gamma},
            interval=self.r1_interval,
            lazy=True,
            shares="discriminator",
        )
        play = Phase("discriminator", parameters, self.play_discriminator, weights, optimiser)
        return [play, penalty] if gamma else [play]

    def _augmented(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return images if self.augmentation is None else self.augmentation(images, generator)

    def _seen(self, x: Tensor, stage: Stage) -> Tensor:
        return shrink((x - self.low) * (2 / (self.high - self.low)) - 1, stage)

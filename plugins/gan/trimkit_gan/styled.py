"""What StyleGAN and StyleGAN2 share: spaces, decoding, sampling, and the two players' losses.

G = synthesis ∘ affine maps ∘ mapping:    L_G = E softplus(−D(G(z)))
D:                                        L_D = E softplus(−D(x)) + E softplus(D(G(z))) + γ · ½ E ‖∇ₓ D(x)‖²
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from trimkit.errors import DataError, OptionError, ShapeError, TrainingError
from trimkit.methods import (
    Batch,
    LatentSpace,
    Method,
    Phase,
    Posterior,
    StepResult,
    Term,
    adam,
    standard_normal,
)
from trimkit_gan.augmentation import Augmentation
from trimkit_gan.discriminator import Discriminator
from trimkit_gan.growing import enlarge, shrink
from trimkit_gan.layers import pixel_norm, require_counts
from trimkit_gan.mapping import Mapping, draw_cutoff, mix, truncate
from trimkit_gan.regularisers import auto_r1_weight, r1
from trimkit_gan.spaces import join, split, style_spaces
from trimkit_gan.synthesis import NoiseMode, Stage, Synthesis

BETAS = (0.0, 0.99)
"""Of Adam, for both players (Karras et al. 2018)."""

USUAL_BATCH = 16
"""For which the default weight of R1 is taken."""


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


class StyleBased(Method):
    """A style-based generator and its discriminator; subclasses say what they are made of.

    Args:
        shape: of one sample: (C, S, S) with S = 8, 16, … 1024.
        mapping: z → w.
        synthesis: styles → image.
        discriminator: image → logit.

    Attributes:
        mapping: as given.
        synthesis: as given.
        discriminator: as given.
        augmentation: adaptive, or None.
        mixing: probability of style mixing in training.
        r1_gamma: weight of R1, None for 2·10⁻⁴ · S² / 16, 0 for none.
        r1_interval: steps between two R1 phases.
        learning_rate: of Adam.
        ema_decay: of the generator's running average.
        low: data value that the networks see as −1.
        high: data value that the networks see as 1.
    """

    mixing: float
    r1_gamma: float | None
    r1_interval: int
    learning_rate: float
    ema_decay: float
    low: float
    high: float

    def __init__(
        self, shape: Sequence[int], mapping: Mapping, synthesis: Synthesis, discriminator: Discriminator
    ) -> None:
        super().__init__(shape)
        self.mapping = mapping
        self.synthesis = synthesis
        self.discriminator = discriminator
        self.augmentation: Augmentation | None = None

    @property
    def stage(self) -> Stage:
        """How far the networks have grown."""
        return self.synthesis.top

    def reach(self, step: int) -> Stage:
        """The stage of a training step; networks that grow take note of it."""
        return self.stage

    def latent_spaces(self) -> Sequence[LatentSpace]:
        """w, z, w+ and s, see `trimkit_gan.spaces`."""
        reason = (
            f"{type(self).__name__} has no encoder: find codes by projection, method.project(x, space), or explain in "
            "the transform trimkit_gan.projection.Projection(method, space)"
        )
        return style_spaces(self.synthesis, self.mapping.z_dim, self.mapping.w_dim, reason)

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> Posterior:
        """Refused: no network does this.

        Raises:
            TrainingError: always, with the way out.
        """
        raise TrainingError(self.space(space).reason)

    def codes(self, code: Tensor, space: str = "z") -> dict[str, Tensor]:
        """A code in its own space and in all spaces that it determines.

        Those of z and of s are the ones that stand for all codes of the same image: z at root mean square 1, and so
        each layer's style where the layer takes the scale out. A generator whose styles are larger has the same codes.

        Args:
            code: (N, *shape of the space).
            space: "z", "w", "w+" or "s".
        Returns:
            Name → code, with graph.
        Raises:
            ShapeError: a code of another shape.
        """
        expected = self.space(space).shape
        if tuple(code.shape[1:]) != expected:
            raise ShapeError(
                f"expected codes of {space}, (N, {', '.join(map(str, expected))}), got {tuple(code.shape)}"
            )
        onward = {"z": ("w", self.mapping), "w": ("w+", self.synthesis.spread), "w+": ("s", self._s_of)}
        found = {space: self._canonical(code, space)}
        while space in onward:
            following, step = onward[space]
            found[following] = step(found[space])
            space = following
        return found

    def _s_of(self, ws: Tensor) -> Tensor:
        return join(self.synthesis.canonical(self.synthesis.styles(ws)))

    def _canonical(self, code: Tensor, space: str) -> Tensor:
        if space == "z":
            return pixel_norm(code)
        return join(self.synthesis.canonical(split(code, self.synthesis))) if space == "s" else code

    @torch.no_grad()
    def baseline(self, space: str | None = None) -> Tensor | None:
        """The code of w̄, the running mean of w, whose image is that of ψ = 0.

        Args:
            space: "w" by default.
        Returns:
            (1, *shape of the space); None for z, since w̄ belongs to no z.
        """
        name = self.space(space).name
        return None if name == "z" else self.codes(self.mapping.w_mean[None], "w")[name]

    def decode(self, z: Tensor, space: str | None = None) -> Tensor:
        """The image of codes, with constant noise and neither mixing nor truncation.

        Args:
            z: (N, *shape of the space).
            space: "w" by default, "z", "w+" or "s".
        Returns:
            (N, *shape) in data units, not clamped.
        """
        return self.render(z, space)

    def render(
        self,
        code: Tensor,
        space: str | None = None,
        *,
        noise: NoiseMode = "constant",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """As `decode`, with a choice of noise.

        Args:
            code: (N, *shape of the space).
            space: "w" by default.
            noise: "constant", "none", or "random" from the generator.
            generator: source of randomness.
        Returns:
            (N, *shape) in data units.
        """
        s = self.codes(code, self.space(space).name)["s"]
        image = self.synthesis(split(s, self.synthesis), noise, generator, self.stage)
        return enlarge(self._in_data_units(image), self.shape[-1])

    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        aux: Tensor | None = None,
        *,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise: NoiseMode = "random",
    ) -> Tensor:
        """New images.

        Args:
            n: how many.
            generator: source of randomness.
            aux: not used.
            truncation_psi: ψ, see `trimkit_gan.mapping.truncate`.
            truncation_cutoff: layers that are truncated, from the coarsest; None for all.
            noise: of each pixel.
        Returns:
            (n, *shape) in data units.
        """
        ws = self.synthesis.spread(self.mapping(self.draw_z(n, generator)))
        ws = truncate(ws, self.mapping.w_mean, truncation_psi, truncation_cutoff)
        return self.render(ws, "w+", noise=noise, generator=generator)

    def sample_codes(self, n: int, generator: torch.Generator | None = None, space: str | None = None) -> Tensor:
        """Codes of z ~ N(0, I), neither mixed nor truncated: (n, *shape of the space)."""
        return self.codes(self.draw_z(n, generator), "z")[self.space(space).name]

    def project(self, x: Tensor, space: str = "w", **options: Any) -> Tensor:
        """Codes of data by optimisation, see `trimkit_gan.projection.project`.

        Args:
            x: (N, *shape) data.
            space: "w", "w+" or "s".
            **options: steps, learning_rate, predictor, feature_weight, progress.
        Returns:
            (N, *shape of the space), detached.
        """
        from trimkit_gan.projection import project

        return project(self, x, space, **options)

    def check(self, x: Tensor) -> None:
        """As every method, and data between low and high.

        Raises:
            DataError: a value outside.
        """
        super().check(x)
        least, most = float(x.min()), float(x.max())
        slack = 1e-3 * (self.high - self.low)
        if least < self.low - slack or most > self.high + slack:
            raise DataError(
                f"expected data in [{self.low:g}, {self.high:g}], got {least:.3g} … {most:.3g}; give low and high"
            )

    def draw_z(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Codes of the prior N(0, I): (n, z_dim)."""
        return standard_normal(self.mapping.w_mean.new_empty(n, self.mapping.z_dim), generator)

    def draw(self, n: int, generator: torch.Generator) -> Drawn:
        """Codes for a training step, mixed at one cutoff for the whole batch (StyleGAN, section 3.1).

        Args:
            n: how many.
            generator: source of randomness.
        """
        z = self.draw_z(n, generator)
        w = self.mapping(z)
        ws = self.synthesis.spread(w)
        cutoff = draw_cutoff(self.synthesis.num_ws, self.mixing, generator)
        if cutoff < self.synthesis.num_ws:
            ws = mix(ws, self.synthesis.spread(self.mapping(self.draw_z(n, generator))), cutoff)
        return Drawn(z, w, ws)

    def play_generator(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """L_G on as many samples as the batch has.

        Args:
            batch: gives the number.
            generator: of codes, noise and augmentation.
            step: from 0.
        Returns:
            The term "adversarial", (N,) nats; the samples' codes without mixing.
        """
        stage = self.reach(step)
        drawn = self.draw(len(batch), generator)
        images = self.synthesis(self.synthesis.styles(drawn.ws), "random", generator, stage)
        if self.training:
            self.mapping.track(drawn.w)
        logits = self.discriminator(self._augmented(images, generator), stage)
        codes = {"z": pixel_norm(drawn.z), **self.codes(drawn.w, "w")}
        return StepResult({"adversarial": Term(softplus(-logits))}, codes=codes)

    def play_discriminator(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """L_D without R1.

        Args:
            batch: real data.
            generator: of codes, noise and augmentation.
            step: from 0.
        Returns:
            Terms "real" and "fake", (N,) nats; the augmentation's p where there is one.
        """
        stage = self.reach(step)
        with torch.no_grad():
            styles = self.synthesis.styles(self.draw(len(batch), generator).ws)
            images = self.synthesis(styles, "random", generator, stage)
        fake = self.discriminator(self._augmented(images, generator), stage)
        real = self.discriminator(self._augmented(self._seen(batch.x, stage), generator), stage)
        diagnostics: dict[str, Tensor] = {}
        if self.augmentation is not None:
            if self.training:
                self.augmentation.observe(real)
            diagnostics["augmentation_probability"] = self.augmentation.probability.clone()
        return StepResult({"real": Term(softplus(-real)), "fake": Term(softplus(fake))}, diagnostics=diagnostics)

    def penalise_discriminator(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """R1 on the batch.

        Args:
            batch: real data.
            generator: of the augmentation.
            step: from 0.
        Returns:
            The term "r1", (N,), to be weighted with γ.
        """
        stage = self.reach(step)

        def critic(x: Tensor) -> Tensor:
            return self.discriminator(self._augmented(x, generator), stage)

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
        gamma = auto_r1_weight(self.shape, USUAL_BATCH) if self.r1_gamma is None else self.r1_gamma
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

    def _in_data_units(self, images: Tensor) -> Tensor:
        return (images + 1) * ((self.high - self.low) / 2) + self.low


def check_options(method: StyleBased) -> None:
    """Refuse options out of range.

    Raises:
        OptionError: the option and its value.
    """
    if not 0 <= method.mixing <= 1:
        raise OptionError(f"expected mixing in [0, 1], got {method.mixing}")
    require_counts(method, "r1_interval")
    if not -math.inf < method.low < method.high < math.inf:
        raise OptionError(f"expected finite low < high, got {method.low} and {method.high}")
    if method.r1_gamma is not None and not 0 <= method.r1_gamma < math.inf:
        raise OptionError(f"expected r1_gamma ≥ 0, or null for the usual one, got {method.r1_gamma}")

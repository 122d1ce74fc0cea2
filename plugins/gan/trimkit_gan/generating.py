"""What a style-based generator does once it is trained: its spaces, the images of codes, new samples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from trimkit.errors import DataError, ShapeError, TrainingError
from trimkit.methods import ConditionalMethod, LatentSpace, Posterior, standard_normal
from trimkit_gan.conditions import seen_of, seen_or_drawn
from trimkit_gan.growing import enlarge
from trimkit_gan.layers import pixel_norm
from trimkit_gan.mapping import Mapping, truncate
from trimkit_gan.spaces import join, split, style_spaces
from trimkit_gan.synthesis import NoiseMode, Stage, Synthesis


class StyleSpaces(ConditionalMethod):
    """A method that is mapping and synthesis, without an encoder: z → w → w+ → s → image.

    Attributes:
        mapping: z → w.
        synthesis: styles → image.
        low: data value that the networks see as −1.
        high: data value that the networks see as 1.
    """

    mapping: Mapping
    synthesis: Synthesis
    low: float
    high: float

    @property
    def stage(self) -> Stage:
        """How far the networks have grown."""
        return self.synthesis.top

    def latent_spaces(self) -> Sequence[LatentSpace]:
        """w, z, w+ and s, see `trimkit_gan.spaces`."""
        reason = (
            f"{type(self).__name__} has no encoder: find codes by projection, method.project(x, space), or explain in "
            "the transform trimkit_gan.projection.Projection(method, space)"
        )
        conditional = self.condition is not None
        return style_spaces(self.synthesis, self.mapping.z_dim, self.mapping.w_dim, reason, conditional)

    @property
    def drawn_classes(self) -> int:
        """Of a method conditional on classes, how many there are."""
        return 0 if self.condition is None else self.condition.segments

    def draw_w(self, n: int, generator: torch.Generator | None = None, aux: Tensor | None = None) -> Tensor:
        """w of z ~ N(0, I): (n, w_dim); of classes with equal chances where conditional and none are given."""
        z = self.draw_z(n, generator)
        return self.mapping(z, seen_or_drawn(self, n, generator, aux))

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> Posterior:
        """Refused: no network does this.

        Raises:
            TrainingError: always, with the way out.
        """
        raise TrainingError(self.space(space).reason)

    def codes(self, code: Tensor, space: str = "z", aux: Tensor | None = None) -> dict[str, Tensor]:
        """A code in its own space and in all spaces that it determines.

        Those of z and of s are the ones that stand for all codes of the same image: z at root mean square 1, and so
        each layer's style where the layer takes the scale out. A generator whose styles are larger has the same codes.

        Args:
            code: (N, *shape of the space).
            space: "z", "w", "w+" or "s".
            aux: u of each, for z of a conditional method.
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
        c = seen_of(self, aux, "to decode", len(code)) if space == "z" else None
        onward = {"z": ("w", partial(self.mapping, c=c)), "w": ("w+", self.synthesis.spread), "w+": ("s", self._s_of)}
        codes = {space: self._canonical(code, space)}
        while space in onward:
            following, step = onward[space]
            codes[following] = step(codes[space])
            space = following
        return codes

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

    def decode(
        self,
        z: Tensor,
        space: str | None = None,
        aux: Tensor | None = None,
        *,
        noise: NoiseMode = "constant",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The image of codes, with neither mixing nor truncation.

        Args:
            z: (N, *shape of the space).
            space: "w" by default, "z", "w+" or "s".
            aux: u of each, for z of a conditional method.
            noise: of each pixel: "constant", "none", or "random" from the generator.
            generator: source of randomness.
        Returns:
            (N, *shape) in data units, not clamped.
        """
        s = self.codes(z, self.space(space).name, aux)["s"]
        return self.as_data(self.synthesis(split(s, self.synthesis), noise, generator, self.stage))

    def as_data(self, images: Tensor) -> Tensor:
        """What the networks see in data units: (N, C, R, R) at the stage's resolution → (N, *shape)."""
        return enlarge((images + 1) * ((self.high - self.low) / 2) + self.low, self.shape[-1])

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
            aux: (n, ...) u of each, where the method is conditional; classes with equal chances by default.
            truncation_psi: ψ, see `trimkit_gan.mapping.truncate`.
            truncation_cutoff: layers that are truncated, from the coarsest; None for all.
            noise: of each pixel.
        Returns:
            (n, *shape) in data units.
        """
        ws = self.synthesis.spread(self.draw_w(n, generator, aux))
        ws = truncate(ws, self.mapping.w_mean, truncation_psi, truncation_cutoff)
        return self.decode(ws, "w+", noise=noise, generator=generator)

    def sample_codes(
        self,
        n: int,
        generator: torch.Generator | None = None,
        space: str | None = None,
        aux: Tensor | None = None,
    ) -> Tensor:
        """Codes of z ~ N(0, I), neither mixed nor truncated: (n, *shape of the space); aux as in `sample`."""
        name, z = self.space(space).name, pixel_norm(self.draw_z(n, generator))
        return z if name == "z" else self.codes(self.mapping(z, seen_or_drawn(self, n, generator, aux)), "w")[name]

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

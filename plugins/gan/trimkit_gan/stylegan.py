"""StyleGAN2 and StyleGAN: one synthesis code, two sets of options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from trimkit.methods import Batch, Phase, StepResult, Term, gather, standard_normal
from trimkit_gan.augmentation import Augmentation
from trimkit_gan.conditions import seen_of
from trimkit_gan.growing import Growth
from trimkit_gan.options import require_counts, require_weights
from trimkit_gan.regularisers import PATH_DECAY, path_lengths
from trimkit_gan.styled import StyleBased, usual_options
from trimkit_gan.synthesis import Stage


class StyleGAN2(StyleBased):
    """StyleGAN2 (Karras et al. 2020): demodulated weights, skip generator, residual discriminator.

    L_G gains w_pl · E (‖J_wᵀ y‖ − a)², y ~ N(0, I): steps of one length in w move the image equally far everywhere. a
    is the running mean of the lengths. R1 and path length are taken every k-th step, and weigh k times as much there.

    Args:
        shape: of one sample: (C, S, S) with S = 8, 16, … 1024.
        path_weight: w_pl; by default 0, which is none, below 64 pixels, else 2 as in the paper.
        path_interval: steps between two path-length phases, each on half a batch.
        ada_target: r_t of adaptive augmentation in [−1, 1], such as 0.6; by default there is none.
        ada_images: images in which the augmentation's p may go from 0 to 1.
        common: sizes of the networks, R1, Adam, running average, style mixing, range and aux of the data, see
            `StyleBased`.

    Raises:
        OptionError: an option out of range.
        ShapeError: data that are no square images of a power of two.

    Attributes:
        path_mean: a, a scalar; a saved buffer.
    """

    path_mean: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        path_weight: float | None = None,
        path_interval: int = 4,
        ada_target: float | None = None,
        ada_images: float = 500_000,
        **common: Any,
    ) -> None:
        super().__init__(shape, **common)
        self.path_weight = usual_options(self.shape).path_weight if path_weight is None else path_weight
        self.path_interval = path_interval
        self.ada_target, self.ada_images = ada_target, ada_images
        require_counts(self, "path_interval")
        require_weights(self, "path_weight")
        self.build(modulation="demodulated", output="skip", residual=True)
        self.register_buffer("path_mean", torch.zeros(()))
        self.augmentation = None if ada_target is None else Augmentation(ada_target, ada_images)

    def phases(self) -> Sequence[Phase]:
        """The generator's turn and its lazy path length, then the discriminator's."""
        interval = self.path_interval if self.path_weight else None
        path = Phase(
            "generator_path",
            self.generator_parameters(),
            self.penalise_paths,
            {"path_length": self.path_weight},
            interval=self.path_interval,
            lazy=True,
            shares="generator",
        )
        return [self.generator_phase(interval), *([path] if self.path_weight else []), *self.discriminator_phases()]

    @torch.enable_grad()
    def penalise_paths(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """(‖J_wᵀ y‖ − a)² on every second one of as many samples as the batch has (StyleGAN2, eq. 4).

        All are drawn, so that several processes with shares of even size take those that one would.

        Args:
            batch: gives the number, and u of each sample where conditional.
            generator: of codes, noise and y.
            step: from 0.
        Returns:
            The term "path_length", (⌈N/2⌉,); the mean length as a diagnostic.
        """
        ws = self.draw(len(batch), generator, seen_of(self, batch.aux, "in every batch")).ws[::2]
        ws = ws if ws.requires_grad else ws.requires_grad_()  # the mapping may be frozen
        noise = [rows[::2] for rows in self.synthesis.draw_noise(len(batch), generator)]
        images = self.synthesis(self.synthesis.styles(ws), noise)
        directions = standard_normal(images.new_empty(len(batch), *self.shape), generator)[::2]
        lengths = path_lengths(images, ws, directions)
        mean = torch.lerp(self.path_mean, gather(lengths.detach()).mean().to(self.path_mean), PATH_DECAY)
        if self.training:
            self.path_mean.copy_(torch.where(mean.isfinite(), mean, self.path_mean))  # the step may be skipped
        return StepResult({"path_length": Term((lengths - mean).square())}, diagnostics={"path_mean": mean.detach()})


class StyleGAN(StyleBased):
    """StyleGAN (Karras et al. 2019): adaptive instance normalisation, plain discriminator, progressive growing.

    The networks start at 8 × 8 pixels. Each resolution is trained alone for some steps, and the next one is faded in
    over as many.

    Args:
        shape: of one sample: (C, S, S) with S = 8, 16, … 1024.
        grow_steps: that a resolution is trained alone, and that the next one's fading in takes; 0 for no growing. All
            32 pixels are there after 4 times as many, 256 pixels after 10 times.
        common: sizes of the networks, R1, Adam, running average, style mixing, range and aux of the data, see
            `StyleBased`.

    Raises:
        OptionError: an option out of range.
        ShapeError: data that are no square images of a power of two.

    Attributes:
        reached: the training step that the networks have grown for; a saved buffer.
    """

    reached: Tensor
    small_gamma: ClassVar[float] = 3.0

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        grow_steps: int = 250,
        **common: Any,
    ) -> None:
        super().__init__(shape, **common)
        self.grow_steps = grow_steps
        self.build(modulation="adaptive", output="last", residual=False, growing=grow_steps > 0)
        self.growth = Growth(1, self.synthesis.top.level, grow_steps) if grow_steps else None
        self.register_buffer("reached", torch.zeros((), dtype=torch.long))

    def unfinished(self) -> str:
        """Where the last resolution has not been reached: at which step it would be."""
        if self.growth is None or self.stage == self.synthesis.top:
            return ""
        return (
            f"has grown to {self.stage.resolution} of {self.shape[-1]} pixels; it has all of them from step "
            f"{self.growth.total} on: train longer, or lower grow_steps"
        )

    @property
    def stage(self) -> Stage:
        """How far the networks have grown."""
        return self.synthesis.top if self.growth is None else self.growth.stage(int(self.reached))

    def reach(self, step: int) -> Stage:
        """Grow for a training step; in evaluation the networks stay as they are."""
        if self.training:
            self.reached.fill_(step)
        return self.stage

    def phases(self) -> Sequence[Phase]:
        """The generator's turn, then the discriminator's and its lazy R1."""
        return [self.generator_phase(), *self.discriminator_phases()]

"""Progressive growing (Karras et al. 2018): low resolutions first, each next one faded in."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from trimkit.errors import OptionError
from trimkit_gan.synthesis import Stage


@dataclass(frozen=True)
class Growth:
    """A schedule by step: each resolution is trained alone for a while, then the next is faded in for as long.

    Attributes:
        first: level of the first resolution, 4 · 2^level pixels.
        last: level of the last.
        steps: that a resolution is trained alone, and that the next one's fading takes; at least 1.

    >>> growth = Growth(first=1, last=2, steps=10)
    >>> [growth.stage(step) for step in (0, 15, 20, 99)]
    [Stage(level=1, fade=1.0), Stage(level=2, fade=0.5), Stage(level=2, fade=1.0), Stage(level=2, fade=1.0)]
    """

    first: int
    last: int
    steps: int

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or self.steps < 1:
            raise OptionError(f"expected a whole number of grow_steps ≥ 1, or 0 for no growing, got {self.steps!r}")
        if not 0 <= self.first <= self.last:
            raise OptionError(f"growing: expected 0 ≤ first ≤ last level, got {self.first} and {self.last}")

    @property
    def total(self) -> int:
        """The step from which the last resolution is there."""
        return 2 * (self.last - self.first) * self.steps

    def stage(self, step: int) -> Stage:
        """How far the networks have grown at a step, from 0."""
        turn, within = divmod(step, self.steps)
        level = self.first + (turn + 1) // 2
        if level > self.last:
            return Stage(self.last)
        return Stage(level, within / self.steps if turn % 2 else 1.0)


def shrink(x: Tensor, stage: Stage) -> Tensor:
    """Images as a stage has them: halved to its resolution and, while it fades in, softened towards the one before.

    Args:
        x: (N, C, S, S), S = 4 · 2^n.
        stage: at most of S pixels.
    Returns:
        (N, C, R, R) at the stage's resolution.
    """
    while x.shape[-1] > stage.resolution:
        x = functional.avg_pool2d(x, 2)
    return x if stage.fade == 1 else enlarge(functional.avg_pool2d(x, 2), stage.resolution).lerp(x, stage.fade)


def enlarge(x: Tensor, resolution: int) -> Tensor:
    """Images repeated pixel by pixel to a larger resolution; as they are where they have it already."""
    factor = resolution // x.shape[-1]
    return x.repeat_interleave(factor, 2).repeat_interleave(factor, 3) if factor > 1 else x

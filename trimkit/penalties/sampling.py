"""Where a penalty looks: points besides the data, for properties that should hold in a whole region.

    penalty = trimkit.TrimPenalty(
        ("monotone_gradient", {"margin": 0.2, "power": 2}),
        attribution=("saliency", {"absolute": False}),
        points=UniformBox(0.0, 1.0),
    )

The task's output still comes from the data, so a step then takes two forwards. Penalties at the data need none of this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Points: TypeAlias = Callable[[Tensor, torch.Generator | None], Tensor]
"""Data (N, ...), generator → points of the same shape, at which a penalty is evaluated."""


@dataclass(frozen=True)
class UniformBox:
    """Independent uniform points of a box, as Liu et al. 2020 train monotone networks.

    Args:
        low: lower corner, a number or a tensor that broadcasts to one sample; None for the batch's own minimum of each
            feature.
        high: upper corner, the same; None for the batch's maximum.
    """

    low: float | Tensor | None = None
    high: float | Tensor | None = None

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """N points for N samples, (N, ...)."""
        low = x.detach().amin(0) if self.low is None else torch.as_tensor(self.low).to(x)
        high = x.detach().amax(0) if self.high is None else torch.as_tensor(self.high).to(x)
        return low + (high - low) * uniform(x.shape, x, generator)


def uniform(shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform numbers in [0, 1) with the dtype and device of a tensor, drawn on the generator's device."""
    device = like.device if generator is None else generator.device
    return torch.rand(tuple(shape), generator=generator, device=device, dtype=like.dtype).to(like.device)

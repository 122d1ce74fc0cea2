"""How much of what a generator gives is decided by its per-pixel noise: what no code in z, w or s accounts for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trimkit.errors import DataError, OptionError
from trimkit.methods import at_least_float32
from trimkit_gan.alae import ALAE
from trimkit_gan.generating import StyleSpaces


@torch.no_grad()
def noise_share(
    method: StyleSpaces | ALAE,
    output: Callable[[Tensor], Tensor] | None = None,
    *,
    samples: int = 64,
    draws: int = 4,
    generator: torch.Generator | None = None,
    aux: Tensor | None = None,
) -> float:
    """Share of the output's variance that is due to noise: E_w Var(output | w) / Var(output), by both terms' estimates.

    An attribution in w or s is trusted only while this is small: a penalty on w can move a factor such as the pose into
    the noise of the first layer, where nothing sees it.

    Args:
        method: trained.
        output: images (N, *shape) → (N, ...), such as a predictor; the image itself by default.
        samples: draws of z, at least 2.
        draws: of noise for each, at least 2.
        generator: source of randomness.
        aux: (samples, ...) u of each draw of a conditional method; classes with equal chances by default.
    Returns:
        In [0, 1]: 0 where noise does nothing, 1 where nothing else does; 0 for an output that is constant.
    Raises:
        OptionError: fewer than two samples or draws.
        DataError: an output with NaN or infinity.
    """
    if samples < 2 or draws < 2:
        raise OptionError(f"expected samples and draws ≥ 2, got {samples} and {draws}")
    w = method.sample_codes(samples, generator, "w", aux)
    seen = []
    for _ in range(draws):
        images = method.decode(w, "w", noise="random", generator=generator)
        seen.append(at_least_float32(images if output is None else output(images)).flatten(1))
    outputs = torch.stack(seen)
    if not bool(outputs.isfinite().all()):
        raise DataError("expected finite outputs, got NaN or infinity: look at the samples and at the predictor first")
    within = outputs.var(0).mean(0).sum()
    between = (outputs.mean(0).var(0).sum() - within / draws).clamp_min(0)
    total = within + between
    return float(within / total) if total > 0 else 0.0

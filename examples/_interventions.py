"""How many latents a reading rests on: by its attribution, and by exchanging latents between pictures."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TOP = 3
"""Latents that are kept or swapped."""

CHUNK = 64
"""Pictures at once: larger activations go back to the system after each layer, and cost several times the time."""


@torch.no_grad()
def in_chunks(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A function of each sample, of a few samples at a time: (N, ...) → (N, ...)."""
    return torch.cat([function(part) for part in x.split(CHUNK)])


@torch.no_grad()
def interventions(codes: Tensor, read: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """How many latents a reading rests on, by exchanging latents between pictures.

    Args:
        codes: (N, D), N even; the first half ranks the latents, the second one is scored.
        read: codes (N, D) → classes (N,).
    Returns:
        "kept_3", "swapped_3" and "enough_90", see `prediction_and_trim`.
    """
    first, second = codes.chunk(2)
    exchanged = [float((_exchange(first, [d], read)).float().mean()) for d in range(codes.shape[1])]
    order = torch.tensor(exchanged).argsort(stable=True).tolist()  # the smallest agreement is the strongest latent
    kept = [float(_exchange(second, order[k:], read).float().mean()) for k in range(len(order) + 1)]
    return {
        "kept_3": kept[TOP],
        "swapped_3": float(_exchange(second, order[:TOP], read).float().mean()),
        "enough_90": float(next(k for k, share in enumerate(kept) if share >= 0.9)),
    }


def _exchange(codes: Tensor, latents: list[int], read: Callable[[Tensor], Tensor]) -> Tensor:
    """Whether the reading stays when these latents come from the next picture: (N,) of bool."""
    mixed = codes.clone()
    mixed[:, latents] = codes.roll(1, 0)[:, latents]
    return read(mixed) == read(codes)


def latents_for(share: Tensor, level: float) -> float:
    """How many latents, the largest first, carry ``level`` of the attribution: mean over samples of (N, D) shares."""
    carried = share.sort(1, descending=True).values.cumsum(1)
    return float((carried < level).sum(1).add(1).double().mean())

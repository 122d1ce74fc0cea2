"""What a conditional generator's mapping and discriminator see of u."""

from __future__ import annotations

import torch
from torch import Tensor

from trimkit.methods import Method


def seen_of(method: Method, aux: Tensor | None, what: str, n: int | None = None) -> Tensor | None:
    """u as numbers: (N, size); None where the method is not conditional.

    Args:
        method: with or without a condition.
        aux: (N,) labels or (N, m) vectors.
        what: they are needed for, for messages.
        n: how many, for a u that nobody has checked yet.
    Raises:
        DataError: no u, or another than the method was made for.
    """
    if method.condition is None:
        return None
    return method.condition.vectors(method.condition.needed(aux, what, n), next(method.parameters()))


def seen_or_drawn(method: Method, n: int, generator: torch.Generator | None, aux: Tensor | None) -> Tensor | None:
    """As `seen_of`, of n samples to draw: of classes with equal chances where none are given.

    Raises:
        DataError: no vectors u, of which nobody knows how they are distributed; or a u of another kind.
    """
    what = "of each sample to draw"
    if method.condition is not None and aux is None:
        aux = method.condition.draw(n, generator, what)
    return seen_of(method, aux, what, n)

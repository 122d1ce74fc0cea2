"""Matryoshka: L = Σ_m ‖h − (z₁…ₘ D₁…ₘ + b)‖² + α ‖e − ê‖² over nested dictionaries of the first m features."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from trimkit.errors import OptionError
from trimkit_sae.batch_topk import BatchTopKSAE

SHARES = (16, 8, 4, 2, 1)
"""Usual sizes: a sixteenth of the features, an eighth, …, all."""


class MatryoshkaSAE(BatchTopKSAE):
    """Matryoshka sparse autoencoder (Bussmann et al. 2025, eq. 4), with BatchTopK as its activation.

    Args:
        shape: of one sample: (d,), or with positions, see ``axis``.
        features: M; 8 a dimension by default.
        nested: sizes m of the dictionaries, growing; M is added where it is not the last. By default M/16, M/8, … M.
        options: k, auxiliary, dead_after, normalise, pre_bias, learning_rate and axis, see `DeadFeaturesSAE`.

    Raises:
        OptionError: sizes that do not grow from 1 to M.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        features: int | None = None,
        *,
        nested: tuple[int, ...] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(shape, features, **options)
        self.nested = nested
        sizes = sorted({max(self.features // n, 1) for n in SHARES}) if nested is None else [*nested]
        self._sizes = sizes if sizes[-1:] == [self.features] else [*sizes, self.features]
        if any(not 0 < small < large for small, large in itertools.pairwise(self._sizes)):
            raise OptionError(f"expected nested as growing sizes up to {self.features}, got {nested}")

    def reconstruct(self, z: Tensor) -> Sequence[Tensor]:
        """ĥ of each dictionary, the smallest first."""
        parts: list[Tensor] = [self.dictionary.bias]
        start = 0
        for size in self._sizes:
            parts.append(parts[-1] + z[..., start:size] @ self.dictionary.directions[start:size])
            start = size
        return parts[1:]

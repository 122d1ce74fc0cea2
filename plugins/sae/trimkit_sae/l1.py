"""L1: L = ‖h − ĥ‖² + λ ‖z‖₁, with z = ReLU(E (h − b) + c) and directions of norm 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from trimkit.methods import Schedule, Term, Weight, as_schedule
from trimkit_sae.base import SparseAutoencoder, per_sample, require_weight


class L1SAE(SparseAutoencoder):
    """Sparse autoencoder (Bricken et al. 2023, Cunningham et al. 2023, eq. 4).

    Bricken's is the default; Cunningham's is ``tied=True, pre_bias=False``: the encoder is the dictionary itself. The
    L1 norm also shrinks the features (Wright & Sharkey 2024), so the other methods explain more at the same L0.

    Args:
        shape: of one sample: (d,), or with positions, see ``axis``.
        features: M; 8 a dimension by default.
        l1: λ: a number ≥ 0 or a schedule.
        tied: the encoder's rows are the directions.
        common: normalise, pre_bias, learning_rate and axis, see `SparseAutoencoder`.

    Raises:
        OptionError: an option out of range.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        features: int | None = None,
        *,
        l1: Weight = 0.05,
        tied: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(shape, features, **common)
        self.l1 = l1
        self.tied = tied
        require_weight(l1=l1)
        if tied:
            self.encoder.weight = self.dictionary.directions

    def activate(self, pre: Tensor) -> Tensor:
        """ReLU."""
        return pre.relu()

    def weights(self) -> Mapping[str, Schedule]:
        """l1 λ."""
        return {"l1": as_schedule(self.l1)}

    def regularise(self, pre: Tensor, z: Tensor, error: Tensor) -> dict[str, Term]:
        """‖z‖₁."""
        return {"l1": Term(per_sample(z.sum(-1)))}

"""TopK: L = ‖h − ĥ‖² + α ‖e − ê‖², with z = ReLU(TopK(E (h − b))) and ê of the dead features alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, linear

from trimkit.errors import OptionError
from trimkit.methods import Batch, Schedule, StepResult, Term, Weight, as_schedule, at_least_float32
from trimkit.registry.options import whole_number
from trimkit_sae.base import SparseAutoencoder, per_sample, require_weight
from trimkit_sae.chosen import ChosenProducts
from trimkit_sae.transform import as_vectors


class DeadFeaturesSAE(SparseAutoencoder):
    """A sparse autoencoder whose dead features are trained on what the others leave (Gao et al. 2024, appendix A.2).

    ê is what the k_aux largest dead features make of the error e = h − ĥ, which it does not train: k_aux is the power
    of two nearest to d / 2, as in the paper.

    Args:
        shape: of one sample: (d,), or with positions, see ``axis``.
        features: M; 8 a dimension by default.
        k: active features a sample, at most M.
        auxiliary: α: a number ≥ 0 or a schedule; 1/32 as in the paper.
        dead_after: samples without being active after which a feature is dead; 10⁷ in the paper, on language models.
        common: normalise, pre_bias, learning_rate and axis, see `SparseAutoencoder`.

    Raises:
        OptionError: an option out of range.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        features: int | None = None,
        *,
        k: int = 32,
        auxiliary: Weight = 1 / 32,
        dead_after: int = 100_000,
        **common: Any,
    ) -> None:
        super().__init__(shape, features, **common)
        self.k = k
        self.auxiliary = auxiliary
        self.dead_after = dead_after
        whole_number("", k=k, dead_after=dead_after)
        require_weight(auxiliary=auxiliary)
        if k > self.features:
            raise OptionError(f"expected k ≤ {self.features}, the number of features, got {k}")

    def weights(self) -> Mapping[str, Schedule]:
        """auxiliary α."""
        return {"auxiliary": as_schedule(self.auxiliary)}

    def regularise(self, pre: Tensor, z: Tensor, error: Tensor) -> dict[str, Term]:
        """‖e − ê‖², and 0 while no feature is dead."""
        return self._revive(lambda dead: pre[..., dead], error)

    def _revive(self, preactivate: Callable[[Tensor], Tensor], error: Tensor) -> dict[str, Term]:
        """The auxiliary term, from what gives pre of the features of these numbers, (..., dead)."""
        dead = (self.silent >= self.dead_after).nonzero()[:, 0]
        if not len(dead):
            return {"auxiliary": Term(error.new_zeros(len(error)))}
        k = min(2 ** round(math.log2(max(self.width / 2, 1))), len(dead))
        revived = largest(preactivate(dead), k) @ self.dictionary.directions[dead]
        return {"auxiliary": Term(per_sample((error.detach() - revived).square().sum(-1)))}


class TopKSAE(DeadFeaturesSAE):
    """TopK sparse autoencoder (Gao et al. 2024, eq. 2); see `DeadFeaturesSAE` for its options.

    As in the paper, the encoder has no bias of its own; the ReLU of its released code is kept, so that z ≥ 0.

    Where k is few of M features, a step of training chooses them by one product without a graph, and reads and writes
    the chosen alone: the same objective and gradients without the zeros' products.
    """

    biased = False

    def activate(self, pre: Tensor) -> Tensor:
        """The k largest, where they are positive."""
        return largest(pre, self.k)

    def loss(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """As of `SparseAutoencoder`."""
        if self.k * FEW > self.features:
            return super().loss(batch, generator, step)
        h = as_vectors(batch.x, self.axis) / self.scale
        rows = h.reshape(-1, self.width) - (self.dictionary.bias if self.pre_bias else 0)
        with torch.no_grad():
            values, places = at_least_float32(self.encoder(rows)).topk(self.k, dim=-1, sorted=False)
        z = ChosenProducts.apply(rows, self.encoder.weight, values, places).relu()  # type: ignore[union-attr]
        total = embedding_bag(places, self.dictionary.directions, per_sample_weights=z, mode="sum")
        h_hat = (total + self.dictionary.bias).reshape(h.shape)

        def preactivate(dead: Tensor) -> Tensor:
            return at_least_float32(linear(rows, self.encoder.weight[dead])).reshape(*h.shape[:-1], -1)

        terms = self._revive(preactivate, h - h_hat)
        active = torch.bincount(places[z > 0], minlength=self.features).to(z)
        return self._result(h, [h_hat], terms, active)


FEW = 100
"""Where one of so many features is active, or fewer, the chosen ones are read and written alone: it is faster."""


def largest(pre: Tensor, k: int) -> Tensor:
    """Zeros but for the k largest of each row, where they are positive: (..., M) → (..., M)."""
    values, places = pre.topk(k, dim=-1, sorted=False)
    return torch.zeros_like(pre).scatter(-1, places, values.relu())

"""JumpReLU: L = ‖h − ĥ‖² + λ ‖z‖₀, with z = π where π = ReLU(E (h − b) + c) is above a learned threshold θ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trimkit.methods import Schedule, Term, Weight, as_schedule
from trimkit.registry.options import real_number
from trimkit_sae.base import SparseAutoencoder, per_sample, require_weight


class JumpReLUSAE(SparseAutoencoder):
    """JumpReLU sparse autoencoder (Rajamanoharan et al. 2024, eqs. 9 to 12).

    The threshold has no derivative but for a straight-through estimate with the rectangle kernel K(u) = 1 for |u| < ½:
    ∂z/∂θ = −θ/ε K((π − θ)/ε) and ∂‖z‖₀/∂θ = −1/ε K((π − θ)/ε); λ trains nothing but the thresholds. Adam has β₁ = 0
    as in the paper; its λ rises linearly from 0 over the first steps: ``l0="linear(0, 0.01, 1000)"``.

    Args:
        shape: of one sample: (d,), or with positions, see ``axis``.
        features: M; 8 a dimension by default.
        l0: λ: a number ≥ 0 or a schedule.
        threshold: θ at the start, > 0, in units of scaled activations.
        bandwidth: ε > 0, of the kernel.
        common: normalise, pre_bias, learning_rate and axis, see `SparseAutoencoder`.

    Raises:
        OptionError: an option out of range.
    """

    betas = (0.0, 0.999)

    def __init__(
        self,
        shape: tuple[int, ...],
        features: int | None = None,
        *,
        l0: Weight = 0.01,
        threshold: float = 0.001,
        bandwidth: float = 0.001,
        **common: Any,
    ) -> None:
        super().__init__(shape, features, **common)
        self.l0 = l0
        self.threshold = threshold
        self.bandwidth = bandwidth
        require_weight(l0=l0)
        real_number("", above=True, threshold=threshold, bandwidth=bandwidth)
        self.log_threshold = nn.Parameter(torch.full((self.features,), math.log(threshold)))

    def activate(self, pre: Tensor) -> Tensor:
        """π where it is above θ, with the estimated derivative in θ."""
        theta, kernel = self._threshold(pre)
        z = pre.relu() * (pre > theta)
        return z - theta.detach() * kernel * (theta - theta.detach())

    def weights(self) -> Mapping[str, Schedule]:
        """l0 λ."""
        return {"l0": as_schedule(self.l0)}

    def regularise(self, pre: Tensor, z: Tensor, error: Tensor) -> dict[str, Term]:
        """‖z‖₀, with the estimated derivative in θ."""
        theta, kernel = self._threshold(pre)
        active = (pre > theta).to(z) - kernel * (theta - theta.detach())
        return {"l0": Term(per_sample(active.sum(-1)))}

    def _threshold(self, pre: Tensor) -> tuple[Tensor, Tensor]:
        """θ (M,), and K((π − θ)/ε)/ε at each value, without derivative."""
        theta = self.log_threshold.exp()
        with torch.no_grad():
            near = (pre.relu() - theta).abs() < self.bandwidth / 2
        return theta, near.to(pre) / self.bandwidth

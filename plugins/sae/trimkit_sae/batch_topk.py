"""BatchTopK: as TopK, with the k · B largest features of a batch of B samples active; a threshold in inference."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trimkit.methods import gather
from trimkit_sae.topk import DeadFeaturesSAE
from trimkit_sae.transform import as_vectors

MEMORY = 0.99
"""Decay of the threshold's running mean in training."""

CALIBRATED = 4096
"""Samples in each batch of the calibration."""


class BatchTopKSAE(DeadFeaturesSAE):
    """BatchTopK sparse autoencoder (Bussmann et al. 2024); see `DeadFeaturesSAE` for its options.

    k is a mean over samples: a batch decides who gets more. For a sample alone, z = ReLU(pre) where it is above θ, the
    mean over batches of the smallest active value (section 3.2): a running mean in training, and after it the mean
    over the training data with the final weights.

    Attributes:
        threshold: θ, −1 before the first step.
    """

    threshold: Tensor

    def __init__(self, shape: tuple[int, ...], features: int | None = None, **options: Any) -> None:
        super().__init__(shape, features, **options)
        self.register_buffer("threshold", torch.tensor(-1.0))

    def activate(self, pre: Tensor) -> Tensor:
        """The k · B largest of a batch, where they are positive."""
        lowest = self._lowest_active(pre.detach())
        if self.training:
            moved = MEMORY * self.threshold + (1 - MEMORY) * lowest
            self.threshold.copy_(torch.where(self.threshold < 0, lowest, moved))
        return pre.relu() * (pre >= lowest)

    def infer(self, pre: Tensor) -> Tensor:
        """ReLU(pre) above θ."""
        return pre.relu() * (pre > self.threshold)

    def _lowest_active(self, pre: Tensor) -> Tensor:
        """The k · B-th largest value of all processes' samples, 0 where fewer are positive: a scalar."""
        rows = gather(pre.reshape(-1, self.features))
        return rows.flatten().topk(self.k * len(rows), sorted=False).values.min().clamp_min(0)

    @torch.no_grad()
    def finish(self, x: Tensor, aux: Tensor | None = None) -> None:
        """Calibrate θ."""
        h = as_vectors(x, self.axis).reshape(-1, self.width) / self.scale
        lowest = [self._lowest_active(self.preactivate(part)) for part in h.split(CALIBRATED)]
        self.threshold.copy_(torch.stack(lowest).mean())

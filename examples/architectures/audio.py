"""Speech features as wav2vec 2 has them: strided convolutions on the wave, then attention; explained by frequency."""

from __future__ import annotations

import torch
from _case import Case, show
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Listener(nn.Module):
    """Waves (N, 1, 256) → three logits."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        convolve = nn.utils.parametrizations.weight_norm
        self.waves = nn.Sequential(
            convolve(nn.Conv1d(1, width, 8, 4)), nn.GELU(), convolve(nn.Conv1d(width, width, 4, 4)), nn.GELU()
        )
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, "gelu", batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(width, 3)

    def forward(self, waves: Tensor) -> Tensor:
        """(N, 1, 256) → (N, 3)."""
        return self.head(self.encoder(self.waves(waves).transpose(1, 2)).mean(1))


def case() -> Case:
    """Eight waves; importance that falls towards high frequencies is rewarded."""
    torch.manual_seed(0)
    labels = torch.arange(8) % 3
    return Case(
        Listener(),
        {"waves": torch.randn(8, 1, 256)},
        lambda output: cross_entropy(output, labels),
        labels,
        at="waves",
        penalty="monotone_order",
        transform="dct",
    )


if __name__ == "__main__":
    show(case())

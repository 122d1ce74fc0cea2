"""A vision transformer: patches are tokens, explained after their embedding or in the picture's Fourier space."""

from __future__ import annotations

import torch
from _case import Case, show
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class VisionTransformer(nn.Module):
    """Pictures (N, 1, 16, 16) → three logits of a class token."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(1, width, 4, 4), nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.randn(17, width) / 10)
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 3)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(N, 1, 16, 16) → (N, 3)."""
        patches = self.patches(pixel_values).flatten(2).transpose(1, 2)
        h = torch.cat([self.token.expand(len(patches), -1, -1), patches], 1) + self.positions
        return self.head(self.encoder(h)[:, 0])


def case() -> Case:
    """Eight pictures; what the model uses of their lowest frequency is punished."""
    torch.manual_seed(0)
    labels = torch.arange(8) % 3
    return Case(
        VisionTransformer(),
        {"pixel_values": torch.randn(8, 1, 16, 16)},
        lambda output: cross_entropy(output, labels),
        labels,
        at="pixel_values",
        penalty=("masked", {"mask": ["dc"]}),
        transform="fft",
    )


if __name__ == "__main__":
    show(case())

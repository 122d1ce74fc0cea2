"""A U-Net: a class for each pixel; the mean logit of a class over a picture is explained."""

from __future__ import annotations

import torch
from _case import Case, show
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class UNet(nn.Module):
    """Pictures (N, 1, 16, 16) → logits (N, 2, 16, 16), with one skip connection."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.down, self.bottom = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.pool, self.up = nn.AvgPool2d(2), nn.Upsample(scale_factor=2)
        self.act, self.head = nn.ReLU(), nn.Conv2d(2 * width, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1, 16, 16) → (N, 2, 16, 16)."""
        fine = self.act(self.down(image))
        coarse = self.act(self.bottom(self.pool(fine)))
        return self.head(torch.cat([fine, self.up(coarse)], 1))


def case() -> Case:
    """Eight pictures, of which bright pixels are class 1; explained by wavelet scales."""
    torch.manual_seed(0)
    image = torch.randn(8, 1, 16, 16)
    labels = (image[:, 0] > 0).long()

    def foreground(output: Tensor) -> Tensor:
        return output[:, 1].mean((1, 2))

    return Case(
        UNet(),
        {"image": image},
        lambda output: cross_entropy(output, labels),
        foreground,
        at="image",
        transform=("wavelet", {"wavelet": "db1", "levels": 2}),
    )


if __name__ == "__main__":
    show(case())

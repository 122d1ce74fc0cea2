"""A table and a category: two branches, of which the numbers are explained and the category is held."""

from __future__ import annotations

import torch
from _case import Case, show
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits


class TwoBranches(nn.Module):
    """Numbers (N, 6) and a category (N,) → one logit."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.numbers, self.category = nn.Linear(6, width), nn.Embedding(4, width)
        self.act, self.head = nn.Tanh(), nn.Linear(width, 1)

    def forward(self, numbers: Tensor, category: Tensor) -> Tensor:
        """(N, 6), (N,) → (N, 1)."""
        return self.head(self.act(self.numbers(numbers) * self.category(category)))


def case() -> Case:
    """Sixteen rows; a binary task of one logit."""
    torch.manual_seed(0)
    wanted = (torch.arange(16) % 2).float()[:, None]
    inputs = {"numbers": torch.randn(16, 6), "category": torch.arange(16) % 4}
    return Case(
        TwoBranches(), inputs, lambda output: binary_cross_entropy_with_logits(output, wanted), None, at="numbers"
    )


if __name__ == "__main__":
    show(case())

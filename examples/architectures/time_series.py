"""An LSTM that forecasts one number from a series, explained at its first layer's states."""

from __future__ import annotations

import torch
from _case import Case, show
from torch import Tensor, nn


class Forecast(nn.Module):
    """Series (N, T, 3) → the next value."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.first, self.second = nn.LSTM(3, width, batch_first=True), nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, 1)

    def forward(self, series: Tensor) -> Tensor:
        """(N, T, 3) → (N, 1)."""
        return self.head(self.second(self.first(series)[0])[0][:, -1])


def case() -> Case:
    """Eight series; a regression, so nothing names a class."""
    torch.manual_seed(0)
    series = torch.randn(8, 20, 3).cumsum(1) / 4
    wanted = series[:, -1, :1]
    return Case(Forecast(), {"series": series}, lambda output: (output - wanted).square().mean(), None, at="first[0]")


if __name__ == "__main__":
    show(case())

"""A transformer in the loop: attention has no second derivative in its fast kernels, and the penalty sees to it.

A small encoder reads digits row by row; the data carry the frequency shortcut of example 02. The model stays as it is:
trimkit runs its forward with the one kernel that can be differentiated twice. Printed: test accuracy, cost of a step.
"""

import argparse
import time

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import trimkit
from trimkit.data import Dataset
from trimkit.data.shortcut import digits_shortcut, planted_mask
from trimkit.targets import log_probabilities


class RowReader(nn.Module):
    """Sixteen rows as tokens, two layers of attention, mean, classes: (N, 1, 16, 16) → (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(16, 32)
        self.place = nn.Parameter(0.1 * torch.randn(16, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.classes = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of pictures."""
        return self.classes(self.encoder(self.embed(x[:, 0]) + self.place).mean(1))


def train(data: Dataset, epochs: int, weight: float) -> tuple[nn.Module, float]:
    """The trained model, and seconds a step."""
    torch.manual_seed(0)
    model, start, steps = RowReader(), time.perf_counter(), 0
    penalty = trimkit.TrimPenalty(("masked", {"mask": planted_mask(16)}), transform="fft", attribution="saliency")
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(epochs):
        for index in torch.randperm(len(data)).split(64):
            x, y = data.x[index], data.y[index]
            logits, value = penalty(model, x, target=log_probabilities) if weight else (model(x), 0.0)
            optimiser.zero_grad()
            (cross_entropy(logits, y) + weight * value).backward()
            optimiser.step()
            steps += 1
    return model.eval(), (time.perf_counter() - start) / steps


def main() -> None:
    """Train three times and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="little data, one epoch: to see that it runs")
    small = parser.parse_args().small
    test, seconds = digits_shortcut("test"), {}
    for name, pattern, weight in (("no shortcut (ceiling)", "none", 0), ("plain", "label", 0), ("TRIM", "label", 1)):
        data = digits_shortcut("train", pattern).take(128 if small else 1200)
        model, seconds[name] = train(data, 1 if small else 30, weight)
        print(f"{name:22}{float((model(test.x).argmax(1) == test.y).double().mean()):8.3f}")
    print(f"a penalised step takes {seconds['TRIM'] / seconds['plain']:.1f} times a plain one")


if __name__ == "__main__":
    main()

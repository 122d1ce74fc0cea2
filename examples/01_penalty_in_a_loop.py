"""A penalty in an ordinary training loop: fewer Fourier coefficients matter, at nearly the same accuracy.

Real digits, a small network, Hoyer sparsity of input × gradient in Fourier space. Printed beside plain training
(weight 0): test accuracy, and how many coefficients hold 90 % of a prediction's attribution.
"""

import argparse

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import trimkit
from trimkit.data import Dataset


def train(data: Dataset, epochs: int, weight: float) -> nn.Module:
    """Plain training, and the two lines that add the penalty."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10))
    penalty = trimkit.TrimPenalty("hoyer", transform="fft", attribution="input_x_gradient")
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(epochs):
        for index in torch.randperm(len(data)).split(64):
            x, y = data.x[index], data.y[index]
            if weight == 0:
                loss = cross_entropy(model(x), y)
            else:
                logits, value = penalty(model, x, target=y)
                loss = cross_entropy(logits, y) + weight * value
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()


def coefficients_in_use(model: nn.Module, data: Dataset) -> float:
    """How many coefficients, largest first, hold 90 % of a sample's |scores|; mean over samples."""
    scores = trimkit.Trim(model, "fft", "input_x_gradient")(data.x, data.y).scores.abs().flatten(1)
    share = scores.sort(1, descending=True).values.cumsum(1) / scores.sum(1, keepdim=True)
    return float((share < 0.9).double().sum(1).mean()) + 1


def main() -> None:
    """Train with several weights and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="little data, one epoch: to see that it runs")
    small = parser.parse_args().small
    data, test = trimkit.data.load("digits", "train"), trimkit.data.load("digits", "test")
    data = data.take(128) if small else data
    print(f"{'weight':>8}{'accuracy':>10}{'coefficients in use, of 144':>30}")
    for weight in (0.0, 0.1, 0.3, 1.0):
        model = train(data, 1 if small else 40, weight)
        accuracy = float((model(test.x).argmax(1) == test.y).double().mean())
        print(f"{weight:8}{accuracy:10.3f}{coefficients_in_use(model, test):30.1f}")


if __name__ == "__main__":
    main()

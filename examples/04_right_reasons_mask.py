"""Right for the right reasons: a swatch in the corner gives the label away, and a mask forbids to look at it.

Real digits, padded to 12 × 12, with a 2 × 2 corner swatch whose shade is the label in training and random in testing.
The penalty is that of Ross et al. 2017, eq. 1: squared gradient of Σ log p inside the mask. Printed: test accuracies.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

import trimkit
from trimkit.targets import log_probabilities

MASK = torch.zeros(1, 12, 12)
MASK[:, :2, :2] = 1


def digits(swatch: str) -> tuple[Tensor, Tensor]:
    """Digits (1797, 1, 12, 12) in a fixed order, with a swatch by label, at random, or none; and labels."""
    pixels, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    x, y = pad(pixels.float().reshape(-1, 1, 8, 8) / 16, (2, 2, 2, 2))[order], labels[order]
    random = torch.randint(10, y.shape, generator=torch.Generator().manual_seed(1))
    shade = {"label": y / 9, "random": random / 9, "none": torch.zeros(len(y))}[swatch]
    return x + shade[:, None, None, None] * MASK, y


def train(x: Tensor, y: Tensor, epochs: int, seed: int, weight: float) -> nn.Module:
    """A network with one hidden layer; the penalty joins where it has a weight."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 64), nn.ReLU(), nn.Linear(64, 10))
    penalty = trimkit.TrimPenalty(("masked", {"mask": MASK}), attribution="saliency")
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(epochs):
        for index in torch.randperm(len(x)).split(64):
            logits, value = penalty(model, x[index], target=log_probabilities) if weight else (model(x[index]), 0.0)
            optimiser.zero_grad()
            (cross_entropy(logits, y[index]) + weight * value).backward()
            optimiser.step()
    return model.eval()


def main() -> None:
    """Train with and without swatch and penalty, and print the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="one epoch, one seed: to see that it runs")
    small = parser.parse_args().small
    test_x, test_y = (part[1200:] for part in digits("random"))
    for name, swatch, weight in (("no swatch (ceiling)", "none", 0), ("plain", "label", 0), ("masked", "label", 1)):
        x, y = (part[: 128 if small else 1200] for part in digits(swatch))
        models = [train(x, y, 1 if small else 60, seed, weight) for seed in range(1 if small else 3)]
        accuracies = [float((model(test_x).argmax(1) == test_y).double().mean()) for model in models]
        print(f"{name:22}" + "".join(f"{accuracy:8.3f}" for accuracy in accuracies))


if __name__ == "__main__":
    main()

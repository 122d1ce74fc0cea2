"""A shortcut at one Fourier bin, which no pixel mask can express, forbidden in Fourier space.

Training digits carry a faint cosine whose amplitude is the label; in test digits it is random. The penalty is that of
Ross et al. 2017 (squared gradient of Σ log p), in Fourier space and at the planted bin. Printed is the test accuracy.
"""

import argparse

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import trimkit
from trimkit.data import Dataset
from trimkit.data.shortcut import digits_shortcut, planted_mask
from trimkit.targets import log_probabilities


def train(data: Dataset, epochs: int, penalty: trimkit.TrimPenalty | None) -> nn.Module:
    """A small convolutional network, with or without a penalty."""
    torch.manual_seed(0)
    convolutions = (nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
    model = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(512, 10))
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(epochs):
        for index in torch.randperm(len(data)).split(64):
            x, y = data.x[index], data.y[index]
            if penalty is None:
                loss = cross_entropy(model(x), y)
            else:
                logits, value = penalty(model, x, target=log_probabilities)
                loss = cross_entropy(logits, y) + value
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()


def main() -> None:
    """Train four times and print the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="little data, one epoch: to see that it runs")
    small = parser.parse_args().small
    data, without = digits_shortcut("train"), digits_shortcut("train", "none")
    if small:
        data, without = data.take(128), without.take(128)
    bin_ = {"transform": "fft", "attribution": "saliency"}
    rows = {
        "no shortcut in training (ceiling)": (without, None),
        "plain": (data, None),
        "all pixel gradients penalised": (data, trimkit.TrimPenalty(("masked", {"mask": 1}), attribution="saliency")),
        "planted bin penalised (TRIM)": (data, trimkit.TrimPenalty(("masked", {"mask": planted_mask(16)}), **bin_)),
    }
    test = digits_shortcut("test")
    for name, (samples, penalty) in rows.items():
        model = train(samples, 1 if small else 30, penalty)
        print(f"{name:36}{float((model(test.x).argmax(1) == test.y).double().mean()):8.3f}")


if __name__ == "__main__":
    main()

"""The demo's classifier and its training: what a user's own code would be."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trimkit.data import Dataset, in_memory
from trimkit.trim import TrimPenalty


def digit_classifier() -> nn.Module:
    """A small convolutional network for (N, 1, 16, 16) digits → (N, 10) logits, untrained."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def train_classifier(
    data: Dataset, *, penalty: TrimPenalty | None = None, weight: float = 0.0, epochs: int = 30, seed: int = 0
) -> nn.Module:
    """Train the classifier by cross-entropy, with or without a TRIM penalty: an ordinary loop with two lines more.

    Args:
        data: labelled digits.
        penalty: added to the loss, explained through the summed log-probabilities (Ross et al. 2017).
        weight: of the penalty.
        epochs: passes over the data, batches of 64, Adam 2e-3.
        seed: of initial weights and order.
    Returns:
        The trained network, in eval mode.
    """
    assert data.y is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = digit_classifier()
        optimiser = torch.optim.Adam(model.parameters(), 2e-3)
        for _ in range(epochs):
            for index in torch.randperm(len(data)).split(64):
                loss = _loss(model, data.x[index], data.y[index], penalty, weight)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return model.eval()


def _loss(model: nn.Module, x: Tensor, y: Tensor, penalty: TrimPenalty | None, weight: float) -> Tensor:
    if penalty is None:
        return cross_entropy(model(x), y)
    from trimkit.targets import log_probabilities

    logits, value = penalty(model, x, target=log_probabilities)
    return cross_entropy(logits, y) + weight * value


@torch.no_grad()
def accuracy(model: nn.Module, data: Dataset) -> float:
    """Share of samples whose largest logit is the label, in [0, 1]."""
    assert data.y is not None
    return float((model(in_memory(data.x)).argmax(1) == data.y).double().mean())

"""The 8×8 digits of `infogan_digits`, and what its numbers are held beside: a classifier's features, and k-means."""

from __future__ import annotations

from functools import cache

import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from trimkit.data import Dataset, in_memory
from trimkit.data.digits import split_rows
from trimkit.metrics.generation import code_accuracy


def digits(split: str) -> Dataset:
    """The originals, 8×8 in [−1, 1], of the digits that `trimkit.data.load("digits")` enlarges; the same split."""
    pixels, labels = load_digits(return_X_y=True)
    rows = split_rows(split, len(pixels))
    x = torch.as_tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8 - 1
    return Dataset("digits8", x[rows], torch.as_tensor(labels)[rows].long(), split, tuple("0123456789"))


@cache
@torch.enable_grad()
def classifier(steps: int) -> nn.Sequential:
    """A small network that tells digits apart, trained on the labels of noisy digits; the same for every seed."""
    data, rng = digits("train"), torch.Generator().manual_seed(0)
    x, y = in_memory(data.x), data.y
    assert y is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        f = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimiser = torch.optim.Adam(f.parameters())
    for _ in range(steps):
        rows = torch.randint(len(x), (128,), generator=rng)
        noisy = x[rows] + 0.3 * torch.randn(x[rows].shape, generator=rng)
        optimiser.zero_grad()
        cross_entropy(f(noisy), y[rows]).backward()
        optimiser.step()
    return f.eval()


def kmeans(data: Dataset, test: Dataset, starts: int, seed: int) -> float:
    """Accuracy of ten clusters, by the same matching and split."""
    x, new = (in_memory(part.x).flatten(1).numpy() for part in (data, test))
    found = KMeans(10, n_init=starts, random_state=seed).fit(x)  # type: ignore[arg-type]  # the stubs know "auto" only
    clusters = [torch.as_tensor(found.predict(part)).long() for part in (x, new)]
    return code_accuracy(clusters[0], data.y, clusters[1], test.y).value

"""The frozen CNN of `stylegan_sprites`: trained on coloured sprites, it reads their factors off any picture.

Numbers in its features are named after it, "sprite CNN": they compare with each other only, and are no FID.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trimkit.data import Dataset, load
from trimkit.metrics import generation

FACTORS = {"color": (0, 7, 1), "shape": (1, 3, 1), "scale": (2, 6, 1), "x": (4, 8, 4), "y": (5, 8, 4)}
"""Name → column among the factors of `sprites-color`, values that are told apart, and values that count as one.

The orientation is left out: a square shows a quarter of it, and a network of this size reads little more.
"""

CHUNK = 64
"""Pictures at once."""

SHAPE_WEIGHT = 5.0
"""Of the shape in the CNN's loss: the hardest factor to read, and the one that TRIM explains."""


class Reader(nn.Module):
    """Picture → the logits of all factors side by side; its features are the 64 numbers before them."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in ((3, 16, 1), (16, 32, 2), (32, 64, 2), (64, 64, 2)):
            convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 16, 64), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(64, values) for name, (_, values, _) in FACTORS.items()})

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 32, 32) → (N, 32)."""
        features = self.features(x)
        return torch.cat([head(features) for head in self.heads.values()], 1)

    @property
    def shape(self) -> nn.Module:
        """The classifier of shapes, (N, 3) logits: what TRIM explains."""
        return nn.Sequential(self.features, self.heads["shape"])

    def split(self, logits: Tensor) -> list[Tensor]:
        """The logits of each factor."""
        return list(logits.split([values for _, values, _ in FACTORS.values()], dim=1))

    @torch.no_grad()
    def read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The value of each factor and its probability: (N, K) integers, (N, K)."""
        logits = torch.cat([self(part) for part in x.split(CHUNK)])
        sure, values = zip(*(part.softmax(1).max(1) for part in self.split(logits)), strict=True)
        return torch.stack(values, 1), torch.stack(sure, 1)


def coarse(factors: Tensor) -> Tensor:
    """The values that are read: (N, 6) factors of the data → (N, K)."""
    return torch.stack([factors[:, column].long() // width for column, _, width in FACTORS.values()], 1)


@cache
def sprites(split: str, n: int) -> Dataset:
    """At most n sprites of a split, drawn at random, the same each time."""
    return _all(split).some(n)


@cache
def _all(split: str) -> Dataset:
    return load("sprites-color:size=32", split)


def train_reader(path: Path, steps: int, batch: int = 128) -> None:
    """Train the CNN once, and keep its weights where other processes find them."""
    if path.exists():
        return
    data = sprites("train", 500_000)
    assert data.factors is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Reader()
        optimiser = torch.optim.Adam(model.parameters())
        rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, max(2, steps))
        weights = torch.tensor([SHAPE_WEIGHT if name == "shape" else 1.0 for name in FACTORS])
        for _ in range(steps):
            rows = torch.randint(len(data), (batch,))
            parts = zip(model.split(model(data.x[rows])), coarse(data.factors[rows]).T, strict=True)
            optimiser.zero_grad()
            (torch.stack([cross_entropy(logits, label) for logits, label in parts]) @ weights).backward()
            optimiser.step()
            rate.step()
    torch.save(model.state_dict(), path)


@cache
def reader(path: Path) -> Reader:
    """The trained CNN in evaluation mode."""
    model = Reader()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval().requires_grad_(False)


@torch.no_grad()
def likeness(f: Reader, made: Tensor) -> dict[str, float]:
    """Fréchet distance, precision and recall of pictures against as many test sprites, in the CNN's features."""
    sets = (sprites("test", len(made)).x[:], made)
    real, features = (torch.cat([f.features(part) for part in x.split(CHUNK)]) for x in sets)
    shares = generation.precision_recall(real, features, draws=0)
    distance = generation.frechet_distance(real, features, draws=0)
    return {"fd": distance.value, "precision": shares.precision.value, "recall": shares.recall.value}


def accuracy(f: Reader, n: int) -> dict[str, float]:
    """The share of test sprites whose factors are read right, by name."""
    test = sprites("test", n)
    assert test.factors is not None
    right = (f.read(test.x[:])[0] == coarse(test.factors)).double().mean(0)
    return dict(zip(FACTORS, right.tolist(), strict=True))

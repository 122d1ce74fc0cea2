"""The spaces in which TRIM is tried, and a small network and pictures."""

from __future__ import annotations

import torch
from torch import nn

from trimkit.registry import available, facts

ELSEWHERE = ("color", "compose", "each", "graph_fourier", "stft")  # take other data: see test_transforms.py
WANTED = {"exact": True, "needs_fit": False}.items()
READY = [name for name in available("transforms") if facts("transform", name).items() >= WANTED]
TRANSFORMS = [name for name in READY if name not in ELSEWHERE]


def network(activation=nn.Tanh, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), activation(), nn.Flatten(), nn.Linear(4 * 5 * 6, 3))


X = torch.randn(4, 1, 7, 8, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([0, 2, 1, 1])

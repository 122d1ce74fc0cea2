"""The small network and samples on which attributions are tried."""

from __future__ import annotations

import torch
from torch import nn

from trimkit.registry import available, facts

from .draws import data

FACTS = {name: facts("attribution", name) for name in available("attributions")}


def network(activation=nn.Tanh, size=(1, 6, 6), classes=3, seed=0):
    torch.manual_seed(seed)
    flat = 4 * (size[-2] - 2) * (size[-1] - 2)
    first = nn.Conv2d(size[0], 4, 3), activation(), nn.Flatten()
    return nn.Sequential(*first, nn.Linear(flat, 8), activation(), nn.Linear(8, classes)).double()


MODEL, X, Y = network(), data(4, 1, 6, 6), torch.tensor([0, 2, 1, 1])

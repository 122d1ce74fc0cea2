"""Captum's methods, and the small network and samples on which the tests of trimkit's adapters try them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trimkit.coefficients.groups import Groups
from trimkit.registry import available, create, facts

from .draws import data

FACTS = {name: facts("attribution", name) for name in available("attributions") if name.startswith("captum:")}


def names(**wanted):
    """A test for every method of Captum of which the facts hold."""
    return pytest.mark.parametrize("name", sorted(name for name, own in FACTS.items() if wanted.items() <= own.items()))


def network(seed=0):
    torch.manual_seed(seed)
    layers = nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 6), nn.ReLU(), nn.Linear(6, 3)
    return nn.Sequential(*layers).double()


MODEL, X, Y = network(), data(4, 1, 6, 6), torch.tensor([0, 2, 1, 1])
THIRDS = Groups(("left", "middle", "right"), torch.arange(6) // 2, "column")
FEW = {"captum:Lime": {"n_samples": 40}, "captum:KernelShap": {"n_samples": 40}}


def made(name, groups=THIRDS, **options):
    """The method, with the options without which it cannot be made or takes long."""
    if name == "captum:ShapleyValues":
        options["groups"] = groups
    if name == "captum:GuidedGradCam":
        options["layer"] = "1"
    return create("attribution", name, **{**FEW.get(name, {}), **options})

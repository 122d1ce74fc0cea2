"""The small networks of nonlinear ICA."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

from torch import Tensor, nn

SLOPE = 0.1
"""What is added to tanh, so that the activation has an inverse (Khemakhem et al. 2020, released code)."""


LEAK = 0.2
"""Slope of the leaky ReLU below zero (Khemakhem et al. 2020b, released code)."""


class LeakyTanh(nn.Module):
    """tanh(x) + .1 x: bends like tanh, and is never flat."""

    def forward(self, x: Tensor) -> Tensor:
        """Of each entry."""
        return x.tanh() + SLOPE * x


Activation: TypeAlias = Literal["leaky_tanh", "leaky_relu"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_tanh": LeakyTanh,
    "leaky_relu": partial(nn.LeakyReLU, LEAK),
}


def mlp(
    inputs: int, outputs: int, *, hidden: int = 100, layers: int = 3, activation: Activation = "leaky_tanh"
) -> nn.Sequential:
    """Linear layers with an activation between them: (N, inputs) → (N, outputs).

    Args:
        inputs: entries of a row.
        outputs: entries of a result.
        hidden: width of the layers between.
        layers: linear layers, at least 1.
        activation: "leaky_tanh", tanh(x) + .1 x, or "leaky_relu", of slope .2 below zero.
    """
    widths = [inputs, *[hidden] * (layers - 1), outputs]
    modules: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        modules += [nn.Linear(before, after), ACTIVATIONS[activation]()]
    return nn.Sequential(*modules[:-1])


def after(hidden: int, outputs: int, *, layers: int) -> nn.Sequential:
    """What follows the first layer of an `mlp` of at least two: (N, hidden) → (N, outputs)."""
    return nn.Sequential(LeakyTanh(), *mlp(hidden, outputs, hidden=hidden, layers=layers - 1))

"""The auxiliary variable u, without which nonlinear ICA has no answer: labels of segments or classes, or vectors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trimkit.methods import Condition
from trimkit_ica.networks import after

WHY = (
    "nonlinear ICA without an auxiliary variable u is not identifiable: for any x there are infinitely many "
    "independent components that explain it, none of them the sources (Hyvärinen & Pajunen 1999)"
)


@dataclass(frozen=True)
class Auxiliary(Condition):
    """What u is, for methods that find nothing without it; see `trimkit.methods.Condition`."""

    why: str = WHY


class FunctionOfAux(nn.Module):
    """u → (N, outputs): an MLP on vectors, or on one-hot labels, whose first layer is a table; with one layer no more.

    Args:
        aux: what u is.
        outputs: number of values.
        hidden: width of the MLP.
        layers: linear layers; 1 for a table of labels, or a linear map of vectors.
    """

    def __init__(self, aux: Auxiliary, outputs: int, *, hidden: int = 1, layers: int = 1) -> None:
        super().__init__()
        width = outputs if layers == 1 else hidden
        self.first = nn.Embedding(aux.segments, width) if aux.segments else nn.Linear(aux.dim, width)
        spread_uniformly(self, aux.size**-0.5)
        self.rest = nn.Identity() if layers == 1 else after(hidden, outputs, layers=layers)

    def forward(self, u: Tensor) -> Tensor:
        """(N,) labels or (N, m) vectors → (N, outputs)."""
        return self.rest(self.first(u if isinstance(self.first, nn.Embedding) else u.to(self.first.weight.dtype)))


@torch.no_grad()
def spread_uniformly(module: nn.Module, bound: float) -> None:
    """Draw all parameters uniformly between −bound and bound, as torch does for a linear layer of bound⁻² inputs."""
    for parameter in module.parameters():
        parameter.uniform_(-bound, bound)


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of labels that are their row's largest logit: a scalar in [0, 1]."""
    return (logits.argmax(1) == labels).to(torch.promote_types(logits.dtype, torch.float32)).mean()

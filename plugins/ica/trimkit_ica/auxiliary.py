"""The auxiliary variable u, without which nonlinear ICA has no answer: labels of segments or classes, or vectors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trimkit.errors import DataError, OptionError
from trimkit_ica.networks import after

WHY = (
    "nonlinear ICA without an auxiliary variable u is not identifiable: for any x there are infinitely many "
    "independent components that explain it, none of them the sources (Hyvärinen & Pajunen 1999)"
)

WAYS = (
    "give data with aux: segment, time or class of each sample; 'aux=labels' takes the labels y, as in --data "
    "digits:aux=labels or trimkit.data.load('digits', aux='labels')"
)


@dataclass(frozen=True)
class Auxiliary:
    """What u is: one of M labels a sample, or a vector of m numbers.

    Attributes:
        method: name for messages.
        segments: M, the number of labels; 0 for vectors.
        dim: m, the number of entries; 0 for labels.

    Raises:
        OptionError: neither, both, or a single label.
    """

    method: str
    segments: int
    dim: int

    def __post_init__(self) -> None:
        if self.segments == 0 and self.dim == 0:
            raise OptionError(
                f"{self.method} needs segments, the number of values of u, or aux_dim, its number of entries: {WHY}. "
                f"On the command line the data say which; {WAYS}"
            )
        if self.segments and self.dim:
            raise OptionError(
                f"{self.method}: expected segments for labels u or aux_dim for vectors u, got segments={self.segments} "
                f"and aux_dim={self.dim}"
            )
        if self.segments == 1 or min(self.segments, self.dim) < 0:
            raise OptionError(
                f"{self.method}: expected segments ≥ 2 or aux_dim ≥ 1, got segments={self.segments}, "
                f"aux_dim={self.dim}: a u that never changes tells nothing apart"
            )

    def check(self, u: Tensor | None) -> None:
        """Refuse a missing u, or one of another kind.

        Args:
            u: (N,) integer labels in 0 … M − 1, or (N, m) floats; or None.
        Raises:
            DataError: with what to do.
        """
        if u is None:
            raise DataError(f"{self.method} got data without auxiliary variables: {WHY}; {WAYS}")
        if self.segments and (u.is_floating_point() or u.ndim != 1):
            raise DataError(
                f"{self.method} was made for labels u as integers (N,), segments={self.segments}, got {u.dtype} "
                f"{tuple(u.shape)}; give labels as u.long().flatten(), or make it for vectors"
            )
        if self.dim and not (u.is_floating_point() and tuple(u.shape[1:]) == (self.dim,)):
            raise DataError(
                f"{self.method} was made for vectors u as floats (N, {self.dim}), got {u.dtype} {tuple(u.shape)}; "
                "numbers (N,) are vectors u[:, None], and whole numbers are labels as u.long()"
            )
        if self.segments and not 0 <= int(u.min()) <= int(u.max()) < self.segments:
            raise DataError(
                f"{self.method} was made for labels u in 0 … {self.segments - 1}, got {int(u.min())} … {int(u.max())}; "
                "number the labels from 0"
            )

    def needed(self, u: Tensor | None, what: str, count: int | None = None) -> Tensor:
        """The u that was given, labels as int64.

        Args:
            u: or None.
            what: it is needed for.
            count: of samples, for a u that nobody has checked yet.
        Raises:
            DataError: none was, or not one for each sample, or one of another kind.
        """
        if u is None or count not in (None, len(u)):
            got = "none" if u is None else f"{len(u)} for {count} samples"
            raise DataError(f"{self.method} needs the auxiliary variable u {what}, got {got}; give aux=u")
        if count is not None:
            self.check(u)
        return u.long() if self.segments else u

    @property
    def size(self) -> int:
        """Entries of u as a vector: one-hot for labels."""
        return self.segments or self.dim


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

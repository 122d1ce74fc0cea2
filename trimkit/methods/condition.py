"""What a method is told of each sample: a class or segment, or a vector of numbers; data carry it as ``aux``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from trimkit.errors import DataError, OptionError

WHY = "its networks see u beside each sample"

WAYS = (
    "give data with aux: segment, time or class of each sample; 'aux=labels' takes the labels y, as in --data "
    "digits:aux=labels or trimkit.data.load('digits', aux='labels')"
)

Given: TypeAlias = int | float | Sequence[float] | Tensor
"""u of all samples, a label or a vector; or of each, (N,) labels or (N, m) vectors."""


@dataclass(frozen=True)
class Condition:
    """What u is: one of M labels a sample, or a vector of m numbers.

    Attributes:
        method: name for messages.
        segments: M, the number of labels; 0 for vectors.
        dim: m, the number of entries; 0 for labels.
        why: the method cannot do without, for messages.

    Raises:
        OptionError: neither, both, or a single label.

    >>> import torch
    >>> condition = Condition("ivae", segments=4, dim=0)
    >>> condition.check(torch.tensor([0, 3]))       # labels in 0 … 3
    """

    method: str
    segments: int
    dim: int
    why: str = WHY

    def __post_init__(self) -> None:
        if self.segments == 0 and self.dim == 0:
            raise OptionError(
                f"{self.method} needs segments, the number of values of u, or aux_dim, its number of entries: "
                f"{self.why}. On the command line the data say which; {WAYS}"
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
            raise DataError(f"{self.method} got data without auxiliary variables: {self.why}; {WAYS}")
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

    def vectors(self, u: Tensor, like: Tensor) -> Tensor:
        """One-hot labels, or vectors as they are: (N,) or (N, m) → (N, size), of the type and device of ``like``."""
        return (one_hot(u, self.segments) if self.segments else u).to(like)

    def rows(self, given: Given) -> Tensor:
        """u as rows, checked: a label or vector for all samples as (1,) or (1, m), one for each as it is.

        Raises:
            DataError: of another kind.
        """
        u = torch.as_tensor(given)
        u = u[None] if u.ndim == (0 if self.segments else 1) else u
        u = u.float() if self.dim and not u.is_floating_point() else u
        self.check(u)
        return u

    def draw(self, n: int, generator: torch.Generator | None, what: str) -> Tensor:
        """Labels with equal chances, for samples of which nobody said what they should be: (n,).

        Raises:
            DataError: u are vectors, of which nobody knows how they are distributed.
        """
        if not self.segments:
            raise DataError(f"{self.method} needs the auxiliary variable u {what}, got none; give aux=u")
        device = None if generator is None else generator.device
        return torch.randint(self.segments, (n,), generator=generator, device=device)


def make_condition(method: str, conditional: bool, segments: int, dim: int) -> Condition | None:
    """The condition of a method whose options say so; None for one without.

    Args:
        method: name for messages.
        conditional: whether it has one.
        segments: M of labels u, or 0.
        dim: m of vectors u, or 0.
    Raises:
        OptionError: see `Condition`; sizes of a u that is not used.

    >>> make_condition("vae", False, 0, 0) is None, make_condition("vae", True, 4, 0).segments
    (True, 4)
    """
    if conditional:
        return Condition(method, segments, dim)
    if segments or dim:
        raise OptionError(f"{method}: segments and aux_dim say what u is for conditional=True; give that too")
    return None

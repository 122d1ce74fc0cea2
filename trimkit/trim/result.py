"""What an explanation is: output, coefficients, scores, and how far they add up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import TransformError


@dataclass(frozen=True)
class TrimResult:
    """What `Trim` found.

    Attributes:
        output: what the model returned for x, (N, ...).
        coefficients: s = T(x).
        scores: real leaves like s; those of tokens that the attention mask calls padding are 0.
        residual: r = x − T⁻¹(s), like x, of several inputs by name; zero up to rounding for exact transforms.
        gap: (N,) Σ scores − (f(x) − f(T⁻¹(s₀) + r)) for attributions that claim completeness, else None. Where the
            model joins rows, the mean over the batch, in every entry.
        change: (N,) f(x) − f(T⁻¹(s₀) + r), against which the gap is judged; None where gap is.
        steps: (N,) quadrature steps of integrated gradients; None for others and with a graph.
        groups: the named groups of the coefficients, with the axis they lie on: ``result.groups.sums(result.scores)``.

    >>> import torch, trimkit
    >>> result = trimkit.Trim(lambda x: 3 * x, "identity", "integrated_gradients")(torch.ones(2, 1), target=0)
    >>> result.scores.flatten().tolist(), result.change.tolist()
    ([3.0, 3.0], [3.0, 3.0])
    """

    output: Any
    coefficients: Tree
    scores: Tree
    residual: Tensor | dict[Any, Tensor]
    gap: Tensor | None = None
    change: Tensor | None = None
    steps: Tensor | None = None
    _name_groups: Callable[[], Groups] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def groups(self) -> Groups:
        """The named groups of the coefficients, see `trimkit.coefficients.groups.Groups`."""
        if self._name_groups is None:
            raise TransformError("this result knows no groups; take those of the transform, transform.groups(size)")
        return self._name_groups()

    def _repr_html_(self) -> str:
        """Where the scores lie, for notebooks."""
        from trimkit.trim.shown import show_result

        return show_result(self).to_html()

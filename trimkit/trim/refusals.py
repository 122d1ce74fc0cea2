"""Combinations of penalty, attribution and transform that would train nothing, or the wrong thing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trimkit.attributions.base import Attribution
from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import PenaltyError
from trimkit.penalties.base import Penalty, needs_signs


def refuse_scale_degeneracy(penalty: Penalty, attribution: Attribution, transform: nn.Module, scores: Tree) -> None:
    """Refuse a learnable transform whose mere scale lowers the penalty.

    With coefficients c · s and the inverse taking c out again nothing changes but the gradients, which are divided by
    c: a penalty on them falls to 0 as c grows. Products such as input × gradient do not depend on c, some penalties do
    not depend on the scale of scores, and some transforms fix it (``norm_constrained = True``, as the unit norm of a
    wavelet filter does).

    Args:
        penalty: scores → (N,).
        attribution: gives the scores; its ``gradient_like`` says whether they are divided by c.
        transform: in training where one of its parameters requires grad.
        scores: as found; only their shapes count.
    Raises:
        PenaltyError: transform, attribution and penalty all let the scale run away.
    """
    learns = any(parameter.requires_grad for parameter in transform.parameters())
    free = learns and not getattr(transform, "norm_constrained", False)
    if not free or not attribution.gradient_like or _scale_invariant(penalty, scores):
        return
    raise PenaltyError(
        f"{type(transform).__name__} is learnable, and {type(attribution).__name__} shrinks as its coefficients grow: "
        "the scale alone would lower this penalty. Use attribution 'input_x_gradient' or 'integrated_gradients', a "
        "penalty that does not depend on scale (hoyer, gini, entropy), or fix the transform's scale and declare "
        "norm_constrained = True in its class"
    )


def refuse_magnitudes(penalty: Any, attribution: Attribution, coefficients: Tree) -> None:
    """Refuse magnitudes of gradients where a penalty reads their sign: it would always be satisfied.

    Args:
        penalty: marked by `trimkit.penalties.signed`, or not.
        attribution: gives magnitudes where its attribute ``absolute`` is true.
        coefficients: complex gradients have no sign.
    Raises:
        PenaltyError: the penalty would see magnitudes only.
    """
    if not needs_signs(penalty):
        return
    if getattr(attribution, "absolute", False):
        raise PenaltyError(
            f"this penalty reads the sign of scores, and {type(attribution).__name__} gives magnitudes; use "
            "attribution=('saliency', {'absolute': False})"
        )
    if attribution.gradient_like and any(leaf.is_complex() for leaf in tree.leaves(coefficients)):
        raise PenaltyError(
            "this penalty reads the sign of gradients, and gradients of complex coefficients have none; use a real "
            "transform such as 'dct', or attribution 'input_x_gradient'"
        )


def _scale_invariant(penalty: Penalty, scores: Tree) -> bool:
    generator = torch.Generator().manual_seed(0)

    def drawn(leaf: Tensor) -> Tensor:
        return torch.randn(leaf.shape, generator=generator).to(leaf)

    with torch.no_grad():
        some = tree.map_leaves(drawn, scores)
        half = tree.map_leaves(lambda leaf: leaf / 2, some)
        return torch.allclose(penalty(some), penalty(half), rtol=1e-2, atol=1e-6)

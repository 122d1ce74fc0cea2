"""Relevance propagated layer by layer, as multipliers of the change from a reference."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from trimkit.attributions.base import Attribution, Probe
from trimkit.attributions.captum.forward import is_affine
from trimkit.attributions.carrier import carried
from trimkit.attributions.relevance.twin import Twin
from trimkit.attributions.tracking import gradients_of
from trimkit.coefficients import tree
from trimkit.coefficients.baseline import difference, product
from trimkit.coefficients.tree import Tree
from trimkit.errors import AttributionError
from trimkit.predictor.composed import Composed, eager, model_of
from trimkit.targets import select


class LayerwiseRelevance(Attribution):
    """(s − s₀) · m with multipliers m from rules of each operation, see `trimkit.attributions.relevance.rules`.

    For networks of linear maps, activations, products, softmax and norms: transformers with attention, residual streams
    and gates among them. The scores sum to f(s) − f(s₀) exactly; a network with an operation without a rule is refused
    by its name. It costs one forward of three tensors for one, and one backward. Token ids are explained at their
    embedding.
    """

    complete: ClassVar[bool] = True
    order: ClassVar[Literal["gradient", "perturbation"]] = "perturbation"

    def attribute(self, probe: Probe, s: Tree, baseline: Tree, generator: torch.Generator | None) -> Tree:
        """One forward of point, reference and change together, and the gradient of the change."""
        step = tree.map_leaves(lambda leaf: leaf.detach().clone().requires_grad_(), difference(s, baseline))
        expected = select(probe.output, probe.target)
        twin = _explained(probe, s, baseline, step)
        _verify(twin, expected)
        wanted = tree.leaves(step)
        multipliers = gradients_of(twin.change, wanted, probe.create_graph)
        gradients = [torch.zeros_like(p) if m is None else m for p, m in zip(wanted, multipliers, strict=True)]
        scores = product(tree.rebuild(s, gradients), difference(s, baseline))
        _require_path(scores, twin.change)
        return scores


def _explained(probe: Probe, s: Tree, baseline: Tree, step: Tree) -> Twin:
    """The explained number of each sample with its change."""
    function = probe.function
    with eager(model_of(function)), carried(Twin.method):
        if isinstance(function, Composed):
            output: Any = function.run_on(_data(function, s, baseline, step))
        else:
            output = function(tree.map_leaves(Twin, s, baseline, step))
    explained = select(output, probe.target)
    if not isinstance(explained, Twin):
        raise AttributionError(
            "layerwise relevance lost track: the explained output is no result of operations on the input (a call to "
            "numpy, a constant output?); use integrated_gradients"
        )
    return explained


def _data(function: Composed, s: Tree, baseline: Tree, step: Tree) -> Twin:
    """Data at the point and the reference, and how it changes with s: by the chord of the inverse transform."""
    point, reference = function.data(s), function.data(baseline)
    change = function.transform.inverse(step, function.size) - function.transform.inverse(
        tree.map_leaves(torch.zeros_like, step), function.size
    )
    if not is_affine(function.transform, s, function.size):
        raise AttributionError(
            "layerwise relevance needs a space whose inverse is affine, and that of "
            f"{type(function.transform).__name__} is not (a learned decoder, HSV); use integrated_gradients"
        )
    return Twin(point, reference, change.to(point))


def _require_path(scores: Tree, change: Tensor) -> None:
    """Refuse scores of a batch that do not sum to its change, which is computed without a graph somewhere."""
    sums, magnitude = (tree.rows(scores).detach().to(change).sum(), tree.rows(scores).detach().abs().sum())
    missed = float((sums - change.detach().sum()).abs())
    if missed > 1e-2 * (float(magnitude) + float(change.detach().abs().sum())):
        raise AttributionError(
            f"layerwise relevance lost track: the scores miss the change of the outputs by {missed:.1e}; a part of the "
            "model runs under torch.no_grad(), so that no multiplier comes back from it. Remove that, or use "
            "feature_ablation"
        )


def _verify(twin: Twin, expected: Tensor) -> None:
    """Refuse a change that is not the change of the output, to 1e-5 of its scale (or what its number type can hold)."""
    tolerance = max(1e-5, 100 * torch.finfo(expected.dtype).eps) * max(1.0, float(expected.detach().abs().max()))
    ends = (twin.total - expected).detach().abs().max()
    sums = (twin.change - (twin.total - twin.reference)).detach().abs().max()
    worst = float(torch.maximum(ends, sums))
    if not worst <= tolerance:  # NaN fails too
        raise AttributionError(
            f"layerwise relevance does not add up: it misses the change of the output by {worst:.1e}, at most "
            f"{tolerance:.1e} passes. Does the model write into a view of a tensor, draw random numbers, or give NaN?"
        )

"""Captum's attributions from values of a function at perturbed coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from trimkit.attributions.base import Probe
from trimkit.attributions.captum.adapter import CaptumAttribution
from trimkit.attributions.captum.forward import Inputs, feature_masks, scores_like, shared, to_real, window
from trimkit.attributions.grouping import Grouping, check_grouping, fitted_labels, groups_of
from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import AttributionError, ShapeError


class _Perturbing(CaptumAttribution):
    """Asks for values only."""

    order: ClassVar[Literal["gradient", "perturbation"]] = "perturbation"
    defaults: ClassVar[Mapping[str, Any]] = {"perturbations_per_eval": 8}
    takes_baseline: bool = True

    def inputs(self, s: Tree) -> Inputs:
        """Plain numbers."""
        return tuple(part.detach() for part in to_real(s))


class Occlusion(_Perturbing):
    """Change of f when a sliding window is set to the baseline, Zeiler & Fergus 2014.

    Options ``sliding_window_shapes`` and ``strides`` are in Captum's form, for (N, ..., 2) where s is complex. By
    default windows of 4 along the last two axes (one for signals), half overlapping, and whole along the others.
    """

    tree_ok: ClassVar[bool] = False

    def arguments(self, probe: Probe, s: Tree) -> dict[str, Any]:
        """Default windows for the shape of s."""
        given = super().arguments(probe, s)
        if "sliding_window_shapes" in given:
            return given
        lengths = window(tree.leaves(s)[0])
        steps = tuple(max(1, length // 2) for length in lengths)
        return {"sliding_window_shapes": (lengths,), "strides": (steps,), **given}

    def require(self, probe: Probe, s: Tree) -> None:
        """One tensor of coefficients.

        Raises:
            ShapeError: a tree of several.
        """
        if len(tree.leaves(s)) > 1:
            raise ShapeError(
                f"captum:Occlusion: expected one tensor, got a tree of {len(tree.leaves(s))}; "
                "captum:FeatureAblation takes trees"
            )


class _Grouped(_Perturbing):
    """Perturbs groups of coefficients together; a group's scores sum to what Captum gives the group.

    Args:
        groups: see `trimkit.attributions.grouping.Grouping`.
        **options: of the Captum class.
    """

    least: ClassVar[int] = 1
    most: ClassVar[int | None] = None

    def __init__(self, groups: Grouping | None = "transform", **options: Any) -> None:
        super().__init__(**options)
        self.groups: Grouping = check_grouping(f"captum:{self.name}", groups)

    def arguments(self, probe: Probe, s: Tree) -> dict[str, Any]:
        """Captum's masks of the groups."""
        masks, features = feature_masks(fitted_labels(groups_of(probe.function, s, self.groups), s), s)
        self._require_groups(features)
        return {"feature_mask": masks, **super().arguments(probe, s)}

    def scores(self, explainer: Any, inputs: Inputs, arguments: dict[str, Any], s: Tree) -> Tree:
        """Captum's effect of each group, shared equally among its coefficients."""
        masks = arguments["feature_mask"]
        features = 1 + max(int(mask.max()) for mask in masks)
        return scores_like(s, shared(explainer.attribute(inputs, **arguments), masks, features))

    def _require_groups(self, count: int) -> None:
        if count < self.least:
            raise AttributionError(
                f"captum:{self.name} weighs groups against each other: expected at least {self.least}, got {count}; "
                "pass groups='coefficients', or use captum:FeatureAblation"
            )
        if self.most is not None and count > self.most:
            raise AttributionError(
                f"captum:{self.name} evaluates every order of the groups: expected at most {self.most} groups, got "
                f"{count}; pass groups=Groups(…) with fewer, or use captum:ShapleyValueSampling"
            )


class FeatureAblation(_Grouped):
    """Change of f when a group is set to the baseline; option ``perturbations_per_eval``."""


class FeaturePermutation(_Grouped):
    """Change of f when a group is exchanged among the samples of the batch, Fisher et al. 2018."""

    stochastic: ClassVar[bool] = True
    takes_baseline: bool = False

    def require(self, probe: Probe, s: Tree) -> None:
        """Something to exchange with.

        Raises:
            AttributionError: a batch of one sample.
        """
        if probe.samples < 2:
            raise AttributionError(
                "captum:FeaturePermutation exchanges values among samples: expected at least 2, got 1; for a sample "
                "alone, as in an audit, use captum:FeatureAblation"
            )


class ShapleyValues(_Grouped):
    """Exact Shapley values of at most 8 groups: n! orders are evaluated."""

    complete: ClassVar[bool] = True
    most: ClassVar[int | None] = 8


class ShapleyValueSampling(_Grouped):
    """Shapley values from random orders, Castro et al. 2009; option ``n_samples``."""

    complete: ClassVar[bool] = True
    stochastic: ClassVar[bool] = True


class _Fitted(_Grouped):
    """Fits a linear model to f at random subsets of the groups; by default of 4 samples a group, at least 50.

    Raises:
        AttributionError: fewer samples than the groups and the constant that they determine, when it is explained.
    """

    stochastic: ClassVar[bool] = True

    def arguments(self, probe: Probe, s: Tree) -> dict[str, Any]:
        """Masks of the groups, and samples enough to tell them apart."""
        given = super().arguments(probe, s)
        groups = 1 + max(int(mask.max()) for mask in given["feature_mask"])
        samples = given.setdefault("n_samples", max(50, 4 * groups))
        if samples <= groups:
            raise AttributionError(
                f"captum:{self.name}: {samples} samples cannot tell {groups} groups apart; expected n_samples of at "
                f"least {groups + 1}, better {4 * groups}, or fewer groups=Groups(…)"
            )
        return given


class Lime(_Fitted):
    """A sparse linear model of f around s, Ribeiro et al. 2016; ``n_samples``, ``interpretable_model``."""


class KernelShap(_Fitted):
    """Shapley values by a weighted linear model, Lundberg & Lee 2017; option ``n_samples``."""

    least: ClassVar[int] = 2

"""TRIM: attribute a predictor's output to coefficients in a transformed space, and penalise what is found there.

Singh et al. 2020 ("Transformation importance with applications to cosmology", 2003.01926): with a transform T, its
(pseudo-)inverse T⁻¹ and the residual r = x − T⁻¹(T(x)), held fixed, f'(s) = f(T⁻¹(s) + r) takes coefficients to the
predictor's output, f'(T(x)) = f(x) exactly, and any attribution of f' at s = T(x) explains f in that space.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from trimkit.attributions.base import Attribution
from trimkit.attributions.gradient import IntegratedGradients
from trimkit.coefficients import tree
from trimkit.coefficients.baseline import Baseline
from trimkit.errors import DataError
from trimkit.predictor.composed import Composed, Model, Reference
from trimkit.predictor.guards import is_finite, is_still, normal_mode, require_callable, unchanged, warn_of_train_mode
from trimkit.predictor.inputs import At, Inputs, Site, take_rows
from trimkit.predictor.raised import told_plainly
from trimkit.predictor.rows import Rows, check_rows
from trimkit.predictor.several import space_of
from trimkit.predictor.turns import alone
from trimkit.registry import resolve
from trimkit.targets import Target
from trimkit.transforms.base import Identity, Transform
from trimkit.trim.result import TrimResult
from trimkit.trim.steps import refined, rows_of

Choice: TypeAlias = str | tuple[str, dict[str, Any]]
"""A part by its name, or by its name and options."""


class Trim:
    """Explain a model in a space: ``result = Trim(model, transform="fft")(x, target=y)``.

    Args:
        model: any callable on tensors; a module is called as the user wrapped it, in the mode that it is in.
        transform: name, (name, options) or `trimkit.Transform`; with several explained inputs for each of them, or a
            mapping for some: ``Trim(model, {"image": "fft"}, at=["image", "table"])``.
        attribution: name, (name, options) or `trimkit.Attribution`.
        at: what is explained, see `trimkit.predictor.inputs.At`: one of several inputs, or the output of a layer. All
            else is held fixed, each row with its sample.
        rows: for models whose rows are not samples, such as graph networks, see `trimkit.predictor.rows.Rows`.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3))
        >>> result = Trim(model, transform="dct")(torch.randn(5, 8), target=2)
        >>> result.scores.shape, bool(result.gap.abs().max() < 1e-5)
        (torch.Size([5, 8]), True)
    """

    def __init__(
        self,
        model: Model,
        transform: Choice | Transform | Mapping[Any, Choice | Transform] = "identity",
        attribution: Choice | Attribution = "integrated_gradients",
        at: At = None,
        rows: Rows = None,
    ) -> None:
        require_callable(model)
        self.model = model
        self.transform: Transform = space_of(transform, at)
        self.attribution: Attribution = resolve("attribution", attribution)
        self.at = at
        self.rows: Rows = check_rows(rows)

    def __call__(
        self,
        x: Inputs,
        target: Target = None,
        *,
        baseline: Baseline | Reference = None,
        create_graph: bool = False,
        generator: torch.Generator | None = None,
    ) -> TrimResult:
        """Attribute the model's output for x to the coefficients of x.

        Args:
            x: (N, ...), or a tuple or mapping of arguments of which ``at`` names one; what is explained is real,
                floating and finite.
            target: which number of the output is explained, see `trimkit.targets.Target`.
            baseline: s₀, see `trimkit.coefficients.baseline.Baseline`; zeros by default. A function of the model's
                inputs gives x₀, of which s₀ = T(x₀): a blurred picture, the embedding of padding.
            create_graph: keep the graph, to train through the scores.
            generator: source of randomness for stochastic attributions.
        Returns:
            Output, coefficients, scores, residual and completeness gap. Without create_graph everything is detached.
        Raises:
            ShapeError, DataError: x that is empty, not floating or not finite; a target or baseline that does not fit.
            AttributionError: create_graph for an attribution that cannot be trained through.
            OptionError: ``at`` names neither an input nor a layer.
            ModelError: a model whose wrapper makes second derivatives silently wrong, a layer that runs twice.
        """
        with normal_mode():
            site = Site(self.model, x, self.at, self.rows)
        if site.layer is None and not is_finite(site.value):
            raise DataError("expected finite values in x, got NaN or infinity; clean the data before explaining it")
        self.attribution.require_differentiable(create_graph)
        warn_of_train_mode(self.model, dropout=True)
        watched = site.seen.training or not is_still(self.model)
        with told_plainly(self.model, x), normal_mode(), unchanged(self.model) if watched else alone(self.model):
            composed = Composed(self.model, self.transform, x, keep_graph=create_graph, site=site)
            s0 = composed.baseline(baseline)
            explained = self.attribution.explain(
                composed, composed.s, target=target, baseline=s0, create_graph=create_graph, generator=generator
            )
            composed.settle_steady(explained.output, target, self.attribution.values)
            gap = change = None
            if self.attribution.complete:
                change = composed.change(explained.output, target, s0)
                gap = tree.sample_sums(explained.scores).detach() - change
                if site.joined:  # a sample's scores hold its effect on the others
                    gap = gap.mean().expand_as(gap)
        scores = site.without_padding(explained.scores) if isinstance(self.transform, Identity) else explained.scores
        result = TrimResult(
            explained.output,
            composed.s,
            scores,
            composed.given(composed.residual),
            gap,
            change,
            _name_groups=partial(composed.transform.groups_of, composed.x),
        )
        changing = create_graph or site.seen.mixes or site.seen.drops
        if changing or not isinstance(self.attribution, IntegratedGradients):
            return result
        return self._refined(result, self.attribution, site, (target, baseline))

    def _refined(
        self, result: TrimResult, attribution: IntegratedGradients, site: Site, options: tuple[Any, Any]
    ) -> TrimResult:
        """The result with more steps where they are needed, see `trimkit.trim.steps`."""

        def again(finer: IntegratedGradients, numbers: Tensor | None) -> TrimResult:
            x = site.x if numbers is None else take_rows(site.x, numbers)
            target, baseline = (rows_of(option, numbers, site.samples) for option in options)
            transform = self.transform if numbers is None else self.transform.at_rows(numbers)
            return Trim(self.model, transform, finer, self.at, self.rows)(x, target, baseline=baseline)

        return refined(result, attribution, again, site.rows is None)

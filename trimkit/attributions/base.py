"""What an attribution is, and what it may ask of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, SupportsIndex, TypeAlias

import torch
from torch import Tensor

from trimkit.attributions.tracking import detach, gradients_of, track
from trimkit.coefficients import tree
from trimkit.coefficients.baseline import Baseline, expand_baseline
from trimkit.coefficients.tree import Tree
from trimkit.errors import AttributionError, PluginError, ShapeError
from trimkit.predictor.composed import Composed, model_of, padding_of
from trimkit.predictor.graph import graph_leaves
from trimkit.predictor.guards import normal_mode, warn_of_non_finite
from trimkit.predictor.kernels import math_attention, math_in_backward
from trimkit.predictor.turns import alone
from trimkit.targets import NextTokens, Target, require_target, resolve_target, select

Function: TypeAlias = Callable[[Tree], Any]
"""Coefficients with k · N rows, k whole copies of the batch in order → the model's raw output for those rows."""

NO_PATH = (
    "the model's output does not depend on its input by differentiable operations (a detach, no_grad, rounding, argmax "
    "or numpy call inside the model?); use a perturbation attribution, such as feature_ablation, or remove the break"
)
"""Why there is no gradient, and the way out."""


@dataclass(frozen=True)
class Explanation:
    """The model's output at the explained point, and the scores of its coefficients.

    Attributes:
        output: what the model returned for the N samples.
        scores: real leaves with the structure and shape of the coefficients.

    >>> from trimkit import create
    >>> attribution = create("attribution", "input_x_gradient")
    >>> explanation = attribution.explain(lambda s: 3 * s, torch.tensor([[2.0]]), target=0)
    >>> explanation.output, explanation.scores
    (tensor([[6.]]), tensor([[6.]]))
    """

    output: Any
    scores: Tree


class Probe:
    """A model seen from coefficients at one explained point.

    An attribution asks it for gradients or values; it selects the target, keeps the graph when the scores are to be
    trained through, and remembers the raw output at the explained point from the first evaluation, so that output and
    scores cost one forward together.

    Attributes:
        function: coefficients → output; under `trimkit.Trim` a
            `trimkit.predictor.composed.Composed`, with model and transform.
        point: the explained coefficients, tracked by autograd.
        samples: N.
        create_graph: the scores will be trained through.
    """

    def __init__(self, function: Function, point: Tree, target: Target, create_graph: bool) -> None:
        self.point = point
        self.samples = tree.batch_size(point)
        self.create_graph = create_graph
        self.function = function
        self._target = require_target(target)
        self._settled = False
        self._output: Any = getattr(function, "output", None)

    @property
    def target(self) -> Target:
        """Which number of the output is explained; "predicted" is settled at the explained point, for all others."""
        if not self._settled:
            if isinstance(self._target, Tensor | str | NextTokens | SupportsIndex):
                self._target = resolve_target(self._target, self.output, padding=padding_of(self.function))
            self._settled = True
        return self._target

    @property
    def has_output(self) -> bool:
        """Whether the model has run at the explained point, and did not fail."""
        return self._output is not None

    @property
    def output(self) -> Any:
        """Raw output at the explained point, (N, ...); evaluated now if no other evaluation has brought it."""
        if self._output is None:
            self._output = self._call(self.point)
        return self._output

    def gradient(self, target: Target = None) -> Tree:
        """∂f/∂s at the explained point: leaves like the coefficients, complex where they are (∂f/∂Re + i ∂f/∂Im).

        Args:
            target: what is differentiated, instead of the probe's own.
        """
        if self._output is None or not self.create_graph:  # without create_graph, the last gradient freed its graph
            self._output = self._call(self.point)
        return self._gradient(self._selected(self._output, 1, target), self.point)

    def gradients(self, points: Tree, copies: int) -> Tree:
        """∂f/∂points at several points a sample.

        Args:
            points: leaves (copies · N, ...), whole copies of the batch in order, tracked by autograd (`track`).
            copies: points a sample.
        Returns:
            Gradients like ``points``.
        """
        return self._gradient(self.values(points, copies), points)

    def values(self, points: Tree, copies: int) -> Tensor:
        """f at several points a sample, (copies · N,); rows as in `gradients`.

        A model's output at the explained point comes from a forward of its own, so that it is what the model alone
        gives, in train mode too; that of a bare function joins the points in one forward, where its rows can be told.
        """
        if isinstance(self.function, Composed):
            self.settle_rows()
        if self._output is not None:
            return self._selected(self._call(points), copies)
        raw = self._call(tree.concatenate([self.point, points]))
        if _has_rows(raw, (copies + 1) * self.samples):
            self._output = tree.map_leaves(lambda leaf: leaf[: self.samples], raw)
        return self._selected(raw, copies + 1)[self.samples :]

    def settle_rows(self, any_order: bool = False) -> None:
        """Know, before more rows than samples go into a model, whether its rows are samples, and their order free."""
        if isinstance(self.function, Composed):
            self.function.settle_rows(self.output, self.target)
            if any_order:
                self.function.settle_order()

    def _selected(self, raw: Any, copies: int, target: Target = None) -> Tensor:
        return select(raw, self.target if target is None else target, copies, rows=copies * self.samples)

    @property
    def model(self) -> Any:
        """The model behind the function, under `trimkit.Trim`; else the function itself."""
        return getattr(self.function, "model", self.function)

    def without_graph(self) -> Probe:
        """The same probe for scores that are not trained through, with its output at hand."""
        plain = Probe(self.function, track(self.point, keep_graph=False), self.target, create_graph=False)
        plain._output = self._output
        return plain

    def parameters(self) -> list[Tensor]:
        """The leaf tensors, besides the explained point, that outputs may be computed from.

        Those behind the output at the point, and the function's own parameters: a model may use some of them elsewhere
        on a path only.
        """
        own = {id(leaf) for leaf in tree.leaves(self.point)}
        declared = self.function.parameters() if hasattr(self.function, "parameters") else ()
        behind = [*graph_leaves(self._selected(self.output, 1)), *(p for p in declared if p.requires_grad)]
        return list({id(leaf): leaf for leaf in behind if id(leaf) not in own}.values())

    def _call(self, points: Tree) -> Any:
        if not isinstance(self.function, Composed):
            points = tree.map_leaves(Tensor.clone, points)  # a function may write to what it gets
        return self.function(points)

    def _gradient(self, values: Tensor, points: Tree) -> Tree:
        wanted = tree.leaves(points)
        partials = gradients_of(values, wanted, self.create_graph)
        if all(gradient is None for gradient in partials):
            raise AttributionError(NO_PATH)
        pairs = zip(wanted, partials, strict=True)
        return tree.rebuild(points, [torch.zeros_like(p) if gradient is None else gradient for p, gradient in pairs])


class Attribution(ABC):
    """Scores of coefficients: ``scores = attribution(f, s, target=y)``.

    A subclass writes `attribute` and states its facts as class attributes; `trimkit.testing` compares them with what is
    measured.

    Attributes:
        differentiable: scores can be trained through.
        complete: scores of a sample sum to f(s) − f(s₀).
        stochastic: draws random numbers (from the generator it is given).
        gradient_like: scores are gradients, which c · s divides by c; products such as input × gradient do not change.
        from_references: compares with reference samples, so the baseline may have any number of rows.
        complex_ok: takes complex coefficients.
        tree_ok: takes trees of coefficients.
        needs_module: works by module hooks, so it cannot take a bare function.
        order: what it asks of the model, gradients or values.
    """

    differentiable: ClassVar[bool] = True
    complete: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False
    gradient_like: ClassVar[bool] = False
    from_references: ClassVar[bool] = False
    complex_ok: ClassVar[bool] = True
    tree_ok: ClassVar[bool] = True
    needs_module: ClassVar[bool] = False
    order: ClassVar[Literal["gradient", "perturbation"]] = "gradient"

    @abstractmethod
    def attribute(self, probe: Probe, s: Tree, baseline: Tree, generator: torch.Generator | None) -> Tree:
        """Compute the scores.

        Args:
            probe: gradients and values of the model.
            s: the explained coefficients, the same as ``probe.point``.
            baseline: s₀ with the structure and shape of s.
            generator: source of randomness, for stochastic attributions.
        Returns:
            Real leaves like s.
        """

    def __call__(self, function: Function, s: Tree, **options: Any) -> Tree:
        """The scores alone; arguments as in `explain`."""
        return self.explain(function, s, **options).scores

    def explain(
        self,
        function: Function,
        s: Tree,
        *,
        target: Target = None,
        baseline: Baseline = None,
        create_graph: bool = False,
        generator: torch.Generator | None = None,
    ) -> Explanation:
        """The model's output and the scores of its coefficients, from one fused forward where the method allows.

        Args:
            function: coefficients → raw output, see `Function`.
            s: coefficients, floating or complex leaves (N, ...).
            target: which number of the output is explained, see `trimkit.targets.Target`.
            baseline: where coefficients are absent, see `Baseline`.
            create_graph: keep the graph, so that a loss of the scores trains the model and, where s requires grad,
                whatever made s. Without it the scores are detached.
            generator: source of randomness for stochastic attributions; without one each call draws the same numbers.
        Returns:
            Output and scores.
        Raises:
            AttributionError: create_graph for an attribution that cannot be trained through, or a model without graph.
            ShapeError: coefficients, baseline or target that do not fit.
        """
        self.require_differentiable(create_graph)
        _check_coefficients(s)
        kernel = math_attention() if create_graph else nullcontext()
        with alone(model_of(function)), normal_mode(), torch.enable_grad(), kernel:
            point = track(s, keep_graph=create_graph)
            probe = Probe(function, point, target, create_graph)
            if self.stochastic and generator is None:
                generator = torch.Generator().manual_seed(0)
            scores = self.attribute(probe, point, self.resolve_baseline(baseline, point), generator)
            _require_rows(probe.output, probe.samples)
            if create_graph:
                return Explanation(math_in_backward(probe.output), tree.map_leaves(math_in_backward, scores))
            warn_of_non_finite(self.values(probe.output, probe.target), scores)
            return Explanation(detach(probe.output), detach(scores))

    def values(self, output: Any, target: Target) -> Tensor:
        """What is explained of each sample, (N,): here the number that the target names.

        Args:
            output: what the model returned for the N samples.
            target: without words, see `trimkit.targets.resolve_target`.
        """
        return select(output, target)

    def resolve_baseline(self, baseline: Baseline, s: Tree) -> Tree:
        """What `attribute` gets as baseline: here s₀ with the structure and shape of s.

        Raises:
            ShapeError: a baseline that does not broadcast to s.
        """
        return expand_baseline(baseline, s)

    def require_differentiable(self, create_graph: bool) -> None:
        """Refuse, before any work, to keep a graph that would be missing or wrong."""
        if not create_graph or self.differentiable:
            return
        raise AttributionError(
            f"{type(self).__name__} cannot be trained through (create_graph=True). Use one of: {_trainable()}."
        )


def _trainable() -> str:
    """Names of the attributions that can be trained through, of those that can be imported."""
    from trimkit.registry import available, facts

    names = []
    for name in available("attributions"):
        with suppress(PluginError):
            names += [name] if facts("attribution", name).get("differentiable", False) else []
    return ", ".join(sorted(names))


def _require_rows(output: Any, rows: int) -> None:
    """Refuse a tensor that has not one row for each row that went in."""
    if isinstance(output, Tensor) and output.shape[:1] != (rows,):
        raise ShapeError(
            f"expected an output of {rows} rows, one for each that went in, got {tuple(output.shape)}: the model mixes "
            "or reorders its batch, or the batch is not its first axis"
        )


def _has_rows(output: Any, rows: int) -> bool:
    """Whether an output is a tree of tensors with one row for each that went in."""
    _require_rows(output, rows)
    try:
        return all(leaf.shape[:1] == (rows,) for leaf in tree.leaves(output))
    except ShapeError:
        return False


def _check_coefficients(s: Tree) -> None:
    for leaf in tree.leaves(s):
        if not (leaf.is_floating_point() or leaf.is_complex()):
            raise ShapeError(f"expected floating or complex coefficients, got {leaf.dtype}; convert with x.float()")

"""Is this gradient real? A numeric check that scores can be trained through.

A result that "has a grad_fn" proves nothing: eleven of Captum's methods return one whose parameter gradients are
missing or wrong. What counts is that the analytic directional derivative of the scores equals a central difference.
"""

from __future__ import annotations

import math
import numbers
import re
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from trimkit.attributions.base import Attribution
from trimkit.coefficients import tree
from trimkit.coefficients.baseline import Baseline
from trimkit.coefficients.tree import Tree
from trimkit.errors import AttributionError, TrimkitError
from trimkit.predictor.composed import Composed
from trimkit.predictor.graph import missing_second_derivative
from trimkit.predictor.inputs import At, Site
from trimkit.predictor.rows import map_tensors
from trimkit.predictor.state import copy_of
from trimkit.registry import resolve
from trimkit.targets import Target
from trimkit.transforms.base import Identity

Verdict = Literal["ok", "no graph", "wrong gradient"]


@dataclass(frozen=True)
class AttributionCheck:
    """What `check_attribution` found.

    Attributes:
        verdict: "ok", "no graph" (nothing would be trained), or "wrong gradient" (the wrong thing would be).
        parameter_error: |analytic − difference| / |difference| along a random direction of the parameters; None where
            the model has none.
        input_error: the same along a random direction of s.
        message: one sentence, with the remedy where it is known.

    >>> checked = check_attribution("integrated_gradients", torch.nn.Linear(3, 2), torch.ones(4, 3), target=0)
    >>> checked.verdict, checked.input_error < 0.01
    ('ok', True)
    """

    verdict: Verdict
    parameter_error: float | None
    input_error: float
    message: str

    @property
    def ok(self) -> bool:
        """True where the scores can be trained through."""
        return self.verdict == "ok"


def check_attribution(
    attribution: str | tuple[str, dict[str, Any]] | Attribution,
    model: Callable[[Tree], Any],
    s: Tree,
    *,
    at: At = None,
    target: Target = None,
    baseline: Baseline = None,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> AttributionCheck:
    """Compare the gradient of an attribution's scores with central differences, for the parameters and for s.

    Works on a float64 copy of the model in eval mode; the model, s and the global random state stay as they were. The
    scores are projected on fixed random weights; errors are medians over three random directions.

    Args:
        attribution: a name, (name, options) or an object.
        model: takes s (or, for a composed function, coefficients) and gives its output. What is not a module cannot be
            copied, and must work in float64 as it is.
        s: coefficients (N, ...) at which to check; away from exact zeros and ties. With ``at``, what the model is
            called with: a tensor, a tuple or a mapping.
        at: the input or layer of a module that is checked, as in `trimkit.Trim`.
        target: as in `trimkit.targets.Target`.
        baseline: s₀, or the references of attributions that draw from some (without it they draw from s itself, and a
            difference along s would move them too).
        tolerance: largest relative error that passes.
        seed: of the random weights and directions.
    Returns:
        The verdict with both errors.
    Raises:
        AttributionError: an attribution that says itself that it is not differentiable, or a model without gradient,
            that cannot be copied, or that does not work in float64.
    """
    method: Attribution = resolve("attribution", attribution)
    method.require_differentiable(True)
    double = _double_copy(model)
    explained: _Function | _Place = _Function(double, s) if at is None else _Place(double, s, at)
    point = explained.point
    fixed = (
        baseline
        if baseline is None or isinstance(baseline, int | float | numbers.Real)
        else tree.map_leaves(_double, baseline)
    )
    keys = torch.Generator().manual_seed(seed)
    projection = tree.map_leaves(lambda leaf: _noise(leaf.real, keys), point)

    def projected(where: Tree, create_graph: bool) -> Tensor:
        """The scores at a point on the random weights, a scalar; the same draws at every call."""
        generator = torch.Generator(tree.leaves(where)[0].device).manual_seed(seed)
        options = {"target": target, "baseline": fixed, "create_graph": create_graph, "generator": generator}
        with _explained_dtype_mismatch():
            return _dot(explained.scores(method, where, options), projection)

    parameters = [p for p in double.parameters() if p.requires_grad] if isinstance(double, nn.Module) else []
    return _Comparison(projected, point, parameters, keys).conclude(type(method).__name__, tolerance)


class _Function:
    """A function of coefficients as it is."""

    def __init__(self, function: Callable[[Tree], Any], s: Tree) -> None:
        self.function, self.point = function, tree.map_leaves(_double, s)

    def scores(self, method: Attribution, where: Tree, options: dict[str, Any]) -> Tree:
        """Those at a point."""
        return method(self.function, where, **options)


class _Place:
    """An input of a model, or a shift of what a layer gives."""

    def __init__(self, model: Any, inputs: Any, at: At) -> None:
        self.model, self.at = model, at
        self.inputs = map_tensors(lambda leaf: _double(leaf) if leaf.is_floating_point() else leaf, inputs)
        self.site = Site(model, self.inputs, at)
        self.point = self._zeros() if self.site.layer else self.site.value

    def _zeros(self) -> Tree:
        with torch.no_grad():
            s = Composed(self.model, Identity(), self.inputs, keep_graph=False, site=self.site).s
            return tree.map_leaves(torch.zeros_like, s)

    def scores(self, method: Attribution, where: Tree, options: dict[str, Any]) -> Tree:
        """Those at a point; at a layer ``where`` is how far its output is shifted."""
        layer = self.site.layer
        if layer is None:
            return self._scores(method, self.site.with_value(where), options)
        (shift,) = tree.leaves(where)
        with layer.replaced(self.model, lambda h: h + shift if len(h) == len(shift) else None):
            return self._scores(method, self.inputs, options)

    def _scores(self, method: Attribution, inputs: Any, options: dict[str, Any]) -> Tree:
        site = Site(self.model, inputs, self.at)
        composed = Composed(self.model, Identity(), inputs, keep_graph=options["create_graph"], site=site)
        return method(composed, composed.s, **options)


@dataclass
class _Comparison:
    """Analytic derivatives from one graph against central differences, two evaluations a direction.

    The median over a few directions counts: a difference that steps over a kink (ReLU) is off at that direction only,
    a wrong gradient at all of them. For the same reason the step is small; float64 allows it.
    """

    projected: Callable[[Tree, bool], Tensor]
    point: Tree
    parameters: list[nn.Parameter]
    keys: torch.Generator
    step: float = 1e-7
    directions: int = 3

    def conclude(self, name: str, tolerance: float) -> AttributionCheck:
        """Compare gradients of the projected scores with finite differences."""
        inputs = tree.map_leaves(lambda leaf: leaf.detach().requires_grad_(), self.point)
        value = self.projected(inputs, True)
        broken = missing_second_derivative(value) if value.requires_grad else "it returns scores without a graph"
        if broken:
            return AttributionCheck("no graph", None, float("nan"), f"{name} cannot be trained through: {broken}.")
        wanted = [*self.parameters, *tree.leaves(inputs)]
        gradients = torch.autograd.grad(value, wanted, allow_unused=True, materialize_grads=True)
        split = len(self.parameters)
        of_parameters = self._median(self._parameter_error, gradients[:split]) if self.parameters else None
        of_inputs = self._median(self._input_error, tree.rebuild(inputs, gradients[split:]))
        return _verdict(name, tolerance, of_parameters, of_inputs)

    def _median(self, error: Callable[[Any], float], gradient: Any) -> float:
        errors = [error(gradient) for _ in range(self.directions)]
        return math.nan if any(map(math.isnan, errors)) else statistics.median(errors)  # a median would drop NaN

    def _parameter_error(self, gradients: tuple[Tensor, ...]) -> float:
        directions = [_noise(p, self.keys) for p in self.parameters]
        with _shifted(self.parameters) as shift:
            values = []
            for sign in (1, -1):
                shift(directions, sign * self.step)
                values.append(self.projected(self.point, False))
        return self._relative_error(_dot(list(gradients), directions), values)

    def _input_error(self, gradient: Tree) -> float:
        direction = tree.map_leaves(lambda leaf: _noise(leaf, self.keys), self.point)

        def moved(sign: int) -> Tree:
            return tree.map_leaves(lambda p, d: p + sign * self.step * d, self.point, direction)

        values = [self.projected(moved(sign), False) for sign in (1, -1)]
        return self._relative_error(_dot(gradient, direction), values)

    def _relative_error(self, analytic: Tensor, values: list[Tensor]) -> float:
        expected = float(values[0] - values[1]) / (2 * self.step)
        return abs(float(analytic) - expected) / max(abs(expected), 1e-8)


def _verdict(name: str, tolerance: float, of_parameters: float | None, of_inputs: float) -> AttributionCheck:
    errors = [of_inputs] if of_parameters is None else [of_inputs, of_parameters]
    worst = math.nan if any(map(math.isnan, errors)) else max(errors)  # max would drop NaN
    if worst <= tolerance:
        return AttributionCheck("ok", of_parameters, of_inputs, f"{name}: relative error {worst:.1e}.")
    if math.isnan(worst):
        message = (
            f"{name}: the gradient of its scores is wrong: it, or the scores, are NaN; look for 0/0 or √0 in them."
        )
        return AttributionCheck("wrong gradient", of_parameters, of_inputs, message)
    message = (
        f"{name}: the gradient of its scores is wrong (relative error {worst:.1e}, at most {tolerance:.0e} passes). "
        "A custom autograd.Function with once_differentiable or a saved intermediate, or a detach inside the "
        "attribution, does this silently; write the operation with differentiable ones. If s holds zeros or ties, "
        "scores may have kinks there, which no difference can test: check on random s."
    )
    return AttributionCheck("wrong gradient", of_parameters, of_inputs, message)


def _double_copy(model: Callable[[Tree], Any]) -> Callable[[Tree], Any]:
    """A float64 copy of a module in eval mode; any other callable as it is."""
    if not isinstance(model, nn.Module):
        return model
    try:
        return copy_of(model).double().eval()
    except Exception as error:
        raise AttributionError(
            f"check_attribution works on a float64 copy, and {type(model).__name__} cannot be copied ({error}); build "
            "it anew and load its weights, or pass a function that works in float64"
        ) from error


@contextmanager
def _explained_dtype_mismatch() -> Iterator[None]:
    """Say what to do where float64 meets weights of another type, of which torch's messages name both types."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        mismatch = re.search("double|float64", text, re.I) and re.search("float(?!64)|half", text, re.I)
        if isinstance(error, TrimkitError) or not mismatch:
            raise
        raise AttributionError(
            f"check_attribution works in float64, and the model does not ({' '.join(text.split())}); pass the "
            "torch.nn.Module itself, which is copied in float64, or a function whose weights and casts are float64"
        ) from error


@contextmanager
def _shifted(parameters: list[nn.Parameter]) -> Iterator[Callable[[list[Tensor], float], None]]:
    """Move parameters along directions; afterwards they hold their saved bits, also after an exception."""
    saved = [p.detach().clone() for p in parameters]

    def shift(directions: list[Tensor], by: float) -> None:
        with torch.no_grad():
            for p, origin, direction in zip(parameters, saved, directions, strict=True):
                p.copy_(origin + by * direction)

    try:
        yield shift
    finally:
        shift(saved, 0.0)


def _dot(a: Tree, b: Tree) -> Tensor:
    pairs = zip(tree.leaves(a), tree.leaves(b), strict=True)
    return torch.stack([(x.conj() * y).real.sum() if x.is_complex() else (x * y).sum() for x, y in pairs]).sum()


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)


def _double(leaf: Tensor) -> Tensor:
    return leaf.detach().to(torch.complex128 if leaf.is_complex() else torch.float64)

"""A penalty on attributions, for a training loop that exists already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from inspect import signature
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from trimkit.attributions.base import Attribution, Baseline, Explanation
from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import PenaltyError
from trimkit.penalties.base import Penalty, dead_rows, is_measure
from trimkit.penalties.sampling import Points
from trimkit.predictor.composed import Composed, Model, Reference
from trimkit.predictor.graph import missing_second_derivative, require_reach
from trimkit.predictor.guards import warn_of_custom_functions, warn_of_train_mode
from trimkit.predictor.inputs import At, Inputs, Site, call_model
from trimkit.predictor.raised import told_plainly
from trimkit.predictor.rows import Rows, check_rows, is_weakly_held
from trimkit.predictor.several import space_of
from trimkit.registry import resolve
from trimkit.targets import Target
from trimkit.transforms.base import Identity, Transform
from trimkit.trim.refusals import refuse_magnitudes, refuse_scale_degeneracy
from trimkit.trim.trim import Choice


@dataclass
class PenaltyReport:
    """What the last call of a `TrimPenalty` saw.

    Attributes:
        values: (N,) the penalty of each sample, detached.
        scores: of which it is one, detached.
        reached: how many of the parameters it is meant for the penalty's graph reaches.
    """

    values: Tensor
    scores: Tree
    reached: int

    @cached_property
    def dead(self) -> Tensor:
        """Number of samples whose scores are all exactly zero (they carry no gradient), a 0-dim tensor."""
        return dead_rows(self.scores)

    def _repr_html_(self) -> str:
        """How the penalty spreads over samples, for notebooks."""
        from trimkit.trim.shown import show_penalty

        return show_penalty(self).to_html()


class TrimPenalty:
    """A penalty on attributions, for an existing training loop: ``logits, value = penalty(model, x, target=y)``.

    The model is called once, as it is wrapped (DDP included), in its current mode; output and penalty come from that
    one forward, and where the attribution takes more, buffers (running statistics) count it alone. Add
    ``weight * value`` to the task's loss and call backward once. A measure, of which more is better (hoyer), is
    penalised as one minus its value. The second derivative makes a step 2–3 times as dear as a plain one.

    Args:
        penalty: name, (name, options) or a function of scores → (N,).
        transform: name, (name, options) or `trimkit.Transform`; or a mapping, as in `trimkit.Trim`.
        attribution: name, (name, options) or `trimkit.Attribution`; must be differentiable.
        baseline: s₀ for the attribution; or a function of the model's inputs, as in `trimkit.Trim`.
        at: what is explained, as in `trimkit.Trim`: one of several inputs, or the output of a layer. A lossy or
            learnable transform at a layer takes a second forward for the task's output.
        rows: for models whose rows are not samples, as in `trimkit.Trim`.
        parameters: what the penalty is meant to train; by default the model's parameters and the transform's.
        points: where the penalty looks, see `trimkit.penalties.sampling`; None for the data. Elsewhere, the task's
            output takes a forward of its own.
        seed: of the draws of stochastic attributions, anew at every call that brings no generator.

    Attributes:
        last: `PenaltyReport` of the last call.

    Example:
        >>> import torch
        >>> from torch.nn import Flatten, Linear, Sequential, Tanh
        >>> model = Sequential(Flatten(), Linear(64, 8), Tanh(), Linear(8, 3))
        >>> x, y = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
        >>> penalty = TrimPenalty("l1", transform="fft", attribution="input_x_gradient")
        >>> logits, value = penalty(model, x, target=y)
        >>> loss = torch.nn.functional.cross_entropy(logits, y) + 0.1 * value
        >>> loss.backward()
        >>> model[1].weight.grad is not None
        True
    """

    def __init__(
        self,
        penalty: Choice | Penalty,
        *,
        transform: Choice | Transform | Mapping[Any, Choice | Transform] = "identity",
        attribution: Choice | Attribution = "input_x_gradient",
        baseline: Baseline | Reference = None,
        at: At = None,
        rows: Rows = None,
        parameters: Iterable[nn.Parameter] | None = None,
        points: Points | None = None,
        seed: int = 0,
    ) -> None:
        self.penalty: Penalty = resolve("penalty", penalty)
        self.transform: Transform = space_of(transform, at)
        self.attribution: Attribution = resolve("attribution", attribution)
        self.attribution.require_differentiable(True)
        self.baseline = baseline
        self.at = at
        self.rows: Rows = check_rows(rows)
        self.points = points
        self.last: PenaltyReport | None = None
        self._generator = torch.Generator().manual_seed(seed)
        self._meant = None if parameters is None else list(parameters)
        self._wants_groups = _wants_groups(self.penalty)
        self._grouped: tuple[Transform, tuple[int, ...], Groups] | None = None  # of the latest space and size
        self._examined: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # model → parameters reached

    def __call__(
        self, model: Model, x: Inputs, target: Target = None, *, generator: torch.Generator | None = None
    ) -> tuple[Any, Tensor]:
        """Task output and penalty from one fused forward.

        Args:
            model: the model in training, as the user wrapped it.
            x: (N, ...) real, floating; or a tuple or mapping of arguments, see ``at``.
            target: which number of the output is explained, see `trimkit.targets.Target`.
            generator: source of randomness for stochastic attributions.
        Returns:
            The model's output for x with its graph, and the mean penalty over samples, a differentiable scalar.
        Raises:
            PenaltyError: the penalty would train nothing that it is meant for, or a learnable transform's scale alone.
            AttributionError, ShapeError, ModelError: as in `Trim`.
        """
        site = Site(model, x, self.at, self.rows)
        fused = self._keeps_task(site)
        output, values = self._explain(model, site, target, generator, counts=fused)
        if not fused:
            output = call_model(model, x)  # else the task's loss would train T through T⁻¹(T(x)) + r, which is x
        return output, values.mean()

    def _keeps_task(self, site: Site) -> bool:
        """Whether the task's gradient passes T⁻¹(T(x)) + r as it would pass x."""
        if self.points is not None or (
            type(self.transform) is not Identity and any(p.requires_grad for p in self.transform.parameters())
        ):
            return False
        return self.transform.exact if site.layer is not None else not site.value.requires_grad

    def penalise(
        self, model: Model, x: Inputs, target: Target = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """The mean penalty alone, for models that are not trained themselves; arguments as in a call.

        In train mode, its forwards leave buffers (running statistics) as they were.
        """
        return self.per_sample(model, x, target, generator=generator).mean()

    def per_sample(
        self, model: Model, x: Inputs, target: Target = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """The penalty of each sample, (N,), with its graph; arguments as in a call."""
        site = Site(model, x, self.at, self.rows)
        return self._explain(model, site, target, generator, counts=False)[1]

    def _explain(
        self, model: Model, site: Site, target: Target, generator: torch.Generator | None, *, counts: bool
    ) -> tuple[Any, Tensor]:
        """The output that was explained, and the penalty of each sample; the first forward counts as the task's."""
        x = site.x
        if torch.is_inference_mode_enabled():
            raise PenaltyError(
                "a penalty cannot be trained under torch.inference_mode(); leave it for the training step"
            )
        warn_of_train_mode(model, dropout=False)
        generator = generator or self._generator
        if self.points is not None:
            if not site.plain:
                raise PenaltyError("points are drawn for a single input x; leave out points=, or at=")
            site = Site(model, self.points(site.value, generator), rows=self.rows)
        with told_plainly(model, x):
            composed = Composed(model, self.transform, x, keep_graph=True, site=site, counts=counts)
            result = self.attribution.explain(
                composed,
                composed.s,
                target=target,
                baseline=composed.baseline(self.baseline),
                create_graph=True,
                generator=generator,
            )
        scores = site.without_padding(result.scores) if isinstance(self.transform, Identity) else result.scores
        values = self.values(scores, composed.size, composed.transform)
        reach = self._examine(composed, result, values)
        self.last = PenaltyReport(values.detach(), tree.map_leaves(Tensor.detach, scores), reach)
        return result.output, values

    def values(self, scores: Tree, size: Iterable[int], space: Transform | None = None) -> Tensor:
        """The penalty of each sample, to be minimised.

        Args:
            scores: real leaves (N, ...).
            size: shape of one sample of data, for the transform's named groups.
            space: whose groups they are; by default the penalty's own transform.
        Returns:
            (N,).
        Raises:
            PenaltyError: a penalty that gives anything but one value a sample.
        """
        result = self.penalty(scores, **self._groups(tuple(size), space or self.transform))
        if not isinstance(result, Tensor) or result.shape != (tree.batch_size(scores),):
            got = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise PenaltyError(
                f"expected one value a sample, ({tree.batch_size(scores)},), from the penalty, got {got}"
            )
        return 1 - result if is_measure(self.penalty) else result

    def _groups(self, size: tuple[int, ...], space: Transform) -> dict[str, Any]:
        """The transform's groups, for penalties that have a parameter of that name which nobody has filled."""
        if not self._wants_groups:
            return {}
        if self._grouped is None or self._grouped[0] is not space or self._grouped[1] != size:
            self._grouped = space, size, space.groups(size)
        return {"groups": self._grouped[2]}

    def _examine(self, composed: Composed, result: Explanation, values: Tensor) -> int:
        """Once for each model: can the penalty be differentiated, and does it train what it is meant to?"""
        model, held = composed.model, is_weakly_held(composed.model)
        trainable = any(p.requires_grad for p in self._meant_of(composed))
        reach = self._examined.get(model) if held else None
        if reach is None or not trainable or not values.requires_grad:
            broken = missing_second_derivative(values)
            if broken:
                raise PenaltyError(f"this penalty cannot be trained: {broken}")
            warn_of_custom_functions(result.output)
            refuse_magnitudes(self.penalty, self.attribution, composed.s)
            value = partial(self.values, size=composed.size, space=composed.transform)
            refuse_scale_degeneracy(value, self.attribution, self.transform, result.scores)
            name = f"the penalty {_name(self.penalty)!r}"
            if self._meant is None and not isinstance(model, nn.Module) and not trainable:
                raise PenaltyError(
                    f"{name}: the model is a function, whose parameters cannot be seen; say what is trained: "
                    "TrimPenalty(…, parameters=network.parameters())"
                )
            reach = require_reach(values, self._meant_of(composed), name)
            if held:
                self._examined[model] = reach
        return reach

    def _meant_of(self, composed: Composed) -> Iterable[nn.Parameter]:
        return composed.parameters() if self._meant is None else self._meant


def _wants_groups(penalty: Any) -> bool:
    """True for a penalty with a parameter ``groups`` that nobody has filled.

    Raises:
        PenaltyError: what is no function of scores.
    """
    if not callable(penalty):
        raise PenaltyError(f"expected a penalty's name or a function scores → (N,), got {type(penalty).__name__}")
    filled = penalty.keywords if isinstance(penalty, partial) else {}
    try:
        return "groups" in signature(penalty).parameters and filled.get("groups") is None
    except ValueError:  # some builtins have no signature
        return False


def _name(penalty: Any) -> str:
    function = penalty.func if isinstance(penalty, partial) else penalty
    return getattr(function, "__name__", type(function).__name__)

"""Contextual decomposition: the part of an output that is due to each group of coefficients, in one forward for all.

Murdoch et al. 2018 (1801.05453) for recurrent, Singh et al. 2019 (1806.05337) for convolutional networks; here for any
network whose operations have a rule in `trimkit.attributions.contextual.rules`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from trimkit.attributions.base import Attribution, Probe
from trimkit.attributions.carrier import carried
from trimkit.attributions.contextual.pair import SHAPLEY, Pair
from trimkit.attributions.grouping import Grouping, check_grouping, fitted_labels, groups_of
from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import AttributionError
from trimkit.predictor.composed import Composed, eager, model_of
from trimkit.registry.options import one_of, whole_number
from trimkit.targets import select

Rule: TypeAlias = Literal["alone", "shapley"]
"""What an activation g gives the part β beside the rest γ: g(β) − g(0), or ½ [g(β) − g(0) + g(β + γ) − g(γ)]."""


def decompose(function: Callable[[Any], Any], total: Tree, relevant: Tree, rule: Rule = "alone") -> Any:
    """Carry an input and its relevant parts through a function.

    Args:
        function: a network or any composition of operations that have a rule.
        total: the input, leaves (N, ...).
        relevant: a tree like it, leaves (G, N, ...): the part of the input that belongs to each of G groups.
        rule: of activations, see `Rule`.
    Returns:
        The function's output, each of its tensors a `Pair` with ``.total`` (N, ...), what the function gives, and
        ``.relevant`` and ``.irrelevant`` (G, N, ...), which sum to it.
    Raises:
        AttributionError: an operation without a rule; names it and its layer.

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
        >>> x = torch.randn(5, 4)
        >>> halves = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
        >>> parts = decompose(network, x, halves[:, None] * x)
        >>> parts.relevant.shape, torch.allclose(parts.relevant + parts.irrelevant, network(x), atol=1e-6)
        (torch.Size([2, 5, 2]), True)
    """
    token = SHAPLEY.set(rule == "shapley")
    try:
        with eager(function), carried(Pair.method):
            return function(tree.map_leaves(Pair, total, relevant))
    finally:
        SHAPLEY.reset(token)


class ContextualDecomposition(Attribution):
    """The relevant part of f for each group, with the rest of the input as its context; shared equally in the group.

    The relevant input of a group is what its coefficients add to the data at the baseline, T⁻¹(s on the group, s₀
    elsewhere) − T⁻¹(s₀); everything else, the residual among it, is irrelevant. ``groups.sums(scores)`` gives the
    relevant parts of the output. They do not sum to f over the groups, unless f is linear: biases and thresholds belong
    to no group alone. Rank groups for a class by the part with its sign: what speaks against it is negative, and large
    for groups without meaning as well.

    Args:
        groups: see `trimkit.attributions.grouping.Grouping`.
        chunk: groups in one forward, at least 1.
        rule: "alone": an activation gives a group what it makes of the group by itself. "shapley": the mean of that and
            of what the group adds to the rest, at one and a half times the cost. The relevant parts and the rest sum to
            f under both.
    """

    order: ClassVar[Literal["gradient", "perturbation"]] = "perturbation"

    def __init__(
        self,
        groups: Grouping = "transform",
        chunk: int = 64,
        rule: Rule = "alone",
    ) -> None:
        whole_number("contextual_decomposition", chunk=chunk)
        one_of("contextual_decomposition", ("alone", "shapley"), rule=rule)
        self.rule: Rule = rule
        self.groups: Grouping = check_grouping("contextual_decomposition", groups)
        self.chunk = chunk

    def attribute(self, probe: Probe, s: Tree, baseline: Tree, generator: torch.Generator | None) -> Tree:
        """One forward of all groups' pairs for each chunk, checked against the model's own output."""
        groups = groups_of(probe.function, s, self.groups)
        labels = fitted_labels(groups, s)
        with torch.set_grad_enabled(probe.create_graph):
            expected = select(probe.output, probe.target)
            parts = torch.arange(len(groups.names), device=expected.device).split(self.chunk)
            relevant = [self._relevant(probe, s, baseline, labels, part, expected) for part in parts]
            return _spread(torch.cat(relevant), labels)

    def _relevant(self, probe: Probe, s: Tree, baseline: Tree, labels: Tree, part: Tensor, expected: Tensor) -> Tensor:
        """The relevant parts of the explained number for some groups, (G, N)."""
        relevant = _contributions(probe.function, s, baseline, labels, part)
        with eager(model_of(probe.function)):
            output = decompose(_rest(probe.function), _data(probe.function, s), relevant, self.rule)
        explained = select(output, probe.target)
        if not isinstance(explained, Pair):
            raise AttributionError(
                "contextual decomposition lost track: the explained output is no result of operations on the input "
                "(a call to numpy, a constant output?); use integrated_gradients"
            )
        _verify(explained, expected)
        return explained.relevant


def _rest(function: Any) -> Callable[[Any], Any]:
    """The model from the explained input or layer on."""
    if not isinstance(function, Composed):
        return function
    return function.run_on


def _data(function: Any, s: Tree) -> Tree:
    """What the model sees, or what its layer gives."""
    return function.data(s) if isinstance(function, Composed) else s


def _contributions(function: Any, s: Tree, baseline: Tree, labels: Tree, part: Tensor) -> Tree:
    """What each group adds to the data at the baseline, leaves (G, N, ...)."""

    def only(leaf: Tensor, base: Tensor, label: Tensor) -> Tensor:  # s on the group, s₀ elsewhere
        mask = label == part.to(label.device).reshape(-1, *[1] * label.ndim)
        return torch.where(mask[:, None], leaf, base)

    parts = tree.map_leaves(only, s, baseline, labels)
    if not isinstance(function, Composed):
        return tree.map_leaves(torch.sub, parts, baseline)
    rows = tree.map_leaves(lambda leaf: leaf.flatten(0, 1), parts)
    data = function.transform.inverse(rows, function.size).unflatten(0, (len(part), -1))
    return data - function.transform.inverse(baseline, function.size)


def _verify(explained: Pair, expected: Tensor) -> None:
    """Refuse parts that do not sum to the output, to 1e-5 of its scale (or what its number type can hold)."""
    tolerance = max(1e-5, 50 * torch.finfo(expected.dtype).eps) * max(1.0, float(expected.detach().abs().max()))
    worst = float((explained.relevant + explained.irrelevant - expected).detach().abs().max())
    if not worst <= tolerance:  # NaN fails too
        raise AttributionError(
            f"contextual decomposition does not add up: relevant + irrelevant differ from the output by {worst:.1e}, "
            f"at most {tolerance:.1e} passes. Does the model write into a view of a tensor, draw random numbers, or "
            "give NaN?"
        )


def _spread(relevant: Tensor, labels: Tree) -> Tree:
    """Share each group's value (G, N) equally among its coefficients: leaves (N, ...)."""
    together = torch.cat([leaf.flatten() for leaf in tree.leaves(labels)])
    share = relevant / torch.bincount(together, minlength=len(relevant)).clamp_min(1)[:, None]
    return tree.map_leaves(lambda label: share[label].movedim(-1, 0), labels)

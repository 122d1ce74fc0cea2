"""What an attribution promises: real scores of each sample alone, gradients that are right, and nothing left behind."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trimkit.attributions.base import Attribution
from trimkit.attributions.check import check_attribution
from trimkit.coefficients import tree
from trimkit.errors import AttributionError, TrimkitError
from trimkit.testing.promises import (
    BrokenPromise,
    Inapplicable,
    Size,
    Trial,
    gap,
    network,
    own_draws,
    promise,
    require,
)

SIZES: tuple[Size, ...] = ((6,), (1, 6, 6))
TARGET = torch.tensor([0, 2, 1, 1])
LEAST_COMPLETE = 0.05
"""Share of the change of the output that the scores may miss, as in an audit."""


class Case(NamedTuple):
    """An attribution, a model in float64, and the coefficients at which it is explained."""

    attribution: Attribution
    model: nn.Module
    s: Tensor

    def scores(self, rows: slice = slice(None), seed: int = 0) -> tree.Tree:
        """Scores of some rows, with a generator of its own."""
        generator = torch.Generator().manual_seed(seed)
        return self.attribution(self.model, self.s[rows], target=TARGET[rows], generator=generator)


def cases(trial: Trial) -> Iterator[Case]:
    """The attribution at each size that it takes."""
    for _, case in trial.accepted(SIZES, lambda size: _case(trial, size)):
        yield case


def _case(trial: Trial, size: Size) -> Case:
    model = (trial.example.model or network)(size).double().eval()
    case = Case(trial.make(), model, trial.draw(len(TARGET), size))
    copy.deepcopy(case).scores()  # of a copy: what a call leaves behind is for a promise to see
    return case


@promise("attribution", light=True, each=cases)
def scores(case: Case) -> None:
    """Scores are real, finite, shaped like the coefficients, of their number type, and detached."""
    (leaf,), s = tree.leaves(case.scores()), case.s
    require(leaf.shape == s.shape, f"scores are {tuple(leaf.shape)} for {tuple(s.shape)}; one a coefficient")
    require(leaf.dtype == s.dtype, f"scores of {s.dtype} coefficients are {leaf.dtype}; keep the dtype")
    require(bool(torch.isfinite(leaf).all()), "scores hold NaN or infinity; look for 0/0 or √0")
    require(not leaf.requires_grad, "scores have a graph without create_graph; override attribute, not explain")
    require(bool(leaf.any()), "all scores of a model that uses every coefficient are 0; use probe.gradient or values")


@promise("attribution", light=True)
def complex_and_trees(trial: Trial) -> None:
    """Complex coefficients and trees give real scores of the same structure, or are refused."""
    pair = {"a": torch.randn(4, 3, dtype=torch.float64), "b": torch.randn(4, 2, dtype=torch.complex128)}

    def model(s: tree.Tree) -> Tensor:
        a, b = tree.matched_leaves(pair, s)
        return torch.stack([a.sum(1).tanh(), b.real.sum(1) - b.imag.pow(2).sum(1), a.pow(2).sum(1)], dim=1)

    try:
        result = trial.make()(model, pair, target=TARGET)
    except TrimkitError:
        return
    real = all(not leaf.is_complex() for leaf in tree.leaves(result))
    require(
        real, "a complex coefficient has a complex score; give Re(conj(g)·Δ), or refuse it with an AttributionError"
    )
    alike = gap(result, tree.map_leaves(lambda leaf: leaf.real, pair)) < math.inf
    require(alike, "the scores have another structure than the coefficients; use tree.map_leaves")


@promise("attribution", light=True, each=cases)
def gradient(case: Case) -> None:
    """With ``differentiable`` its scores' gradient equals finite differences; without, a graph is refused."""
    if case.attribution.differentiable:
        fixed = case.s.flip(0) if case.attribution.stochastic else None
        check = check_attribution(case.attribution, case.model, case.s, target=TARGET, baseline=fixed)
        way_out = "Keep the graph in attribute(), or set differentiable = False"
        require(check.ok, f"differentiable = True, but {check.message} {way_out}")
        return
    try:
        case.attribution(case.model, case.s, target=TARGET, create_graph=True)
    except AttributionError:
        return
    raise BrokenPromise("differentiable = False, but create_graph=True is taken; leave require_differentiable alone")


@promise("attribution", light=True, when=lambda target: getattr(target, "complete", False), each=cases)
def completeness(case: Case) -> None:
    """Where ``complete`` says so, the scores of a sample sum to f(s) − f(s₀)."""
    base = 0.3 * case.s.flip(0)
    result = case.attribution(case.model, case.s, target=TARGET, baseline=base)
    start = case.attribution.resolve_baseline(base, case.s)
    here, there = (case.model(point)[torch.arange(4), TARGET] for point in (case.s, start))
    missed = (tree.sample_sums(result) - (here - there)).abs()
    worst = float((missed / (here - there).abs().clamp_min(1e-3)).max())
    require(
        worst <= LEAST_COMPLETE,
        f"complete = True, but the scores miss f(s) − f(s₀) by up to {worst:.0%} of it; add quadrature steps, mend "
        "the scores, or set complete = False",
    )


@promise("attribution", light=True, each=cases)
def randomness(case: Case) -> None:
    """Scores depend on the generator alone: equal seeds, equal scores; ``stochastic`` says whether seeds matter."""
    with own_draws("it draws from torch's global random state; draw from the generator it is given"):
        once, again, other = case.scores(), case.scores(), case.scores(seed=1)
    require(gap(once, again) == 0, "the same seed gives other scores; draw from the generator that it is given")
    differs, stochastic = gap(once, other) > 0, case.attribution.stochastic
    require(stochastic or not differs, "another seed gives other scores; set stochastic = True")
    require(not stochastic or differs, "stochastic = True, but another seed gives the same scores; set it to False")


@promise("attribution", light=True, when=lambda target: not _sees_others(target), each=cases)
def batch_independence(case: Case) -> None:
    """Each sample is explained alone, whatever shares its batch."""
    error = gap(case.scores(slice(1, 2)), tree.map_leaves(lambda leaf: leaf[1:2], case.scores()))
    require(error <= 1e-9, f"the scores of a row differ by {error:.2g} with other rows beside it; no batch statistics")


@promise("attribution", light=True, each=cases)
def leaves_the_model(case: Case) -> None:
    """Model and coefficients are as before: values, gradients, modes, hooks; also after a call that is refused."""
    before, given = _snapshot(case.model), case.s.clone()
    case.scores()
    _compare(case, before, given, "a call")
    try:
        case.attribution(case.model, case.s, target=99)
    except (TrimkitError, IndexError):
        _compare(case, before, given, "a call that raised")
    else:
        raise Inapplicable("it explains no single output, so that no target is refused")


def _sees_others(target: Any) -> bool:
    """Whether other samples may enter a score: as draws, or as the references it compares with."""
    return getattr(target, "stochastic", False) or getattr(target, "from_references", False)


def _snapshot(model: nn.Module) -> tuple[list[Tensor], dict[str, object]]:
    facts: dict[str, object] = {
        "gradients": [p.grad for p in model.parameters()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "train or eval mode": [m.training for m in model.modules()],
        "hooks": [(*m._forward_hooks, *m._forward_pre_hooks, *m._backward_hooks) for m in model.modules()],
        "forward methods": ["forward" in vars(m) for m in model.modules()],
    }
    return [value.clone() for value in model.state_dict().values()], facts


def _compare(case: Case, before: tuple[list[Tensor], dict[str, object]], given: Tensor, after: str) -> None:
    weights, facts = _snapshot(case.model)
    require(torch.equal(case.s, given), f"after {after} the caller's coefficients are others; work on a copy")
    same = {"weights": all(map(torch.equal, weights, before[0]))}
    same |= {name: value == before[1][name] for name, value in facts.items()}
    changed = [name for name, unchanged in same.items() if not unchanged]
    require(not changed, f"after {after} the model's {', '.join(changed)} are others; restore them in a finally")

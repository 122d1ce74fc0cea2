"""What a transform promises: x ⇄ s, differentiable twice, each sample alone, in named groups."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import TrimkitError
from trimkit.testing.promises import BrokenPromise, Size, Trial, gap, own_draws, promise, require, shapes
from trimkit.transforms.base import Transform

SIZES: tuple[Size, ...] = ((3, 4, 4), (2, 6), (8,))
TOLERANCE = 1e-8
"""Largest error in float64 that passes for rounding, relative to the data."""


class Case(NamedTuple):
    """A transform that is fitted, in float64, with samples of one size and their coefficients."""

    size: Size
    transform: Transform
    x: Tensor
    s: Tree


def cases(trial: Trial) -> Iterator[Case]:
    """The transform at each size that it takes."""
    for _, case in trial.accepted(SIZES, lambda size: _case(trial, size)):
        yield case


def _case(trial: Trial, size: Size) -> Case:
    transform, x = _fitted(trial, size), trial.draw(3, size)
    transform.groups_of(x)  # refused here, the size is not one of its own
    return Case(size, transform, x, transform(x))


def _fitted(trial: Trial, size: Size) -> Transform:
    transform = trial.make().double().eval()
    transform.fit(trial.draw(40, size, seed=1))
    return transform


@promise("transform", light=True, each=cases)
def round_trip(case: Case) -> None:
    """inverse(forward(x)) = x where ``exact`` says so, and inverse(s) + residual = x always."""
    size, transform, x, s = case
    back = transform.inverse(s, size)
    require(back.shape == x.shape, f"inverse gives {tuple(back.shape)} for data of {tuple(x.shape)}; crop it")
    error, most = gap(back, x), TOLERANCE * float(x.abs().max())
    require(
        not transform.exact or error <= most,
        f"exact = True, but inverse(forward(x)) differs from x by up to {error:.2g} at size {size}; "
        "mend inverse, or set exact = False: then the residual keeps what is lost",
    )
    residual = transform.residual(x, s)
    require(not residual.requires_grad, "the residual has a graph; detach it, it stays fixed while s varies")
    error = gap(back + residual, x)
    require(error <= most, f"inverse(s) + residual differs from x by {error:.2g}; use x − inverse(s)")


@promise("transform", each=cases)
def first_derivatives(case: Case) -> None:
    """The gradients of both directions equal finite differences."""
    x, coefficients, back = _tracked(case)
    _check(gradcheck, lambda *args: tuple(tree.leaves(case.transform(*args))), [x], f"forward at size {case.size}")
    _check(gradcheck, back, coefficients, f"inverse at size {case.size}")


@promise("transform", each=cases)
def second_derivatives(case: Case) -> None:
    """The second derivatives of both directions equal finite differences: scores are gradients, and are trained."""
    x, coefficients, back = _tracked(case)
    _check(gradgradcheck, _power(case.transform), [x], f"forward at size {case.size}")
    _check(gradgradcheck, _power(back), coefficients, f"inverse at size {case.size}")


@promise("transform", light=True, each=cases)
def groups(case: Case) -> None:
    """The named groups partition the coefficients of a sample: one group a coefficient, one name a group."""
    these = case.transform.groups_of(case.x)
    labels, count = tree.leaves(these.labels), len(these.names)
    got = [tuple(leaf.shape) for leaf in labels]
    expected = [tuple(leaf.shape) for leaf in tree.leaves(case.s)] if these.each else shapes(case.s)
    require(got == expected, f"labels have the shapes {got}, a sample's coefficients {expected}; make them alike")
    kinds = {leaf.dtype for leaf in labels}
    whole = all(not (kind.is_floating_point or kind.is_complex or kind == torch.bool) for kind in kinds)
    require(whole, f"labels are {kinds}; give the number of its group for each coefficient, as integers")
    used = torch.cat([leaf.flatten() for leaf in labels])
    low, high = int(used.min()), int(used.max())
    require(low >= 0 and high < count, f"labels reach {low} … {high} for {count} names; count from 0")
    require(len(set(these.names)) == count, f"two groups share a name in {these.names}; rename one")
    require(these.sums(tree.map_leaves(torch.abs, case.s)).shape == (3, count), "the groups do not sum scores")


@promise("transform", light=True, each=cases)
def facts(case: Case) -> None:
    """Its class says whether coefficients are complex, and whether training may change it."""
    is_complex, said = any(leaf.is_complex() for leaf in tree.leaves(case.s)), case.transform.complex_coefficients
    require(said == is_complex, f"complex_coefficients = {said}, measured: {is_complex}; mend the class")
    trainable = [name for name, p in case.transform.named_parameters() if p.requires_grad]
    right = case.transform.learnable or not trainable
    require(right, f"{', '.join(trainable)} can be trained, and learnable = False; set it to True, or use buffers")


@promise("transform", light=True, each=cases)
def batch_independence(case: Case) -> None:
    """Each sample is transformed alone, whatever shares its batch."""
    size, transform, x, s = case
    alone = tree.map_leaves(lambda leaf: leaf[1:2], s)
    error = gap(transform(x[1:2]), alone)
    require(
        error <= TOLERANCE, f"forward of a row differs by {error:.2g} with other rows beside it; no batch statistics"
    )
    error = gap(transform.inverse(alone, size), transform.inverse(s, size)[1:2])
    require(error <= TOLERANCE, f"inverse of a row differs by {error:.2g} with other rows beside it")


@promise("transform", light=True, each=cases)
def dtypes(case: Case) -> None:
    """float32 and float64 stay what they are; bfloat16 works or is refused by an error of trimkit's."""
    size, transform, x, _ = case
    for dtype in (torch.float64, torch.float32):
        s = transform(x.to(dtype))
        got = {leaf.real.dtype for leaf in tree.leaves(s)} | {transform.inverse(s, size).dtype}
        require(got == {dtype}, f"{dtype} data become {got}; make constants with x's dtype (tensor.to(x))")
    _works_or_is_refused(transform, x.bfloat16(), size, "bfloat16 data")


@promise("transform")
def odd_sizes(trial: Trial) -> None:
    """Odd lengths come back whole, or are refused by an error of trimkit's."""
    for case in cases(trial):
        spatial = 2 if len(case.size) > 2 else 1
        size = (*case.size[:-spatial], *(n + 1 - n % 2 for n in case.size[-spatial:]))
        try:
            odd = _case(trial, size)
        except BrokenPromise:
            raise
        except TrimkitError:
            continue
        back = odd.transform.inverse(odd.s, size)
        require(back.shape == odd.x.shape, f"inverse gives {tuple(back.shape)} for {tuple(odd.x.shape)}; crop to size")
        error = gap(back, odd.x) if odd.transform.exact else 0.0
        require(error <= TOLERANCE * float(odd.x.abs().max()), f"at the odd size {size} inverse is off by {error:.2g}")


@promise("transform", each=cases)
def pickling(case: Case) -> None:
    """A pickled and a copied transform give the same coefficients."""
    twins = {"pickled": pickle.loads(pickle.dumps(case.transform)), "copied": copy.deepcopy(case.transform)}
    for how, twin in twins.items():
        same = gap(twin(case.x), case.s) == 0
        require(same, f"the {how} one gives other coefficients; keep no state outside the module")


@promise("transform", light=True)
def state(trial: Trial) -> None:
    """``fit`` returns the transform; what it learned is in ``state_dict``; using it changes nothing."""
    for size, transform, x, s in cases(trial):
        require(transform.fit(trial.draw(40, size, seed=1)) is transform, "fit returns something else; return self")
        before, given = copy.deepcopy(transform.state_dict()), trial.draw(3, size)
        with own_draws("forward draws from the global random state; a transform draws nothing"):
            again = transform(x)
            same = gap(again, s) <= TOLERANCE
            require(same, "forward twice gives other coefficients; draw nothing, and keep no memory")
        require(torch.equal(x, given), "forward writes into the data it is given; work on a copy")
        changed = [key for key, value in transform.state_dict().items() if not torch.equal(value, before[key])]
        require(not changed, f"forward changes {', '.join(changed)}; only fit and training may")
        twin = _fitted(trial, size)
        twin.fit(trial.draw(40, size, seed=2))
        _load(twin, before)
        require(
            gap(twin(x), s) <= TOLERANCE,
            "one fitted to other data gives other coefficients after load_state_dict; register_buffer what fit learns",
        )


def _load(transform: Transform, saved: dict[str, Any]) -> None:
    try:
        transform.load_state_dict(saved)
    except RuntimeError as error:
        raise BrokenPromise(
            f"load_state_dict refuses the state of its twin ({error}); keep the shapes of buffers"
        ) from error


def _works_or_is_refused(transform: Transform, x: Tensor, size: Size, what: str) -> None:
    try:
        back = transform.inverse(transform(x), size)
    except TrimkitError:
        return
    except Exception as error:
        raise BrokenPromise(
            f"{what} raise {type(error).__name__} ({error}); convert them inside, or raise a "
            "ShapeError that says which dtypes it takes"
        ) from error
    require(bool(torch.isfinite(back).all()), f"{what} become NaN or infinity; compute in float32 and convert back")


def _tracked(case: Case) -> tuple[Tensor, list[Tensor], Callable[..., Tensor]]:
    coefficients = [leaf[:1].detach().requires_grad_() for leaf in tree.leaves(case.s)]

    def back(*leaves: Tensor) -> Tensor:
        return case.transform.inverse(tree.rebuild(case.s, leaves), case.size)

    return case.x[:1].clone().requires_grad_(), coefficients, back


def _power(function: Callable[..., Tree]) -> Callable[..., tuple[Tensor, ...]]:
    """Squared magnitudes of a function's results, so that a linear one has second derivatives too."""
    return lambda *args: tuple(leaf.abs().square() for leaf in tree.leaves(function(*args)))


def _check(check: Callable[..., bool], function: Callable[..., Any], inputs: list[Tensor], where: str) -> None:
    try:
        check(function, inputs, fast_mode=True)
    except Exception as error:  # GradcheckError, or what the function raises where its graph is cut
        first = str(error).strip().splitlines()[0]
        raise BrokenPromise(
            f"{check.__name__} of {where} fails ({first}); write it with differentiable operations, without detach, "
            "numpy, rounding or once_differentiable"
        ) from error

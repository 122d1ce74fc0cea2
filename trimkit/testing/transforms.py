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
from trimkit.testing.promises import BrokenPromise, Size, Trial, gap, promise, require, same_randomness, shapes
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
    transform.groups(size)  # refused here, the size is not one of its own
    return Case(size, transform, x, transform(x))


def _fitted(trial: Trial, size: Size) -> Transform:
    transform = trial.make().double().eval()
    transform.fit(trial.draw(40, size, seed=1))
    return transform


@promise("transform", light=True)
def round_trip(trial: Trial) -> None:
    """inverse(forward(x)) = x where ``exact`` says so, and inverse(s) + residual = x always."""
    for size, transform, x, s in cases(trial):
        back = transform.inverse(s, size)
        require(back.shape == x.shape, f"inverse gives {tuple(back.shape)} for data of {tuple(x.shape)}; crop it")
        error = gap(back, x)
        scale = float(x.abs().max())
        require(
            not transform.exact or error <= TOLERANCE * scale,
            f"exact = True, but inverse(forward(x)) differs from x by up to {error:.2g} at size {size}; "
            "mend inverse, or set exact = False: then the residual keeps what is lost",
        )
        residual = transform.residual(x, s)
        require(not residual.requires_grad, "the residual has a graph; detach it, it stays fixed while s varies")
        error = gap(back + residual, x)
        require(error <= TOLERANCE * scale, f"inverse(s) + residual differs from x by {error:.2g}; use x − inverse(s)")


@promise("transform")
def first_derivatives(trial: Trial) -> None:
    """The gradients of both directions equal finite differences."""
    for case in cases(trial):
        x, coefficients, back = _tracked(case)
        _check(gradcheck, _flat(case.transform), [x], f"forward at size {case.size}")
        _check(gradcheck, back, coefficients, f"inverse at size {case.size}")


@promise("transform")
def second_derivatives(trial: Trial) -> None:
    """The second derivatives of both directions equal finite differences: scores are gradients, and are trained."""
    for case in cases(trial):
        x, coefficients, back = _tracked(case)
        _check(gradgradcheck, _power(case.transform), [x], f"forward at size {case.size}")
        _check(gradgradcheck, _power(back), coefficients, f"inverse at size {case.size}")


@promise("transform", light=True)
def groups(trial: Trial) -> None:
    """The named groups partition the coefficients of a sample: one group a coefficient, one name a group."""
    for size, transform, _, s in cases(trial):
        these = transform.groups(size)
        labels = tree.leaves(these.labels)
        expected, got = shapes(s), [tuple(leaf.shape) for leaf in labels]
        require(got == expected, f"labels have the shapes {got}, a sample's coefficients {expected}; make them alike")
        kinds = {leaf.dtype for leaf in labels}
        whole = all(not (kind.is_floating_point or kind.is_complex or kind == torch.bool) for kind in kinds)
        require(whole, f"labels are {kinds}; give the number of its group for each coefficient, as integers")
        used = torch.cat([leaf.flatten() for leaf in labels])
        in_range = int(used.min()) >= 0 and int(used.max()) < len(these.names)
        require(
            in_range, f"labels reach {int(used.min())} … {int(used.max())} for {len(these.names)} names; count from 0"
        )
        require(len(set(these.names)) == len(these.names), f"two groups share a name in {these.names}; rename one")
        require(
            these.sums(tree.map_leaves(torch.abs, s)).shape == (3, len(these.names)), "the groups do not sum scores"
        )


@promise("transform", light=True)
def facts(trial: Trial) -> None:
    """Its class says whether coefficients are complex, and whether training may change it."""
    for _, transform, _, s in cases(trial):
        is_complex = any(leaf.is_complex() for leaf in tree.leaves(s))
        said = transform.complex_coefficients
        require(said == is_complex, f"complex_coefficients = {said}, measured: {is_complex}; mend the class")
        trainable = [name for name, p in transform.named_parameters() if p.requires_grad]
        right = transform.learnable or not trainable
        require(right, f"{', '.join(trainable)} can be trained, and learnable = False; set it to True, or use buffers")


@promise("transform", light=True)
def batch_independence(trial: Trial) -> None:
    """Each sample is transformed alone, whatever shares its batch."""
    for size, transform, x, s in cases(trial):
        alone = tree.map_leaves(lambda leaf: leaf[1:2], s)
        error = gap(transform(x[1:2]), alone)
        require(
            error <= TOLERANCE,
            f"forward of a row differs by {error:.2g} with other rows beside it; no batch statistics",
        )
        error = gap(transform.inverse(alone, size), transform.inverse(s, size)[1:2])
        require(error <= TOLERANCE, f"inverse of a row differs by {error:.2g} with other rows beside it")


@promise("transform", light=True)
def dtypes(trial: Trial) -> None:
    """float32 and float64 stay what they are; bfloat16 works or is refused by an error of trimkit's."""
    for size, transform, x, _ in cases(trial):
        for dtype in (torch.float64, torch.float32):
            s = transform(x.to(dtype))
            got = {leaf.real.dtype for leaf in tree.leaves(s)} | {transform.inverse(s, size).dtype}
            require(got == {dtype}, f"{dtype} data become {got}; make constants with x's dtype (tensor.to(x))")
        _works_or_is_refused(transform, x.bfloat16(), size, "bfloat16 data")


@promise("transform")
def odd_sizes(trial: Trial) -> None:
    """Odd lengths come back whole, or are refused by an error of trimkit's."""
    for case in cases(trial):
        spatial = case.size[-2:] if len(case.size) > 2 else case.size[-1:]
        size = (*case.size[: len(case.size) - len(spatial)], *(n + 1 - n % 2 for n in spatial))
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


@promise("transform")
def pickling(trial: Trial) -> None:
    """A pickled and a copied transform give the same coefficients."""
    for _, transform, x, s in cases(trial):
        for how, twin in (("pickled", pickle.loads(pickle.dumps(transform))), ("copied", copy.deepcopy(transform))):
            require(gap(twin(x), s) == 0, f"the {how} one gives other coefficients; keep no state outside the module")


@promise("transform", light=True)
def state(trial: Trial) -> None:
    """``fit`` returns the transform; what it learned is in ``state_dict``; using it changes nothing."""
    for size, transform, x, s in cases(trial):
        require(transform.fit(trial.draw(40, size, seed=1)) is transform, "fit returns something else; return self")
        before, randomness, given = copy.deepcopy(transform.state_dict()), torch.get_rng_state(), trial.draw(3, size)
        again = transform(x)
        require(gap(again, s) <= TOLERANCE, "forward twice gives other coefficients; draw nothing, and keep no memory")
        require(same_randomness(randomness), "forward draws from the global random state; a transform draws nothing")
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


def _flat(function: Callable[..., Tree]) -> Callable[..., tuple[Tensor, ...]]:
    """A function whose tree of results is a tuple, as gradcheck wants it."""
    return lambda *args: tuple(tree.leaves(function(*args)))


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

"""What a penalty promises: one number a sample, of that sample's scores alone, differentiable twice."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from trimkit.coefficients.groups import Groups
from trimkit.penalties.base import Penalty, is_measure, is_scale_invariant
from trimkit.testing.promises import BrokenPromise, Size, Trial, promise, require

SIZES: tuple[Size, ...] = ((12,),)
ROWS = 5


class Case(NamedTuple):
    """A penalty with its options, and scores (5, *size) float64 without zeros or ties."""

    penalty: Penalty
    scores: Tensor


def cases(trial: Trial) -> Iterator[Case]:
    """The penalty with its options, of groups too where it wants them: the only case."""
    size = (*trial.example.sizes, *SIZES)[0]
    penalty = trial.make()
    if _wants_groups(penalty):
        names = ("first", "second", "third", "fourth")
        count = torch.Size(size).numel()
        penalty = partial(penalty, groups=Groups(names, (torch.arange(count) * 4 // count).view(size), "position"))
    yield Case(penalty, trial.draw(ROWS, size))


def _wants_groups(penalty: Any) -> bool:
    """Whether it takes groups that its options do not give: those of the transform, in use."""
    given = penalty.keywords if isinstance(penalty, partial) else {}
    return "groups" in inspect.signature(penalty).parameters and "groups" not in given


@promise("penalty", light=True, each=cases)
def values(case: Case) -> None:
    """Scores (N, ...) give (N,) finite values of their number type, in float32 too; a measure's lie in [0, 1]."""
    penalty, scores = case
    for typed in (scores, scores.float()):
        result = penalty(typed)
        shape = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        require(
            shape == (ROWS,), f"expected ({ROWS},) values, one a sample, got {shape}; reduce all axes but the first"
        )
        require(result.dtype == typed.dtype, f"values of {typed.dtype} scores are {result.dtype}; keep the dtype")
        require(bool(torch.isfinite(result).all()), "values hold NaN or infinity; look for 0/0 or log 0")
        inside = bool(((result >= -1e-6) & (result <= 1 + 1e-6)).all())
        require(not is_measure(penalty) or inside, "@measure, but values leave [0, 1], so that 1 − value is no loss")


@promise("penalty", light=True, each=cases)
def rows(case: Case) -> None:
    """The value of a sample depends on its scores alone, wherever it stands in the batch."""
    penalty, scores = case
    whole, order = penalty(scores), torch.tensor([3, 0, 4, 1, 2])
    require(
        torch.allclose(penalty(scores[order]), whole[order]), "other order of samples, other values; reduce each row"
    )
    alone = torch.cat([penalty(row) for row in scores.split(1)])
    require(
        torch.allclose(alone, whole), "samples alone have other values than together; a mean or norm over the batch?"
    )


@promise("penalty", light=True, when=lambda target: is_scale_invariant(target), each=cases)
def scale(case: Case) -> None:
    """Where it is marked so, the value does not change when all scores are multiplied by c > 0."""
    penalty, scores = case
    for c in (1e-3, 7.0):
        same = torch.allclose(penalty(c * scores), penalty(scores), rtol=1e-6, atol=1e-9)
        require(
            same, f"@scale_invariant, but scores times {c:g} have other values; divide by a norm, or leave the mark"
        )


@promise("penalty", light=True, each=cases)
def dead_rows(case: Case) -> None:
    """A sample whose scores are all 0 has a finite value, a finite gradient, and hurts no other."""
    penalty, scores = case
    alone = penalty(scores)[1:]
    dead = torch.cat([torch.zeros_like(scores[:1]), scores[1:]]).requires_grad_()
    result = penalty(dead)
    require(bool(torch.isfinite(result).all()), "a row of zeros has the value NaN or infinity; mask dead rows")
    require(torch.allclose(result[1:], alone), "a row of zeros changes the values of other rows; reduce each row alone")
    require(result.requires_grad, "no gradient reaches the scores; write it with differentiable operations, not numpy")
    (slope,) = torch.autograd.grad(result.sum(), dead, allow_unused=True, materialize_grads=True)
    require(
        bool(torch.isfinite(slope).all()), "a row of zeros has a gradient of NaN; torch.where before √ and division"
    )
    require(bool(slope[1:].any()), "no gradient reaches the scores; write it with differentiable operations")


@promise("penalty", light=True, each=cases)
def nan_is_not_hidden(case: Case) -> None:
    """A NaN among a sample's scores is NaN in its value, and in no other."""
    penalty, scores = case
    marred = scores.clone()
    marred[0] = float("nan")
    result = penalty(marred)
    require(bool(result[0].isnan()), "scores of NaN have a value that is a number; drop nan_to_num and nansum")
    require(bool(torch.isfinite(result[1:]).all()), "NaN in one row reaches other rows; reduce each row alone")


@promise("penalty", each=cases)
def first_derivatives(case: Case) -> None:
    """Its gradient equals finite differences."""
    _check(gradcheck, case)


@promise("penalty", each=cases)
def second_derivatives(case: Case) -> None:
    """Its second derivative equals finite differences."""
    _check(gradgradcheck, case)


def _check(check: Any, case: Case) -> None:
    scores = case.scores[:2].clone().requires_grad_()
    require(case.penalty(scores).requires_grad, "no gradient reaches the scores; write it without detach and numpy")
    try:
        check(case.penalty, scores)
    except Exception as error:  # GradcheckError, or what the penalty raises where its graph is cut
        first = str(error).strip().splitlines()[0]
        raise BrokenPromise(f"{check.__name__} fails ({first}); write it without detach, numpy and rounding") from error

"""Penalties with one fault each, and the sound ones that they are made from."""

from __future__ import annotations

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.penalties import measure, scale_invariant

from .register import FAULTS, Fault, fault, sound


@sound("penalty")
def squares(scores) -> Tensor:
    """Sum of squares."""
    return tree.rows(scores).square().sum(1)


@fault("penalty", "rows", "a mean or norm over the batch")
def mixed_rows(scores) -> Tensor:
    """Sum of squares around the batch's mean."""
    rows = tree.rows(scores)
    return (rows - rows.mean(0)).square().sum(1)


@fault("penalty", "values", "reduce all axes but the first")
def one_for_all(scores) -> Tensor:
    """One number a batch."""
    return tree.rows(scores).square().mean()


@fault("penalty", "dead_rows", "has the value NaN")
def division_by_zero(scores) -> Tensor:
    """Ratio of norms, 0/0 for a row of zeros."""
    rows = tree.rows(scores)
    return rows.abs().sum(1) / rows.square().sum(1).sqrt()


@fault("penalty", "dead_rows", "torch.where before √")
def steep_at_zero(scores) -> Tensor:
    """Norm, whose slope at zeros is 0/0."""
    return tree.rows(scores).square().sum(1).sqrt()


@fault("penalty", "scale", "or leave the mark")
@scale_invariant
def falsely_invariant(scores) -> Tensor:
    """Sum of squares, said not to change with scale."""
    return tree.rows(scores).square().sum(1)


@fault("penalty", "nan_is_not_hidden", "drop nan_to_num")
def hiding_nan(scores) -> Tensor:
    """NaN becomes 0."""
    return tree.rows(scores).nan_to_num().square().sum(1)


@fault("penalty", "first_derivatives", "without detach and numpy")
def without_graph(scores) -> Tensor:
    """Values from numpy."""
    return torch.from_numpy((tree.rows(scores).detach().numpy() ** 2).sum(1))


@fault("penalty", "values", "leave .0, 1.")
@measure
def large_measure(scores) -> Tensor:
    """A measure without an upper end."""
    return tree.rows(scores).square().sum(1)


@fault("penalty", "is_documented", "write what it computes")
def undocumented(scores) -> Tensor:
    return squares(scores)


@fault("penalty", "types_its_options", "options without a type: power")
def untyped(scores, power=2) -> Tensor:
    """Sum of powers."""
    return tree.rows(scores).abs().pow(power).sum(1)


number = 3
FAULTS["number"] = Fault("penalty", "is_imported", "is a int; name a class or a function")

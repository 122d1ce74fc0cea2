"""Coefficients in the form that Captum takes, and a model that takes them in any order of rows.

Captum knows real tensors or tuples of them, repeats samples now as whole copies of the batch and now one by one, and
may pass a single sample. So complex leaves become pairs of real numbers, trees become tuples, and each row carries the
number of its sample, by which it finds its target and its residual.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trimkit.attributions.base import Probe
from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.predictor.composed import Composed, model_of
from trimkit.predictor.rows import own_draws
from trimkit.predictor.turns import unwrapped
from trimkit.targets import select, take_target
from trimkit.transforms.base import Transform

Inputs = tuple[Tensor, ...]
"""The leaves of a tree, real: a complex one (N, ...) as (N, ..., 2)."""


def to_real(s: Tree) -> Inputs:
    """The leaves of a tree as real tensors."""
    return tuple(torch.view_as_real(leaf.resolve_conj()) if leaf.is_complex() else leaf for leaf in tree.leaves(s))


def from_real(like: Tree, inputs: Sequence[Tensor]) -> Tree:
    """The tree that `to_real` took apart, for any number of rows; in its number type, since Captum draws float32."""

    def leaf(value: Tensor, model: Tensor) -> Tensor:
        value = value.to(model.real.dtype)
        return torch.view_as_complex(value.contiguous()) if model.is_complex() else value

    return tree.rebuild(like, [leaf(v, m) for v, m in zip(inputs, tree.leaves(like), strict=True)])


def scores_like(s: Tree, values: Sequence[Tensor]) -> Tree:
    """Captum's scores as real leaves like s, with their number type; the two parts of a complex number are summed."""

    def leaf(value: Tensor, model: Tensor) -> Tensor:
        return (value.sum(-1) if model.is_complex() else value).to(model.real.dtype)

    return tree.rebuild(s, [leaf(v, m) for v, m in zip(values, tree.leaves(s), strict=True)])


def feature_masks(labels: Tree, s: Tree) -> tuple[Inputs, int]:
    """Captum's feature masks (1, ...), numbered without gaps, and how many features they hold."""
    spread = [
        label[..., None].expand(*label.shape, 2) if leaf.is_complex() else label
        for label, leaf in zip(tree.leaves(labels), tree.leaves(s), strict=True)
    ]
    names, numbers = torch.unique(torch.cat([label.flatten() for label in spread]), return_inverse=True)
    parts = numbers.split([label.numel() for label in spread])
    return tuple(part.reshape(1, *label.shape) for part, label in zip(parts, spread, strict=True)), len(names)


def shared(values: Sequence[Tensor], masks: Inputs, features: int) -> list[Tensor]:
    """Divide what Captum gives to each entry of a feature by the number of its entries: features keep their sums."""
    sizes = torch.bincount(torch.cat([mask.flatten() for mask in masks]), minlength=features)
    return [value / sizes[mask] for value, mask in zip(values, masks, strict=True)]


class Rows(nn.Module):
    """(inputs…, number of the sample of each row) → the explained number of each row.

    The predictor is a submodule, so that Captum's hooks find its layers; the inverse transform is not.

    Args:
        probe: the explained model, target and coefficients.
        model: takes the place of the probe's own predictor (a copy of it).

    Attributes:
        parts: the inputs of the last call.
    """

    def __init__(self, probe: Probe, model: Callable[..., Any] | None = None) -> None:
        super().__init__()
        self.model = model_of(probe.function) if model is None else model
        self.parts: list[Tensor] = []
        self._probe = probe
        probe.settle_rows(any_order=True)
        self._below = _modules_below(probe.function)
        self._target = probe.target  # settled now: a word takes a forward, and Captum's hooks would count it

    def forward(self, *inputs: Tensor) -> Tensor:
        """One number a row, (rows,)."""
        raw, numbers = self.run(*inputs)
        return self.tied(select(raw, take_target(self._target, numbers)))

    def apply(self, fn: Callable[[nn.Module], None]) -> Rows:
        """As torch's, without the modules below an explained layer: Captum's hooks would look for a gradient there."""
        for module in self.modules():
            if module not in self._below:
                fn(module)
        return self

    def run(self, *inputs: Tensor) -> tuple[Any, Tensor]:
        """The model's raw output, and the number of the sample of each row."""
        *self.parts, numbers = inputs
        return self._raw(from_real(self._probe.point, self.parts), numbers), numbers

    def tied(self, values: Tensor) -> Tensor:
        """Values (rows,) of the last call in whose graph every leaf is: Captum refuses one that has no gradient."""
        if len(self.parts) == 1:
            return values
        return values + torch.stack([0 * part.flatten(1).sum(1) for part in self.parts]).sum(0)

    def _raw(self, s: Tree, numbers: Tensor) -> Any:
        function = self._probe.function
        if not isinstance(function, Composed):
            return self.model(s)
        return function.run(self.model, s, numbers)


def _modules_below(function: Any) -> set[nn.Module]:
    """The modules that run before the output of an explained layer, and not after it."""
    below = function.site.below if isinstance(function, Composed) else None
    if below is None or not isinstance(function.model, nn.Module):
        return set()
    model = unwrapped(function.model)
    parts = {part for path, _ in below.outputs for part in model.get_submodule(path).modules()}
    return parts - {model.get_submodule(path) for path in below.above}


def is_affine(transform: Transform, s: Tree, size: Sequence[int]) -> bool:
    """Whether an inverse takes the middle of two points to the middle of their data."""
    keys = torch.Generator().manual_seed(0)

    def random(leaf: Tensor) -> Tensor:
        return torch.randn(leaf.shape, generator=keys, dtype=leaf.dtype).to(leaf.device)

    with torch.no_grad():
        one, two = tree.map_leaves(Tensor.detach, s), tree.map_leaves(random, s)
        middle = tree.map_leaves(lambda a, b: (a + b) / 2, one, two)
        ends = (transform.inverse(one, size) + transform.inverse(two, size)) / 2
        return bool((transform.inverse(middle, size) - ends).abs().max() <= 1e-4 * ends.abs().max())


@contextmanager
def isolated(generator: torch.Generator | None) -> Iterator[None]:
    """Let Captum draw from the global states of torch and numpy, seeded by the generator, and put them back.

    Three of its remarks are not passed on: that it sets hooks (it removes them), that it is slow, and that a function
    that reads a neuron must do no more than that.
    """
    seed = None
    if generator is not None:
        seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
    with own_draws(seed), warnings.catch_warnings():
        numpys = np.random.get_state()  # noqa: NPY002 (Captum draws from numpy's global state)
        remarks = r"Setting .*hooks|You are providing multiple inputs|The neuron_selector provided is a callable"
        warnings.filterwarnings("ignore", remarks, UserWarning)
        if seed is not None:
            np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(numpys)  # noqa: NPY002


def window(leaf: Tensor) -> tuple[int, ...]:
    """An occlusion window in Captum's form: 4 along the last two axes (one of signals), whole along the others."""
    shape = tuple(leaf.shape[1:])
    spatial = 2 if len(shape) >= 3 else 1
    lengths = (*shape[:-spatial], *(min(4, length) for length in shape[-spatial:]))
    return (*lengths, 2) if leaf.is_complex() else lengths

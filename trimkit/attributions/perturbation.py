"""Attributions from removing coefficients: the change of the output when some of them are set to the baseline."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from trimkit.attributions.base import Attribution, Probe
from trimkit.attributions.grouping import Grouping, check_grouping, fitted_labels, groups_of
from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import AttributionError, OptionError, ShapeError
from trimkit.registry.options import whole_number
from trimkit.targets import select

Masks = Iterator[Tree]
"""Trees of booleans with the shape of one sample's coefficients, or of all: True where they are removed together."""


class _Ablation(Attribution):
    """f(s) − f(s with a set of coefficients at the baseline), shared equally among the set.

    Written with ordinary operations, so it can be trained through wherever the model can.

    Args:
        chunk: sets removed in one forward, at least 1.
    """

    order: ClassVar[Literal["gradient", "perturbation"]] = "perturbation"

    def __init__(self, chunk: int) -> None:
        whole_number(type(self).__name__, chunk=chunk)
        self.chunk = chunk

    def masks(self, probe: Probe, s: Tree) -> Masks:
        """The sets, one after the other."""
        raise AttributionError(f"{type(self).__name__} names no sets of coefficients to remove")

    def attribute(self, probe: Probe, s: Tree, baseline: Tree, generator: torch.Generator | None) -> Tree:
        """Effects of all sets; a coefficient in several gets the mean of its shares."""
        with torch.set_grad_enabled(probe.create_graph):
            before = select(probe.output, probe.target)
            total = tree.map_leaves(lambda leaf: torch.zeros_like(leaf.detach().real), s)
            times = tree.map_leaves(lambda leaf: torch.zeros_like(leaf[0].detach().real), s)
            masks = self.masks(probe, s)
            while part := list(itertools.islice(masks, self.chunk)):
                after = probe.values(tree.concatenate([_removed(s, baseline, mask) for mask in part]), len(part))
                for mask, effect in zip(part, before - after.unflatten(0, (len(part), -1)), strict=True):
                    total = _spread(total, mask, effect)
                    times = tree.map_leaves(lambda count, m: count + m, times, mask)
            return tree.map_leaves(lambda sum_, count: sum_ / count.clamp_min(1), total, times)


class FeatureAblation(_Ablation):
    """The change of the output when a named group is set to the baseline; the group's scores sum to it.

    Args:
        groups: see `trimkit.attributions.grouping.Grouping`; by default the transform's (bands, patches, latents).
        chunk: groups removed in one forward, at least 1.
    """

    def __init__(self, groups: Grouping | None = None, chunk: int = 8) -> None:
        super().__init__(chunk)
        self.groups: Grouping = check_grouping("feature_ablation", groups)

    def masks(self, probe: Probe, s: Tree) -> Masks:
        """One for each group."""
        groups = groups_of(probe.function, s, self.groups)
        fitted = fitted_labels(groups, s, each=True)
        for index in range(len(groups.names)):
            yield tree.map_leaves(lambda labels, i=index: labels == i, fitted)


class Occlusion(_Ablation):
    """The change of the output when a window of the last axes is set to the baseline, Zeiler & Fergus 2014.

    Args:
        window: lengths along the last axes, such as (4, 4) for a patch or 8 for a stretch of a signal.
        stride: steps of the window along the same axes; by default half its length.
        chunk: windows in one forward, at least 1.
    """

    tree_ok: ClassVar[bool] = False

    def __init__(
        self, window: int | Sequence[int] = (4, 4), stride: int | Sequence[int] | None = None, chunk: int = 8
    ) -> None:
        super().__init__(chunk)
        self.window = (window,) if isinstance(window, int) else tuple(window)
        halves = tuple(max(1, length // 2) for length in self.window)
        self.stride = (
            halves if stride is None else (stride,) * len(halves) if isinstance(stride, int) else tuple(stride)
        )
        if len(self.stride) != len(self.window) or min(*self.window, *self.stride, 1) < 1 or not self.window:
            raise OptionError(f"occlusion: expected window and stride ≥ 1 of one length, got {window}, {stride}")

    def masks(self, probe: Probe, s: Tree) -> Masks:
        """One for each position of the window; a window that juts out is cut at the edge."""
        (leaf,) = tree.leaves(s)[:1]
        if len(tree.leaves(s)) > 1 or leaf.ndim - 1 < len(self.window):
            raise ShapeError(
                f"occlusion: expected one tensor with at least {len(self.window)} axes a sample, got "
                f"{[tuple(found.shape) for found in tree.leaves(s)]}; feature_ablation takes trees"
            )
        lengths = leaf.shape[-len(self.window) :]
        for corner in itertools.product(*map(_starts, lengths, self.window, self.stride)):
            mask = torch.zeros(leaf.shape[1:], dtype=torch.bool, device=leaf.device)
            mask[(..., *(slice(a, a + w) for a, w in zip(corner, self.window, strict=True)))] = True
            yield tree.rebuild(s, [mask])


def _removed(s: Tree, baseline: Tree, mask: Tree) -> Tree:
    return tree.map_leaves(lambda leaf, base, m: torch.where(m, base, leaf), s, baseline, mask)


def _spread(total: Tree, mask: Tree, effect: Tensor) -> Tree:
    """Add a set's effect (N,), shared equally among its coefficients."""
    rows = tree.map_leaves(lambda sum_, m: m if m.ndim == sum_.ndim else m[None], total, mask)
    share = effect / tree.rows(rows).sum(1).clamp_min(1)
    return tree.map_leaves(lambda sum_, m: sum_ + m * share.reshape(-1, *[1] * (m.ndim - 1)), total, rows)


def _starts(length: int, window: int, stride: int) -> list[int]:
    """As many positions as reach the end, on the grid of the stride; the last window may jut out, and is cut."""
    steps = -(-max(length - window, 0) // stride)
    return [position * stride for position in range(steps + 1)]

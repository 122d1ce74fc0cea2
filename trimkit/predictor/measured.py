"""What is found out about a model by running it, once, and kept as long as the model lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.predictor.guards import survey, unchanged
from trimkit.predictor.inputs import Site
from trimkit.predictor.replay import Key, recording
from trimkit.predictor.rows import (
    is_weakly_held,
    keyed_draws,
    map_tensors,
    same_rows,
    warn_of_joined_rows,
    warn_of_unsteady,
    why_joined,
    why_mixed,
    why_unsteady,
)
from trimkit.targets import Target, resolve_target, select

_joined: WeakKeyDictionary[Any, dict[tuple[str, bool], str | None]] = WeakKeyDictionary()
"""Why each model's rows are no samples, by the layer that was explained and the mode."""

_unsteady: WeakKeyDictionary[Any, dict[str, str | None]] = WeakKeyDictionary()
"""Why each model gives other outputs the next time, by the layer that was explained."""

_placed: WeakKeyDictionary[Any, dict[str, bool]] = WeakKeyDictionary()
"""Whether each model tells samples by their place, by the layer that was explained."""

_replayed: WeakKeyDictionary[Any, dict[str, frozenset[Key]]] = WeakKeyDictionary()
"""What of each model need not run again, by the layer that was explained."""

Values: TypeAlias = Callable[[Any, Target], Tensor]
"""(output, target without words) → the explained number of each sample, (N,)."""


class Measured:
    """A model at an explained point, whose rows, steadiness and layers are looked at before scores are believed.

    Attributes:
        model: f.
        site: the explained point; what is found of its rows is written there.
        s: its coefficients.
    """

    model: Any
    site: Site
    s: Tree

    def __call__(self, s: Tree) -> Any:
        """The model's raw output for k · N rows of coefficients."""
        return self.run(self.model, s)

    def run(self, model: Any, s: Tree, samples: Tensor | None = None) -> Any:
        """The raw output of the model, or of a copy of it, for rows of coefficients."""
        raise NotImplementedError

    def recall_below(self) -> None:
        """What is known of the outputs below the layer, see `_settle_below`."""
        if is_weakly_held(self.model):
            self.site.replayed = _replayed.get(self.model, {}).get(str(self.site.layer), frozenset())

    def settle_rows(self, output: Any, target: Target) -> None:
        """Measure, once a model, whether row i is sample i; where it is not, every later call gets one whole batch.

        Args:
            output: the model's raw output at the explained point.
            target: what of it is explained.
        """
        if self.site.rows is not None:
            return
        reasons = _joined.setdefault(self.model, {}) if is_weakly_held(self.model) else {}
        key = (str(self.site.layer), getattr(self.model, "training", False))
        if survey(self.model).mixes:  # of which a warning has told
            reasons[key] = "normalises over the batch"
        elif key not in reasons:
            reasons[key] = self._measure_rows(output, target)
            if reasons[key] and self.settle_steady(output, target):
                reasons[key] = None
            elif reasons[key]:
                warn_of_joined_rows(reasons[key])
        if reasons[key]:
            self.site.rows = "batch"
        elif self.site.below is not None:
            self._settle_below()

    def settle_apart(self, output: Any, target: Target, values: Values = select) -> None:
        """Measure, once a model, whether a sample's output is its own; warn where not, and take whole batches then.

        For what sends no more rows than samples; arguments as of `settle_steady`.
        """
        if self.site.rows is not None or self.site.samples == 1 or self.site.seen.mixes:
            return
        held = _joined.setdefault(self.model, {}) if is_weakly_held(self.model) else {}
        key = (str(self.site.layer), getattr(self.model, "training", False))
        apart = (f"{key[0]}, apart", key[1])
        if key not in held and apart not in held:
            target = resolve_target(target, output, padding=self.site.padding)
            before = None if self.site.seen.training else values(output, target).detach()
            with unchanged(self.model, watch=False):
                held[apart] = reason = why_mixed(lambda s: values(self(s), target), self.s, before)
            if reason:
                held[key] = reason
                warn_of_joined_rows(reason)
        if held.get(key):
            self.site.rows = "batch"

    def settle_steady(self, output: Any, target: Target, values: Values = select) -> str | None:
        """Measure, once a model in eval mode, whether f(s) is f(s) the next time; warn, and say why, where not.

        Args:
            output: the model's raw output at the explained point.
            target: what of it is explained.
            values: see `Values`.
        """
        if getattr(self.model, "training", False):
            return None
        held = _unsteady.setdefault(self.model, {}) if is_weakly_held(self.model) else {}
        key = str(self.site.layer)
        if key not in held:
            with unchanged(self.model, watch=False):
                target = resolve_target(target, output, padding=self.site.padding)
                held[key] = why_unsteady(lambda: values(self(self.s), target), values(output, target).detach())
            if held[key]:
                warn_of_unsteady(held[key])
        return held[key]

    @torch.no_grad()
    def _settle_below(self) -> None:
        """Know, once a model, which outputs below the layer have a row a sample, so that they need no second forward.

        Shown by a forward with twice the rows, and checked against one that takes them.
        """
        layer, below = self.site.layer, self.site.below
        assert layer is not None
        assert below is not None
        settled = _replayed.setdefault(self.model, {}) if is_weakly_held(self.model) else {}
        if str(layer) not in settled:
            double = tree.concatenate([tree.map_leaves(lambda leaf: leaf.flip(0) / 2, self.s), self.s])
            with unchanged(self.model, watch=False), keyed_draws(), recording(self.model, layer) as twice:
                full = self(double)
            n = self.site.samples
            self.site.replayed = frozenset(below.with_rows(n) & twice.with_rows(2 * n))
            with unchanged(self.model, watch=False), keyed_draws():
                settled[str(layer)] = self.site.replayed if same_rows(full, self(double)) else frozenset()
        self.site.replayed = settled[str(layer)]

    def settle_order(self) -> None:
        """Measure, once a model, whether its rows may come in any order; else they come in whole copies, in order.

        A closure or a stored tensor that holds something of each sample gives it to the rows by their place.
        """
        if self.site.rows is not None or self.site.samples == 1:
            return
        held = _placed.setdefault(self.model, {}) if is_weakly_held(self.model) else {}
        key = str(self.site.layer)
        if key not in held:
            samples = torch.arange(self.site.samples - 1, -1, -1)
            with torch.no_grad(), unchanged(self.model, watch=False), keyed_draws():
                one = self.run(self.model, self.s)
            with torch.no_grad(), unchanged(self.model, watch=False), keyed_draws():
                turned = self.run(self.model, tree.map_leaves(lambda leaf: leaf.flip(0), self.s), samples)
            held[key] = not same_rows(one, map_tensors(lambda leaf: leaf.flip(0) if leaf.ndim else leaf, turned))
        if held[key]:
            self.site.rows = "copies"

    def _measure_rows(self, output: Any, target: Target) -> str | None:
        with unchanged(self.model, watch=False), keyed_draws():
            values = select(output, target, rows=self.site.samples)

            def run(s: Tree) -> Tensor:
                copies = tree.batch_size(s) // self.site.samples
                return select(self(s), target, copies, rows=copies * self.site.samples)

            return why_joined(run, self.s, values, self.model)

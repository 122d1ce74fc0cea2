"""f(T⁻¹(s) + r): a model seen from the coefficients of a transformed space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cached_property
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from trimkit.coefficients import tree
from trimkit.coefficients.baseline import Baseline, expand_baseline
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.predictor.guards import Buffers, modules_of, refuse_wrappers, survey, unchanged
from trimkit.predictor.inputs import Inputs, Site
from trimkit.predictor.kernels import math_attention
from trimkit.predictor.replay import Key, recording
from trimkit.predictor.rows import (
    is_weakly_held,
    keyed_draws,
    map_tensors,
    same_rows,
    warn_of_joined_rows,
    warn_of_unsteady,
    why_joined,
    why_unsteady,
    without_graph,
)
from trimkit.predictor.several import Several
from trimkit.predictor.turns import process_wide
from trimkit.targets import Target, resolve_target, select
from trimkit.transforms.base import Identity, Transform, single_leaf

_HALF = (torch.float16, torch.bfloat16)

_joined: WeakKeyDictionary[Any, dict[tuple[str, bool], str | None]] = WeakKeyDictionary()
"""Why each model's rows are no samples, by the layer that was explained and the mode."""

_unsteady: WeakKeyDictionary[Any, dict[str, str | None]] = WeakKeyDictionary()
"""Why each model gives other outputs the next time, by the layer that was explained."""

_placed: WeakKeyDictionary[Any, dict[str, bool]] = WeakKeyDictionary()
"""Whether each model tells samples by their place, by the layer that was explained."""

Model: TypeAlias = Callable[..., Any]

Reference: TypeAlias = Callable[[Any], Tensor]
"""The model's inputs → data x₀ in which what is explained is absent, like x or one of it for all samples."""


class Composed:
    """f'(s) = f(T⁻¹(s) + r), with r fixed at the explained x: an input, or the output of a layer.

    Takes any whole number of copies of the batch, as attributions with paths give it; each copy gets the same residual
    and the same held inputs.

    Attributes:
        x: what is explained, at an input or a layer, detached.
        s: coefficients of x, in the graph where the transform or x requires grad.
        residual: r, like x.
        size: shape of one sample of x.
        site: where x is in the model.
        output: at a layer: of the one forward that read x there; with a graph, its rest is computed from s. Its numbers
            are the plain model's; so are its gradients where the transform is exact. At an input None.

    Args:
        counts: in train mode, the first forward is one of the training's, and updates buffers (running statistics,
            spectral norm's vectors). All others find them as they were before, and leave them alone.

    Raises:
        ModelError: a model whose wrapper makes second derivatives silently wrong.
    """

    def __init__(
        self,
        model: Model,
        transform: Transform,
        x: Inputs,
        *,
        keep_graph: bool,
        site: Site | None = None,
        counts: bool = True,
    ) -> None:
        self.model = model
        self.site = site or Site(model, x)
        seen = self.site.seen
        refuse_wrappers(seen)
        self._buffers = Buffers(modules_of(model)) if seen.buffers else None
        self._counts = counts
        packing = self.site.packing
        self.transform = transform.packed_as(packing) if packing and isinstance(transform, Several) else transform
        self.output: Any = None
        with torch.set_grad_enabled(keep_graph):
            if self.site.layer is None:
                self._place(self.site.value)
            elif keep_graph:
                with math_attention(), self._called():
                    self.output = self.site.intercept(model, self._fused)
            else:
                with self._called():
                    self.output = self.site.intercept(model, self._read, record=True)
                if is_weakly_held(model):
                    self.site.replayed = _replayed.get(model, {}).get(str(self.site.layer), frozenset())

    s: Tree

    @cached_property
    def residual(self) -> Tensor:
        """r, like x, detached; an identity leaves zeros."""
        s = single_leaf(self.s, "identity").detach()
        return s.new_zeros(()).expand_as(s)

    def _place(self, x: Tensor) -> None:
        self.size, self.x = x.shape[1:], x.detach()
        self._dtype, self._contiguous = x.dtype, x.is_contiguous()
        self._same = type(self.transform) is Identity
        if self._same:  # s = x, of which nothing is left
            self.s = x
            return
        with _full_precision(x.device):
            exact = x.float() if x.dtype in _HALF and not isinstance(self.transform, Identity) else x
            self.s = self.transform(exact)
            self.residual = self.transform.residual(exact, tree.map_leaves(Tensor.detach, self.s))

    def _read(self, h: Tensor) -> None:
        """Keep a layer's output as it is now: what follows in the model may write to it."""
        self._place(h.clone())

    def _fused(self, h: Tensor) -> Tensor:
        """What takes the place of a layer's output h: h itself, to which T⁻¹(s) adds nothing but its derivative in s.

        The task's gradient is that of the plain model also where T is lossy: what passes through s is taken off again.
        """
        self._place(h)
        if self._same:
            self.s = h if h.requires_grad else h.detach().requires_grad_()
            return self.s.clone()  # what comes next may write to it
        given = self.s
        self.s = tree.map_leaves(lambda leaf: leaf + torch.zeros_like(leaf).requires_grad_(), given)
        return h + (self.data(self.s) - self.data(given)).to(h)

    def __call__(self, s: Tree) -> Any:
        """The model's raw output for k · N rows of coefficients."""
        return self.run(self.model, s)

    def run(self, model: Model, s: Tree, samples: Tensor | None = None) -> Any:
        """The raw output of the model, or of a copy of it, for rows of coefficients as in `data`."""
        whole = self.site.rows is not None and samples is not None
        fill = self.data(self.s).detach() if whole else None
        return self.run_on(self.data(s, samples), model, samples, fill)

    def run_on(
        self, data: Any, model: Model | None = None, samples: Tensor | None = None, fill: Tensor | None = None
    ) -> Any:
        """The raw output for data in the place of x; arguments as of `Site.run`."""
        model = self.model if model is None else model

        def run(data: Any) -> Any:
            with self._called():
                return self.site.run(model, data, samples, fill)

        return run(data) if torch.is_grad_enabled() else without_graph(run, data)

    def given(self, x: Tensor) -> Any:
        """Data like x in the form of the inputs: those of several by name."""
        return self.site.packing.unpack(x) if self.site.packing else x

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

    def settle_steady(
        self, output: Any, target: Target, values: Callable[[Any, Target], Tensor] = select
    ) -> str | None:
        """Measure, once a model in eval mode, whether f(s) is f(s) the next time; warn, and say why, where not.

        Args:
            output: the model's raw output at the explained point.
            target: what of it is explained.
            values: (output, target without words) → the explained number of each sample, (N,).
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

    def _called(self) -> AbstractContextManager[Any]:
        """Around each forward: as it is written, since compiled code has no second derivative, and buffers spared."""
        counts, self._counts = self._counts, False
        spared = nullcontext() if counts or self._buffers is None else self._buffers.spared()
        if not self.site.seen.compiled:
            return spared
        stack = ExitStack()
        stack.enter_context(_as_written())
        stack.enter_context(spared)
        return stack

    def data(self, s: Tree, samples: Tensor | None = None) -> Tensor:
        """T⁻¹(s) + r, (rows, *size), in the number type of x and laid out in memory as x was: models may ask for both.

        Args:
            s: coefficients of k whole copies of the batch in order, or of any rows that ``samples`` tells.
            samples: (rows,) the number of the sample that each row belongs to, whose residual it gets.
        """
        if self._same:
            x = single_leaf(s, "identity").clone()  # a model may write to what it gets
            return x.contiguous() if self._contiguous else x
        transform = self.transform if samples is None else self.transform.at_rows(samples)
        with _full_precision(self.residual.device):
            x = transform.inverse(s, self.size)
        if samples is None:
            copies = len(x) // len(self.residual)
            residual = self.residual if copies == 1 else self.residual.repeat(copies, *[1] * len(self.size))
        else:
            residual = self.residual[samples]
        x = (x + residual).to(self._dtype)
        return x.contiguous() if self._contiguous else x

    def parameters(self) -> Iterator[nn.Parameter]:
        """Those of the model, where it is a module, and of the transform."""
        yield from self.model.parameters() if isinstance(self.model, nn.Module) else ()
        yield from self.transform.parameters()

    def groups(self) -> Groups:
        """The transform's named groups of these samples."""
        return self.transform.groups_of(self.x)

    def baseline(self, baseline: Baseline | Reference) -> Baseline:
        """s₀; a function of the model's inputs gives the data x₀ of which s₀ = T(x₀)."""
        if not callable(baseline):
            return baseline
        with torch.no_grad():
            given: Any = baseline(self.site.x)
            x: Tensor = self.site.packing.pack(given) if self.site.packing else given
            return self.transform(x.to(self.residual).expand(len(self.residual), *self.size))

    @torch.no_grad()
    def change(self, output: Any, target: Target, baseline: Baseline) -> Tensor:
        """f(x) − f(T⁻¹(s₀) + r), (N,), detached."""
        at_baseline = self(expand_baseline(baseline, self.s))
        target = resolve_target(target, output, padding=self.site.padding)
        return select(output, target).detach() - select(at_baseline, target)


_replayed: WeakKeyDictionary[Any, dict[str, frozenset[Key]]] = WeakKeyDictionary()
"""What of each model need not run again, by the layer that was explained."""


def _full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """No autocast: a transform in half precision would not give the data back."""
    return torch.autocast(device.type, enabled=False) if torch.is_autocast_enabled(device.type) else nullcontext()


def padding_of(function: Any) -> Tensor | None:
    """(N, T) True at tokens that are padding, where the model behind a function gets an attention mask."""
    return function.site.padding if isinstance(function, Composed) else None


def model_of(function: Any) -> Any:
    """The predictor itself: the model behind the inverse transform, or the bare function."""
    return function.model if isinstance(function, Composed) else function


@contextmanager
def eager(model: Any) -> Iterator[None]:
    """Run a compiled model as it was written, so that hooks and tensor subclasses are seen; others run as they are."""
    with _as_written() if survey(model).compiled else nullcontext():
        yield


@contextmanager
def _as_written() -> Iterator[None]:
    with process_wide(), torch.compiler.set_stance("force_eager"):
        yield

"""What a model is called with, and which part of it is explained; all else is held, and belongs to its sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from trimkit.errors import OptionError, ShapeError, nearest
from trimkit.predictor.guards import check_input, survey
from trimkit.predictor.layers import Layer, find_layer
from trimkit.predictor.replay import Key, Recording, can_replay, recording, replaying
from trimkit.predictor.rows import Rows, check_rows, copies_of, map_tensors, run_whole
from trimkit.predictor.several import Packing, several_keys

Inputs: TypeAlias = Tensor | tuple[Any, ...] | Mapping[str, Any]
"""A tensor (N, ...), a tuple of positional arguments, or a mapping of keyword arguments."""

At: TypeAlias = int | str | Sequence[int | str] | nn.Module | None
"""What is explained: an input by position or name, or a list of several, which become a tree {name: coefficients}; a
module's output by its path ("encoder.layer.3", "lstm[0]") or the module itself; None for the only input."""


class Site:
    """The explained point of a model, and everything that is held fixed around it.

    Args:
        model: f, in which a layer is looked up.
        x: what f is called with.
        at: what is explained.
        rows: which rows belong to which sample, see `trimkit.predictor.rows.Rows`.
    Raises:
        ShapeError: an explained input that is no floating tensor, or a held tensor with other rows than samples.
        OptionError: ``at`` is missing, names nothing, or names several things.

    Attributes:
        x: the arguments, a mapping as a dict; what was made under `torch.inference_mode` as a copy, for autograd.
        layer: where a module's output is explained, else None.
        samples: N.
        rows: as given; "batch" also where the model turned out to join rows.
        packing: how several explained inputs lie side by side; else None.
        below: what the modules below the layer gave, where it was recorded.
        replayed: which of it is given again instead of being computed.
        seen: what the model's modules are, in the mode that they were in.
    """

    def __init__(self, model: Callable[..., Any], x: Inputs, at: At = None, rows: Rows = None) -> None:
        self.x: Any = x if isinstance(x, Tensor) or not isinstance(x, Mapping) else dict(x)
        self.seen = survey(model)
        self.rows: Any = rows if rows is None else check_rows(rows)
        self._rules = _rules(self.x, rows) if rows else {}
        self.below: Recording | None = None
        self.replayed: frozenset[Key] = frozenset()
        self._recorded: Any = None
        self.packing: Packing | None = None
        self._several: list[int | str] = []
        if any(tensor.is_inference() for tensor in _tensors(self.x)):
            self.x = map_tensors(lambda leaf: leaf.clone() if leaf.is_inference() else leaf, self.x)
        if isinstance(x, Tensor) and at is None:
            check_input(x)
            self._key, self.layer, self.samples = None, None, len(x)
            return
        self._several = several_keys(at, _names(self.x)) if isinstance(at, list | tuple) else []
        self._key = None if self._several else _input_key(self.x, at)
        self.layer: Layer | None = None
        if self._several:
            values = {name: self.x[name] for name in self._several}
            for value in values.values():
                check_input(value)
            self.packing = Packing.of_values(values)
            self.samples = len(self.value)
        elif self._key is None and at is not None and (isinstance(at, str) or not isinstance(at, Sequence)):
            self.layer = find_layer(model, at, _names(self.x))
            self.samples = _samples(self._with_rows())
        else:
            check_input(self.value)
            self.samples = len(self.value)
        if not isinstance(self.x, Tensor):
            _check_rows(self._with_rows(), self.samples)

    @property
    def padding(self) -> Tensor | None:
        """(N, T) True at tokens that are padding, where the model gets an attention mask."""
        mask = self.x.get("attention_mask") if isinstance(self.x, dict) else None
        return mask == 0 if isinstance(mask, Tensor) and mask.ndim == 2 else None

    def without_padding(self, scores: Any) -> Any:
        """Scores (N, T, ...) of tokens, 0 where they are padding; any others as they are."""
        padding = self.padding
        if padding is None or not isinstance(scores, Tensor) or scores.ndim < 3 or scores.shape[:2] != padding.shape:
            return scores
        return scores.masked_fill(padding.reshape(*padding.shape, *[1] * (scores.ndim - 2)).to(scores.device), 0)

    @property
    def joined(self) -> bool:
        """Whether an output of one row may depend on others."""
        return self.rows == "batch" or isinstance(self.rows, Mapping)

    def _with_rows(self) -> Any:
        """The inputs that have a row a sample."""
        if not self._rules:
            return self.x
        pairs = self.x.items() if isinstance(self.x, dict) else enumerate(self.x)
        return {key: value for key, value in pairs if key not in self._rules}

    @property
    def value(self) -> Any:
        """The explained input, several packed side by side; not that of a layer."""
        if self.packing is not None:
            return self.packing.pack({name: self.x[name] for name in self._several})
        return self.x if self._key is None else self.x[self._key]

    @property
    def plain(self) -> bool:
        """One tensor goes in, and it is what is explained."""
        return self.layer is None and isinstance(self.x, Tensor)

    def with_value(self, value: Any) -> Any:
        """The inputs with another explained one; not for a layer."""
        return self._with(self.x, value)

    def _with(self, held: Any, value: Any) -> Any:
        """Inputs in which the explained ones have other values."""
        if isinstance(held, Tensor):
            return value
        arguments: Any = list(held) if isinstance(held, tuple) else dict(held)
        for key, part in self.packing.unpack(value).items() if self.packing else [(self._key, value)]:
            arguments[key] = part
        return tuple(arguments) if isinstance(held, tuple) else arguments

    def run(
        self, model: Callable[..., Any], value: Tensor, samples: Tensor | None = None, fill: Tensor | None = None
    ) -> Any:
        """The model's raw output where the explained point takes other values.

        Args:
            model: f, or a copy of it.
            value: (rows, ...) whole copies of the batch in order, or the rows that ``samples`` names.
            samples: (rows,) the number of the sample whose held inputs each row gets.
            fill: (N, ...) the explained point, which stands for missing rows where batches must be whole.
        """
        if samples is not None and _in_order(samples, self.samples):
            samples = None
        if self.rows is None:
            return self._run(model, value, samples)
        once, fill = self.rows != "batch", value[: self.samples] if fill is None else fill
        return run_whole(lambda part: self._run(model, part), value, samples, fill, once)

    def _run(self, model: Callable[..., Any], value: Tensor, samples: Tensor | None = None) -> Any:
        if self.plain:
            return model(value)
        held = self._held(len(value), samples, value.device)
        if self.layer is not None:
            return self._run_above(model, value, samples, held)
        return call_model(model, self._with(held, value))

    def _run_above(self, model: Any, value: Tensor, samples: Tensor | None, held: Any) -> Any:
        """One forward in which the layer gives other values, and what lies below gives what it gave before."""
        assert self.layer is not None
        above = nullcontext()
        if self.below is not None and self.replayed and model is self._recorded:
            if samples is None:
                samples = torch.arange(self.samples).repeat(len(value) // self.samples)
            above = replaying(model, self.below.outputs, self.replayed, samples)
        own = value.clone()  # the model may write to it; made here, for the layer may run under no_grad
        with above:
            return self.layer.run(model, lambda h: own.to(h), lambda: call_model(model, held))

    def _held(self, rows: int, samples: Tensor | None, device: torch.device) -> Any:
        """All inputs for some rows: by the number of the sample, or by an input's own rule."""
        if samples is None and rows == self.samples:
            return self.x
        copies = rows // self.samples
        if samples is None:
            samples = torch.arange(self.samples, device=device).repeat(copies)
        if isinstance(self.x, Tensor):
            return take_rows(self.x, samples)
        pairs = self.x.items() if isinstance(self.x, dict) else enumerate(self.x)
        held = {
            key: copies_of(value, self._rules[key], copies, self.samples)
            if key in self._rules
            else take_rows(value, samples)
            for key, value in pairs
        }
        return held if isinstance(self.x, dict) else tuple(held.values())

    def intercept(self, model: Any, replace: Callable[[Tensor], Tensor | None], record: bool = False) -> Any:
        """One forward of the inputs, in which the layer's output h becomes ``replace(h)``; None: it stays.

        Args:
            model: f.
            replace: what to do with h.
            record: keep what lies below, for `replayed`.
        """
        assert self.layer is not None
        layer = self.layer

        def checked(h: Tensor) -> Tensor | None:
            if h.ndim < 2 or len(h) != self.samples or not h.is_floating_point():
                raise ShapeError(
                    f"expected a floating output ({self.samples}, ...) of {self.layer}, one row a sample, got "
                    f"{h.dtype} {tuple(h.shape)}; explain a layer whose first axis is the batch (batch_first=True)"
                )
            return replace(h)

        with recording(model, layer) if record and can_replay(model) else nullcontext() as self.below:
            self._recorded = model
            return layer.run(model, checked, lambda: call_model(model, self.x))


def call_model(model: Callable[..., Any], x: Inputs) -> Any:
    """f(x) for a tensor, f(*x) for a tuple, f(**x) for a mapping.

    >>> call_model(lambda a, b: a - b, (3, 1)), call_model(lambda a, b: a - b, {"b": 1, "a": 3})
    (2, 2)
    """
    if isinstance(x, Mapping):
        return model(**x)
    return model(*x) if isinstance(x, tuple) else model(x)


def take_rows(held: Any, samples: Tensor) -> Any:
    """The rows of some samples from every tensor of a structure; scalars and what is no tensor stay as they are.

    >>> take_rows({"ids": torch.arange(6).view(3, 2), "flag": True}, torch.tensor([1]))
    {'ids': tensor([[2, 3]]), 'flag': True}
    """
    return map_tensors(lambda leaf: leaf[samples.to(leaf.device)] if leaf.ndim else leaf, held)


def _rules(x: Any, rows: Any) -> dict[Any, Any]:
    """The rules of inputs, by the key under which they stand.

    Raises:
        OptionError: a rule for an input that is not there.
    """
    if not isinstance(rows, Mapping):
        return {}
    unknown = [name for name in rows if name not in _names(x)]
    if unknown:
        raise OptionError(f"rows={dict(rows)!r}: the model gets no input {unknown[0]!r}; expected some of {_names(x)}")
    return dict(rows)


def _input_key(x: Any, at: At) -> int | str | None:
    """The position or name of the explained input; None for the only tensor, or where ``at`` must be a layer."""
    if at is None and isinstance(x, Tensor):
        return None
    names = _names(x)
    if isinstance(at, list | tuple | set | Mapping):
        raise OptionError(f"expected an input, a list of inputs or a layer as at=, got {at!r}")
    if at is None:
        if isinstance(x, tuple | dict) and len(x) != 1:
            raise OptionError(f"expected at= with {len(x)} inputs; name what is explained: one of {names}, or a layer")
        return names[0] if names else None
    if isinstance(at, int) and not (isinstance(x, tuple) and -len(x) <= at < len(x)):
        raise OptionError(f"at={at} is no position of the inputs; {nearest(str(at), map(str, names))}")
    return at if isinstance(at, int) or (isinstance(at, str) and at in names) else None


def _names(x: Any) -> list[Any]:
    return list(x) if isinstance(x, dict) else list(range(len(x))) if isinstance(x, tuple) else []


def _in_order(samples: Tensor, n: int) -> bool:
    """Whether rows are whole copies of the batch."""
    return len(samples) % n == 0 and bool((samples == torch.arange(len(samples), device=samples.device) % n).all())


def _tensors(held: Any) -> list[Tensor]:
    if isinstance(held, Tensor):
        return [held] if held.ndim else []
    children = held.values() if isinstance(held, Mapping) else held if isinstance(held, tuple | list) else ()
    return [tensor for child in children for tensor in _tensors(child)]


def _samples(x: Any) -> int:
    tensors = _tensors(x)
    if not tensors or not len(tensors[0]):
        raise ShapeError("expected at least one tensor (N, ...) with N ≥ 1 among the inputs")
    return len(tensors[0])


def _check_rows(x: Any, samples: int) -> None:
    for tensor in _tensors(x):
        if len(tensor) != samples:
            raise ShapeError(
                f"expected {samples} rows, one a sample, in every input, got {tuple(tensor.shape)}; what belongs to no "
                "sample has a rule of its own: rows={'edge_index': 'graph'} indexes rows, 'edge' is one value an "
                "edge, 'shared' stays as it is (a table)"
            )

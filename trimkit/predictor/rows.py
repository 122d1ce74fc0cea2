"""Rows that are not samples: models that join the rows of a batch, or that take no other number of them.

Path, noise and perturbation attributions send k · N rows at once. A graph network whose edges name N nodes, batch
normalisation over the batch, or a stored state for one batch size makes that another function, silently. So it is
measured, once a model, whether a row gives the same beside other rows; where it does not, every batch is whole: N rows
in the order of the samples, one call for each.
"""

from __future__ import annotations

import copy
import dataclasses
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, TrimkitWarning
from trimkit.predictor.turns import process_wide

Rule: TypeAlias = Literal["graph", "edge", "shared"] | Callable[[Any, int, int], Any]
"""What becomes of an input that has no row a sample when the model gets k copies of the batch. "graph": it indexes rows
and stands side by side, moved by N a copy (edge_index, (2, E)). "edge": it is repeated (weights of edges, (E, ...)).
"shared": it stays (a table). A callable: (value, copies, N) → value."""

Rows: TypeAlias = Literal["batch"] | Mapping[Any, Rule] | None
"""None: row i is sample i; it is measured once a model. "batch": one call for each copy of the batch. A mapping: rules
of the inputs, by name or position, whose rows are no samples."""


def check_rows(rows: Any) -> Rows:
    """A choice of rows, where it is one.

    Raises:
        OptionError: it is none.
    """
    rules = rows.values() if isinstance(rows, Mapping) else ()
    if (rows is None or rows == "batch" or isinstance(rows, Mapping)) and all(
        callable(rule) or rule in ("graph", "edge", "shared") for rule in rules
    ):
        return rows
    raise OptionError(
        "expected rows=None, 'batch' or a rule for each input that has no row a sample, such as "
        f"{{'edge_index': 'graph', 'edge_weight': 'edge', 'table': 'shared'}}, got {rows!r}"
    )


def copies_of(value: Any, rule: Rule, copies: int, samples: int) -> Any:
    """An input without rows for several copies of the batch, by its rule."""
    if callable(rule):
        return rule(value, copies, samples)
    if rule == "shared" or copies == 1:
        return value
    if rule == "edge":
        return map_tensors(lambda edges: edges.repeat(copies, *[1] * (edges.ndim - 1)), value)
    return map_tensors(lambda index: torch.cat([index + k * samples for k in range(copies)], dim=-1), value)


def run_whole(call: Callable[[Tensor], Any], value: Tensor, samples: Tensor | None, fill: Tensor, once: bool) -> Any:
    """Evaluate rows in whole batches.

    Args:
        call: N rows, or k · N with ``once``, in the order of the samples → raw output.
        value: (rows, ...).
        samples: (rows,) the number of the sample of each row; None for whole copies in order.
        fill: (N, ...) what stands where a batch has no row of a sample.
        once: all batches in one call.
    Returns:
        Raw output, its tensors with a row for each row of value.
    """
    n, places = len(fill), None
    if samples is not None:
        places = _places(samples.to(value.device), n)
        copies = int(places.max()) // n + 1
        value = fill.repeat(copies, *[1] * (fill.ndim - 1)).index_copy(0, places, value)
    outputs = [call(value)] if once else [call(part) for part in value.split(n)]
    output = outputs[0] if len(outputs) == 1 else map_tensors(_joined, *outputs)
    return output if places is None else map_tensors(lambda leaf: leaf[places] if leaf.ndim else leaf, output)


def map_tensors(function: Callable[..., Any], value: Any, *others: Any) -> Any:
    """Apply a function to the tensors of any structure of one form, a model's own output classes too; the rest stays
    that of the first.

    >>> map_tensors(lambda t: 2 * t, {"y": torch.ones(1), "name": "x"})
    {'y': tensor([2.]), 'name': 'x'}
    """
    if isinstance(value, Tensor):
        return function(value, *others)
    if isinstance(value, Mapping):
        made: Any = copy.copy(value) if isinstance(value, MutableMapping) else dict(value)
        for key in value:
            made[key] = map_tensors(function, value[key], *(other[key] for other in others))
        return made
    if isinstance(value, tuple | list):
        parts = [map_tensors(function, *column) for column in zip(value, *others, strict=True)]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if (dataclasses.is_dataclass(value) and not isinstance(value, type)) or _holds_tensors(value):
        made = copy.copy(value)
        for name in vars(value) if hasattr(value, "__dict__") else [one.name for one in dataclasses.fields(value)]:
            columns = (getattr(other, name) for other in others)
            object.__setattr__(made, name, map_tensors(function, getattr(value, name), *columns))
        return made
    return value


def without_graph(call: Callable[[Tensor], Any], x: Tensor) -> Any:
    """``call(x)`` without a graph, also of a model that differentiates inside itself, as forces of an energy are."""
    try:
        with torch.no_grad():
            return call(x)
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
    with torch.enable_grad():
        return map_tensors(Tensor.detach, call(x.detach().requires_grad_()))


def why_joined(run: Callable[[Tree], Tensor], s: Tree, values: Tensor, model: Any) -> str | None:
    """What is wrong with the belief that row i is sample i, alone and in any number; None where nothing is.

    f([b; s]) must give f(s) for its second half, with other points b.

    Args:
        run: coefficients → the explained number of each row.
        s: the explained point, (N, ...).
        values: (N,) f(s).
        model: put into eval mode for a second try, where it draws random numbers in train mode.
    """
    point = tree.map_leaves(Tensor.detach, s)
    double = tree.concatenate([tree.map_leaves(lambda leaf: leaf.flip(0) / 2, point), point])
    with torch.no_grad():
        try:
            beside = run(double)[len(values) :]
            if _same(beside, values):
                return None
            if _training(model) and not _same(run(point), values):  # it draws random numbers
                with _evaluating(model):
                    beside, values = run(double)[len(values) :], run(point)
            return None if _same(beside, values) else _difference("in a larger batch", beside, values)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return f"does not take {2 * len(values)} rows in the place of {len(values)} ({lines[0]})"


def why_mixed(run: Callable[[Tree], Tensor], s: Tree, values: Tensor | None = None) -> str | None:
    """Why the output of a row is not that of its sample alone; None where it is.

    Every second row becomes another point, and all others must give what they gave.

    Args:
        run: coefficients → the explained number of each row.
        s: the explained point, (N, ...).
        values: (N,) f(s); None where it draws numbers, so that it is asked for again with those of the other points.
    """
    kept = torch.arange(tree.batch_size(s)) % 2 == 0

    def exchanged(leaf: Tensor) -> Tensor:
        return torch.where(kept.to(leaf.device).reshape(-1, *[1] * (leaf.ndim - 1)), leaf, leaf.flip(0) / 2)

    def at(point: Tree) -> Tensor:
        with torch.no_grad(), keyed_draws():
            return run(point)

    point = tree.map_leaves(Tensor.detach, s)
    before, after = at(point) if values is None else values, at(tree.map_leaves(exchanged, point))
    before, after = (given[kept.to(given.device)] for given in (before, after))
    return None if _same(after, before) else _difference("beside other ones", after, before)


def why_unsteady(again: Callable[[], Tensor], values: Tensor) -> str | None:
    """Why a model gives other outputs for what it was given before; None where it gives the same.

    Args:
        again: the explained number of each row, (N,), anew.
        values: (N,) what it was.
    """
    with torch.no_grad(), keyed_draws():
        first = again()
    if _same(first, values):
        return None
    with torch.no_grad(), keyed_draws():
        second = again()
    return "it draws random numbers" if _same(second, first) else "it keeps something from call to call"


def same_rows(one: Any, other: Any) -> bool:
    """Whether two outputs of one form hold the same numbers.

    >>> same_rows({"y": torch.ones(2)}, {"y": torch.ones(2)}), same_rows(torch.ones(2), torch.zeros(2))
    (True, False)
    """
    equal: list[bool] = []
    map_tensors(lambda a, b: equal.append(not a.is_floating_point() or _same(b, a)), one, other)
    return all(equal)


def is_weakly_held(model: Any) -> bool:
    """Whether facts of a model can be kept as long as it lives."""
    try:
        return hash(weakref.ref(model)) is not None
    except TypeError:
        return False


_KEY = 6_180_339_887
"""A seed that nobody chooses: draws of a caller who has just seeded with it would pass for no draws."""


@contextmanager
def keyed_draws() -> Iterator[None]:
    """Random numbers that are the same each time, and the caller's state as it was."""
    with own_draws(_KEY):
        yield


@contextmanager
def own_draws(seed: int | None) -> Iterator[None]:
    """Within it, whoever draws from torch's own states changes nothing outside.

    Args:
        seed: of the states within; None to go on from where they are.
    """
    devices = range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)  # else each would be set up
    with process_wide(), torch.random.fork_rng(devices=devices):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        if seed is not None and devices:
            torch.cuda.manual_seed_all(seed)
        yield


def warn_of_joined_rows(reason: str | None) -> None:
    """Say that scores of a sample hold its effect on others, and what it costs."""
    warnings.warn(
        f"the model joins the rows of a batch: it {reason}. So each point of a path is evaluated with the whole batch, "
        "one call for each, and scores of a sample hold its effect on the other rows too. Say rows='batch' where this "
        "is meant, or rows={'edge_index': 'graph'} where an input indexes rows",
        TrimkitWarning,
        stacklevel=7,
    )


def warn_of_unsteady(reason: str | None) -> None:
    """Say that the model is no function of its input."""
    warnings.warn(
        f"the model gives another output when it is called again with the same input: {reason}. So its scores are of "
        "several functions at once. Remove the draws (functional dropout wants training=self.training), or what is "
        "kept (a cache, a counter, a hidden state), for the explanation",
        TrimkitWarning,
        stacklevel=7,
    )


def _difference(where: str, beside: Tensor, values: Tensor) -> str:
    worst, scale = (float(t.detach().abs().max()) for t in (beside - values, values))
    return f"gives other outputs for rows {where} (by up to {worst:.2g}, of {scale:.2g})"


def _same(beside: Tensor, values: Tensor) -> bool:
    """Equal up to what kernels for another number of rows change; what is NaN alone proves nothing."""
    tolerance = 5e-2 if values.dtype in (torch.float16, torch.bfloat16) else 1e-3
    values = values.detach()
    if not values.numel() or not bool(torch.isfinite(values).all()):
        return True
    return beside.shape == values.shape and bool((beside - values).abs().max() <= tolerance * values.abs().max() + 1e-9)


def _places(samples: Tensor, n: int) -> Tensor:
    """Where each row stands in whole batches: the j-th row of sample i in batch j, at place i."""
    order = samples.argsort(stable=True)
    ranked = samples[order]
    turn = torch.arange(len(samples), device=samples.device) - torch.searchsorted(ranked, ranked)
    return torch.empty_like(samples).index_copy(0, order, turn) * n + samples


def _joined(*parts: Tensor) -> Tensor:
    return torch.cat(parts) if parts[0].ndim else parts[0]


def _holds_tensors(value: Any) -> bool:
    held: Sequence[Any] = tuple(vars(value).values()) if hasattr(value, "__dict__") and not callable(value) else ()
    return any(isinstance(item, Tensor) for item in held)


def _training(model: Any) -> bool:
    return isinstance(model, nn.Module) and any(module.training for module in model.modules())


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training

"""A tensor that carries, beside itself, the part of it that is due to each of several groups of coefficients.

The pair (relevant, irrelevant) of contextual decomposition, Murdoch et al. 2018 and Singh et al. 2019, is stored as
(relevant, total): the irrelevant part is the rest, so that the two cannot drift apart, and one total serves all groups.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NoReturn, TypeAlias

import torch
from torch import Tensor, nn

from trimkit.errors import AttributionError

Rule: TypeAlias = "Callable[[Call], Any]"

SHAPLEY: ContextVar[bool] = ContextVar("SHAPLEY", default=False)
"""Whether activations average the relevant part's effect over both orders; `decompose` sets it."""

RULES: dict[str, Rule] = {}
"""The rule of each operation by its name without the underscore of in-place ones; `rules` enters them."""


class Pair(Tensor):
    """A tensor (N, ...) with its relevant parts (G, N, ...), one for each of G groups.

    Models handle it as the tensor that it stands for: torch hands every operation to its rule in `RULES`,
    which moves both; an operation without a rule is refused by name.

    Attributes:
        total: (N, ...) what the model would compute.
        relevant: (G, N, ...) the part that is due to each group.
    """

    total: Tensor
    relevant: Tensor

    @staticmethod
    def __new__(cls: type[Pair], total: Tensor, relevant: Tensor) -> Pair:
        """Join a total and its relevant parts."""
        pair = Tensor._make_wrapper_subclass(cls, total.shape, dtype=total.dtype, device=total.device)
        pair.total, pair.relevant = total, relevant
        return pair

    @property
    def irrelevant(self) -> Tensor:
        """(G, N, ...) what is left of the total for each group."""
        return self.total - self.relevant

    def __repr__(self) -> str:
        with torch._C.DisableTorchFunctionSubclass():
            return f"Pair(shape={tuple(self.total.shape)}, groups={len(self.relevant)})"

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Apply the rule for an operation; an operation in place puts the result into its first argument.

        Raises:
            AttributionError: there is no rule for it.
        """
        kwargs = dict(kwargs or {})
        name = operation(func)
        inplace = bool(kwargs.pop("inplace", False)) or (name.endswith("_") and not name.endswith("__"))
        rule = RULES.get(name) or RULES.get(name.removesuffix("_"))
        if rule is None or kwargs.get("out") is not None:
            refuse(name)
        if not inplace:
            return rule(Call(func, name, args, kwargs))
        if not isinstance(args[0], Pair):
            refuse(name, "it writes into a tensor that does not depend on the input")
        result = rule(Call(out_of_place(func, name), name.removesuffix("_"), args, kwargs))
        args[0].total, args[0].relevant = result.total, result.relevant
        return args[0]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> NoReturn:
        """Refuse what reaches a pair beneath torch's Python functions, such as scripted modules."""
        refuse(str(func))


class Call:
    """One operation on pairs, to be applied to their totals, to their relevant parts, or to anything in their place.

    Args:
        func: torch's function.
        name: of the operation, see `operation`.
        args: positional arguments, pairs among them, also inside tuples and lists.
        kwargs: keyword arguments, likewise.
    """

    def __init__(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.func = func
        self.name = name
        self.args = args
        self.kwargs = kwargs
        self.pairs = list(_pairs((args, kwargs)))

    def on(self, values: Sequence[Tensor]) -> Any:
        """The result with values in the place of the pairs, in order."""
        supply = iter(values)
        args, kwargs = _replace((self.args, self.kwargs), lambda _: next(supply))
        return self.func(*args, **kwargs)

    def totals(self) -> Any:
        """The result of the totals."""
        return self.on([pair.total for pair in self.pairs])

    def relevants(self) -> Any:
        """The result of the relevant parts, group by group."""
        return on_groups(lambda *values: self.on(values), *(pair.relevant for pair in self.pairs))

    def changed(self, args: tuple[Any, ...] | None = None, **kwargs: Any) -> Call:
        """The same operation with other positional, or some other keyword, arguments."""
        return Call(self.func, self.name, self.args if args is None else args, {**self.kwargs, **kwargs})

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument that may be given by position or by name."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)


def on_groups(function: Callable[..., Any], *relevant: Tensor) -> Any:
    """Apply a function of tensors (N, ...) to each group of tensors (G, N, ...), all groups in one batch."""
    return torch.func.vmap(function)(*relevant)


def operation(func: Callable[..., Any]) -> str:
    """The name of one of torch's functions: ``"relu"``, ``"relu_"``, and ``".shape"`` for a property."""
    name = getattr(func, "__name__", str(func))
    return f".{func.__self__.__name__}" if name == "__get__" else name  # type: ignore[attr-defined]


def refuse(name: str, reason: str = "there is no rule for it", method: str = "contextual decomposition") -> NoReturn:
    """Stop at an operation that cannot be decomposed.

    Args:
        name: of the operation.
        reason: why not.
        method: that cannot.
    Raises:
        AttributionError: always; names the operation, and the layer where a module calls it.
    """
    raise AttributionError(
        f"{method} cannot go through {name!r}{_layer()}: {reason}. Replace the operation, or use integrated_gradients"
    )


def _layer() -> str:
    """The module that is being called, with its name in the outermost one."""
    modules = list(_calling_modules())
    if not modules:
        return ""
    names = {id(module): name for name, module in modules[-1].named_modules()}
    name = names.get(id(modules[0]))
    return f" in layer {name!r} ({type(modules[0]).__name__})" if name else f" in {type(modules[0]).__name__}"


def _calling_modules() -> Iterator[nn.Module]:
    frame = sys._getframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, nn.Module):
            yield caller
        frame = frame.f_back


def out_of_place(func: Callable[..., Any], name: str) -> Callable[..., Any]:
    """``relu_`` → ``relu``, from the tensor's methods or the functional module; F.relu(inplace=True) is F.relu."""
    if not name.endswith("_"):
        return func
    plain = name.removesuffix("_")
    return getattr(Tensor, plain, None) or getattr(torch.nn.functional, plain)


def _pairs(value: Any) -> Iterator[Pair]:
    if isinstance(value, Pair):
        yield value
    elif isinstance(value, tuple | list):
        for child in value:
            yield from _pairs(child)
    elif isinstance(value, dict):
        yield from _pairs(list(value.values()))


def _replace(value: Any, by: Callable[[Pair], Any]) -> Any:
    if isinstance(value, Pair):
        return by(value)
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(_replace(child, by) for child in value)
    if isinstance(value, dict):
        return {key: _replace(child, by) for key, child in value.items()}
    return value

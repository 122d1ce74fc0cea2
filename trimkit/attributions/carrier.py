"""A tensor that carries, beside itself, other tensors through a model, each operation by a rule of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any, ClassVar, NoReturn, Self, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from trimkit.errors import AttributionError, TrimkitError

Rule: TypeAlias = "Callable[[Call], Any]"

C = TypeVar("C", bound="Carrier")


class Carrier(Tensor):
    """A tensor (N, ...) with companions, handled by models as the tensor that it stands for.

    torch hands every operation to its rule, which moves all of them; one without a rule is refused by name.

    Attributes:
        total: (N, ...) what the model would compute.
        constant: it was made as zeros, and nothing that depends on the input was written into it yet; operations see
            its total alone.
        parts: names of total and companions, as a subclass takes them.
        rules: of each operation by its name without the underscore of in-place ones.
        method: its name, for messages.
    """

    total: Tensor
    constant: bool
    parts: ClassVar[tuple[str, ...]] = ("total",)
    rules: ClassVar[dict[str, Rule]] = {}
    method: ClassVar[str] = ""

    @staticmethod
    def __new__(cls: type[C], *parts: Tensor) -> C:
        """Join a total and its companions."""
        total = parts[0]
        carrier = Tensor._make_wrapper_subclass(cls, total.shape, dtype=total.dtype, device=total.device)
        carrier.constant = False
        for name, part in zip(cls.parts, parts, strict=True):
            setattr(carrier, name, part)
        return carrier

    def __repr__(self) -> str:
        with torch._C.DisableTorchFunctionSubclass():
            return f"{type(self).__name__}(shape={tuple(self.total.shape)})"

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
        kwargs = {_NUMPY.get(key, key): value for key, value in (kwargs or {}).items()}
        name = operation(func)
        args = _placed(name, args, kwargs)
        inplace = bool(kwargs.pop("inplace", False)) or (name.endswith("_") and not name.endswith("__"))
        call = Call(func, name, *_replace((args, kwargs), _without_constants))
        if inplace:
            call = Call(out_of_place(func, name), name.removesuffix("_"), call.args, call.kwargs)
        rule = cls.rules.get(name) or cls.rules.get(call.name)
        if call.kwargs.get("out") is not None or (rule is None and call.pairs):
            refuse(name, method=cls.method)
        if inplace and not isinstance(args[0], cls):
            refuse(name, "it writes into a tensor that does not depend on the input", cls.method)
        result = rule(call) if rule and call.pairs else call.func(*call.args, **call.kwargs)
        return args[0]._become(result) if inplace else result

    def _become(self, result: Any) -> Self:
        """Take over what was written into this tensor."""
        if isinstance(result, type(self)):
            for name in self.parts:
                setattr(self, name, getattr(result, name))
            self.constant = False
        else:
            self.total = result
        return self

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> NoReturn:
        """Refuse what reaches a carrier beneath torch's Python functions, such as scripted modules."""
        refuse(str(func), method=cls.method)


class Call:
    """One operation on carriers, to be applied to their totals, to their companions, or to anything in their place.

    Args:
        func: torch's function.
        name: of the operation, see `operation`.
        args: positional arguments, carriers among them, also inside tuples and lists.
        kwargs: keyword arguments, likewise.
    """

    def __init__(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.func = func
        self.name = name
        self.args = args
        self.kwargs = kwargs
        self.pairs: list[Any] = list(_carriers((args, kwargs)))

    def on(self, values: Sequence[Tensor]) -> Any:
        """The result with values in the place of the carriers, in order."""
        supply = iter(values)
        args, kwargs = _replace((self.args, self.kwargs), lambda _: next(supply))
        return self.func(*args, **kwargs)

    def totals(self) -> Any:
        """The result of the totals."""
        return self.on([pair.total for pair in self.pairs])

    def changed(self, args: tuple[Any, ...] | None = None, **kwargs: Any) -> Call:
        """The same operation with other positional, or some other keyword, arguments."""
        return Call(self.func, self.name, self.args if args is None else args, {**self.kwargs, **kwargs})

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument that may be given by position or by name."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)


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


@contextmanager
def carried(method: str) -> Iterator[None]:
    """Within it, a model that runs, but not on carriers, is refused.

    Raises:
        AttributionError: instead of an error that is none of trimkit's.
    """
    try:
        yield
    except (TrimkitError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AttributionError(
            f"{method} cannot go through this model, which does with its tensors what has no rule: {reason}. Use "
            "integrated_gradients"
        ) from error


_NUMPY = {"axis": "dim", "keepdims": "keepdim"}
"""numpy's names, which torch takes as well."""

_PLACES = {
    "where": ("condition", "input", "other"),
    "index_add": ("input", "dim", "index", "source"),
    "scatter_add": ("input", "dim", "index", "src"),
}
"""Arguments that rules read by place, as torch names them; of all other operations the first."""


def _placed(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Positional arguments, with what came by name in its place; it is taken out of the keywords."""
    places = _PLACES.get(name.removesuffix("_"), ("tensors" if "tensors" in kwargs else "input",))
    named = list(takewhile(lambda key: key in kwargs, places[len(args) :]))
    return (*args, *(kwargs.pop(key) for key in named))


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
    return getattr(Tensor, plain, None) or getattr(torch.nn.functional, plain, func)


def _without_constants(carrier: Carrier) -> Tensor:
    return carrier.total if carrier.constant else carrier


def _carriers(value: Any) -> Iterator[Any]:
    if isinstance(value, Carrier):
        yield value
    elif isinstance(value, tuple | list):
        for child in value:
            yield from _carriers(child)
    elif isinstance(value, dict):
        yield from _carriers(list(value.values()))


def _replace(value: Any, by: Callable[[Any], Any]) -> Any:
    if isinstance(value, Carrier):
        return by(value)
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(_replace(child, by) for child in value)
    if isinstance(value, dict):
        return {key: _replace(child, by) for key, child in value.items()}
    return value

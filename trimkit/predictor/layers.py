"""A layer of a model: its output read, and replaced, in an ordinary forward."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trimkit.errors import ModelError, OptionError, ShapeError, nearest
from trimkit.predictor.turns import WRAPPERS, in_this_thread, unwrapped


@dataclass(frozen=True)
class Layer:
    """The output of a module, or one element of it.

    Attributes:
        path: of the module, as ``named_modules`` gives it.
        element: which part of a tuple; None where the module returns a tensor.
    """

    path: str
    element: int | None = None

    def __str__(self) -> str:
        return repr(self.path if self.element is None else f"{self.path}[{self.element}]")

    def run(self, model: Any, replace: Callable[[Tensor], Tensor | None], call: Callable[[], Any]) -> Any:
        """Call the model once, with the layer's output h replaced; the user's own hooks stay.

        Args:
            model: in which the layer is.
            replace: h → what takes its place; None keeps it.
            call: runs the model.
        Raises:
            ModelError: the layer ran not exactly once.
            ShapeError: its output is no tensor.
        """
        calls = []

        def counted(h: Tensor) -> Tensor | None:
            calls.append(1)
            return replace(h)

        with self.replaced(model, counted):
            output = call()
        if len(calls) != 1:
            raise ModelError(
                f"the layer {self} ran {len(calls)} times in one forward, so its output is no single point; explain a "
                "layer that runs once"
            )
        return output

    @contextmanager
    def replaced(self, model: Any, replace: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
        """Within it, every call of the layer gives ``replace(h)`` for h; None keeps it."""

        def hook(module: nn.Module, arguments: Any, output: Any) -> Any:
            new = replace(self._read(output))
            if new is None or self.element is None:
                return new
            parts = [new if i == self.element else part for i, part in enumerate(output)]
            return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)

        handle = _module(model, self.path).register_forward_hook(in_this_thread(hook))
        try:
            yield
        finally:
            handle.remove()

    def _read(self, output: Any) -> Tensor:
        if self.element is not None and isinstance(output, tuple | list) and self.element < len(output):
            output = output[self.element]
        if not isinstance(output, Tensor):
            raise ShapeError(
                f"expected a tensor from the layer {self}, got {type(output).__name__}; name one element of a "
                f"tuple, as in at='{self.path}[0]'"
            )
        return output


def find_layer(model: Any, at: str | int | nn.Module, inputs: Iterable[Any] = ()) -> Layer:
    """The layer that ``at`` names.

    Args:
        model: a module, also behind a wrapper.
        at: a path such as "encoder.layer.3" or "lstm[0]", or the module itself.
        inputs: names of the model's inputs, which ``at`` might have meant.
    Raises:
        ModelError: a model that is no module.
        OptionError: no such layer.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"at={at!r} names a layer, and the model is a {type(model).__name__}; pass the module itself")
    inside = unwrapped(model)
    if isinstance(inside, torch.jit.ScriptModule):
        raise ModelError(
            f"at={at!r}: a layer of a TorchScript model cannot be read; explain its input, or pass the module that it "
            "was made from"
        )
    if isinstance(at, nn.Module):
        paths = [path for path, module in inside.named_modules() if module is at and path]
        if not paths:
            raise OptionError(f"the {type(at).__name__} given as at= is no part of the model; pass one of its modules")
        return Layer(paths[0])
    match = re.fullmatch(r"(.+?)(?:\[(\d+)\])?", _behind(model, str(at)))
    if match is None or not _is_module(inside, match[1]):
        names = [*map(str, inputs), *(path for path, _ in inside.named_modules() if path)]
        raise OptionError(f"at={at!r} is neither an input nor a layer of the model. {nearest(str(at), names)}")
    return Layer(match[1], None if match[2] is None else int(match[2]))


def _behind(model: nn.Module, path: str) -> str:
    """A layer's path without the wrappers' names, as the wrapped model's ``named_modules`` gives it."""
    while not _is_module(unwrapped(model), path.partition("[")[0]) and path.partition(".")[0] in WRAPPERS:
        wrapper, _, path = path.partition(".")
        model = getattr(model, wrapper, model)
    return path


def _module(model: Any, path: str) -> nn.Module:
    return unwrapped(model).get_submodule(path)


def _is_module(model: nn.Module, path: str) -> bool:
    try:
        model.get_submodule(path)
    except AttributeError:
        return False
    return True

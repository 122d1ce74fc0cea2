"""A predictor that never changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trimkit.errors import FrozenError, ModelError, OptionError, ShapeError, nearest
from trimkit.predictor.state import all_tensors, copy_of, extra_states, hash_of, held_tensors, state_hash
from trimkit.predictor.turns import in_this_thread


class FrozenPredictor(nn.Module):
    """A private copy of a model that stays as it is, whatever is trained around it.

    It is always in eval mode, has no parameters and no state of its own in the eyes of a parent module (so no
    optimiser, weight decay or checkpoint touches it), and lets gradients through to its input. `verify` proves that it
    did not change.

    Args:
        model: any module; it is copied, and the caller's stays untouched.
    Raises:
        ModelError: not a module, one that cannot be copied, or one whose lazy parameters have no shape yet.

    Example:
        >>> import torch
        >>> f = FrozenPredictor(torch.nn.Linear(3, 2))
        >>> list(f.parameters()), f.train().training
        ([], False)
    """

    inner: nn.Module

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise ModelError(f"FrozenPredictor: expected a torch.nn.Module, got {type(model).__name__}")
        inner = copy_of(model.inner if isinstance(model, FrozenPredictor) else model)
        for parameter in inner.parameters():
            parameter.requires_grad_(False)
            parameter.grad = None
        object.__setattr__(self, "inner", inner.eval())  # outside _modules: a parent sees no parameter and no state
        super().train(False)
        self._versions = _versions(inner)
        self._held = [name for name, _ in held_tensors(inner)]  # what a forward caches later is no state
        self._sha256 = state_hash(inner, self._held)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's output; gradients flow to the input. Parts of ``inner`` in train mode are put into eval mode.

        Raises:
            FrozenError: a weight was changed in place since the last call.
        """
        if _versions(self.inner) != self._versions:
            self.verify()
        if any(module.training for module in self.inner.modules()):
            self.inner.eval()
        return self.inner(*args, **kwargs)

    @property
    def sha256(self) -> str:
        """Hash over all state, as `state_hash` gives it, as of construction or conversion."""
        return self._sha256

    def verify(self) -> None:
        """Hash the weights again; this also sees changes that autograd's version counters miss (``.data``, numpy).

        Raises:
            FrozenError: the weights are not what they were.
        """
        self._require(state_hash(self.inner, self._held))
        self._versions = _versions(self.inner)

    def train(self, mode: bool = True) -> FrozenPredictor:
        """Stays in eval mode, whatever is asked."""
        self.inner.eval()
        return super().train(False)

    def features(self, x: Tensor, layers: Sequence[str]) -> list[Tensor]:
        """Outputs of named layers for an input, with gradient.

        Args:
            x: (N, ...) input.
            layers: names as in ``model.named_modules()``.
        Returns:
            One tensor a layer, in the order of ``layers``; of a layer that is called several times, the last.
        Raises:
            OptionError: a name that is no layer, or a layer that the model does not call.
            ShapeError: a layer whose output is no tensor.
        """
        modules = dict(self.inner.named_modules())
        for name in layers:
            if name not in modules:
                raise OptionError(f"the predictor has no layer {name!r}. {nearest(name, [n for n in modules if n])}")
        outputs: dict[str, Any] = {}

        def keep(name: str) -> Callable[..., None]:
            return lambda module, args, output: outputs.__setitem__(name, output)

        hooks = [modules[name].register_forward_hook(in_this_thread(keep(name))) for name in layers]
        try:
            self(x)
        finally:
            for hook in hooks:
                hook.remove()
        return [_layer_output(name, outputs) for name in layers]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FrozenPredictor:
        """Follow ``.to()``, ``.double()`` of a parent by hand, since the model is hidden from it; then hash anew.

        Raises:
            FrozenError: the weights were not what they were before they were converted.
        """
        before = [(name, tensor.detach()) for name, tensor in all_tensors(self.inner, self._held)]
        extra = list(extra_states(self.inner))
        places = _places(self.inner)
        self.inner._apply(fn, recurse)
        if _places(self.inner) != places:  # else nothing moved, and the hash stands
            self._require(hash_of(before, extra))
            self._require_converted(before)
            self._sha256 = state_hash(self.inner, self._held)
            self._versions = _versions(self.inner)
        return super()._apply(fn, recurse)

    def _require(self, sha256: str) -> None:
        if sha256 != self._sha256:
            raise FrozenError(
                f"the frozen predictor changed: sha256 was {self._sha256[:12]}…, is {sha256[:12]}…; "
                "something writes to its weights or buffers in place, or its forward changes its own state"
            )

    def _require_converted(self, before: Sequence[tuple[str, Tensor]]) -> None:
        """Refuse a conversion that put other values in the place of the weights, as to_empty() does."""
        for (name, old), (_, new) in zip(before, all_tensors(self.inner, self._held), strict=True):
            moved = old.to(new.device, new.dtype)
            if not torch.equal(moved.nan_to_num(), new.detach().nan_to_num()):
                raise FrozenError(
                    f"the frozen predictor changed: {name} has other values after the conversion; to_empty() of a "
                    "parent drops weights, so use to(device), or build the FrozenPredictor after it"
                )


def _places(module: nn.Module) -> list[tuple[int, torch.dtype, torch.device]]:
    return [(tensor.data_ptr(), tensor.dtype, tensor.device) for tensor in (*module.parameters(), *module.buffers())]


def _versions(module: nn.Module) -> list[int]:
    return [tensor._version for tensor in (*module.parameters(), *module.buffers())]


def _layer_output(name: str, outputs: dict[str, Any]) -> Tensor:
    if name not in outputs:
        raise OptionError(
            f"the predictor does not call its layer {name!r} in its forward, so it has no output; name a layer that "
            "runs, such as a child of a container"
        )
    output = outputs[name]
    if not isinstance(output, Tensor):
        raise ShapeError(
            f"expected a tensor from the predictor's layer {name!r}, got {type(output).__name__}; name a layer that "
            "returns one, or wrap this one"
        )
    return output

"""What an audit needs of a model as a module: its mode, its parameters, where its inputs belong."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from trimkit.errors import ModelError
from trimkit.predictor import FrozenPredictor
from trimkit.predictor.guards import require_callable


def require_evaluation_mode(model: Any) -> None:
    """Refuse a module any part of which is in train mode.

    Raises:
        ModelError: naming the first such part.
    """
    require_callable(model)
    if not isinstance(model, nn.Module):
        return
    training = [(name, type(part).__name__) for name, part in model.named_modules() if part.training]
    if training:
        name, kind = training[0]
        where = f"its part {name!r} ({kind})" if name else f"{kind}"
        raise ModelError(f"the model is in train mode ({where}), where outputs depend on the batch: call model.eval()")


def place(x: Tensor, model: Any) -> Tensor:
    """Samples on the device, and in the floating type, of the model's parameters."""
    like = next((p for p in parameters_of(model) if p.is_floating_point()), None)
    return x if like is None else x.to(like.device, like.dtype)


def parameters_of(model: Any) -> list[nn.Parameter]:
    """A module's parameters, also those that a `trimkit.FrozenPredictor` hides; none for a bare callable."""
    module = model.inner if isinstance(model, FrozenPredictor) else model
    return list(module.parameters()) if isinstance(module, nn.Module) else []

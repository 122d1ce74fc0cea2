"""What torch's errors mean where a model is explained: what is the matter with it, and what to do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trimkit.errors import ModelError

MEANINGS = {
    "use_reentrant=True": (
        "the model checkpoints its activations with use_reentrant=True, through which no gradient of an input can be "
        "taken; use checkpoint(…, use_reentrant=False), in Hugging Face's Trainer "
        "gradient_checkpointing_kwargs={'use_reentrant': False}"
    ),
    "Inference tensors cannot be saved": (
        "the model holds tensors that were made under torch.inference_mode(), of which no gradient can be taken; make "
        "or load it outside, or clone them: p.data = p.data.clone()"
    ),
    "only change requires_grad flags of leaf": (
        "the model sets requires_grad on what it computed from its input (Hugging Face's wav2vec2 does in train mode); "
        "put that part into eval mode, such as model.wav2vec2.feature_extractor.eval(), or freeze it"
    ),
    "device meta": (
        "the model is on the meta device and has no values; give it some first (to_empty, then load_state_dict)"
    ),
}
"""What to say, by a part of torch's message."""


class told_plainly:
    """Within it, an error of torch's that comes of how model and data were made says so.

    Args:
        model: what is explained.
        x: what it is called with.
    Raises:
        ModelError: instead of a RuntimeError that is understood; any other passes as it is.
    """

    def __init__(self, model: Any, x: Any) -> None:
        self._called = (model, x)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        meaning = meaning_of(error, *self._called) if isinstance(error, RuntimeError) else None
        if meaning is not None:
            raise ModelError(meaning) from error


def meaning_of(error: RuntimeError, model: Any, x: Any) -> str | None:
    """What a RuntimeError means for this model and data; None where that is not known."""
    meanings = (meaning for part, meaning in MEANINGS.items() if part in str(error))
    return next(meanings, None) or _other_type(str(error), model, x)


def _other_type(message: str, model: Any, x: Any) -> str | None:
    """Data in another number type than the model's, where torch complains of types."""
    if not isinstance(model, nn.Module) or not any(
        word in message for word in ("dtype", "scalar type", "should be the same")
    ):
        return None
    types = {p.dtype for p in model.parameters() if p.is_floating_point()}
    given = {leaf.dtype for leaf in _tensors(x) if leaf.is_floating_point()}
    if len(types) != 1 or given <= types:
        return None
    own = _brief(next(iter(types)))
    return f"the data are {', '.join(sorted(map(_brief, given)))} and the model is {own}; pass x.to(torch.{own})"


def _tensors(x: Any) -> list[Tensor]:
    values = x.values() if isinstance(x, dict) else x if isinstance(x, tuple | list) else [x]
    return [value for value in values if isinstance(value, Tensor)]


def _brief(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

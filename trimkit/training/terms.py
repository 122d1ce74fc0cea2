"""A TRIM term as it is asked for, and parts as plain values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from trimkit.attributions.base import Attribution
from trimkit.errors import OptionError
from trimkit.methods import Weight, as_schedule
from trimkit.methods.stored import plain
from trimkit.penalties.base import Penalty
from trimkit.predictor import state_hash
from trimkit.targets import Target, require_target
from trimkit.trim import Choice

TrimTarget: TypeAlias = Target
"""Which output a TRIM term explains: "predicted", "label", a class for all, or another `trimkit.targets.Target`."""


@dataclass(frozen=True)
class TrimTerm:
    """A penalty on a predictor's attributions in a latent space.

    Attributes:
        penalty: name, (name, options) or a function of scores → (N,).
        space: of the method; None for its first.
        weight: a schedule, or text as on the command line.
        attribution: name, (name, options) or object; must be differentiable.
        target: see `TrimTarget`.
    """

    penalty: Choice | Penalty
    space: str | None = None
    weight: Weight = 1.0
    attribution: Choice | Attribution = "input_x_gradient"
    target: TrimTarget = "predicted"

    def __post_init__(self) -> None:
        require_target(self.target)

    @classmethod
    def parse(cls, text: str, target: TrimTarget = "predicted") -> TrimTerm:
        """A term as typed: ``PENALTY[@SPACE][:WEIGHT]``, such as ``l1@z:0.1`` or ``hoyer@z:linear(0, 1, 500)``.

        Raises:
            OptionError: something is missing, or the weight is none.
        """
        head, at, tail = text.partition("@")
        front, colon, weight = (tail if at else head).partition(":")
        penalty, space = (head, front) if at else (front, None)
        if not penalty or (at and not space) or (colon and not weight):
            raise OptionError(f"expected PENALTY[@SPACE][:WEIGHT], such as l1@z:0.1, got {text!r}")
        as_schedule(weight or 1.0)  # refuses what is no weight; the text is kept, since run folders record it
        return cls(penalty, space, weight or 1.0, target=target)

    @property
    def name(self) -> str:
        """``penalty@space``, by which its value is logged and its weight can be set."""
        chosen = self.penalty[0] if isinstance(self.penalty, tuple) else self.penalty
        if not isinstance(chosen, str):
            function = chosen.func if isinstance(chosen, partial) else chosen
            chosen = getattr(function, "__name__", type(function).__name__)
        return f"{chosen}@{self.space}" if self.space else chosen


def described(part: Any, within: tuple[Any, ...] = ()) -> Any:
    """A part as plain values that tell it from others of its kind.

    Args:
        part: a name, (name, options), a function, a partial, or an object, whose public attributes are its options.
        within: the objects that hold it, which are not described again.
    """
    if isinstance(part, Mapping):
        return {str(key): described(value, within) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [described(value, within) for value in part]
    if isinstance(part, Tensor | np.ndarray):
        bytes_of = torch.as_tensor(part).detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        return f"{part.dtype} {tuple(part.shape)} {hashlib.sha256(bytes_of.numpy().data).hexdigest()}"
    if isinstance(part, partial):
        return {"function": described(part.func, within), "given": described((part.args, part.keywords), within)}
    if isinstance(part, nn.Module):
        return {"class": plain(type(part)), "sha256": state_hash(part)}
    options = {} if hasattr(part, "__qualname__") or any(part is outer for outer in within) else _public(part)
    return {"class": plain(part), **described(options, (*within, part))} if options else plain(part)


def _public(part: Any) -> dict[str, Any]:
    return {name: value for name, value in getattr(part, "__dict__", {}).items() if not name.startswith("_")}

"""Copies of a model with all weights drawn anew: what its explanations look like when it has learned nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from trimkit.audit.examine import parameters_of
from trimkit.audit.statistics import key
from trimkit.errors import ModelError
from trimkit.predictor import FrozenPredictor, state_hash

_RESETS = ("reset_parameters", "_reset_parameters")
"""The methods by which torch's modules draw their weights; attention and transformers have the second."""


def randomised_copies(model: Any, count: int, seed: int) -> list[nn.Module]:
    """Copies of a model in evaluation mode, every parameter initialised anew by its own module.

    The copies are drawn on the CPU, each from its own key, so they are the same on every device; the model and the
    global random state are left as they are.

    Args:
        model: a module.
        count: number of copies.
        seed: of the audit.
    Returns:
        The copies, on the model's device.
    Raises:
        ModelError: the model cannot be copied, has no weights, or has weights that no module of its resets.
    """
    if not isinstance(model, nn.Module) or not parameters_of(model):
        raise ModelError("a bare function or a model without parameters has no weights to draw anew")
    source = model.inner if isinstance(model, FrozenPredictor) else model
    copies = [_randomised(source, key(seed, "randomised copy", number)) for number in range(count)]
    if len({state_hash(module) for module in (source, *copies)}) <= count:
        raise ModelError("its modules reset their weights to constants, so that the copies do not differ")
    return copies


def _randomised(source: nn.Module, seed: int) -> nn.Module:
    try:
        module = copy.deepcopy(source)
    except Exception as error:
        raise ModelError(f"it cannot be copied ({error})") from error
    device = next(module.parameters()).device
    module.cpu()
    before = {name: parameter._version for name, parameter in module.named_parameters()}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for reset in _resets(module):
            reset()
    kept = [name for name, parameter in module.named_parameters() if parameter._version == before[name]]
    if kept:
        raise ModelError(f"no module resets {_named(kept)}; give the module that owns it a reset_parameters() method")
    return module.to(device).eval()


def _resets(module: nn.Module) -> list[Callable[[], None]]:
    """Children before parents: a parent's own scheme, where it has one, has the last word."""
    found = []
    for part in reversed(list(module.modules())):
        name = next((name for name in _RESETS if callable(getattr(part, name, None))), None)
        if name:
            found.append(getattr(part, name))
    return found


def _named(names: list[str]) -> str:
    more = f" and {len(names) - 1} other parameters" if len(names) > 1 else ""
    return f"the parameter {names[0]!r}{more}"

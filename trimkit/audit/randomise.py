"""Copies of a model with all weights drawn anew: what its explanations look like when it has learned nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trimkit.audit.modules import parameters_of
from trimkit.audit.statistics import key
from trimkit.errors import ModelError
from trimkit.predictor import FrozenPredictor, state_hash
from trimkit.predictor.state import copy_of

_RESETS = ("reset_parameters", "_reset_parameters")
"""The methods by which torch's modules draw their weights; attention and transformers have the second."""


def randomised_copies(model: Any, count: int, seed: int) -> list[nn.Module]:
    """Copies of a model in evaluation mode, with every parameter drawn anew.

    Each module draws its own (`reset_parameters`), then a model that has a rule for all of its modules applies it
    (`_init_weights`, as Hugging Face's do); a parameter that neither has touched is redrawn from a normal distribution
    with its own mean and spread. The copies are drawn on the CPU, each from its own key, so they are the same on every
    device; the model and the global random state are left as they are.

    Args:
        model: a module.
        count: number of copies.
        seed: of the audit.
    Returns:
        The copies, on the model's device.
    Raises:
        ModelError: the model cannot be copied, has no weights, or only weights that are reset to constants.
    """
    if not isinstance(model, nn.Module) or not parameters_of(model):
        raise ModelError("a bare function or a model without parameters has no weights to draw anew")
    source = model.inner if isinstance(model, FrozenPredictor) else model
    copies = [_randomised(source, key(seed, "randomised copy", number)) for number in range(count)]
    if len({state_hash(module) for module in (source, *copies)}) <= count:
        raise ModelError("its modules reset their weights to constants, so that the copies do not differ")
    return copies


def _randomised(source: nn.Module, seed: int) -> nn.Module:
    module = copy_of(source)
    device = next(module.parameters()).device
    module.cpu()
    before = {name: (p._version, p.detach().clone()) for name, p in module.named_parameters()}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        with torch.no_grad():
            for reset in _resets(module):
                reset()
            for name, parameter in module.named_parameters():
                version, old = before[name]
                if parameter._version == version:
                    parameter.copy_(_redrawn(old))
    return module.to(device).eval()


def _resets(module: nn.Module) -> Iterator[Callable[[], Any]]:
    """Children before parents: a parent's own scheme, where it has one, has the last word."""
    parts = list(reversed(list(module.modules())))
    for part in parts:
        name = next((name for name in _RESETS if callable(getattr(part, name, None))), None)
        if name:
            yield getattr(part, name)
    for owner in parts:
        rule = getattr(owner, "_init_weights", None)
        if callable(rule):
            for part in reversed(list(owner.modules())):
                yield lambda rule=rule, part=part: rule(part)


def _redrawn(values: Tensor) -> Tensor:
    """Normal values of the same mean and spread; of a constant, whose spread is zero, the constant itself."""
    spread = values.std(correction=0) if values.numel() > 1 else values.abs().mean()
    return values.mean() + spread * torch.randn(values.shape, dtype=values.dtype)

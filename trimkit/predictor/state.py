"""All that makes a module compute what it computes: copied without sharing, and hashed."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from trimkit.errors import ModelError

_TORCHS_OWN = frozenset(vars(nn.Module()))
"""Attributes of every module: its parameters, buffers, hooks and children."""


def copy_of(model: nn.Module) -> nn.Module:
    """A copy that shares nothing; TorchScript and tensors that are computed from parameters (weight_norm) included.

    Raises:
        ModelError: a module that cannot be copied, or whose lazy parameters have no shape yet.
    """
    if any(is_lazy(parameter) for parameter in model.parameters()):
        raise ModelError(f"{type(model).__name__} has lazy parameters without a shape; call it once on data first")
    computed = [value for part in model.modules() for _, value in _attributes(part) if not value.is_leaf]
    try:
        with torch.no_grad():  # else a script's parameters are copied as results of an operation
            copied = copy.deepcopy(model, {id(value): value.detach().clone() for value in computed})
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__} cannot be copied ({error}); keep what cannot be copied (open files, locks) "
            "outside the module, or export it by torch.jit.trace(model, x)"
        ) from error
    for parameter, original in zip(copied.parameters(), model.parameters(), strict=True):
        parameter.requires_grad_(original.requires_grad)
    return copied


def state_hash(module: nn.Module, held: Collection[str] | None = None) -> str:
    """sha256 over name, type, shape and bytes of a module's state.

    That is every parameter and buffer, saved or not; tensors that modules hold as plain attributes or in lists, tuples
    and dicts of them; and what `get_extra_state` gives.

    Args:
        module: any module.
        held: names of the tensors held as attributes that count, see `held_tensors`; by default all.
    """
    return hash_of(all_tensors(module, held), extra_states(module))


def hash_of(tensors: Iterable[tuple[str, Tensor]], extra: Iterable[tuple[str, Any]] = ()) -> str:
    """sha256 over named tensors and named extra states."""
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        dense = tensor.detach() if tensor.layout == torch.strided else tensor.detach().to_dense()
        digest.update(dense.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    for name, state in extra:
        digest.update(f"{name}|{hash_of(_inside(name, state))}|{_without_tensors(state)!r}|".encode())
    return digest.hexdigest()


def all_tensors(module: nn.Module, held: Collection[str] | None = None) -> list[tuple[str, Tensor]]:
    """Parameters, buffers, and the tensors held as attributes, all of them or those that are named."""
    kept = [pair for pair in held_tensors(module) if held is None or pair[0] in held]
    return [*module.named_parameters(), *module.named_buffers(), *kept]


def held_tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Tensors that modules hold as attributes or in their lists, tuples and dicts.

    Left out is what is listed as a parameter or buffer as well, and what is computed from them at each call: results
    with a graph, and the weights of weight_norm and spectral_norm.
    """
    listed = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    return [
        (f"{path}.{name}", value)
        for path, part in module.named_modules()
        for name, value in _attributes(part)
        if value.is_leaf and id(value) not in listed and name not in _computed_names(part)
    ]


def extra_states(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """What `get_extra_state` gives, of each module that has one."""
    for path, part in module.named_modules():
        if not isinstance(part, torch.jit.ScriptModule) and type(part).get_extra_state is not nn.Module.get_extra_state:
            yield path, part.get_extra_state()


def _attributes(part: nn.Module) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(part, torch.jit.ScriptModule):
        for name, value in vars(part).items():
            if name not in _TORCHS_OWN:
                yield from _inside(name, value)


def _computed_names(part: nn.Module) -> set[str]:
    return {getattr(hook, "name", "") for hook in part._forward_pre_hooks.values()}


def _inside(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield from _inside(f"{name}[{index}]", child)
    elif isinstance(value, Mapping):
        for key, child in value.items():
            yield from _inside(f"{name}[{key!r}]", child)


def _without_tensors(state: Any) -> Any:
    if isinstance(state, Tensor):
        return "tensor"
    if isinstance(state, list | tuple):
        return [_without_tensors(child) for child in state]
    return {key: _without_tensors(child) for key, child in state.items()} if isinstance(state, Mapping) else state

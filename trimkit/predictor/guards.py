"""What is refused, warned of, or put back in order around a model that is explained."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from trimkit.coefficients import tree
from trimkit.errors import ModelError, ShapeError, TrimkitWarning
from trimkit.predictor.graph import custom_functions
from trimkit.predictor.turns import alone, process_wide


def check_input(x: Any) -> None:
    """Refuse what cannot be explained, before any work.

    Raises:
        ShapeError: not a tensor, not floating, complex, without samples or without axes.
    """
    if not isinstance(x, Tensor):
        raise ShapeError(f"expected a tensor x (N, ...), got {type(x).__name__}; convert it with torch.as_tensor")
    if x.is_complex():
        raise ShapeError(
            f"expected floating real x, got {x.dtype}; pass torch.view_as_real(x), with a model that takes it, or "
            "explain the spectrum of real data: transform='fft'"
        )
    if not x.is_floating_point():
        raise ShapeError(
            f"expected floating x, got {x.dtype}; convert it as in training, e.g. x.float() / 255, or "
            "explain token ids at their embedding: at='embedding', the path of that module"
        )
    if x.ndim < 2 or 0 in x.shape:
        raise ShapeError(f"expected x (N, ...) with at least one sample and one feature, got {tuple(x.shape)}")


def is_finite(x: Tensor) -> bool:
    """Whether a tensor holds no NaN or infinity; by its sum, unless that overflows."""
    return bool(torch.isfinite(x.detach().sum())) or bool(torch.isfinite(x).all())


@contextmanager
def unchanged(model: Any) -> Iterator[None]:
    """Leave a model's buffers, and the global random state where the model could draw from it, as they were.

    Within, no other thread explains the model.
    """
    with alone(model):
        if not isinstance(model, nn.Module) or not any(module.training for module in model.modules()):
            yield
            return
        with process_wide(), _put_back(model):
            yield


@contextmanager
def _put_back(model: nn.Module) -> Iterator[None]:
    buffers = [
        (m, name, b, b.detach().clone()) for m in model.modules() for name, b in m._buffers.items() if b is not None
    ]
    devices = {p.device.index for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices)):
        try:
            yield
        finally:
            with torch.no_grad():
                for module, name, buffer, saved in buffers:
                    module._buffers[name] = buffer  # a model may replace one instead of writing to it
                    if not torch.equal(buffer, saved):  # a write, even of the same values, would spoil saved graphs
                        buffer.copy_(saved)


def refuse_wrappers(model: Any) -> None:
    """Refuse wrappers whose second derivatives are silently wrong.

    Raises:
        ModelError: FSDP, or DDP with static_graph=True.
    """
    for module in model.modules() if isinstance(model, nn.Module) else ():
        names = {base.__name__ for base in type(module).__mro__}
        if names & {"FullyShardedDataParallel", "FSDPModule"}:
            raise ModelError(
                "a penalty under FSDP is refused: its second derivatives fail or are silently wrong; use "
                "DistributedDataParallel, or the training loop of trimkit"
            )
        if "DistributedDataParallel" in names and getattr(module, "static_graph", False):
            raise ModelError(
                "a penalty under DistributedDataParallel(static_graph=True) is refused: its gradients are silently not "
                "reduced across processes; build the wrapper with static_graph=False"
            )


def is_compiled(model: Any) -> bool:
    """True where a part of a model was compiled; compiled code has no second derivative."""
    return isinstance(model, nn.Module) and any(map(_compiled, model.modules()))


def _compiled(module: nn.Module) -> bool:
    return hasattr(module, "_orig_mod") or module._compiled_call_impl is not None


def why_not_again(model: Any) -> str | None:
    """Why a model must not be called during backward; None where it may."""
    if not isinstance(model, nn.Module):
        return None
    if any("DistributedDataParallel" in {base.__name__ for base in type(m).__mro__} for m in model.modules()):
        return "DistributedDataParallel cannot be called during the backward pass"
    return "batch normalisation in train mode would count the batch again" if mixes_samples(model) else None


def mixes_samples(model: Any) -> bool:
    """True for a model with batch normalisation in train mode: a sample's output depends on the rest of its batch."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in modules)


def drops(model: Any) -> bool:
    """True for a model with dropout in train mode."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    return any(isinstance(m, nn.modules.dropout._DropoutNd) and m.training for m in modules)


def changes_in_training(model: Any) -> bool:
    """True for a model whose mode makes another function of it at each call."""
    return mixes_samples(model) or drops(model)


def warn_of_custom_functions(output: Any) -> None:
    """Warn of custom autograd Functions behind an output: only the numeric check can tell whether they are right."""
    try:
        leaves = tree.leaves(output)
    except ShapeError:  # a model's own output class
        return
    names = sorted({name for leaf in leaves for name in custom_functions(leaf)})
    if names:
        warnings.warn(
            f"the model uses custom autograd Functions ({', '.join(names)}), whose second derivative may be silently "
            "wrong; compare with finite differences: trimkit.check_attribution(attribution, model, x, target=…)",
            TrimkitWarning,
            stacklevel=6,
        )


_warned: WeakSet[nn.Module] = WeakSet()  # ids would be given to later models


def warn_of_train_mode(model: Any, *, dropout: bool) -> None:
    """Warn, once for each model, that its mode makes scores that are not those of a sample and a network.

    Args:
        model: in any mode.
        dropout: warn of dropout too; in a training step it is what the user wants.
    """
    if not isinstance(model, nn.Module) or not model.training or model in _warned:
        return
    _warned.add(model)
    if mixes_samples(model):
        warnings.warn(
            "the model has batch normalisation in train mode: the gradient of a sample's output also flows to the "
            "other samples of the batch, so scores are not per sample, and points on a path count in its running "
            "statistics; put these layers in eval mode, or use group or layer normalisation",
            TrimkitWarning,
            stacklevel=4,
        )
    elif dropout and drops(model):
        warnings.warn(
            "the model has dropout in train mode: what is explained is one random network; call model.eval() first",
            TrimkitWarning,
            stacklevel=4,
        )

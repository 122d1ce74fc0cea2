"""The attention kernel that has a second derivative, in the forward and wherever a backward pass computes it again."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from trimkit.predictor.rows import map_tensors

_active = threading.local()


def math_attention() -> AbstractContextManager[Any]:
    """Attention by plain operations, the one kernel of torch that is twice differentiable."""
    return sdpa_kernel(SDPBackend.MATH)


def math_in_backward(values: Any) -> Any:
    """Let the backward pass from these tensors run under `math_attention` too.

    Gradient checkpointing computes parts of the forward again during backward, and must find the kernel that it saved.
    """

    def watch(leaf: Tensor) -> Tensor:
        if leaf.requires_grad:
            leaf.register_hook(_enter)
        return leaf

    map_tensors(watch, values)
    return values


def _enter(gradient: Tensor) -> None:
    """Change the kernel for the rest of this backward pass, once."""
    if getattr(_active, "on", False):
        return
    context = math_attention()
    context.__enter__()
    _active.on = True

    def leave() -> None:
        _active.on = False
        context.__exit__(None, None, None)

    torch.autograd.Variable._execution_engine.queue_callback(leave)

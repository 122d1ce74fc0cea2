"""The attention kernel that has a second derivative, in the forward and wherever a backward pass computes it again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from trimkit.predictor.rows import map_tensors

_active = threading.local()


@contextmanager
def math_attention() -> Iterator[None]:
    """Attention by plain operations, the one kernel of torch that is twice differentiable."""
    if not (torch._C._get_flash_sdp_enabled() or torch._C._get_mem_efficient_sdp_enabled()) and _is_math_enabled():
        yield
        return
    with sdpa_kernel(SDPBackend.MATH):
        yield


def _is_math_enabled() -> bool:
    return torch._C._get_math_sdp_enabled() and not torch._C._get_cudnn_sdp_enabled()


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

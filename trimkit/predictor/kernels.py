"""The attention kernel that has a second derivative, in the forward and wherever a backward pass computes it again."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor

from trimkit.predictor.rows import map_tensors

_active = threading.local()

_KERNELS = ("math", "flash", "mem_efficient", "cudnn", "overrideable")
_GET = [getattr(torch._C, f"_get_{name}_sdp_enabled") for name in _KERNELS]
_SET = [getattr(torch._C, f"_set_sdp_use_{name}") for name in _KERNELS]


class math_attention:
    """Attention by plain operations, the one kernel of torch that is twice differentiable.

    `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`, at a fifteenth of its time: a small model would feel that.
    """

    def __enter__(self) -> None:
        self._before = [get() for get in _GET]
        _choose([True, False, False, False, False])

    def __exit__(self, *exception: object) -> None:
        _choose(self._before)


def _choose(enabled: list[bool]) -> None:
    for use, value in zip(_SET, enabled, strict=True):
        use(value)


def math_in_backward(values: Any) -> Any:
    """Let the backward pass from these tensors run under `math_attention` too.

    Gradient checkpointing computes parts of the forward again during backward, and must find the kernel that it saved.
    """

    def watch(leaf: Tensor) -> Tensor:
        if leaf.grad_fn is not None:
            leaf.grad_fn.register_prehook(_enter)
        return leaf

    map_tensors(watch, values)
    return values


def _enter(gradients: tuple[Tensor, ...]) -> None:
    """Change the kernel for the rest of this backward pass, once."""
    if getattr(_active, "on", False):
        return
    torch.autograd.Variable._execution_engine.queue_callback(_Leave())


class _Leave:
    """Back to the kernel of before, when it is called, at the end of a backward pass, or dropped, where that fails."""

    def __init__(self) -> None:
        self._context: math_attention | None = math_attention()
        self._context.__enter__()
        self._state = vars(_active)  # of this thread, though another may come to the end
        self._state["on"] = True

    def __call__(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            self._state["on"] = False
            context.__exit__()

    __del__ = __call__

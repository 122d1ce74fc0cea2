"""In which number format networks run, and what else is quick: networks in 16 bits, losses and explanations in 32."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn

from trimkit.errors import TrimkitWarning
from trimkit.training.settings import Precision, Settings

FABRIC = {"32": "32-true", "64": "64-true", "bf16": "bf16-mixed", "16": "16-mixed"}
"""Our names → Lightning Fabric's."""


def resolved(settings: Settings, accelerator: str) -> Precision:
    """The number format of a run: `Settings.fast` asks for bf16, and gets it where the processor has it.

    Warns:
        TrimkitWarning: it has not; the run is in float32.
    """
    if not settings.fast or settings.precision != "32":
        return settings.precision
    reason = why_no_bf16(accelerator)
    if reason is None:
        return "bf16"
    warnings.warn(f"fast trains in float32, not bf16: {reason}", TrimkitWarning, stacklevel=2)
    return "32"


def why_no_bf16(accelerator: str) -> str | None:
    """Why bf16 would not be fast on "cpu", "cuda" or "mps"; None where it is."""
    if accelerator == "cuda":
        return None if torch.cuda.is_bf16_supported(including_emulation=False) else "this GPU has no bf16 arithmetic"
    if accelerator == "cpu":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return None if native else "this CPU has no bf16 arithmetic (AVX512-BF16 or AMX)"
    return f"bf16 is not known to be fast on {accelerator!r}"


@contextmanager
def mixed(module: nn.Module, context: Callable[[], AbstractContextManager[Any]], convert: Any) -> Iterator[None]:
    """Run the networks of a module under autocast for a while, and hand their outputs on in float32.

    Its networks are its children: what the module computes with their outputs, KL, logsumexp, likelihoods, stays in
    float32, without a line in the module about it.

    Args:
        module: such as a method.
        context: makes the autocast.
        convert: outputs → outputs in float32.
    """
    children = dict.fromkeys(_networks(module))  # one that has two names, once
    networks = [network for network in children if any(True for _ in network.parameters())]
    own = [network.__dict__.get("forward") for network in networks]
    for network in networks:
        network.forward = _under(network.forward, context, convert)
    try:
        yield
    finally:
        for network, forward in zip(networks, own, strict=True):
            if forward is None:
                del network.__dict__["forward"]
            else:
                network.forward = forward


def quicken(module: nn.Module, optimisers: list[torch.optim.Optimizer]) -> None:
    """Lay convolutions' weights out with channels last, and let Adam take its step in one kernel."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for optimiser in optimisers:
        if isinstance(optimiser, torch.optim.Adam | torch.optim.AdamW):
            for group in optimiser.param_groups:
                group["fused"], group["foreach"] = True, False


def _networks(module: nn.Module) -> Iterator[nn.Module]:
    """Children, and those of lists and dicts of modules, which are never called themselves."""
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _networks(child)
        else:
            yield child


def _under(forward: Callable[..., Any], context: Callable[[], AbstractContextManager[Any]], convert: Any) -> Any:
    def run(*args: Any, **kwargs: Any) -> Any:
        with context():
            output = forward(*args, **kwargs)
        return convert(output)

    return run

"""What processes that train together tell each other: one flat message a purpose, in the same order everywhere.

We never wrap modules in DistributedDataParallel: its hooks see ordinary backward passes only, need every parameter in
every step, and are silently wrong with a static graph. See docs/decisions/0003-engine.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def reduce_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Give every process the mean of all processes' gradients, by one all-reduce for each type.

    A parameter without gradient on every process keeps none: Adam would move it on zeros. One that some process lacks
    counts as zeros there.

    Args:
        parameters: in the same order on every process, each with an equal share of the batch.
    """
    for chosen in _by_dtype([p for p in parameters if p.requires_grad]):
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in chosen])
        used = flat.new_tensor([p.grad is not None for p in chosen])
        buffer = torch.cat([flat / dist.get_world_size(), used])
        dist.all_reduce(buffer)
        flat, used = buffer.split([flat.numel(), used.numel()])
        gradients = flat.split([p.numel() for p in chosen])
        for p, gradient, flag in zip(chosen, gradients, used.tolist(), strict=True):
            p.grad = gradient.view_as(p) if flag else None


@torch.no_grad()
def broadcast(module: nn.Module) -> None:
    """Give every process the parameters and buffers of the first."""
    for tensor in [*module.parameters(), *module.buffers()]:
        whole = tensor.detach().contiguous()
        dist.broadcast(whole, 0)
        tensor.copy_(whole)


@torch.no_grad()
def average_buffers(module: nn.Module) -> None:
    """Give every process the mean of all processes' floating buffers; what is equal everywhere stays, bit for bit.

    Exact for running means. A running variance (batch normalisation) is that of the shares, as without SyncBatchNorm.
    """
    for buffers in _by_dtype([b for b in module.buffers() if b.is_floating_point()]):
        flat = torch.cat([buffer.reshape(-1) for buffer in buffers])
        rows = [torch.empty_like(flat) for _ in range(dist.get_world_size())]
        dist.all_gather(rows, flat)
        stacked = torch.stack(rows)
        merged = torch.where((stacked == stacked[0]).all(0), stacked[0], stacked.mean(0))
        for buffer, values in zip(buffers, merged.split([b.numel() for b in buffers]), strict=True):
            buffer.copy_(values.view_as(buffer))


def average_numbers(numbers: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """The means of numbers over processes.

    Args:
        numbers: name → number, or list of numbers; the same names everywhere.
        device: of the message.
    """
    tensors = [torch.as_tensor(value, dtype=torch.float64) for value in numbers.values()]
    kind = torch.float32 if device.type == "mps" else torch.float64
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors]).to(device, kind)
    dist.all_reduce(flat)
    parts = (flat / dist.get_world_size()).cpu().split([tensor.numel() for tensor in tensors])
    return {name: part.view_as(tensor).tolist() for name, part, tensor in zip(numbers, parts, tensors, strict=True)}


def largest(numbers: Sequence[int], device: torch.device) -> list[int]:
    """The largest of each number over processes."""
    message = torch.tensor(numbers, dtype=torch.int64, device=device)
    dist.all_reduce(message, dist.ReduceOp.MAX)
    return message.tolist()


def _by_dtype(tensors: Iterable[Any]) -> Iterable[list[Any]]:
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(tensor)
    return groups.values()

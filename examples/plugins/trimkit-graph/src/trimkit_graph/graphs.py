"""Graphs by name or by edges, and their Laplacians."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from trimkit.errors import OptionError

Edges: TypeAlias = Literal["path", "ring"] | Sequence[Sequence[int]]
"""Nodes in a row, nodes in a circle, or pairs of nodes."""


def laplacian(edges: Edges, nodes: int, owner: str) -> Tensor:
    """The symmetric normalised Laplacian I − D^-½ A D^-½ of an undirected graph: (nodes, nodes) float64.

    Args:
        edges: see `Edges`; pairs are taken once, in either order.
        nodes: how many there are.
        owner: whose option it is, for the message.
    Raises:
        OptionError: an edge to a node that does not exist, a loop, or an unknown name.
    """
    pairs = torch.tensor(_pairs(edges, nodes, owner), dtype=torch.long).reshape(-1, 2)
    outside = bool((pairs < 0).any()) or bool((pairs >= nodes).any())
    if outside or bool((pairs[:, 0] == pairs[:, 1]).any()):
        raise OptionError(f"{owner}: expected edges between two of the nodes 0 … {nodes - 1}, got {pairs.tolist()}")
    adjacency = torch.zeros(nodes, nodes, dtype=torch.float64)
    adjacency[pairs[:, 0], pairs[:, 1]] = adjacency[pairs[:, 1], pairs[:, 0]] = 1.0
    scale = adjacency.sum(1).clamp_min(1).rsqrt()
    return torch.diag((adjacency.sum(1) > 0).double()) - scale[:, None] * adjacency * scale


def _pairs(edges: Edges, nodes: int, owner: str) -> list[list[int]]:
    row = [[node, node + 1] for node in range(nodes - 1)]
    if edges == "path":
        return row
    if edges == "ring":
        return [*row, [nodes - 1, 0]] if nodes > 2 else row
    if isinstance(edges, str):
        raise OptionError(f"{owner}: expected edges as 'path', 'ring' or pairs of nodes, got {edges!r}")
    return [[int(a), int(b)] for a, b in edges]

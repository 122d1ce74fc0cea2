"""Importance that changes little between neighbours of a graph."""

from __future__ import annotations

from torch import Tensor
from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree

from trimkit_graph.graphs import Edges, laplacian


def roughness(scores: Tree, *, edges: Edges = "path") -> Tensor:
    """aᵀ L a with the graph's normalised Laplacian L, summed over all axes but the last, which are the nodes.

    0 where a / √degree is constant on the graph. A sample whose scores are all 0 has value 0 and no gradient.

    Args:
        scores: real leaves (N, ..., nodes).
        edges: "path", "ring", or pairs of nodes.
    Returns:
        (N,) values ≥ 0.
    Raises:
        OptionError: edges that are none.
    """
    parts = []
    for leaf in tree.leaves(scores):
        rows = leaf.flatten(1, -2) if leaf.ndim > 2 else leaf[:, None]
        matrix = laplacian(edges, leaf.shape[-1], "graph-roughness").to(leaf)
        parts.append(((rows @ matrix) * rows).sum((1, 2)))
    return sum(parts[1:], start=parts[0])

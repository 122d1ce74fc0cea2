"""A graph network: nodes are rows that edges join, so an input that indexes rows has a rule."""

from __future__ import annotations

import torch
from _case import Case, show
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class GraphNetwork(nn.Module):
    """Features of nodes and edges → three logits a node, by two rounds of messages."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, width), nn.Linear(width, width), nn.Linear(width, 3)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        """(N, 5), (2, E), (E,) → (N, 3)."""

        def spread(h: Tensor) -> Tensor:
            messages = h[edge_index[0]] * edge_weight[:, None]
            return h + torch.zeros_like(h).index_add(0, edge_index[1], messages)

        return self.head(spread(self.second(spread(self.first(x)).tanh())).tanh())


def case() -> Case:
    """Twenty nodes, forty edges."""
    torch.manual_seed(0)
    labels = torch.arange(20) % 3
    inputs = {"x": torch.randn(20, 5), "edge_index": torch.randint(20, (2, 40)), "edge_weight": torch.rand(40)}
    return Case(
        GraphNetwork(),
        inputs,
        lambda output: cross_entropy(output, labels),
        labels,
        at="x",
        rows={"edge_index": "graph", "edge_weight": "edge"},
    )


if __name__ == "__main__":
    show(case())

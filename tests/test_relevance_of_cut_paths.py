"""Layerwise relevance of models that keep gradients from a part of what they compute."""

import pytest
import torch
from torch import nn

import trimkit
from trimkit.errors import AttributionError

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


class Gate(nn.Module):
    """Its input times a function of it that no gradient comes back from."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        if self.kind == "detach":
            return (x * x.detach()).sum(1)
        with torch.no_grad():
            gate = 2 * x
        return (x * gate).sum(1)


def test_a_detached_factor_has_its_share_of_the_change():
    result = trimkit.Trim(Gate("detach"), attribution="layerwise_relevance")(X)
    assert torch.allclose(result.scores, X.square())
    assert result.gap.abs().max() < 1e-5


def test_a_part_without_a_graph_is_refused():
    with pytest.raises(AttributionError, match=r"scores miss the change of the outputs .*torch.no_grad"):
        trimkit.Trim(Gate("no_grad"), attribution="layerwise_relevance")(X)

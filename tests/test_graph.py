import importlib
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from trimkit.errors import PenaltyError
from trimkit.predictor.graph import (
    custom_functions,
    graph_leaves,
    graph_nodes,
    missing_second_derivative,
    require_reach,
)

MODEL = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
X = torch.randn(5, 3)


def test_a_value_leads_to_the_parameters_that_made_it():
    assert {id(p) for p in MODEL.parameters()} == {id(leaf) for leaf in graph_leaves(MODEL(X).sum())}
    assert list(graph_leaves(torch.ones(1))) == []


def test_nodes_are_visited_once_also_where_paths_meet():
    x = torch.ones(1, requires_grad=True)
    y = x * 2
    for _ in range(40):
        y = y + y  # 2^40 paths
    assert len(list(graph_nodes(y))) == 42


def test_reach_is_counted():
    x = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(MODEL(x).sum(), x, create_graph=True)
    assert require_reach(gradient.sum(), MODEL.parameters(), "penalty") == 3  # the last bias plays no part


def test_what_would_train_nothing_is_refused_with_the_reason():
    other = nn.Linear(3, 1)
    with pytest.raises(PenaltyError, match="reaches none of the 2 parameters"):
        require_reach(MODEL(X).sum(), other.parameters(), "penalty")
    with pytest.raises(PenaltyError, match="has no graph"):
        require_reach(MODEL(X).sum().detach(), MODEL.parameters(), "penalty")
    with pytest.raises(PenaltyError, match="every parameter it is meant for is frozen"):
        require_reach(MODEL(X).sum(), other.requires_grad_(False).parameters(), "penalty")


def test_operations_without_second_derivative_are_found_with_their_remedy():
    q = torch.randn(1, 1, 4, 8, requires_grad=True)
    attention = torch.nn.functional.scaled_dot_product_attention(q, q, q)
    (gradient,) = torch.autograd.grad(attention.sum(), q, create_graph=True)
    assert "SDPBackend.MATH" in missing_second_derivative(gradient.sum())
    a = torch.randn(3, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(torch.cdist(a, a + 1).sum(), a, create_graph=True)
    assert "torch.cdist" in missing_second_derivative(gradient.sum())
    (gradient,) = torch.autograd.grad(a.sin().sum(), a, create_graph=True)
    assert missing_second_derivative(gradient.sum()) is None


def test_the_identity_of_distributed_training_is_no_custom_function():
    sink = importlib.import_module("torch.nn.parallel.distributed")._DDPSink
    wrapper = SimpleNamespace(_ddp_sink_clone=True)
    (output,) = sink.apply(lambda: wrapper, torch.ones(2, requires_grad=True) * 2)
    assert "_DDPSink" in type(output.grad_fn).__name__
    assert custom_functions(output) == []

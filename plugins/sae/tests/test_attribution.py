"""A model's output attributed to the features of a layer, with the error as a node of its own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import trimkit
from trimkit.predictor.activations import collect


class Net(nn.Module):
    """Tokens (n, 4, 5) → a smooth layer of the same shape → two logits, which read all tokens and the input again."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layer = nn.Sequential(nn.Linear(5, 5), nn.Tanh())
        self.head = nn.Sequential(nn.Linear(5, 6), nn.Tanh())
        self.skip = nn.Linear(5, 2)
        self.out = nn.Linear(6, 2)

    def forward(self, x):
        return self.out(self.head(self.layer(x)).sum(1)) + self.skip(x.mean(1))


@pytest.fixture
def net():
    return Net().double().eval()


@pytest.fixture
def tokens():
    return torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def space(name, make):
    return make(name).eval().as_transform("features+error")


EXACT = ("integrated_gradients", {"n_steps": 64})


def test_features_and_error_add_up_to_the_change_of_the_output(name, space, net, tokens):
    result = trimkit.Trim(net, transform=space, attribution=EXACT, at="layer")(tokens, target=1)
    assert result.scores.shape == (3, 4, 12 + 5)
    empty = space.inverse(torch.zeros_like(result.scores), (4, 5))  # the dictionary's bias
    at_zero = net.out(net.head(empty).sum(1)) + net.skip(tokens.mean(1))
    change = (net(tokens) - at_zero)[:, 1]
    sums = space.groups((4, 5)).sums(result.scores)
    assert sums.shape == (3, 13)
    assert_close(sums.sum(1), change, rtol=0, atol=1e-12)
    assert sums[:, -1].abs().min() > 1e-3  # the error has a share
    assert_close(result.residual, torch.zeros_like(tokens), rtol=0, atol=1e-14)


def test_without_the_node_the_error_stays_where_it_is(make, net, tokens):
    space = make("topk-sae").eval().as_transform()
    result = trimkit.Trim(net, transform=space, attribution=EXACT, at="layer")(tokens, target=1)
    h = net.layer(tokens)
    assert_close(result.residual, h - space.inverse(space(h), (4, 5)))
    bias = space.inverse(torch.zeros_like(result.scores), (4, 5))
    left = net.out(net.head(bias + result.residual).sum(1)) + net.skip(tokens.mean(1))
    assert_close(result.scores.flatten(1).sum(1), (net(tokens) - left)[:, 1], rtol=0, atol=1e-12)


def test_the_score_of_a_feature_is_its_value_times_the_gradient_along_its_direction(make, tokens, net):
    method = make("topk-sae").eval()
    trim = trimkit.Trim(
        net, transform=method.as_transform("features+error"), attribution="input_x_gradient", at="layer"
    )
    scores = trim(tokens, target=0).scores
    h = net.layer(tokens).detach().requires_grad_()
    (net.out(net.head(h).sum(1))[:, 0]).sum().backward()
    z = method.read(h, "features")
    along = h.grad @ (method.dictionary.directions * method.scale).T
    assert_close(scores[..., :12], z * along)
    assert_close(scores[..., 12:], (h - method.write(z, "features")) * h.grad)


def test_a_penalty_at_the_layer_trains_the_network(make, net, tokens):
    space = make("topk-sae").eval().as_transform("features+error")
    penalty = trimkit.TrimPenalty("l1", transform=space, attribution="input_x_gradient", at="layer")
    optimiser = torch.optim.SGD(net.parameters(), 0.05)
    values = []
    for _ in range(20):
        output, value = penalty(net, tokens, target=1)
        assert_close(output, net(tokens))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert values[-1] < 0.7 * values[0]


def test_a_penalty_trains_the_dictionary_too(make, net, tokens):
    method = make("topk-sae").eval()
    penalty = trimkit.TrimPenalty(
        "l1", transform=method.as_transform(), at="layer", parameters=list(method.parameters())
    )
    penalty.penalise(net, tokens, target=1).backward()
    assert method.dictionary.directions.grad.abs().sum() > 0
    assert method.encoder.weight.grad.abs().sum() > 0


def test_gradients_along_unit_directions_may_be_penalised(make, net, tokens):
    space = make("topk-sae").eval().as_transform()
    penalty = trimkit.TrimPenalty("l1", transform=space, attribution="saliency", at="layer")
    assert penalty.penalise(net, tokens, target=1) > 0


def test_the_rest_of_a_network_is_audited_in_the_features_of_its_layer():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 6), nn.Tanh(), nn.Linear(6, 10)).eval()
    data = collect(net, "2", trimkit.data.load("digits", "test").take(300))
    method = trimkit.create("method", "topk-sae", shape=(6,), features=18, k=4)
    trimkit.train(method, data, steps=50, batch_size=16)
    space = method.eval().as_transform("features+error")
    report = trimkit.audit(net[3:].eval(), data, transform=space, samples=300)
    assert {str(report.verdict(check).status) for check in ("reconstruction", "completeness")} == {"PASS"}

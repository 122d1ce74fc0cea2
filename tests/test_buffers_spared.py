"""A penalty of several forwards counts in a model's buffers as one forward does, and all see the same function."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm

import trimkit

SEVERAL = ("integrated_gradients", {"n_steps": 4, "chunk": 1, "memory": "graph"})
TWICE = ("integrated_gradients", {"n_steps": 4, "chunk": 1, "memory": "two_pass"})


class Centres(nn.Module):
    """Takes off a moving average of its inputs, and counts its calls."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.register_buffer("mean", torch.zeros(6))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        self.calls += 1
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return self.last(x - self.mean).tanh()


def perceptron(first):
    return nn.Sequential(first, nn.Tanh(), nn.Linear(5, 3))


MODELS = {
    "spectral norm": lambda: perceptron(parametrizations.spectral_norm(nn.Linear(6, 5))),
    "spectral norm by hook": lambda: perceptron(spectral_norm(nn.Linear(6, 5))),
    "batch norm": lambda: perceptron(nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))),
    "moving average": Centres,
    "one batch norm twice": lambda: nn.Sequential(nn.Linear(6, 6), *[nn.BatchNorm1d(6)] * 2, nn.Linear(6, 3)),
}

ATTRIBUTIONS = ("input_x_gradient", SEVERAL, TWICE, "feature_ablation", "expected_gradients")
CASES = [(kind, a) for kind in MODELS for a in ATTRIBUTIONS if a is not TWICE or "batch norm" not in kind]


@pytest.fixture
def x():
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", trimkit.TrimkitWarning)
        yield


def trained(kind):
    torch.manual_seed(0)
    return MODELS[kind]().double().train()


def buffers(model):
    return {name: value.clone() for name, value in model.named_buffers()}


@pytest.mark.parametrize(("kind", "attribution"), CASES)
def test_a_penalised_step_leaves_the_buffers_of_one_forward(kind, attribution, x):
    model = trained(kind)
    plain = copy.deepcopy(model)
    output, value = trimkit.TrimPenalty("l1", attribution=attribution)(model, x, 1)
    (output.square().sum() + value).backward()
    torch.testing.assert_close(output, plain(x))
    assert buffers(model).keys() == buffers(plain).keys()
    for name, expected in buffers(plain).items():
        torch.testing.assert_close(buffers(model)[name], expected)


@pytest.mark.parametrize("transform", ["fft", "haar"])
@pytest.mark.parametrize("kind", ["batch norm", "moving average"])
def test_a_task_that_needs_its_own_forward_counts_once_too(kind, transform, x):
    model, given = trained(kind), x.clone().requires_grad_()
    transform = ("wavelet", {"wavelet": "haar", "levels": 1}) if transform == "haar" else transform
    plain = copy.deepcopy(model)
    output, _ = trimkit.TrimPenalty("l1", transform=transform)(model, given, 1)
    torch.testing.assert_close(output, plain(x))
    for name, expected in buffers(plain).items():
        torch.testing.assert_close(buffers(model)[name], expected)


@pytest.mark.parametrize("kind", MODELS)
def test_a_penalty_alone_leaves_buffers_alone(kind, x):
    model = trained(kind)
    before = buffers(model)
    trimkit.TrimPenalty("l1", attribution=SEVERAL).penalise(model, x, 1).backward()
    for name, value in buffers(model).items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("kind", ["spectral norm", "spectral norm by hook", "moving average"])
def test_all_points_of_a_path_see_the_function_of_the_task(kind, x):
    """Integrated gradients of the function that a first forward in train mode computes, by a copy for each node."""
    model = trained(kind)
    frozen = copy.deepcopy(model)
    penalty = trimkit.TrimPenalty(lambda scores: scores.sum(1), attribution=SEVERAL)
    value = penalty.per_sample(model, x, 1)
    nodes, weights = (
        torch.tensor([0.0694318442, 0.3300094782, 0.6699905218, 0.9305681558]).double(),
        [
            0.1739274226,
            0.3260725774,
            0.3260725774,
            0.1739274226,
        ],
    )
    expected = torch.zeros_like(x)
    for node, weight in zip(nodes, weights, strict=True):
        point = (node * x).requires_grad_()
        other = copy.deepcopy(frozen)
        expected += weight * torch.autograd.grad(other(point)[:, 1].sum(), point)[0] * x
    torch.testing.assert_close(value.detach(), expected.sum(1), rtol=1e-6, atol=1e-8)


def test_scores_with_a_graph_in_train_mode_can_be_trained_through(x):
    model = trained("batch norm")
    before = buffers(model)
    result = trimkit.Trim(model, "identity", SEVERAL)(x, 1, create_graph=True)
    result.scores.abs().sum().backward()
    assert model[0][0].weight.grad.abs().sum() > 0
    for name, value in buffers(model).items():
        assert torch.equal(value, before[name])


def test_the_two_passes_of_spectral_norm_give_the_gradient_of_one_graph(x):
    gradients = []
    for attribution in (SEVERAL, TWICE):
        model = trained("spectral norm")
        trimkit.TrimPenalty("l1", attribution=attribution)(model, x, 1)[1].backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(*gradients)

"""Points besides the data, and the penalty that looks at them."""

import torch
from torch import nn

import trimkit
from trimkit.penalties import UniformBox

X = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))


def generator():
    return torch.Generator().manual_seed(1)


def test_a_box_is_filled_evenly():
    points = UniformBox(torch.tensor([0.0, -1.0, 5.0]), torch.tensor([1.0, 1.0, 6.0]))(X.repeat(100, 1), generator())
    assert points.shape == (6400, 3)
    assert torch.allclose(points.mean(0), torch.tensor([0.5, 0.0, 5.5]), atol=0.03)
    assert points.dtype == X.dtype
    assert (points[:, 2] >= 5).all()


def test_without_corners_it_is_the_box_of_the_batch():
    points = UniformBox()(X, generator())
    assert (points >= X.amin(0)).all()
    assert (points <= X.amax(0)).all()
    assert torch.equal(points, UniformBox()(X, generator()))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1))


SLOPES = {"attribution": ("saliency", {"absolute": False})}


def test_the_output_comes_from_the_data_and_the_penalty_from_the_points():
    model, box = network(), UniformBox(-2.0, 2.0)
    output, value = trimkit.TrimPenalty("monotone_gradient", points=box, **SLOPES)(model, X, generator=generator())
    assert torch.allclose(output, model(X))
    there = trimkit.TrimPenalty("monotone_gradient", **SLOPES)(model, box(X, generator()))[1]
    assert torch.allclose(value, there)


def test_at_the_data_one_forward_gives_both():
    model, calls = network(), []
    model.register_forward_hook(lambda *_: calls.append(1))
    trimkit.TrimPenalty("monotone_gradient", **SLOPES)(model, X)
    assert len(calls) == 1


def test_training_with_it_makes_a_network_monotone_in_the_box():
    model, box = network(), UniformBox(-2.0, 2.0)
    choice = ("monotone_gradient", {"margin": 0.1, "power": 2})
    penalty = trimkit.TrimPenalty(choice, points=box, seed=3, **SLOPES)
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    before = slopes(model, box)
    for _ in range(150):
        output, value = penalty(model, X)
        optimiser.zero_grad()
        ((output[:, 0] - X[:, 0] + X[:, 1]).square().mean() + 100 * value).backward()
        optimiser.step()
    assert (before < 0).double().mean() > 0.2
    assert (slopes(model, box) < 0).double().mean() < 0.02


def slopes(model, box):
    points = box(X.repeat(10, 1), torch.Generator().manual_seed(9))
    return trimkit.create("attribution", "saliency", absolute=False)(model, points)

"""Unit directions, their gradient, and what is taken from the data."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close
from trimkit_sae.dictionary import Dictionary, UnitNormAdam, geometric_median, remove_parallel_

import trimkit
from trimkit.errors import DataError


def test_directions_have_norm_one():
    dictionary = Dictionary(50, 3)
    assert_close(dictionary.directions.norm(dim=1), torch.ones(50))


def test_the_parallel_part_of_a_gradient_goes():
    gradient = torch.tensor([[3.0, 4.0], [1.0, 2.0]])
    remove_parallel_(gradient, torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    assert_close(gradient, torch.tensor([[0.0, 4.0], [1.0 - 2.2 * 0.6, 2.0 - 2.2 * 0.8]]))


def test_a_step_is_adams_on_the_orthogonal_gradient_and_back_to_the_sphere():
    dictionary = Dictionary(6, 4)
    start = dictionary.directions.detach().clone()
    optimiser = UnitNormAdam([dictionary.directions], dictionary.directions, lr=0.1)
    dictionary.directions.square().mul(torch.arange(4.0)).sum().backward()
    gradient = 2 * start * torch.arange(4.0)
    orthogonal = gradient - (gradient * start).sum(1, keepdim=True) * start
    optimiser.step()
    moved = start - 0.1 * orthogonal / (orthogonal.abs() + 1e-8)  # Adam's first step
    assert_close(dictionary.directions.detach(), moved / moved.norm(dim=1, keepdim=True))
    momentum = optimiser.state[dictionary.directions]["exp_avg"]
    assert_close((momentum * start).sum(1), torch.zeros(6), atol=1e-6, rtol=0)


def test_the_geometric_median_on_a_line_is_the_median():
    rows = torch.tensor([[0.0], [1.0], [2.0], [3.0], [100.0]], dtype=torch.float64)
    assert geometric_median(rows, 10_000, 1e-12).item() == pytest.approx(2.0, abs=1e-3)


def test_the_geometric_median_of_a_triangle_is_its_fermat_point():
    rows = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(3) / 2]], dtype=torch.float64)
    assert_close(geometric_median(rows), rows.mean(0))
    far = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 0.1]], dtype=torch.float64)  # an angle of more than 120°
    assert_close(geometric_median(far, 10_000, 1e-12), far[2], atol=1e-3, rtol=0)


@pytest.mark.parametrize(("normalise", "squared"), [("unit", 1.0), ("dimension", 5.0)])
def test_the_scale_sets_the_mean_squared_norm(make, x, normalise, squared):
    method = make("topk-sae", normalise=normalise)
    method.prepare(3 * x, None, torch.Generator())
    assert (3 * x / method.scale).square().sum(1).mean().item() == pytest.approx(squared)
    centre = method.dictionary.bias.detach()
    distances = [(3 * x / method.scale - point).norm(dim=1).sum() for point in (centre, centre + 0.01, centre - 0.01)]
    assert distances[0] < min(distances[1:])


def test_without_normalisation_and_pre_bias_nothing_is_taken_from_the_data(make, x):
    method = make("topk-sae", normalise="none", pre_bias=False)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.prepare(3 * x, None, torch.Generator())
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_codes_do_not_depend_on_the_unit_of_the_data(make, x):
    codes = []
    for unit in (1.0, 1000.0):
        method = make("topk-sae")
        method.prepare(unit * x, None, torch.Generator())
        codes.append(method.encode(unit * x).mean)
        assert_close(method.decode(codes[-1]), unit * (method.dictionary(codes[-1]) * method.scale / unit))
    assert_close(codes[0], codes[1])


def test_the_objective_is_differentiated_in_full(name, make, x, terms):
    method = make(name).train()
    sum(value.sum() for value in terms(method, x).values()).backward()
    for parameter in (method.dictionary.bias, method.encoder.weight, method.dictionary.directions):
        place = (0,) * parameter.ndim
        losses = []
        for change in (1e-6, -2e-6):
            with torch.no_grad():
                parameter[place] += change
                losses.append(sum(value.sum() for value in terms(method, x).values()))
        with torch.no_grad():
            parameter[place] += 1e-6
        slope = (losses[0] - losses[1]) / 2e-6
        assert parameter.grad[place].item() == pytest.approx(slope.item(), rel=1e-4, abs=1e-6)


def test_activations_that_are_all_zero_are_refused(make):
    with pytest.raises(DataError, match="expected activations, got zeros alone"):
        make().prepare(torch.zeros(8, 5).double(), None, torch.Generator())


def test_silent_features_are_counted_in_training_alone(make, x, terms):
    method = make("topk-sae", k=1).train()
    terms(method, x)
    active = (method.encode(x).mean > 0).any(0)
    assert method.silent[active].unique().tolist() == [0]
    assert method.silent[~active].unique().tolist() == [7]
    method.eval()
    terms(method, x)
    assert method.silent.max() == 7


def test_planted_directions_are_found(name, planted):
    directions, x = planted
    options = {"sae": {"l1": 0.1}, "jumprelu-sae": {"l0": 0.02, "threshold": 0.1, "bandwidth": 0.1}}
    options = options.get(name, {"k": 3}) | ({"nested": (40,)} if name == "matryoshka-sae" else {})
    method = trimkit.create("method", name, shape=(20,), features=80, learning_rate=5e-3, **options)
    trimkit.train(method, x, steps=600, batch_size=256)
    nearest = (directions @ method.dictionary.directions.detach().T).max(1).values
    assert nearest.mean() > 0.93
    random = Dictionary(80, 20).directions.detach()
    assert (directions @ random.T).max(1).values.mean() < 0.7

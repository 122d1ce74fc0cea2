import runpy
import sys
from pathlib import Path

import pytest
import pywt
import torch
from torch import nn

from trimkit.coefficients import tree
from trimkit.errors import ShapeError, TrainingError
from trimkit.transforms import AdaptiveWavelet, Wavelet
from trimkit.trim.distill import AwdWeights, awd_terms, distill, input_gradients

from .draws import double

EXAMPLE = Path(__file__).parents[1] / "examples" / "adaptive_wavelet.py"


def disturbed(wavelet="db3", noise=0.2, levels=2):
    transform = AdaptiveWavelet(wavelet, levels, unit_norm=False).double()
    transform.raw.data += noise * double(len(transform.raw), seed=3)
    return transform


def network(activation):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), activation, nn.Linear(8, 2)).double()


def by_double_backward(model, transform, x):
    """The published way: gradients of f(T⁻¹(s) + r) with the graph, r detached."""
    s = transform(x)
    back = transform.inverse(s)
    output = model(back + (x - back).detach())[:, 1]
    return torch.autograd.grad(output.sum(), tree.leaves(s), create_graph=True)


def test_gradients_are_those_of_the_chosen_output_whatever_the_batch():
    model, x = network(nn.Tanh()), double(7, 1, 16)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(model(leaf)[:, 1].sum(), leaf)
    assert torch.allclose(input_gradients(model, x, target=1), expected)
    assert torch.allclose(input_gradients(model, x, target=1, batch=2), expected)


@pytest.mark.parametrize(("activation", "exact"), [(nn.ReLU(), True), (nn.Tanh(), False)], ids=str)
def test_scores_are_the_gradients_and_for_relu_so_is_their_derivative(activation, exact):
    model, x, transform = network(activation), double(5, 1, 16), disturbed()
    ours = awd_terms(transform, x, input_gradients(model, x, target=1))["scores"]
    theirs = sum(leaf.abs().sum() for leaf in by_double_backward(model, transform, x)) / (5 * 3)
    assert torch.allclose(ours, theirs)
    a, b = (torch.autograd.grad(value, transform.raw)[0] for value in (ours, theirs))
    assert torch.allclose(a, b) == exact


def test_terms_are_those_of_the_paper():
    x, g, transform = double(5, 1, 16), double(5, 1, 16, seed=1), disturbed()
    terms = awd_terms(transform, x, g)
    s = transform(x)
    assert torch.allclose(terms["reconstruction"], (x - transform.inverse(s)).square().flatten(1).sum(1).mean())
    assert torch.allclose(terms["coefficients"], tree.rows(s).abs().sum(1).mean() / 3)
    assert set(terms) == {"reconstruction", "coefficients", "scores", *transform.constraint_losses()}
    weighed = AwdWeights(coefficients=2.0, scores=3.0, constraints=5.0).total(terms)
    constraints = sum(transform.constraint_losses().values())
    expected = terms["reconstruction"] + 2 * terms["coefficients"] + 3 * terms["scores"] + 5 * constraints
    assert torch.allclose(weighed, expected)


def test_images_have_terms_too():
    transform = AdaptiveWavelet("db2", 1).double()
    terms = awd_terms(transform, double(3, 1, 8, 8), double(3, 1, 8, 8, seed=1))
    expected = tree.rows(transform(double(3, 1, 8, 8, seed=1))).abs().sum(1).mean() / 2
    assert torch.allclose(terms["scores"], expected)


def test_a_wavelet_is_recovered_from_a_predictor_that_reads_its_coefficients():
    true = Wavelet("db2", levels=2)
    reads = [torch.zeros(1, 1, n, dtype=torch.float64) for n in (8, 8, 16)]
    reads[1][..., 3] = 4.0
    generator = torch.Generator().manual_seed(0)
    x = double(500, 1, 32)
    gradients = true.inverse(reads).expand_as(x)  # of the linear function that reads one coefficient
    transform = AdaptiveWavelet("db2", 2, unit_norm=False).double()
    h = transform.raw.detach().clone()
    transform.raw.data += 0.15 * double(4, seed=2)
    before = (transform.raw - h).norm()
    weights = AwdWeights(coefficients=0.0, scores=0.5)
    last = distill(transform, x, gradients, weights, steps=400, learning_rate=5e-3, generator=generator)
    assert (transform.raw - h).norm() < 0.1 * before
    assert last["reconstruction"] < 1e-2


def test_the_order_of_samples_is_the_generators():
    found = []
    for _ in range(2):
        transform = disturbed()
        distill(transform, double(50, 1, 16), double(50, 1, 16), steps=5, batch=8, generator=torch.Generator())
        found.append(transform.raw.detach())
    assert torch.equal(*found)


def test_what_cannot_be_distilled_says_why():
    with pytest.raises(ShapeError, match=r"one gradient a datum, of shape \(5, 1, 16\), got \(4, 1, 16\)"):
        awd_terms(disturbed(), double(5, 1, 16), double(4, 1, 16))
    with pytest.raises(TrainingError, match=r"distillation diverged: .*lower learning_rate"):
        distill(disturbed(), double(5, 1, 16), double(5, 1, 16), steps=4, learning_rate=1e90)


@pytest.mark.parametrize(
    ("mode", "positions", "norm"), [("periodization", slice(3, 6), 6.0), ("zero", slice(7, 10), 8.64)]
)
@pytest.mark.filterwarnings("ignore:Level value of 4 is too high")
def test_a_response_of_three_coefficients_is_sparse_on_the_circle_alone(mode, positions, norm):
    """Coefficients of a zero-padded transform lie half a step beside those on the circle."""
    rows = pywt.wavedec(torch.eye(64).double().numpy(), "db5", mode, level=4)[2]
    gradient = 2 * torch.from_numpy(rows[:, positions]).sum(1)
    s = tree.rows(Wavelet("db5", levels=4)(gradient[None, None]))
    assert float(s.abs().sum()) == pytest.approx(norm, abs=0.01)


def test_the_example_runs_and_starts_where_the_reference_did(monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", [EXAMPLE.name, "--seeds", "1", "--samples", "300", "--epochs", "1", "--steps", "2"]
    )
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    row = capsys.readouterr().out.splitlines()[2].split()
    assert row[:2] == ["seed", "1"]
    assert row[3] == "17.9671"

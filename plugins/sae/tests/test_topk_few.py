"""A step of TopK that reads and writes the chosen features alone is the step of the whole dictionary."""

import pytest
import torch
from torch.autograd import gradcheck
from trimkit_sae import topk
from trimkit_sae.chosen import ChosenProducts

import trimkit
from trimkit.methods import Batch


def double(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def step(monkeypatch, few, shape=(6,), dead=0, **options):
    """Terms, diagnostics, x̂, counts and gradients of one step, with or without the whole dictionary."""
    monkeypatch.setattr(topk, "FEW", few)
    torch.manual_seed(0)
    method = trimkit.create("method", "topk-sae", shape=shape, features=40, k=3, dead_after=5, **options).double()
    x = double(8, *shape)
    method.prepare(x, None, torch.Generator())
    with torch.no_grad():
        method.encoder.weight.add_(0.1 * double(40, method.width, seed=1))
        method.silent[:dead] = 100
    result = method.train().loss(Batch(x), torch.Generator(), 0)
    values = {name: term.values for name, term in result.terms.items()}
    x_hat = result.reconstruction(None)
    (sum(value.sum() for value in values.values()) + 0.1 * x_hat.pow(3).sum()).backward()
    gradients = [p.grad for p in method.parameters()]
    return [*values.values(), x_hat, *result.diagnostics.values(), method.silent, *gradients]


@pytest.mark.parametrize(
    ("shape", "options"),
    [((6,), {}), ((6,), {"pre_bias": False}), ((6,), {"dead": 30}), ((6, 2, 3), {"axis": 0, "dead": 7})],
    ids=["plain", "bias after", "dead", "positions"],
)
def test_terms_counts_and_gradients_are_those_of_the_whole_dictionary(monkeypatch, shape, options):
    whole, few = (step(monkeypatch, n, shape, **options) for n in (10**9, 1))
    assert len(whole) == len(few) == 9
    for expected, got in zip(whole, few, strict=True):
        torch.testing.assert_close(got, expected.to(got), atol=1e-12, rtol=1e-10)


def test_a_step_in_half_precision_works(monkeypatch):
    monkeypatch.setattr(topk, "FEW", 1)
    method = trimkit.create("method", "topk-sae", shape=(6,), features=40, k=3).train()
    with torch.autocast("cpu", torch.bfloat16):
        result = method.loss(Batch(torch.randn(8, 6)), torch.Generator(), 0)
        next(iter(result.terms.values())).values.sum().backward()
    assert all(value.isfinite().all() for value in (method.encoder.weight.grad, method.dictionary.directions.grad))


def test_the_gradients_of_chosen_products_are_those_of_finite_differences():
    places = torch.tensor([[3, 0], [1, 3], [0, 4]])

    def products(rows, weight):
        values = (rows @ weight.T).gather(1, places).detach()
        return ChosenProducts.apply(rows, weight, values, places)

    assert gradcheck(products, (double(3, 4).requires_grad_(), double(6, 4, seed=1).requires_grad_()))


def test_chosen_products_have_no_second_derivative_and_say_so():
    rows, weight, places = double(2, 3), double(4, 3, seed=1).requires_grad_(), torch.tensor([[0, 1], [2, 0]])
    products = ChosenProducts.apply(rows, weight, (rows @ weight.detach().T).gather(1, places), places)
    (gradient,) = torch.autograd.grad(products.square().sum(), weight, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()

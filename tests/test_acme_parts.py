"""A stranger's parts, written from trimkit's public names alone, behave as trimkit's own do."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

import trimkit
from trimkit.errors import DataError, OptionError, ShapeError
from trimkit.registry import Registry
from trimkit.registry import loader as _loader
from trimkit.testing import items_of
from trimkit.testing.promises import Inapplicable

FIXTURE = Path(__file__).parent / "fixtures" / "acme-trim"


@pytest.fixture(scope="module")
def acme():
    sys.path.insert(0, str(FIXTURE))
    yield Registry([*_loader.discover(), EntryPoint("acme", "acme_trim.plugin", "trimkit")])
    sys.path.remove(str(FIXTURE))
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_trim"]:
        del sys.modules[name]


def test_every_promise_is_kept(acme, subtests):
    made = set()
    for item in items_of("acme_trim.plugin"):
        with subtests.test(item.id), suppress(Inapplicable):
            assert item() is None  # it raises BrokenPromise otherwise
            made.add(item.trial.part.spec.name)
    assert made == {"acme_haar", "acme_squared_gradient", "acme_l2", "acme-pca", "acme_concentration"}


def test_it_is_loaded_without_its_parts(acme):
    record = next(record for record in acme.plugins() if record.name == "acme")
    assert record.state == "loaded"
    assert record.adds == (
        "transform:acme_haar",
        "attribution:acme_squared_gradient",
        "penalty:acme_l2",
        "method:acme-pca",
        "check:acme_concentration",
    )


@pytest.mark.parametrize("size", [(8,), (3, 6), (1, 4, 4)])
def test_haar_is_orthonormal(acme, size):
    haar = acme.create("transform", "acme_haar")
    x = torch.randn(5, *size, dtype=torch.float64)
    s = haar(x)
    assert torch.allclose(haar.inverse(s, size), x)
    assert torch.allclose(s.square().sum(), x.square().sum())
    assert haar.groups(size).sums(s).shape == (5, 2)


def test_haar_of_a_constant_has_no_details(acme):
    s = acme.create("transform", "acme_haar")(torch.ones(1, 4))
    assert torch.allclose(s, torch.tensor([[2.0**0.5, 2.0**0.5, 0.0, 0.0]]))


def test_haar_refuses_an_odd_size(acme):
    with pytest.raises(ShapeError, match="expected an even last axis, got 5"):
        acme.create("transform", "acme_haar")(torch.ones(1, 5))


def test_the_attribution_can_be_trained_through(acme):
    attribution = acme.create("attribution", "acme_squared_gradient")
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    assert trimkit.check_attribution(attribution, model, torch.randn(4, 6), target=1).ok


def test_the_attribution_of_a_complex_coefficient_is_real(acme):
    attribution = acme.create("attribution", "acme_squared_gradient")
    s = torch.tensor([[1.0 + 2.0j]])
    scores = attribution(lambda z: (3 * z.real - 4 * z.imag).sum(1), s)
    assert scores.tolist() == [[25.0]]


def test_the_penalty_trains_a_model(acme):
    haar, squared = acme.create("transform", "acme_haar"), acme.create("attribution", "acme_squared_gradient")
    penalty = trimkit.TrimPenalty(acme.create("penalty", "acme_l2", power=0.5), transform=haar, attribution=squared)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    _, value = penalty(model, torch.randn(4, 6), target=torch.tensor([0, 1, 2, 0]))
    value.backward()
    assert model[0].weight.grad.abs().sum() > 0


def test_the_penalty_refuses_a_bad_power(acme):
    with pytest.raises(OptionError, match="expected power > 0, got -1"):
        acme.create("penalty", "acme_l2", power=-1)(torch.ones(1, 2))


@pytest.fixture
def fitted(acme):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, generator=generator, dtype=torch.float64) @ torch.randn(6, 6, generator=generator).double()
    method = acme.create("method", "acme-pca", shape=(2, 3), components=2).double()
    method.fit((x + 3).unflatten(1, (2, 3)))
    return method, x + 3


def test_the_method_has_the_covariance_of_the_data_in_its_components(fitted):
    method, x = fitted
    of_data = torch.linalg.eigvalsh(x.T.cov(correction=0))
    of_model = torch.linalg.eigvalsh(method.loadings @ method.loadings.T + method.noise * torch.eye(6))
    assert torch.allclose(of_model[-2:], of_data[-2:])
    assert torch.allclose(of_model[:4], of_data[:4].mean().expand(4))


def test_the_methods_posterior_is_the_gaussian_conditional(fitted):
    method, x = fitted
    w, noise = method.loadings, method.noise
    precision = w.T @ w + noise * torch.eye(2)
    posterior = method.encode(x.unflatten(1, (2, 3)))
    assert torch.allclose(posterior.mean, (x - x.mean(0)) @ w @ precision.inverse())
    assert torch.allclose(posterior.log_variance[0].exp().diag(), noise * precision.inverse(), atol=1e-12)


def test_the_method_is_a_transform(fitted):
    method, x = fitted
    z = method.as_transform("z")
    x = x.unflatten(1, (2, 3))
    assert z(x).shape == (40, 2)
    assert torch.allclose(z.inverse(z(x)) + z.residual(x, z(x)), x)
    assert method.sample(3, torch.Generator().manual_seed(0)).shape == (3, 2, 3)


def test_the_method_takes_constant_data(acme):
    method = acme.create("method", "acme-pca", shape=(6,), components=2)
    method.fit(torch.ones(5, 6))
    assert method.decode(method.encode(torch.ones(5, 6)).mean).tolist() == torch.ones(5, 6).tolist()


@pytest.mark.parametrize("components", [0, 6])
def test_the_method_refuses_components_that_do_not_fit(acme, components):
    with pytest.raises(OptionError, match=f"expected 1 ≤ components < 6, the size of a sample, got {components}"):
        acme.create("method", "acme-pca", shape=(6,), components=components)


def test_the_method_needs_more_samples_than_components(acme):
    with pytest.raises(DataError, match="expected more samples than the 4 components, got 3"):
        acme.create("method", "acme-pca", shape=(6,)).fit(torch.zeros(3, 6))

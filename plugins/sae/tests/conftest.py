"""Activations made of planted directions, and small dictionaries with known weights."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

import trimkit
from trimkit.methods import Batch
from trimkit.registry import available

NAMES = [name for name, spec in available("methods").items() if spec.family == "sae"]


@pytest.fixture
def make():
    """Makes a method in float64, the same each time, whose weights and biases are all random."""

    def made(name="topk-sae", shape=(5,), features=12, **options):
        small = {} if name in ("sae", "jumprelu-sae") else {"k": 3}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            method = trimkit.create("method", name, shape=shape, features=features, **{**small, **options}).double()
            with torch.no_grad():
                for parameter in (method.dictionary.bias, method.encoder.bias, method.encoder.weight):
                    if parameter is not None and parameter is not method.dictionary.directions:
                        parameter.add_(0.3 * torch.randn(parameter.shape, dtype=torch.float64))
        return method

    return made


@pytest.fixture
def x():
    return torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def terms():
    """The unweighted terms of a batch."""

    def of(method, x):
        result = method.loss(Batch(x), torch.Generator(), 0)
        return {name: term.values for name, term in result.terms.items()}

    return of


@pytest.fixture
def planted():
    """Forty directions in 20 dimensions, and samples of about three of them each."""
    rng = torch.Generator().manual_seed(0)
    directions = normalize(torch.randn(40, 20, generator=rng), dim=1)
    active = torch.rand(6000, 40, generator=rng) < 3 / 40
    codes = active * (0.5 + torch.rand(6000, 40, generator=rng))
    return directions, codes @ directions


def pytest_generate_tests(metafunc):
    """A test of ``name`` runs for every method of the family."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", NAMES)

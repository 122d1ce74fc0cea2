"""Conditional InfoVAE and WAE: codes are held to the prior whatever u is, so that they do not tell it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from trimkit_vae.mmd import WAE, InfoVAE, likeness

import trimkit
from trimkit.methods import Batch, maximum_mean_discrepancy, paired_discrepancy

from .draws import generator


@pytest.mark.parametrize(("kind", "options"), [(WAE, {}), (WAE, {"stochastic": True}), (InfoVAE, {})])
def test_the_term_is_that_of_samples_of_one_class(make_vae, images, kind, options):
    method = make_vae(kind, conditional=True, segments=2, **options).double()
    x, u = images.x[:9].double(), images.y[:9]
    draws = generator(3)
    q = method.gaussian(x, u)
    z = method.draw(q, draws)
    prior = torch.randn(9, 3, generator=draws, dtype=torch.float64)
    term = method.loss(Batch(x, aux=u), generator(3), 0).terms["mmd"]
    torch.testing.assert_close(term.values, paired_discrepancy(z, prior, u[:, None] == u))
    assert term.batch_statistic


def test_without_a_condition_the_aux_of_the_data_are_not_looked_at(make_vae, images):
    method = make_vae(WAE).double()
    x = images.x[:9].double()
    plain, beside = (method.loss(Batch(x, aux=u), generator(), 0).terms["mmd"].values for u in (None, images.y[:9]))
    assert torch.equal(plain, beside)


def test_likeness_of_labels_and_of_vectors():
    assert torch.equal(
        likeness(torch.tensor([2, 0, 2])),
        torch.tensor([[True, False, True], [False, True, False], [True, False, True]]),
    )
    u = torch.tensor([[0.0, 5.0], [1000.0, 5.0]])  # of standard deviation 500 and 0
    apart = math.exp(-(2**2) / 4)
    torch.testing.assert_close(likeness(u), torch.tensor([[1.0, apart], [apart, 1.0]]))


@pytest.mark.parametrize("aux", ["labels", "vectors"])
def test_training_takes_the_class_out_of_the_codes(make_vae, images, aux):
    """Codes of left and of right squares: held to the prior together only, each class stays .3 to .45 away from it."""
    u = images.y if aux == "labels" else torch.stack([images.y, 1 - images.y], 1).float()
    told = {"segments": 2} if aux == "labels" else {"aux_dim": 2}
    method = make_vae(WAE, conditional=True, learning_rate=4e-3, **told)
    trimkit.train(method, replace(images, aux=u), steps=200, batch_size=48)
    prior = torch.randn(2000, 3, generator=generator())
    with torch.no_grad():
        z = method.encode(images.x, u).mean
        found = [float(maximum_mean_discrepancy(z[images.y == label], prior)) for label in (0, 1)]
        error = (method.decode(z, aux=u) - images.x).square().mean()
    assert max(found) < 0.2
    assert float(error) < 0.5 * float((images.x - images.x.mean(0)).square().mean())

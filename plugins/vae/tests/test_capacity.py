"""β-VAE-B: the distance of the mean KL from a capacity that follows the steps."""

from __future__ import annotations

import pytest
import torch
from trimkit_vae.capacity import CapacityVAE

import trimkit
from trimkit.errors import OptionError
from trimkit.methods import Batch


def capacity_term(method, x, step: int) -> float:
    result = method.loss(Batch(x), torch.Generator().manual_seed(0), step)
    assert result.terms["capacity"].batch_statistic
    return float(result.terms["capacity"].values.detach())


@pytest.mark.parametrize(
    ("capacity", "wanted"),
    [
        ("linear(0, 25, 100)", {0: 0.0, 50: 12.5, 100: 25.0, 5000: 25.0}),
        ("linear(25, 5, 100)", {0: 25.0, 50: 15.0, 5000: 5.0}),
        ("linear(7, 7, 100)", {0: 7.0, 50: 7.0, 5000: 7.0}),
        (7.0, {0: 7.0, 5000: 7.0}),
        (trimkit.linear(0.0, 2.0, 4), {1: 0.5}),
    ],
)
def test_the_capacity_rises_falls_or_stays(make_vae, images, capacity, wanted):
    method = make_vae(CapacityVAE, capacity=capacity).double()
    x = images.x[:8].double()
    kl = float(method.encode(x).kl().sum(1).mean().detach())
    for step, nats in wanted.items():
        assert capacity_term(method, x, step) == pytest.approx(abs(kl - nats))


def test_it_is_the_distance_of_the_mean_and_not_the_mean_distance(make_vae, images):
    method = make_vae(CapacityVAE, capacity=0.0).double()
    x = images.x[:8].double()
    kl = method.encode(x).kl().sum(1).detach()
    method = make_vae(CapacityVAE, capacity=float(kl.median())).double()
    each = (kl - kl.median()).abs().mean()
    assert capacity_term(method, x, 0) < 0.9 * float(each)


def test_training_holds_the_kl_at_the_capacity(make_vae, images):
    method = make_vae(CapacityVAE, gamma=100.0, capacity="linear(0, 3, 40)", learning_rate=2e-3)
    results = trimkit.train(method, images, steps=200, batch_size=24).results["train"]
    assert sum(results["kl_per_dimension"]) == pytest.approx(3.0, abs=0.3)


def test_the_weights_and_refusals(make_vae):
    assert make_vae(CapacityVAE).phases()[0].weights == {"recon": 1.0, "capacity": 1000.0}
    assert make_vae(CapacityVAE, gamma="linear(0, 2, 4)").phases()[0].weights["capacity"](2) == 1.0
    with pytest.raises(OptionError, match="expected gamma ≥ 0, got -1"):
        make_vae(CapacityVAE, gamma=-1.0)
    with pytest.raises(OptionError, match="expected capacity ≥ 0, got -5"):
        make_vae(CapacityVAE, capacity=-5.0)
    with pytest.raises(OptionError, match="expected a weight such as"):
        make_vae(CapacityVAE, capacity="to 25")

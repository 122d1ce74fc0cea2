"""Samples of a conditional VAE are what they were asked to be, as a frozen classifier of digits sees them."""

from __future__ import annotations

import pytest
import torch
from sklearn.svm import SVC
from trimkit_vae.vae import VAE

import trimkit
from trimkit.data import load


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_samples_are_of_the_class_that_they_were_asked_for(seed):
    data = load("digits", aux="labels")
    machine = SVC(gamma="scale").fit(data.x.flatten(1).numpy(), data.y.numpy())
    torch.manual_seed(seed)
    sizes = {"network": "mlp", "latent_dim": 4, "scale": 0.3, "learning_rate": 2e-3}
    method = VAE(data.shape, conditional=True, segments=10, **sizes)
    trimkit.train(method, data, steps=1000, batch_size=64, seed=seed)
    aux = torch.arange(1000) % 10
    with torch.no_grad():
        x = method.eval().sample(1000, torch.Generator().manual_seed(seed), aux)
    assert machine.score(x.flatten(1).numpy(), aux.numpy()) > 0.8  # chance is .1

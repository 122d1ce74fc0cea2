"""Codes drawn from iVAE's prior: given u, one for each sample; and the way between two of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trimkit_ica.ivae import IVAE

import trimkit
from trimkit.cli import main
from trimkit.errors import DataError

from .draws import generator


def make(**options) -> IVAE:
    method = IVAE((4,), **{"latent_dim": 3, "segments": 5, "hidden": 8, **options}).double()
    for parameter in method.conditional.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return method


@pytest.mark.parametrize("prior", ["gaussian", "laplace"])
def test_drawn_codes_have_the_location_and_the_spread_of_their_u(prior):
    method = make(prior=prior, prior_mean=True)
    u = torch.arange(5).repeat_interleave(4000)
    with torch.no_grad():
        z = method.sample_codes(len(u), generator(), aux=u).view(5, 4000, 3)
        location, log_scale = method.conditional(torch.arange(5))
    deviation = log_scale.exp() * (2**0.5 if prior == "laplace" else 1)
    assert ((z.mean(1) - location).abs() < 5 * deviation / 4000**0.5).all()
    assert ((z.std(1) / deviation).log().abs() < 0.15).all()


def test_samples_are_the_data_of_drawn_codes():
    method, u = make(), torch.tensor([0, 4, 2])
    z = method.sample_codes(3, generator(1), aux=u)
    torch.testing.assert_close(method.sample(3, generator(1), aux=u), method.decode(z))


def test_codes_without_u_or_with_too_few_are_refused():
    with pytest.raises(DataError, match="IVAE needs the auxiliary variable u of each sample to draw, got none"):
        make().sample_codes(3)
    with pytest.raises(DataError, match="got 2 for 3 samples"):
        make().sample_codes(3, aux=torch.tensor([0, 1]))


def test_the_way_between_two_drawn_codes_of_one_segment(tmp_path):
    x = torch.randn(40, 4, generator=generator())
    np.savez(tmp_path / "data.npz", x=x.numpy(), aux=(torch.arange(40) % 5).numpy())
    method = trimkit.create("method", "ivae", shape=(4,), latent_dim=3, segments=5, hidden=8)
    run = trimkit.train(method, str(tmp_path / "data.npz"), folder=tmp_path / "run", steps=2, batch_size=10)
    asked = ["--classes", "3", "--pairs", "2", "--frames", "4", "--seed", "7"]
    assert main(["interpolate", str(tmp_path / "run"), *asked]) == 0
    with np.load(tmp_path / "run" / "interpolation.npz") as written:
        codes = torch.as_tensor(written["codes"])
    drawn = run.method.sample_codes(4, generator(7), aux=torch.full((4,), 3))
    torch.testing.assert_close(codes.view(2, 4, 3)[:, 0], drawn.detach()[::2])

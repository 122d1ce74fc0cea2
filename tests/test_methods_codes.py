"""Codes of new data: a space that says that its prior is N(0, I) needs no sampler of its own."""

from __future__ import annotations

import pytest
import torch

from trimkit import create
from trimkit.errors import TrainingError
from trimkit.methods import LatentSpace, Method

from .draws import generator


class Spaces(Method):
    """A method without networks: z is drawn from N(0, I), and nothing is said of w."""

    def __init__(self) -> None:
        super().__init__((4,))

    def latent_spaces(self):
        return [LatentSpace("z", (2, 3), gaussian=True), LatentSpace("w", (3,))]


def test_codes_of_a_gaussian_space_are_standard_normal():
    z = Spaces().sample_codes(20_000, generator())
    assert z.shape == (20_000, 2, 3)
    rows = z.flatten(1).double()
    torch.testing.assert_close(rows.mean(0), torch.zeros(6, dtype=torch.float64), atol=0.05, rtol=0)
    torch.testing.assert_close(rows.T.cov(), torch.eye(6, dtype=torch.float64), atol=0.05, rtol=0)


def test_codes_come_from_the_generator_alone():
    before = torch.get_rng_state()
    one, again, other = (Spaces().sample_codes(5, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_codes_have_the_type_of_the_weights():
    method = create("method", "vae", shape=(6,), latent_dim=2, network="mlp").double()
    assert method.sample_codes(3, generator()).dtype == torch.float64


def test_a_space_without_a_prior_draws_no_codes():
    with pytest.raises(TrainingError, match="Spaces draws no codes of the space 'w'"):
        Spaces().sample_codes(3, generator(), "w")

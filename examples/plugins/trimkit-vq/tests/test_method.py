"""The codebook, the straight-through gradient, and training."""

import pytest
import torch
import trimkit
from trimkit.errors import OptionError

from trimkit_vq.method import VQVAE


@pytest.fixture
def method():
    torch.manual_seed(0)
    return VQVAE((6,), positions=2, width=3, entries=5, hidden=16)


def test_every_code_is_an_entry_of_the_codebook_and_the_nearest(method):
    x = torch.randn(7, 6)
    z, codes = method.continuous(x), method.encode(x).mean
    distances = torch.cdist(z.flatten(0, 1), method.codebook)
    nearest = method.codebook[distances.argmin(1)].view_as(codes)
    assert torch.allclose(codes, nearest, atol=1e-6)


def test_the_gradient_passes_the_codebook_unchanged(method):
    z = torch.randn(4, 2, 3, requires_grad=True)
    quantised = z + (method.codebook[method.indices(z)] - z).detach()
    (through,) = torch.autograd.grad(method.decode(quantised).square().sum(), z)
    at = quantised.detach().requires_grad_()
    (expected,) = torch.autograd.grad(method.decode(at).square().sum(), at)
    assert torch.equal(through, expected)


def test_training_reconstructs_two_clusters_and_samples_them(method):
    x = torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]).repeat(20, 1)
    trimkit.train(method, x, steps=300, batch_size=20, seed=0, device="cpu")
    back = method.decode(method.encode(x).mean)
    assert (back - x).abs().max() < 0.2
    drawn = method.sample(50, torch.Generator().manual_seed(0))
    assert drawn.shape == (50, 6)
    assert torch.allclose(method.frequencies.sum(1), torch.ones(2))


def test_options_out_of_range_are_refused():
    with pytest.raises(OptionError, match="entries ≥ 2"):
        VQVAE((6,), entries=1)

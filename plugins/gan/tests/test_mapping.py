"""Truncation, mixing and the running mean of w, each at the values where it must do a known thing."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.nn import functional
from trimkit_gan.mapping import W_DECAY, Mapping, draw_cutoff, mix, truncate

from trimkit.errors import OptionError


def test_the_mapping_is_an_mlp_of_normalised_z():
    mapping = Mapping(6, 4, depth=2).double()
    z = torch.randn(3, 6, dtype=torch.float64)
    x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for layer in mapping.layers:
        x = functional.leaky_relu(x @ layer.weight.T * 0.01 / layer.weight.shape[1] ** 0.5, 0.2) * 2**0.5
    torch.testing.assert_close(mapping(z), x)
    torch.testing.assert_close(mapping(5 * z), x, rtol=1e-6, atol=1e-9)


def test_the_mean_of_w_decays_by_995_of_1000():
    mapping = Mapping(4, 4).double()
    w = torch.tensor([[1.0, 2.0, 3.0, 4.0], [3.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    for _ in range(3):
        mapping.track(w)
    expected = (1 - 0.995**3) * torch.full((4,), 2.0, dtype=torch.float64)
    torch.testing.assert_close(mapping.w_mean, expected)
    assert W_DECAY == 0.995
    assert "w_mean" in mapping.state_dict()


def test_truncation():
    ws, mean = torch.randn(2, 5, 3), torch.randn(3)
    assert truncate(ws, mean, 1.0) is ws
    torch.testing.assert_close(truncate(ws, mean, 0.0), mean.expand(2, 5, 3))
    torch.testing.assert_close(truncate(ws, mean, 0.5), (ws + mean) / 2)
    half = truncate(ws, mean, 0.5, cutoff=2)
    torch.testing.assert_close(half[:, :2], (ws[:, :2] + mean) / 2)
    assert torch.equal(half[:, 2:], ws[:, 2:])


def test_mixing_switches_at_the_cutoff():
    a, b = torch.zeros(2, 5, 3), torch.ones(2, 5, 3)
    assert mix(a, b, 2)[0, :, 0].tolist() == [0, 0, 1, 1, 1]
    assert torch.equal(mix(a, b, 0), b)
    assert torch.equal(mix(a, b, 5), a)


def test_every_cutoff_that_mixes_is_equally_likely():
    generator = torch.Generator().manual_seed(0)
    found = Counter(draw_cutoff(5, 0.8, generator) for _ in range(8000))
    assert set(found) == {1, 2, 3, 4, 5}
    for cutoff, share in {1: 0.2, 2: 0.2, 3: 0.2, 4: 0.2, 5: 0.2}.items():
        assert found[cutoff] / 8000 == pytest.approx(share, abs=0.02)


def test_mixing_can_be_off_or_impossible():
    generator = torch.Generator().manual_seed(0)
    assert {draw_cutoff(5, 0.0, generator) for _ in range(50)} == {5}
    assert {draw_cutoff(5, 1.0, generator) for _ in range(50)} <= {1, 2, 3, 4}
    assert draw_cutoff(1, 1.0, generator) == 1


def test_sizes_below_one_are_refused():
    with pytest.raises(OptionError, match="expected z_dim, w_dim and mapping_layers ≥ 1, whole numbers, got 4, 4, 0"):
        Mapping(4, 4, depth=0)

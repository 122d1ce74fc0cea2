"""The discriminator: minibatch deviation by brute force, residual gain, stages."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from trimkit_gan.discriminator import Discriminator, HalvingBlock, minibatch_deviation
from trimkit_gan.resampling import halve
from trimkit_gan.synthesis import Stage


def test_the_deviation_of_each_group_is_one_more_channel():
    x = torch.randn(8, 3, 4, 4, dtype=torch.float64)
    y = minibatch_deviation(x)
    assert torch.equal(y[:, :3], x)
    for group in (slice(0, 4), slice(4, 8)):
        expected = (x[group].var(0, correction=0) + 1e-8).sqrt().mean()
        torch.testing.assert_close(y[group, 3], expected.expand(4, 4, 4))


@pytest.mark.parametrize(("samples", "size"), [(1, 1), (2, 2), (3, 3), (5, 1), (6, 3), (7, 1), (16, 4)])
def test_groups_are_as_large_as_divides_the_batch(samples, size):
    x = torch.randn(samples, 2, 2, 2, dtype=torch.float64)
    groups = x.unflatten(0, (-1, size))
    expected = (groups.var(1, correction=0) + 1e-8).sqrt().mean((1, 2, 3)).repeat_interleave(size)
    torch.testing.assert_close(minibatch_deviation(x)[:, 2, 0, 0], expected)


def test_equal_samples_have_a_slope_that_is_finite():
    x = torch.ones(4, 2, 2, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(minibatch_deviation(x)[:, 2].sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum() + gradient.sum(), x)
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(second).all()


def test_equal_samples_have_a_finite_slope_in_half_precision_too():
    x = torch.ones(4, 2, 3, 3, dtype=torch.float16, requires_grad=True)
    deviation = minibatch_deviation(x)
    assert deviation.dtype == torch.float16
    assert torch.autograd.grad(deviation.float().sum(), x)[0].isfinite().all()


def test_a_residual_block_is_the_sum_of_both_paths_over_root_two():
    block = HalvingBlock(3, 5, residual=True).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    h = functional.leaky_relu(functional.conv2d(x, block.first.weight / 27**0.5, padding=1), 0.2) * 2**0.5
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)
    kernel = (taps.outer(taps) / 64).expand(3, 1, 4, 4)
    h = functional.conv2d(functional.conv2d(h, kernel, padding=2, groups=3), block.second.weight / 27**0.5, stride=2)
    around = functional.conv2d(halve(x), block.around.weight / 3**0.5)
    expected = (functional.leaky_relu(h, 0.2) * 2**0.5 + around) / 2**0.5
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [8, 16, 32, 64])
def test_shapes(residual, channels, size):
    network = Discriminator((channels, size, size), residual=residual, channel_max=8)
    assert network(torch.randn(2, channels, size, size)).shape == (2,)


def test_a_growing_one_fades_from_the_resolution_before_to_its_own():
    network = Discriminator((2, 16, 16), residual=False, growing=True, channel_max=8).double()
    x = torch.randn(4, 2, 16, 16, dtype=torch.float64)
    small = network(halve(x), Stage(1))
    torch.testing.assert_close(network(x, Stage(2, 0.0)), small)
    torch.testing.assert_close(network(x, Stage(2, 1.0)), network(x))
    assert not torch.allclose(network(x, Stage(2, 0.5)), small)


def test_every_parameter_of_the_last_stage_is_trained():
    network = Discriminator((3, 16, 16), channel_max=8)
    network(torch.randn(4, 3, 16, 16)).sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters())

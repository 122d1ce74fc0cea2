"""Equalised learning rates against their definition, and shapes that are refused."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from trimkit_gan.layers import (
    ROOT_TWO,
    EqualisedConv,
    EqualisedLinear,
    levels_of,
    pixel_norm,
    rectify,
    width_at,
)

from trimkit.errors import OptionError, ShapeError


@pytest.mark.parametrize("multiplier", [1.0, 0.01])
def test_a_linear_layer_is_the_scaled_one(multiplier):
    layer = EqualisedLinear(6, 4, bias=0.5, multiplier=multiplier).double()
    x = torch.randn(3, 6, dtype=torch.float64)
    weight = layer.weight * multiplier / 6**0.5
    torch.testing.assert_close(layer(x), x @ weight.T + 0.5)


def test_outputs_start_with_unit_variance_whatever_the_multiplier():
    x = torch.randn(4000, 256)
    for multiplier in (1.0, 0.1, 0.01):
        layer = EqualisedLinear(256, 256, multiplier=multiplier)
        assert float(layer(x).detach().var()) == pytest.approx(1.0, abs=0.05)
        assert float(layer.weight.detach().std()) == pytest.approx(1 / multiplier, rel=0.05)


@pytest.mark.parametrize("multiplier", [1.0, 0.1, 0.01])
def test_adam_moves_the_effective_weights_by_the_multiplier(multiplier):
    """Adam moves each stored weight by about lr; the effective one moves by lr · m / √inputs."""
    layer = EqualisedLinear(16, 4, multiplier=multiplier).double()
    optimiser = torch.optim.Adam(layer.parameters(), lr=1e-3)
    before = (layer.weight * layer.scale).detach().clone()
    layer(torch.randn(8, 16, dtype=torch.float64)).sum().backward()
    optimiser.step()
    moved = (layer.weight * layer.scale - before).abs().max().item()
    assert moved == pytest.approx(1e-3 * multiplier / 4, rel=1e-3)


def test_a_convolution_is_the_scaled_one():
    layer = EqualisedConv(3, 5, 3, gain=ROOT_TWO).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    expected = functional.conv2d(x, layer.weight / 27**0.5, layer.bias, padding=1) * 2**0.5
    torch.testing.assert_close(layer(x), expected)


def test_a_gain_before_the_rectifier_is_one_after_it():
    z = torch.randn(50, dtype=torch.float64)
    torch.testing.assert_close(rectify(z * ROOT_TWO), functional.leaky_relu(z, 0.2) * 2**0.5)


def test_pixel_norm_of_zeros_is_zero_in_half_precision_too():
    assert torch.equal(pixel_norm(torch.zeros(2, 3, dtype=torch.float16)), torch.zeros(2, 3, dtype=torch.float16))


def test_pixel_norm_has_unit_mean_square_and_no_scale():
    z = torch.randn(5, 7, dtype=torch.float64)
    torch.testing.assert_close(pixel_norm(z).square().mean(1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(pixel_norm(z * 7), pixel_norm(z), rtol=1e-7, atol=0)
    assert torch.equal(pixel_norm(torch.zeros(1, 7)), torch.zeros(1, 7))


@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 12, 12), (3, 16, 8), (16, 16), (3, 2048, 2048)])
def test_shapes_that_do_not_double_are_refused(shape):
    with pytest.raises(ShapeError, match="expected square images"):
        levels_of(shape)


def test_widths_are_the_papers():
    assert [width_at(r, 32768, 512) for r in (4, 32, 64, 128, 1024)] == [512, 512, 512, 256, 32]
    assert width_at(256, 64, 64) == 1
    with pytest.raises(OptionError, match="expected channel_base and channel_max ≥ 1, whole numbers, got 0 and 64"):
        width_at(8, 0, 64)

"""Weight demodulation and adaptive normalisation against their definitions, sample by sample."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional
from trimkit_gan.modulation import (
    AdaptiveLayer,
    DemodulatedLayer,
    StyledToRGB,
    demodulation,
    instance_norm,
    modulated_conv,
    unit_rms,
)
from trimkit_gan.resampling import blur


def parts(samples: int = 3, inputs: int = 4, outputs: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(samples, inputs, 6, 6), (outputs, inputs, 3, 3), (samples, inputs)]
    x, weight, style = (torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    return x, weight, style


def own_weights(weight: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """Modulated and demodulated weights of each sample, as the paper writes them: (N, O, I, k, k)."""
    scaled = weight[None] * style[:, None, :, None, None]
    return scaled / (scaled.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()


def test_every_demodulated_filter_has_norm_one():
    _, weight, style = parts()
    scaled = weight[None] * style[:, None, :, None, None] * demodulation(weight, style)[:, :, None, None, None]
    norms = scaled.flatten(2).norm(dim=2)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_scaling_input_and_output_is_scaling_the_weights_of_each_sample():
    x, weight, style = parts()
    each = [functional.conv2d(a[None], w, padding=1) for a, w in zip(x, own_weights(weight, style), strict=True)]
    torch.testing.assert_close(modulated_conv(x, weight, style), torch.cat(each))
    plain = [functional.conv2d(a[None] * s[:, None, None], weight, padding=1) for a, s in zip(x, style, strict=True)]
    torch.testing.assert_close(modulated_conv(x, weight, style, demodulate=False), torch.cat(plain))


def test_doubling_is_zeros_between_pixels_a_convolution_and_the_filter():
    x, weight, style = parts()
    each = []
    for a, w in zip(x, own_weights(weight, style), strict=True):
        zeros = torch.zeros(1, 4, 11, 11, dtype=torch.float64)
        zeros[0, :, ::2, ::2] = a
        each.append(blur(functional.conv2d(zeros, w.flip(2, 3), padding=2), padding=1, gain=4.0))
    found = modulated_conv(x, weight, style, up=True)
    assert found.shape == (3, 5, 12, 12)
    torch.testing.assert_close(found, torch.cat(each))


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(1e-3, 1e3))
def test_a_demodulated_layer_does_not_see_the_scale_of_its_style(scale):
    x, weight, style = parts()
    torch.testing.assert_close(
        modulated_conv(x, weight, style * scale), modulated_conv(x, weight, style), rtol=1e-3, atol=1e-6
    )
    torch.testing.assert_close(unit_rms(style * scale), unit_rms(style), rtol=1e-8, atol=0)


def test_the_unit_style_is_a_fixed_point():
    _, _, style = parts()
    once = unit_rms(style)
    torch.testing.assert_close(once.square().mean(1), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(unit_rms(once), once, rtol=1e-14, atol=0)
    assert torch.isfinite(unit_rms(torch.zeros(2, 4))).all()


@pytest.mark.parametrize("up", [False, True])
def test_two_derivatives_of_the_modulated_convolution(up):
    x, weight, style = parts(samples=2, inputs=2, outputs=2)
    inputs = [t.clone().requires_grad_() for t in (x[:, :, :3, :3], weight, style)]
    assert gradcheck(lambda *a: modulated_conv(*a, up=up), inputs)
    assert gradgradcheck(lambda *a: modulated_conv(*a, up=up), inputs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_constant_image_has_no_statistics_to_divide_by(dtype):
    x = torch.full((2, 3, 4, 4), 0.5, dtype=dtype)
    assert torch.equal(instance_norm(x), torch.zeros_like(x))


def test_instance_norm_has_mean_zero_and_variance_one():
    y = instance_norm(torch.randn(2, 3, 5, 5, dtype=torch.float64) * 4 + 2)
    torch.testing.assert_close(y.mean((2, 3)), torch.zeros(2, 3, dtype=torch.float64))
    torch.testing.assert_close(y.var((2, 3), correction=0), torch.ones(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("convolve", [True, False])
def test_an_adaptive_layer_leaves_the_statistics_of_its_style(convolve):
    layer = AdaptiveLayer(4, 4, 6, 8, up=False, convolve=convolve).double()
    x, _, _ = parts()
    style = torch.randn(3, 8, dtype=torch.float64)
    y = layer(x, style, None)
    torch.testing.assert_close(y.mean((2, 3)), style[:, 4:])
    torch.testing.assert_close(y.std((2, 3), correction=0), style[:, :4].abs())


def test_a_demodulated_layer_adds_noise_and_bias_before_its_rectifier():
    layer = DemodulatedLayer(4, 5, 6, 8, up=False).double()
    torch.nn.init.normal_(layer.bias)
    torch.nn.init.constant_(layer.noise_strength, 0.7)
    x, _, style = parts()
    noise = torch.randn(3, 1, 6, 6, dtype=torch.float64)
    inner = modulated_conv(x, layer.weight / 36**0.5, style) + layer.bias[:, None, None] + 0.7 * noise
    torch.testing.assert_close(layer(x, style, noise), functional.leaky_relu(inner, 0.2) * 2**0.5)


def test_the_styles_start_at_one():
    w = torch.zeros(1, 8)
    assert torch.equal(DemodulatedLayer(4, 5, 6, 8, up=True).affine(w), torch.ones(1, 4))
    assert torch.equal(StyledToRGB(4, 3, 8).affine(w), torch.ones(1, 4))
    scale, shift = AdaptiveLayer(4, 5, 6, 8, up=True).affine(w).chunk(2, 1)
    assert torch.equal(scale, torch.ones(1, 5))
    assert torch.equal(shift, torch.zeros(1, 5))


def test_the_map_to_image_channels_sees_the_scale_of_its_style():
    x, _, style = parts()
    layer = StyledToRGB(4, 3, 8).double()
    torch.testing.assert_close(layer(x, 2 * style), 2 * layer(x, style))


@pytest.mark.parametrize("make", [DemodulatedLayer, AdaptiveLayer])
def test_bfloat16(make):
    layer = make(4, 4, 6, 8, up=False)
    x, _, _ = (t.float() for t in parts())
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x, layer.affine(torch.randn(3, 8)), torch.randn(3, 1, 6, 6))
    assert torch.isfinite(y).all()

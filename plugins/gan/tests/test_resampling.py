"""The binomial filter against brute force, and its gain."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional
from trimkit_gan.resampling import blur, double, halve

FILTER = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)
SQUARE = FILTER.outer(FILTER) / 64


def filtered(x: torch.Tensor, before: int, after: int) -> torch.Tensor:
    """Pixel by pixel: zeros around, then the weighted sum of each 4 × 4 window."""
    padded = functional.pad(x, (before, after, before, after))
    windows = padded.unfold(2, 4, 1).unfold(3, 4, 1)
    return (windows * SQUARE).sum((-1, -2))


def image() -> torch.Tensor:
    return torch.randn(2, 3, 6, 6, dtype=torch.float64)


def test_blurring_is_the_weighted_sum_of_each_window():
    x = image()
    torch.testing.assert_close(blur(x, padding=2), filtered(x, 2, 2))
    torch.testing.assert_close(blur(x, padding=1, gain=4.0), 4 * filtered(x, 1, 1))


def test_doubling_inserts_zeros_and_filters_with_gain_four():
    x = image()
    zeros = torch.zeros(2, 3, 12, 12, dtype=torch.float64)
    zeros[:, :, ::2, ::2] = x
    torch.testing.assert_close(double(x), 4 * filtered(zeros, 2, 1))


def test_halving_filters_and_takes_every_second_pixel():
    x = image()
    torch.testing.assert_close(halve(x), filtered(x, 1, 2)[:, :, ::2, ::2])


def test_a_constant_image_keeps_its_value_away_from_the_border():
    x = torch.full((1, 2, 8, 8), 3.0)
    for found in (double(x), halve(x), blur(x, padding=2)):
        torch.testing.assert_close(found[:, :, 2:-2, 2:-2], torch.full_like(found[:, :, 2:-2, 2:-2], 3.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_types_and_numbers_of_channels(dtype):
    for channels in (1, 3, 4):
        x = torch.randn(2, channels, 4, 4, dtype=dtype)
        assert double(x).shape == (2, channels, 8, 8)
        assert halve(x).shape == (2, channels, 2, 2)
        assert double(x).dtype == dtype


@pytest.mark.parametrize("function", [double, halve, lambda x: blur(x, 2)])
def test_two_derivatives(function):
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(function, (x,))
    assert gradgradcheck(function, (x,))


def test_the_filter_can_be_trained_through_after_inference():
    """The filters are kept between calls; one that was made under inference mode could not enter a graph."""
    with torch.inference_mode():
        double(torch.zeros(1, 7, 2, 2))
    x = torch.zeros(1, 7, 2, 2, requires_grad=True)
    double(x).sum().backward()
    assert x.grad is not None

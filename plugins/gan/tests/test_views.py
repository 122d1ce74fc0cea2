"""Views: what a distortion does to known images, its size, its gradient, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch
from trimkit_gan.views import SHIFT, distort, view

from trimkit.errors import ShapeError

from .draws import generator


def ramps(n: int = 400, size: int = 16) -> torch.Tensor:
    """Two channels: the horizontal and the vertical coordinate of each pixel, in [−1, 1]."""
    at = (2 * torch.arange(size, dtype=torch.float64) + 1) / size - 1
    return torch.stack([at.expand(size, size), at[:, None].expand(size, size)]).expand(n, -1, -1, -1)


def test_nothing_is_done_at_strength_zero():
    x = ramps(3)
    assert view(x, 0.0, 0.0, generator()) is x
    torch.testing.assert_close(distort(x, 0.0, generator()), x)


def test_coordinates_move_by_a_small_affine_map():
    """In the middle, away from the border, a distorted ramp is the affine map itself."""
    found = distort(ramps(), 1.0, generator())
    middle = found[:, :, 7:9, 7:9]
    shift = middle.mean((2, 3))
    assert shift.abs().max() <= SHIFT + 1e-9
    assert 0.4 * SHIFT < shift.std() < 0.8 * SHIFT  # uniform: 0.577 of its end
    assert shift.mean(0).abs().max() < 0.02
    slope = (middle[..., 1] - middle[..., 0]).mean(2) * 8
    assert (slope[:, 0] - 1).abs().max() < 0.13  # scale within a tenth, cosine of at most 0.17
    assert slope[:, 1].abs().max() < 0.17 * 1.1  # the sine of the turn
    smaller = distort(ramps(), 0.25, generator())[:, :, 7:9, 7:9].mean((2, 3))
    torch.testing.assert_close(smaller, shift / 4, atol=0.02, rtol=0)


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.7])
def test_a_constant_image_stays_constant(value):
    x = torch.full((5, 3, 8, 6), value)
    torch.testing.assert_close(distort(x, 1.0, generator()), x)


def test_noise_has_its_size_and_comes_from_the_generator():
    x = torch.zeros(50, 2, 9)  # any shape, without distortion
    found = view(x, 0.3, 0.0, generator(1))
    assert found.std() == pytest.approx(0.3, rel=0.1)
    assert torch.equal(found, view(x, 0.3, 0.0, generator(1)))
    assert not torch.equal(found, view(x, 0.3, 0.0, generator(2)))


def test_gradients_reach_the_images():
    x = torch.rand(2, 1, 4, 4, generator=generator(), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: distort(x, 0.7, generator(3)), x)


def test_only_images_are_distorted():
    with pytest.raises(ShapeError, match=r"expected images \(N, C, H, W\) to distort, got \(4, 9\)"):
        distort(torch.zeros(4, 9), 0.5, generator())

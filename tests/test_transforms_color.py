import math

import pytest
import torch

from trimkit.errors import OptionError, ShapeError
from trimkit.transforms import Color

SPACES = ["ycbcr", "lab", "hsv"]
CORNERS = torch.cartesian_prod(*[torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)] * 3).T.reshape(1, 3, 3, 9)


def pictures():
    return torch.rand(3, 3, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("space", "tolerance"), [("ycbcr", 3e-4), ("lab", 1e-6), ("hsv", 1e-6)])
def test_values_are_those_of_kornia(space, tolerance):
    """kornia rounds the factors of YCbCr to three digits."""
    color = pytest.importorskip("kornia.color")
    for x in (pictures(), CORNERS):
        theirs = getattr(color, f"rgb_to_{space}")(x)
        assert torch.allclose(Color(space)(x), theirs, atol=tolerance)


@pytest.mark.parametrize("space", SPACES)
def test_greys_primaries_black_and_white_come_back_with_finite_derivatives(space):
    color, x = Color(space), CORNERS.clone().requires_grad_()
    s = color(x)
    back = color.inverse(s)
    assert torch.allclose(back, x, atol=1e-12)
    (first,) = torch.autograd.grad(s.square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum() + back.pow(3).sum(), x)
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()


@pytest.mark.parametrize("space", SPACES)
def test_what_lies_outside_of_the_range_is_not_clipped(space):
    x = 3 * pictures() - 1
    assert torch.allclose(Color(space).inverse(Color(space)(x)), x, atol=1e-10)


def test_known_colours():
    def of(space, *rgb):
        return Color(space)(torch.tensor(rgb, dtype=torch.float64).reshape(1, 3, 1, 1)).flatten().tolist()

    assert of("ycbcr", 1, 1, 1) == pytest.approx([1, 0.5, 0.5], abs=1e-9)
    assert of("lab", 1, 1, 1) == pytest.approx([100, 0, 0], abs=1e-2)
    assert of("lab", 0, 0, 0) == pytest.approx([0, 0, 0], abs=1e-9)
    assert of("hsv", 0, 0.5, 0) == pytest.approx([2 * math.pi / 3, 1, 0.5])
    assert of("hsv", 0.2, 0.2, 0.2) == pytest.approx([0, 0, 0.2])


def test_groups_are_the_channels():
    groups = Color("lab").groups((3, 4, 5))
    assert groups.names == ("lightness", "green–red", "blue–yellow")
    assert groups.sizes.tolist() == [20, 20, 20]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Color("labs"), "no space 'labs'. Did you mean 'lab'"),
        (lambda: Color()(torch.ones(2, 1, 4, 4)), r"\(N, 3, H, W\), got \(2, 1, 4, 4\)"),
        (lambda: Color().inverse(torch.ones(2, 3, 4)), r"\(N, 3, H, W\), got \(2, 3, 4\)"),
        (lambda: Color()(torch.ones(2, 3, 4, 4, dtype=torch.uint8)), "got torch.uint8; convert"),
        (lambda: Color().groups((1, 4, 4)), r"\(3, H, W\), got \(1, 4, 4\)"),
    ],
)
def test_what_does_not_fit_says_what_would(make, says):
    with pytest.raises((OptionError, ShapeError), match=says):
        make()

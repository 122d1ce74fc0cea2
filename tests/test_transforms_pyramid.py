import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trimkit.errors import OptionError, ShapeError
from trimkit.transforms import LaplacianPyramid
from trimkit.transforms.pyramid import expand, reduce

from .draws import double

KERNEL = torch.tensor([1.0, 4, 6, 4, 1], dtype=torch.float64) / 16


def test_reducing_is_blur_and_every_second_sample():
    x = double(9)
    inside = [(x[i - 2 : i + 3] * KERNEL).sum() for i in range(2, 8, 2)]
    assert torch.allclose(reduce(x[None, None], 1)[0, 0, 1:4], torch.stack(inside))


def test_expanding_is_the_blur_of_samples_between_zeros_twice():
    coarse = double(6)
    spread = torch.zeros(11, dtype=torch.float64)
    spread[::2] = coarse
    inside = [2 * (spread[i - 2 : i + 3] * KERNEL).sum() for i in range(2, 9)]
    assert torch.allclose(expand(coarse[None, None], (1, 1, 11), 1)[0, 0, 2:9], torch.stack(inside))


@given(st.integers(2, 20), st.integers(2, 20))
@settings(deadline=None, max_examples=30)
def test_any_coefficients_give_data_and_a_constant_has_no_detail(height, width):
    pyramid = LaplacianPyramid()
    x = double(2, 1, height, width)
    assert torch.allclose(pyramid.inverse(pyramid(x)), x, atol=1e-12)
    coarse, *details = pyramid(torch.ones(1, 1, height, width, dtype=torch.float64))
    assert torch.allclose(coarse, torch.ones_like(coarse))
    assert max(detail.abs().max() for detail in details) < 1e-12


def test_the_inverse_is_the_sum_of_expanded_levels():
    pyramid, x = LaplacianPyramid(2), double(1, 1, 8, 8)
    coarse, middle, fine = pyramid(x)
    up = expand(expand(coarse, middle.shape, 2), x.shape, 2)
    assert torch.allclose(up + expand(middle, x.shape, 2) + fine, x)


def test_groups_are_the_levels_coarse_to_fine():
    groups = LaplacianPyramid(2).groups((1, 8, 6))
    assert groups.names == ("coarse", "detail 2", "detail 1")
    assert groups.sizes.tolist() == [2 * 2, 4 * 3, 8 * 6]


def test_slow_waves_lie_in_coarser_levels_than_fast_ones():
    t = torch.arange(64) / 64
    pyramid = LaplacianPyramid(3)
    strongest = []
    for cycles in (1, 5, 28):
        s = pyramid(torch.cos(2 * torch.pi * cycles * t)[None, None])
        energy = pyramid.groups((1, 64)).sums([leaf.square() for leaf in s])[0]
        strongest.append(int(energy.argmax()))
    assert strongest == [0, 2, 3]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LaplacianPyramid(0), "levels ≥ 1, got 0"),
        (lambda: LaplacianPyramid(dims=4), "dims 1, 2 or 3, got 4"),
        (lambda: LaplacianPyramid(4)(torch.ones(1, 1, 8, 5)), "levels ≤ 3 for samples of size"),
        (lambda: LaplacianPyramid()(torch.ones(1, 4, dtype=torch.int32)), "floating data, got torch.int32"),
        (lambda: LaplacianPyramid().inverse(torch.ones(1, 4)), "expected a list"),
        (lambda: LaplacianPyramid().inverse([torch.ones(1, 4), torch.ones(1, 5)]), "does not fit the next"),
    ],
)
def test_what_does_not_fit_says_what_would(make, says):
    with pytest.raises((OptionError, ShapeError), match=says):
        make()

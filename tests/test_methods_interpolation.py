"""Codes between codes: both ways, their ends, and what a method makes of them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import trimkit
from trimkit.errors import OptionError, ShapeError, TransformError
from trimkit.methods import LatentSpace, between, interpolate
from trimkit.methods.interpolation import usual_path


def pairs(n, d, seed=0):
    return torch.randn(2, n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_a_straight_way_is_that_of_numpy():
    a, b = pairs(3, 4)
    expected = torch.stack([(1 - t) * a + t * b for t in (0, 0.25, 0.5, 0.75, 1)], 1)
    torch.testing.assert_close(between(a, b, 5), expected)


def test_a_quarter_of_a_circle_is_cut_into_equal_angles():
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    angles = torch.linspace(0, math.pi / 2, 7)
    torch.testing.assert_close(between(a, b, 7, "spherical")[0], 2 * torch.stack([angles.cos(), angles.sin()], 1))


@given(st.integers(0, 50), st.integers(2, 12))
def test_on_the_sphere_the_angle_and_the_length_go_at_one_pace(seed, d):
    a, b = pairs(2, d, seed)
    way = between(a, b, 6, "spherical")
    lengths = way.norm(dim=2)
    torch.testing.assert_close(lengths.diff(dim=1), lengths.diff(dim=1)[:, :1].expand(2, 5))
    steps = way / lengths[..., None]
    cosines = (steps[:, 1:] * steps[:, :-1]).sum(2)
    torch.testing.assert_close(cosines, cosines[:, :1].expand(2, 5))


def test_the_middle_of_a_chord_is_short_and_that_of_an_arc_is_not():
    a, b = pairs(200, 400)
    for path, expected in (("linear", math.sqrt(0.5)), ("spherical", 1.0)):
        middle = between(a, b, 3, path)[:, 1].norm(dim=1).mean() / math.sqrt(400)
        assert float(middle) == pytest.approx(expected, abs=0.01)


def test_ends_are_as_given_and_codes_of_any_shape_go():
    a, b = (code.unflatten(1, (2, 3)).float() for code in pairs(4, 6))
    for path in ("linear", "spherical"):
        way = between(a, b, 4, path)
        assert way.shape == (4, 4, 2, 3)
        assert torch.equal(way[:, 0], a)
        assert torch.equal(way[:, -1], b)


def test_the_way_from_zero_and_between_like_codes_is_straight():
    a = torch.tensor([[0.0, 0.0], [1.0, 2.0], [1.0, 2.0]])
    b = torch.tensor([[3.0, 1.0], [1.0, 2.0], [2.0, 4.0]])
    torch.testing.assert_close(between(a, b, 5, "spherical"), between(a, b, 5))


def test_opposite_codes_have_no_one_way_on_a_sphere():
    a = torch.tensor([[1.0, 2.0]])
    with pytest.raises(OptionError, match="two codes are opposite"):
        between(a, -3 * a, 5, "spherical")


@pytest.mark.parametrize(
    ("options", "says"), [({"steps": 1}, "steps"), ({"path": "curved"}, "expected .*linear.*spherical.*'curved'")]
)
def test_options_out_of_range_are_refused(options, says):
    with pytest.raises(OptionError, match=says):
        between(*pairs(1, 2), **options)


def test_the_sphere_is_usual_where_codes_are_normal_and_have_a_direction():
    assert usual_path(LatentSpace("z", (2,), gaussian=True)) == "spherical"
    assert usual_path(LatentSpace("z", (1,), gaussian=True)) == "linear"
    assert usual_path(LatentSpace("w", (8,))) == "linear"


def test_a_method_decodes_each_code_of_the_way():
    method = trimkit.create("method", "vae", shape=(5,), network="mlp", latent_dim=3).double()
    a, b = pairs(2, 3)
    way = interpolate(method, a, b, steps=4)
    assert way.path == "spherical"
    torch.testing.assert_close(way.codes, between(a, b, 4, "spherical"))
    torch.testing.assert_close(way.x[1, 2], method.decode(way.codes[1, 2:3])[0])


def test_what_cannot_be_decoded_and_codes_of_another_shape_are_refused():
    gan = trimkit.create("method", "infogan", shape=(1, 8, 8), noise_dim=2, categories=(3,))
    codes = torch.zeros(1, 5)
    with pytest.raises(TransformError, match=r"codes of 'c' of InfoGAN cannot be decoded: .*; take 'z'"):
        interpolate(gan, codes, codes)
    tcl = trimkit.create("method", "tcl", shape=(5,), segments=2)
    with pytest.raises(TransformError, match="of TCL cannot be decoded"):
        interpolate(tcl, codes, codes)
    vae = trimkit.create("method", "vae", shape=(5,), network="mlp", latent_dim=3)
    with pytest.raises(ShapeError, match=r"expected codes of 'z', \(N, 3\) each, got \(1, 5\)"):
        interpolate(vae, codes, codes)

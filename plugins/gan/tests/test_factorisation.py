"""Directions in w: orthogonal, exact, and ordered by what they were made for."""

from __future__ import annotations

import pytest
import torch
from trimkit_gan.factorisation import ganspace, sefa
from trimkit_gan.projection import Projection
from trimkit_gan.stylegan import StyleGAN2

import trimkit
from trimkit.errors import UnknownNameError


@pytest.fixture
def method():
    return StyleGAN2((1, 8, 8), z_dim=6, w_dim=5, mapping_layers=2, channel_max=6).double().eval()


def made(kind, method):
    generator = torch.Generator().manual_seed(0)
    return ganspace(method, 500, generator=generator) if kind == "ganspace" else sefa(method)


@pytest.mark.parametrize("kind", ["ganspace", "sefa"])
def test_both_are_orthonormal_and_exact(kind, method):
    transform, w = made(kind, method), torch.randn(4, 5, dtype=torch.float64)
    torch.testing.assert_close(transform.components @ transform.components.T, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(transform.inverse(transform(w), (5,)), w)
    assert transform.exact
    assert transform.groups((5,)).names[:2] == ("component 1", "component 2")


def test_the_components_of_w_are_those_of_its_covariance(method):
    transform = made("ganspace", method)
    w = method.mapping(method.draw_z(500, torch.Generator().manual_seed(0))).detach()
    values = torch.linalg.eigvalsh(w.T.cov()).flip(0)
    torch.testing.assert_close(transform.variance, values)
    torch.testing.assert_close(transform(w).var(0), values)
    assert not ganspace(method, 500, components=2).exact


def test_the_first_direction_moves_the_styles_most(method):
    transform = sefa(method)
    stacked = torch.cat([tap.module.affine.weight * tap.module.affine.scale for tap in convs(method)]).detach()
    effects = (stacked @ transform.components.T).norm(dim=0)
    assert torch.equal(effects.argsort(descending=True), torch.arange(5))
    torch.testing.assert_close(effects, torch.linalg.svdvals(stacked))


def convs(method):
    return [tap for tap in method.synthesis.taps if "conv" in tap.name]


def test_layers_can_be_chosen(method):
    affine = convs(method)[1].module.affine
    values = torch.linalg.svdvals(affine.weight.detach() * affine.scale)
    transform = sefa(method, ["8px conv1"])
    torch.testing.assert_close((affine.weight.detach() * affine.scale @ transform.components.T).norm(dim=0), values)
    with pytest.raises(UnknownNameError, match="no layer is named '8px toRGB'"):
        sefa(method, ["8px toRGB"])


@pytest.mark.parametrize("kind", ["ganspace", "sefa"])
def test_behind_a_projection_they_explain_a_predictor(kind, method):
    predictor = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).double()
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    transform = trimkit.create("transform", "compose", of=[Projection(method, steps=5), made(kind, method)])
    result = trimkit.Trim(predictor, transform, "input_x_gradient")(x, target=0)
    assert result.scores.shape == (2, 5)
    torch.testing.assert_close(result.output, predictor(x))
    back = transform.inverse(result.coefficients, (1, 8, 8)) + result.residual
    torch.testing.assert_close(back, x)

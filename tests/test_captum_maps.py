"""Captum's GuidedGradCam: its numbers on the grid of the pixels, and a refusal everywhere else."""

import captum.attr
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trimkit import Trim
from trimkit.attributions import captum as adapters
from trimkit.attributions.captum.layers import find_layer
from trimkit.attributions.captum.maps import keeps_places
from trimkit.errors import AttributionError, OptionError
from trimkit.registry import create
from trimkit.transforms.base import Identity

from .captum_cases import MODEL, X, Y
from .coarse import Coarse


def test_identity_keeps_places_and_a_shift_does_not():
    class Shifted(Identity):
        def inverse(self, s, size=None):
            return s.roll(1, -1)

    assert keeps_places(Identity(), X, (1, 6, 6))
    assert not keeps_places(Shifted(), X, (1, 6, 6))


class TestGuidedGradCam:
    def reference(self, x):
        with pytest.warns(UserWarning, match="hooks"):
            return captum.attr.GuidedGradCam(MODEL, MODEL[1]).attribute(x.clone().requires_grad_(), target=Y).detach()

    def test_the_numbers_are_captums(self):
        expected = self.reference(X)
        assert expected.abs().sum() > 0
        assert torch.allclose(adapters.GuidedGradCam("1")(MODEL, X, target=Y), expected)
        assert torch.allclose(Trim(MODEL, "identity", adapters.GuidedGradCam(1))(X, Y).scores, expected)

    def test_it_is_guided_backprop_times_the_rectified_mean_gradient_of_the_maps(self):
        maps = MODEL[:2](X).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(MODEL[2:](maps).gather(1, Y[:, None]).sum(), maps)
        cam = F.relu((gradient.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True)).detach()
        expected = adapters.GuidedBackprop()(MODEL, X, target=Y) * F.interpolate(cam, (6, 6))
        assert torch.allclose(adapters.GuidedGradCam("1")(MODEL, X, target=Y), expected)

    @pytest.mark.parametrize("space", ["color", "zca"])
    def test_spaces_on_the_pixels_grid_are_taken(self, space):
        model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
        x = torch.rand(60, 3, 6, 6, generator=torch.Generator().manual_seed(0))
        transform = create("transform", space)
        if hasattr(transform, "fit"):
            transform.fit(x)
        scores = Trim(model, transform, adapters.GuidedGradCam("1"))(x[:4], Y).scores
        assert scores.shape == (4, 3, 6, 6)
        guided = Trim(model, transform, adapters.GuidedBackprop())(x[:4], Y).scores
        assert ((scores == 0) | (scores.sign() == guided.sign())).all()

    @pytest.mark.parametrize(
        ("space", "says"),
        [
            ("fft", r"expected one real tensor \(N, C, H, W\), got complex \(4, 1, 6, 4\) of FFT"),
            ("wavelet", r"expected one real tensor \(N, C, H, W\), got .* of "),
            (("dct", {"dims": 2}), "do not lie where their data lie, so a place in the map means nothing to them"),
            (Coarse(), "those of Coarse do not lie where their data lie"),
        ],
    )
    def test_other_spaces_are_refused(self, space, says):
        with pytest.raises(AttributionError, match=says):
            Trim(MODEL, space, adapters.GuidedGradCam("1"))(X, Y)

    def test_a_layer_that_is_not_there_is_refused(self):
        with pytest.raises(OptionError, match=r"captum:GuidedGradCam: Sequential has no layer 'features'\. "):
            adapters.GuidedGradCam("features")(MODEL, X, target=Y)

    def test_a_layer_without_maps_is_refused(self):
        with pytest.raises(AttributionError, match=r"expected maps \(N, C, H, W\) from layer 3, got \(4, 6\)"):
            adapters.GuidedGradCam("3")(MODEL, X, target=Y)

    def test_a_model_without_pictures_is_refused(self):
        with pytest.raises(AttributionError, match=r"got \(4, 36\) of the input"):
            adapters.GuidedGradCam("1")(nn.Sequential(nn.Unflatten(1, (1, 6, 6)), *MODEL), X.flatten(1), target=Y)


class Nested(nn.Module):
    """Its layers are called 1.1, 1.10 and so on."""

    def __init__(self):
        super().__init__()
        self.add_module("1", nn.Sequential(*(nn.Linear(3, 3) for _ in range(12))))


def test_a_layer_is_a_name_a_number_or_a_module():
    nested = Nested()
    layer = nested.get_submodule("1.5")
    for given in ("1.5", 1.5, layer):
        assert find_layer("GuidedGradCam", nested, given) is layer


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (1.1, r"layer 1\.1 may be 1\.1 or 1\.10, since it was read as a number; pass the layer in Python"),
        ("2", r"Nested has no layer '2'\. "),
        (2.5, r"Nested has no layer '2\.5'\. "),
        (nn.Linear(3, 3), r"expected a layer of the explained Nested, got a Linear that is none of its submodules"),
    ],
)
def test_a_layer_that_is_not_clear_or_not_there_is_refused(layer, says):
    with pytest.raises(OptionError, match=says):
        find_layer("GuidedGradCam", Nested(), layer)

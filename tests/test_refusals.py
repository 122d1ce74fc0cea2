"""What would train nothing, or the wrong thing, is refused; what only looks like it is not."""

import pytest
import torch
from torch import nn

import trimkit
from trimkit.coefficients.groups import Groups
from trimkit.errors import PenaltyError
from trimkit.registry import available, create, facts
from trimkit.transforms import Transform

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))


class Gain(Transform):
    """A learnable transform of free scale."""

    def __init__(self, gain=2.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, x):
        return x * self.gain

    def inverse(self, s, size=None):
        return s / self.gain

    def groups(self, size):
        return Groups(("low", "high"), torch.arange(size[0]) * 2 // size[0], "position")


class UnitGain(Gain):
    norm_constrained = True


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1))


@pytest.mark.parametrize("attribution", ["saliency", ("saliency", {"absolute": False}), "smoothgrad"])
@pytest.mark.parametrize("penalty", ["l1", "monotone_order", "isotonic", ("masked", {"mask": "low"})])
def test_a_scale_that_could_run_away_is_refused(penalty, attribution):
    with pytest.raises(PenaltyError, match=r"Gain is learnable, and .* shrinks as its coefficients grow"):
        trimkit.TrimPenalty(penalty, transform=Gain(), attribution=attribution)(network(), X)


@pytest.mark.parametrize(
    ("penalty", "transform", "attribution"),
    [
        ("l1", Gain(), "input_x_gradient"),
        ("l1", Gain(), "integrated_gradients"),
        ("hoyer", Gain(), "saliency"),
        ("entropy", Gain(), "saliency"),
        ("l1", UnitGain(), "saliency"),
        ("l1", Gain().requires_grad_(False), "saliency"),
        ("l1", "identity", "saliency"),
    ],
)
def test_a_scale_that_is_fixed_somehow_is_not(penalty, transform, attribution):
    assert trimkit.TrimPenalty(penalty, transform=transform, attribution=attribution)(network(), X)[1].isfinite()


@pytest.mark.parametrize("name", [n for n in available("attributions") if facts("attribution", n)["differentiable"]])
def test_attributions_say_rightly_whether_scores_shrink_as_coefficients_grow(name):
    model = network().double()
    attribution = create("attribution", name, **{"occlusion": {"window": (2,), "stride": (1,)}}.get(name, {}))

    def scores(gain):
        space = Gain(gain).double()
        trim = trimkit.Trim(model, transform=space, attribution=attribution)
        return trim(X.double(), generator=torch.Generator().manual_seed(0)).scores

    expected = scores(1.0) / 4 if attribution.gradient_like else scores(1.0)
    assert torch.allclose(scores(4.0), expected, atol=1e-9)


def test_magnitudes_are_refused_where_the_sign_is_read():
    with pytest.raises(PenaltyError, match="reads the sign of scores, and Saliency gives magnitudes"):
        trimkit.TrimPenalty("monotone_gradient", attribution="saliency")(network(), X)
    slopes = ("saliency", {"absolute": False})
    with pytest.raises(PenaltyError, match="gradients of complex coefficients have none"):
        trimkit.TrimPenalty("monotone_gradient", transform="fft", attribution=slopes)(network(), X)
    assert trimkit.TrimPenalty("monotone_gradient", attribution=slopes)(network(), X)[1] > 0

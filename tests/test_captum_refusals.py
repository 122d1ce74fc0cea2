"""What Captum's methods cannot do here is refused with a reason."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trimkit import Trim
from trimkit.attributions import captum as adapters
from trimkit.coefficients.groups import Groups
from trimkit.errors import AttributionError, OptionError, TrimkitWarning
from trimkit.registry import create
from trimkit.transforms.base import Identity

from .captum_cases import MODEL, X, Y, made, names
from .draws import data


@names(differentiable=False)
def test_a_graph_is_refused_where_captum_has_none(name):
    with pytest.raises(AttributionError, match=r"cannot be trained through .* Use one of: .*input_x_gradient"):
        made(name)(MODEL, X, target=1, create_graph=True)


def test_inner_batches_are_refused_in_training():
    attribution = adapters.IntegratedGradients(internal_batch_size=4)
    assert attribution(MODEL, X, target=Y).shape == X.shape
    with pytest.raises(AttributionError, match="internal_batch_size has wrong gradients"):
        attribution(MODEL, X, target=Y, create_graph=True)


@names(needs_module=True)
def test_hooks_need_a_module(name):
    with pytest.raises(AttributionError, match=r"expected a torch\.nn\.Module, got function"):
        made(name)(lambda x: MODEL(x), X, target=1)


class Decoder(Identity):
    """A learned decoder stands behind such an inverse."""

    def inverse(self, s, size=None):
        return torch.tanh(s)


@pytest.mark.parametrize("name", ["DeepLift", "DeepLiftShap", "LRP"])
def test_layer_rules_behind_a_decoder_are_refused(name):
    with pytest.raises(AttributionError, match="silently wrong behind Decoder, whose inverse is not affine"):
        Trim(MODEL, Decoder(), made(f"captum:{name}"))(X, Y)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(36, 9).double(), nn.Linear(9, 3).double()

    def forward(self, x):
        return self.two(F.relu(self.one(x.flatten(1))))


@pytest.mark.parametrize("name", ["captum:DeepLift", "captum:DeepLiftShap"])
def test_activations_that_hooks_cannot_see_are_found_by_the_missing_sum(name):
    with pytest.warns(TrimkitWarning, match="is not complete here: scores miss the change of the output by up to"):
        made(name)(Functional(), X, target=1)


@pytest.mark.parametrize("name", ["captum:GuidedBackprop", "captum:Deconvolution"])
def test_rectified_gradients_without_a_relu_layer_are_refused(name):
    with pytest.raises(AttributionError, match=r"found no torch\.nn\.ReLU module"):
        made(name)(Functional(), X, target=1)


def test_what_captum_refuses_is_named():
    with pytest.raises(AttributionError, match=r"captum:LRP refuses this model or input: .*Softplus"):
        adapters.LRP()(nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.Softplus()).double(), X, target=1)


def test_exact_shapley_values_of_many_groups_are_refused():
    with pytest.raises(AttributionError, match="at most 8 groups, got 36; pass groups"):
        adapters.ShapleyValues()(MODEL, X, target=1)


def test_a_single_group_leaves_nothing_to_weigh():
    with pytest.raises(AttributionError, match=r"captum:KernelShap weighs groups against each other: .* got 1"):
        adapters.KernelShap(Groups(("all",), torch.zeros(1, dtype=torch.long), "none"))(MODEL, X, target=1)


def test_nothing_can_be_exchanged_in_a_batch_of_one():
    with pytest.raises(AttributionError, match="at least 2, got 1"):
        adapters.FeaturePermutation()(MODEL, X[:1], target=1)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        (
            "captum:IntegratedGradients",
            {"n_step": 3},
            "captum:IntegratedGradients has no option 'n_step'. Did you mean",
        ),
        ("captum:NoiseTunnel", {"method": "LRP"}, "expected a method among Saliency"),
        ("captum:NoiseTunnel", {"n_steps": 3}, "captum:Saliency has no option 'n_steps'"),
        ("captum:FeatureAblation", {"groups": "bands"}, "expected groups transform"),
    ],
)
def test_wrong_options_are_refused(name, options, says):
    with pytest.raises(OptionError, match=says):
        create("attribution", name, **options)


class Skipping(nn.Module):
    """A connection that no module makes: a sum or a concatenation."""

    def __init__(self, join, width):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.relu, self.last = nn.Linear(6, 6), nn.ReLU(), nn.Linear(width, 1)
        self.join = join

    def forward(self, x):
        return self.last(self.join(x, self.relu(self.first(x))))


@pytest.mark.parametrize(("join", "width"), [(torch.add, 6), (lambda a, b: torch.cat([a, b], 1), 12)])
def test_relevance_that_is_not_conserved_is_refused_with_the_measured_gap(join, width):
    model, x = Skipping(join, width).double(), data(3, 6)
    with pytest.raises(AttributionError, match=r"captum:LRP is wrong on this model: .* miss it by up to \d"):
        adapters.LRP()(model, x)
    assert torch.equal(model.last.bias, Skipping(join, width).double().last.bias)
    result = Trim(model, "identity", "contextual_decomposition")(x)  # the way out
    assert torch.isfinite(result.scores).all()


class Mixed(nn.Sequential):
    """One ReLU is a module, the other is functional."""

    def forward(self, x):
        return self[2](F.relu(self[1](self[0](x))))


@pytest.mark.parametrize("name", ["captum:GuidedBackprop", "captum:Deconvolution"])
def test_functional_relus_beside_modules_are_counted(name):
    layers = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)
    with pytest.raises(AttributionError, match="1 of the model's ReLUs are functional"):
        made(name)(Mixed(*layers).double(), data(3, 4), target=1)
    assert made(name)(nn.Sequential(*layers).double(), data(3, 4), target=1).shape == (3, 4)


def test_kernel_shap_has_samples_enough_for_a_linear_model_by_default_and_refuses_too_few():
    linear, x = nn.Linear(64, 1, bias=False).double(), data(2, 64)
    right = x * linear.weight
    assert (adapters.KernelShap()(linear, x) - right).norm() < 0.02 * right.norm()
    for kind in (adapters.KernelShap, adapters.Lime):
        with pytest.raises(AttributionError, match=r"25 samples cannot tell 64 groups apart; .* at least 65"):
            kind(n_samples=25)(linear, x)

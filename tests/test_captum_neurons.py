"""Captum's attributions of neurons and maps: the same numbers in every space; and the names without a class here."""

import captum.attr
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trimkit import Trim
from trimkit.attributions import captum as adapters
from trimkit.cli.audit import parse_choice
from trimkit.coefficients.groups import Groups
from trimkit.errors import OptionError, ShapeError, TrimkitWarning
from trimkit.registry import available, create, resolve
from trimkit.transforms.base import Transform

NEURONS = sorted(name.removeprefix("captum:") for name in available("attributions") if name.startswith("captum:Neuron"))
every = pytest.mark.parametrize("name", NEURONS)
one_baseline = pytest.mark.parametrize("name", [name for name in NEURONS if not name.endswith("Shap")])


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 6), nn.ReLU(), nn.Linear(6, 3)
    ).double()


def data(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


MODEL, X, Y = network(), data(4, 1, 6, 6), torch.tensor([0, 2, 1, 1])


def made(name, layer="3", neuron=2, **options):
    return create("attribution", f"captum:{name}", layer=layer, neuron=neuron, **options)


class OfPairs(nn.Module):
    """Pairs of real and imaginary parts → output, as a module that Captum can take."""

    def __init__(self):
        super().__init__()
        self.model = MODEL

    def forward(self, pairs):
        return self.model(torch.fft.irfft2(torch.view_as_complex(pairs.contiguous()), norm="ortho"))


def theirs(name, model, x, layer, neuron):
    """What Captum itself says."""
    with_target = {"target": Y} if name == "NeuronConductance" else {}
    x = x.clone().requires_grad_(name != "NeuronFeatureAblation")
    return getattr(captum.attr, name)(model, layer).attribute(x, neuron, **with_target).detach()


@one_baseline
@pytest.mark.filterwarnings("ignore:Setting .*hooks:UserWarning")
@pytest.mark.parametrize(("layer", "neuron"), [("3", 2), ("1", (2, 3, 3)), ("5", 1)])
def test_the_numbers_are_captums_in_the_datas_own_space_and_behind_a_transform(name, layer, neuron):
    options = {"groups": "coefficients"} if name == "NeuronFeatureAblation" else {}
    attribution = made(name, layer, neuron, **options)
    expected = theirs(name, MODEL, X, MODEL[int(layer)], neuron)
    assert torch.allclose(attribution(MODEL, X, target=Y), expected, atol=1e-7)
    if name == "NeuronFeatureAblation":
        return  # which changes both parts of a number at once, and Captum one at a time
    of_pairs = OfPairs()
    pairs = torch.view_as_real(torch.fft.rfft2(X, norm="ortho"))
    expected = theirs(name, of_pairs, pairs, of_pairs.model[int(layer)], neuron).sum(-1)
    assert torch.allclose(Trim(MODEL, "fft", attribution)(X, Y).scores, expected, atol=1e-7)


def test_references_are_averaged_over():
    """A linear neuron has one gradient everywhere, so that no draw plays a part."""
    references = data(3, 1, 6, 6, seed=5)
    linear = {"layer": "0", "neuron": (1, 0, 2)}
    same = references[:1].expand(2, -1, -1, -1)
    found = made("NeuronGradientShap", **linear)(MODEL, X, baseline=same)
    integrated = made("NeuronIntegratedGradients", **linear)(MODEL, X, baseline=references[:1])
    assert torch.allclose(found, integrated, atol=1e-6)
    mean = sum(made("NeuronDeepLift")(MODEL, X, baseline=one[None]) for one in references) / 3
    assert torch.allclose(made("NeuronDeepLiftShap")(MODEL, X, baseline=references), mean)


class Coarse(Transform):
    """Means of neighbours: what it loses is in the residual, which differs from sample to sample."""

    exact = False

    def forward(self, x):
        return F.avg_pool2d(x, 2)

    def inverse(self, s, size=None):
        return s.repeat_interleave(2, -1).repeat_interleave(2, -2)

    def groups(self, size):
        return Groups(("top", "middle", "bottom"), torch.arange(3)[:, None].expand(1, 3, 3), "row")


@pytest.mark.parametrize("name", ["NeuronIntegratedGradients", "NeuronDeepLift", "NeuronDeepLiftShap"])
@pytest.mark.parametrize("at_input", [False, True])
def test_scores_sum_to_the_change_of_the_neuron_with_each_samples_residual(name, at_input):
    """The last two would warn if their own sum missed it."""
    bases = data(2, 1, 3, 3, seed=4) if name.endswith("Shap") else data(1, 1, 3, 3, seed=4)
    options = {"n_steps": 300} if name == "NeuronIntegratedGradients" else {}
    attribution = made(name, "4", 2, attribute_to_neuron_input=at_input, **options)
    result = Trim(MODEL, Coarse(), attribution)(X, Y, baseline=bases)
    hidden = MODEL[: 4 if at_input else 5]
    coarse = Coarse()
    at_base = torch.stack([hidden(coarse.inverse(base[None]) + result.residual)[:, 2] for base in bases]).mean(0)
    change = hidden(X)[:, 2] - at_base
    assert change.abs().max() > 0.1
    assert torch.allclose(result.scores.sum((1, 2, 3)), change, atol=2e-3 if options else 1e-9)


def test_the_ablation_of_a_group_changes_the_neuron():
    scores = Trim(MODEL, Coarse(), made("NeuronFeatureAblation"))(X, Y).scores
    without = Coarse()(X).clone()
    without[:, :, 1] = 0
    residual = X - Coarse().inverse(Coarse()(X))
    change = MODEL[:4](X)[:, 2] - MODEL[:4](Coarse().inverse(without) + residual)[:, 2]
    assert torch.allclose(scores[:, 0, 1].sum(1), change)


@pytest.mark.parametrize("method", ["gausslegendre", "riemann_trapezoid"])
def test_conductance_summed_over_a_layer_is_integrated_gradients_of_the_target(method):
    total = sum(made("NeuronConductance", neuron=k, n_steps=20, method=method)(MODEL, X, target=Y) for k in range(6))
    assert torch.allclose(total, adapters.IntegratedGradients(n_steps=20, method=method)(MODEL, X, target=Y), atol=1e-6)


@every
def test_the_target_counts_for_conductance_alone(name):
    attribution = made(name)
    found = attribution(MODEL, X, target=0)
    assert torch.equal(found, attribution(MODEL, X, target=2)) == (name != "NeuronConductance")
    if name != "NeuronConductance":
        assert torch.equal(found, attribution(MODEL, X))


def test_a_neuron_is_an_int_an_index_or_a_function_of_what_the_layer_gave():
    one = made("NeuronGradient", "1", (1, 0, 2))(MODEL, X)
    assert torch.equal(made("NeuronGradient", "1", [1, 0, 2])(MODEL, X), one)
    assert torch.equal(made("NeuronGradient", MODEL[1], lambda maps: maps[:, 1, 0, 2])(MODEL, X), one)
    both = made("NeuronGradient", "3", lambda hidden: hidden[:, 0] + hidden[:, 4])(MODEL, X)
    assert torch.allclose(both, sum(made("NeuronGradient", "3", k)(MODEL, X) for k in (0, 4)))


@pytest.mark.parametrize(("neuron", "says"), [(6, "out of range: axis 1 of the output has 6"), ((1, 2), "with 3 axes")])
def test_a_neuron_that_is_not_there_is_refused(neuron, says):
    for name in NEURONS:
        with pytest.raises(ShapeError, match=rf"captum:{name}: layer 3 has no neuron .*{says}"):
            made(name, "3", neuron)(MODEL, X, target=Y)


def test_conductance_of_a_combination_is_refused():
    with pytest.raises(OptionError, match="expected an int or an index, got a callable"):
        made("NeuronConductance", neuron=lambda hidden: hidden[:, 0])


class Nested(nn.Module):
    """Its layers are called one.1, one.10 and so on."""

    def __init__(self):
        super().__init__()
        self.add_module("1", nn.Sequential(*(nn.Linear(3, 3) for _ in range(12))).double())

    def forward(self, x):
        return self.get_submodule("1")(x)


def test_a_layer_is_a_name_a_number_or_a_module():
    x, nested = data(4, 3), Nested()
    named = made("NeuronGradient", "1.5")(nested, x)
    assert torch.equal(made("NeuronGradient", 1.5)(nested, x), named)
    assert torch.equal(made("NeuronGradient", nested.get_submodule("1.5"))(nested, x), named)
    assert torch.equal(made("NeuronGradient", 3)(MODEL, X), made("NeuronGradient", "3")(MODEL, X))


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
        made("NeuronGradient", layer)(Nested(), data(4, 3))


def test_layer_and_neuron_are_asked_for():
    with pytest.raises(OptionError, match="layer"):
        create("attribution", "captum:NeuronGradient", neuron=1)
    with pytest.raises(OptionError, match=r"captum:NeuronIntegratedGradients has no option 'n_step'\. Did you mean"):
        made("NeuronIntegratedGradients", n_step=3)


def test_options_come_from_the_command_line():
    typed = resolve("attribution", parse_choice("captum:NeuronGradient:layer=3,neuron=5"))
    assert torch.equal(typed(MODEL, X), made("NeuronGradient", "3", 5)(MODEL, X))
    typed = resolve("attribution", parse_choice("captum:NeuronIntegratedGradients:layer=1,neuron=[1,0,2],n_steps=7"))
    assert torch.equal(typed(MODEL, X), made("NeuronIntegratedGradients", "1", (1, 0, 2), n_steps=7)(MODEL, X))


class OfTree(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = MODEL

    def forward(self, parts):
        return self.model(torch.cat([parts["top"], parts["rest"][0]], dim=2))


@every
def test_trees_of_coefficients_are_taken_and_unused_leaves_get_zeros(name):
    parts = {"top": X[:, :, :2], "rest": (X[:, :, 2:], data(4, 3))}
    options = {"groups": "coefficients"} if name == "NeuronFeatureAblation" else {}
    found = made(name, "model.3", **options)(OfTree(), parts, target=Y)
    whole = made(name, **options)(MODEL, X, target=Y)
    assert torch.equal(found["rest"][1], torch.zeros(4, 3, dtype=torch.float64))
    if name != "NeuronGradientShap":  # which draws anew for each leaf
        assert torch.allclose(torch.cat([found["top"], found["rest"][0]], dim=2), whole, atol=1e-7)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_have_the_coefficients_number_type(name, dtype):
    found = made(name)(network().to(dtype), X.to(dtype), target=Y)
    assert found.dtype == dtype
    if name != "NeuronGradientShap":
        exact = made(name)(MODEL, X, target=Y)
        assert (found.double() - exact).abs().max() < 0.1 * exact.abs().max()


def test_a_compiled_model_is_explained_as_it_was_written():
    model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double(), data(3, 4)
    compiled = torch.compile(model, backend="eager")
    compiled(x)
    assert torch.equal(made("NeuronDeepLift", "1", 0)(compiled, x), made("NeuronDeepLift", "1", 0)(model, x))


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(36, 9).double(), nn.Linear(9, 3).double()

    def forward(self, x):
        return self.two(F.relu(self.one(x.flatten(1))))


@pytest.mark.parametrize("name", ["NeuronDeepLift", "NeuronDeepLiftShap"])
def test_activations_that_hooks_cannot_see_are_found_by_the_missing_sum(name):
    with pytest.warns(TrimkitWarning, match="is not complete here: scores miss the change of the neuron by up to"):
        made(name, "two", 1)(Functional(), X)

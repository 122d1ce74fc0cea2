"""Captum's attributions through trimkit: the same numbers, in every space, and no side effects."""

import subprocess
import sys

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trimkit import Trim, check_attribution
from trimkit.attributions import captum as adapters
from trimkit.coefficients.groups import Groups
from trimkit.errors import AttributionError, OptionError, ShapeError, TrimkitWarning
from trimkit.registry import available, create, facts
from trimkit.transforms import FFT
from trimkit.transforms.base import Identity, Transform

FACTS = {name: facts("attribution", name) for name in available("attributions") if name.startswith("captum:")}


def names(**wanted):
    return pytest.mark.parametrize("name", sorted(name for name, own in FACTS.items() if wanted.items() <= own.items()))


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 6), nn.ReLU(), nn.Linear(6, 3)
    ).double()


def data(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


MODEL, X, Y = network(), data(4, 1, 6, 6), torch.tensor([0, 2, 1, 1])
THIRDS = Groups(("left", "middle", "right"), torch.arange(6) // 2, "column")
SPECTRUM = Groups(("low", "high"), torch.arange(4) // 2, "frequency")
FEW = {"captum:Lime": {"n_samples": 40}, "captum:KernelShap": {"n_samples": 40}}
ON_A_GRID = [name for name, own in FACTS.items() if not own["complex_ok"]]


def made(name, groups=THIRDS, **options):
    if name == "captum:ShapleyValues":
        options["groups"] = groups
    if name == "captum:GuidedGradCam":
        options["layer"] = "1"
    return create("attribution", name, **{**FEW.get(name, {}), **options})


def reference(*options, **more):
    """Captum's own scores of labels Y in the data's own space."""
    kind, making = options[0], options[1:]
    explainer = getattr(captum.attr, kind)(MODEL, *making)
    hooks = kind in ("DeepLift", "GuidedBackprop", "Deconvolution")
    x = X.clone().requires_grad_("Ablation" not in kind)
    if not hooks:
        return explainer.attribute(x, target=Y, **more).detach().double()
    with pytest.warns(UserWarning, match="hooks"):
        return explainer.attribute(x, target=Y, **more).detach()


MASK = (torch.arange(6) // 2).expand(1, 1, 6, 6).contiguous()


@pytest.mark.parametrize(
    ("name", "options", "theirs", "share"),
    [
        ("Saliency", {"abs": False}, {"abs": False}, 1),
        ("InputXGradient", {}, {}, 1),
        ("IntegratedGradients", {"n_steps": 9}, {"n_steps": 9}, 1),
        ("DeepLift", {}, {}, 1),
        ("GuidedBackprop", {}, {}, 1),
        ("Deconvolution", {}, {}, 1),
        ("FeatureAblation", {}, {}, 1),
        ("FeatureAblation", {"groups": THIRDS}, {"feature_mask": MASK}, 12),
        ("ShapleyValues", {"groups": THIRDS}, {"feature_mask": MASK}, 12),
        ("Occlusion", {"sliding_window_shapes": (1, 2, 2)}, {"sliding_window_shapes": (1, 2, 2)}, 1),
    ],
)
def test_in_the_datas_own_space_the_numbers_are_captums(name, options, theirs, share):
    found = getattr(adapters, name)(**options)(MODEL, X, target=Y)
    assert torch.allclose(found * share, reference(name, **theirs), atol=1e-7)


def test_the_relevance_of_captums_rules_is_passed_through_a_flatten_layer():
    found = adapters.LRP()(MODEL, X, target=Y)
    biasless = network()
    for layer in (0, 3, 5):
        nn.init.zeros_(biasless[layer].bias)
    whole = adapters.LRP()(biasless, X, target=Y).sum((1, 2, 3))
    assert found.abs().sum() > 0
    assert torch.allclose(whole, biasless(X).gather(1, Y[:, None])[:, 0], atol=1e-6)


@names()
@pytest.mark.parametrize("space", ["identity", "fft"])
def test_each_gives_real_scores_of_the_coefficients_number_type(name, space):
    if name in ON_A_GRID and space == "fft":
        with pytest.raises(AttributionError, match=r"got complex \(4, 1, 6, 4\) of FFT; use captum:GuidedBackprop"):
            Trim(MODEL, space, made(name))(X, Y)
        return
    attribution = made(name, groups=THIRDS if space == "identity" else SPECTRUM)
    result = Trim(MODEL, space, attribution)(X, Y)
    assert result.scores.shape == result.coefficients.shape
    assert result.scores.dtype == torch.float64
    assert result.scores.abs().sum() > 0
    if FACTS[name]["complete"]:
        assert (result.gap.abs() < 0.1 * result.change.abs() + 1e-3).all()


def pair_model(pair):
    return MODEL(torch.fft.irfft2(torch.view_as_complex(pair.contiguous()), norm="ortho"))


def test_a_complex_coefficient_gets_the_sum_of_its_two_parts():
    pair = torch.view_as_real(FFT()(X)).clone().requires_grad_()
    explainer = captum.attr.IntegratedGradients(pair_model)
    expected = explainer.attribute(pair, target=Y, n_steps=9).sum(-1).detach()
    assert torch.allclose(Trim(MODEL, "fft", adapters.IntegratedGradients(n_steps=9))(X, Y).scores, expected)


@pytest.mark.parametrize("name", ["captum:DeepLift", "captum:FeatureAblation", "captum:InputXGradient"])
def test_every_form_of_target_is_taken(name):
    attribution = create("attribution", name)
    labels = attribution(MODEL, X, target=Y)
    assert torch.allclose(attribution(MODEL, X, target=lambda out: out[:, 1])[2], labels[2])
    assert torch.allclose(attribution(MODEL, X, target=1)[2], labels[2])
    assert torch.allclose(attribution(nn.Sequential(MODEL, nn.Unflatten(1, (3, 1))), X, target=(1, 0))[2], labels[2])
    assert attribution(nn.Sequential(MODEL, nn.Linear(3, 1).double()), X).shape == X.shape


class Coarse(Transform):
    """Means of neighbours: what it loses is in the residual, which differs from sample to sample."""

    exact = False

    def forward(self, x):
        return F.avg_pool2d(x, 2)

    def inverse(self, s, size=None):
        return s.repeat_interleave(2, -1).repeat_interleave(2, -2)

    def groups(self, size):
        return Groups(("top", "middle", "bottom"), torch.arange(3)[:, None].expand(1, 3, 3), "row")


@pytest.mark.parametrize("name", ["captum:NoiseTunnel", "captum:GradientShap", "captum:Lime", "captum:KernelShap"])
def test_each_row_keeps_the_residual_and_label_of_its_sample(name):
    """These repeat samples one by one, or take them alone."""
    options = {"stdevs": 1e-9, "abs": False} if name == "captum:NoiseTunnel" else {}
    base = torch.zeros(2, 1, 3, 3) if name == "captum:GradientShap" else None
    attribution = made(name, **options)
    whole = Trim(MODEL, Coarse(), attribution)(X, Y, baseline=base).scores
    if name == "captum:NoiseTunnel":
        assert torch.allclose(whole, Trim(MODEL, Coarse(), adapters.Saliency(abs=False))(X, Y).scores, atol=1e-6)
    else:
        first = Trim(MODEL, Coarse(), attribution)(X[:1], Y[:1], baseline=base).scores
        if name != "captum:GradientShap":  # whose draws depend on the size of the batch
            assert torch.allclose(whole[:1], first, atol=1e-6)


def test_noise_over_a_method_that_needs_hooks():
    found = adapters.NoiseTunnel("GuidedBackprop", stdevs=1e-9)(MODEL, X, target=Y)
    assert torch.allclose(found, adapters.GuidedBackprop()(MODEL, X, target=Y), atol=1e-6)
    integrated = adapters.NoiseTunnel("IntegratedGradients", stdevs=1e-9, n_steps=9)
    base = data(1, 1, 6, 6, seed=3)
    expected = adapters.IntegratedGradients(n_steps=9)(MODEL, X, target=Y, baseline=base)
    assert torch.allclose(integrated(MODEL, X, target=Y, baseline=base), expected, atol=1e-6)


@names(stochastic=True)
def test_draws_come_from_the_generator_and_leave_the_global_states_alone(name):
    attribution = made(name)
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    expected = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    one, two, other = (
        attribution(MODEL, X, target=Y, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])  # noqa: NPY002


class Failing(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Identity(), nn.ReLU())

    def forward(self, x):
        self[1](x)
        raise ZeroDivisionError


@names()
def test_the_callers_tensor_and_model_are_as_before_also_after_an_exception(name):
    x, model = X.clone(), Failing()
    attribution = made(name)
    with pytest.raises(ZeroDivisionError):
        attribution(model, x, target=1)
    assert not x.requires_grad
    assert not model[1]._forward_hooks
    model = network()
    before = [p.clone() for p in model.parameters()]
    loss = model(x).sum()
    attribution(model, x, target=1)
    loss.backward()  # an in-place change of the parameters would make this fail
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())


@names(differentiable=False)
def test_a_graph_is_refused_where_captum_has_none(name):
    with pytest.raises(AttributionError, match=r"cannot be trained through .* Use one of: .*input_x_gradient"):
        made(name)(MODEL, X, target=1, create_graph=True)


def test_the_three_that_keep_their_graph_keep_the_right_one_in_every_space():
    fft, smooth = FFT(), nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.Tanh(), nn.Linear(5, 3)).double()

    def composed(s):
        return smooth(fft.inverse(s, (1, 6, 6)))

    for kind in (adapters.Saliency, adapters.InputXGradient, adapters.IntegratedGradients):
        found = check_attribution(kind(), composed, fft(X), target=Y)
        assert found.ok, found.message


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


def test_references_are_the_batch_or_given():
    given = adapters.DeepLiftShap()(MODEL, X, target=Y, baseline=X)
    assert torch.allclose(adapters.DeepLiftShap()(MODEL, X, target=Y), given)
    zero = adapters.DeepLiftShap()(MODEL, X, target=Y, baseline=0.0)
    assert torch.allclose(zero, adapters.DeepLift()(MODEL, X, target=Y))
    with pytest.raises(ShapeError, match="at least 2 reference samples, got 1"):
        adapters.GradientShap()(MODEL, X[:1], target=1)


def test_trees_of_coefficients_become_tuples():
    def of_tree(parts):
        return MODEL(torch.cat([parts["top"], parts["rest"]], dim=2))

    parts = {"top": X[:, :, :2], "rest": X[:, :, 2:]}
    found = adapters.KernelShap(n_samples=40)(of_tree, parts, target=Y)
    whole = {key: value.shape for key, value in parts.items()}
    assert {key: value.shape for key, value in found.items()} == whole
    with pytest.raises(ShapeError, match="expected one tensor, got a tree of 2"):
        adapters.Occlusion()(of_tree, parts, target=Y)


def test_exact_shapley_values_of_many_groups_are_refused():
    with pytest.raises(AttributionError, match="at most 8 groups, got 36; pass groups"):
        adapters.ShapleyValues()(MODEL, X, target=1)


def test_a_single_group_leaves_nothing_to_weigh():
    with pytest.raises(AttributionError, match=r"captum:KernelShap weighs groups against each other: .* got 1"):
        adapters.KernelShap(Groups(("all",), torch.zeros(1, dtype=torch.long), "none"))(MODEL, X, target=1)


def test_nothing_can_be_exchanged_in_a_batch_of_one():
    with pytest.raises(AttributionError, match="at least 2, got 1"):
        adapters.FeaturePermutation()(MODEL, X[:1], target=1)


def test_the_groups_of_the_transform_are_the_features():
    result = Trim(MODEL, FFT(bands=3), "captum:FeatureAblation")(X, Y)
    own = Trim(MODEL, FFT(bands=3), "feature_ablation")(X, Y)
    assert torch.allclose(result.scores, own.scores)
    single = Trim(MODEL, FFT(bands=3), adapters.FeatureAblation("coefficients"))(X, Y).scores
    assert not torch.allclose(single, own.scores)


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


def test_a_compiled_model_is_explained_as_it_was_written():
    model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double(), data(3, 4)
    compiled = torch.compile(model, backend="eager")
    compiled(x)
    assert torch.allclose(adapters.DeepLift()(compiled, x, target=1), adapters.DeepLift()(model, x, target=1))


def test_captum_is_imported_when_it_is_used():
    program = "import sys, trimkit.attributions.captum; assert 'captum' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


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

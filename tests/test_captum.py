"""Captum's attributions through trimkit: the same numbers, in every space, and no side effects."""

import subprocess
import sys

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn

from trimkit import Trim, check_attribution
from trimkit.attributions import captum as adapters
from trimkit.coefficients.groups import Groups
from trimkit.errors import AttributionError, ShapeError
from trimkit.registry import create
from trimkit.transforms import FFT

from .captum_cases import FACTS, MODEL, THIRDS, X, Y, made, names, network
from .coarse import Coarse
from .draws import data

SPECTRUM = Groups(("low", "high"), torch.arange(4) // 2, "frequency")
ON_A_GRID = [name for name, own in FACTS.items() if not own["complex_ok"]]


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


def test_the_three_that_keep_their_graph_keep_the_right_one_in_every_space():
    fft, smooth = FFT(), nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.Tanh(), nn.Linear(5, 3)).double()

    def composed(s):
        return smooth(fft.inverse(s, (1, 6, 6)))

    for kind in (adapters.Saliency, adapters.InputXGradient, adapters.IntegratedGradients):
        found = check_attribution(kind(), composed, fft(X), target=Y)
        assert found.ok, found.message


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


def test_the_groups_of_the_transform_are_the_features():
    result = Trim(MODEL, FFT(bands=3), "captum:FeatureAblation")(X, Y)
    own = Trim(MODEL, FFT(bands=3), "feature_ablation")(X, Y)
    assert torch.allclose(result.scores, own.scores)
    single = Trim(MODEL, FFT(bands=3), adapters.FeatureAblation("coefficients"))(X, Y).scores
    assert not torch.allclose(single, own.scores)


def test_a_compiled_model_is_explained_as_it_was_written():
    model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double(), data(3, 4)
    compiled = torch.compile(model, backend="eager")
    compiled(x)
    assert torch.allclose(adapters.DeepLift()(compiled, x, target=1), adapters.DeepLift()(model, x, target=1))


def test_captum_is_imported_when_it_is_used():
    program = "import sys, trimkit.attributions.captum; assert 'captum' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""Attributions against Captum, closed forms, and the properties that define them."""

import itertools

import captum.attr
import pytest
import torch
from torch import nn

import trimkit
from trimkit.attributions import InputXGradient, IntegratedGradients, Saliency
from trimkit.attributions.gradient import gauss_legendre
from trimkit.coefficients import tree
from trimkit.coefficients.baseline import expand_baseline
from trimkit.coefficients.groups import Groups
from trimkit.registry import create
from trimkit.transforms import DCT, FFT, FrequencyBands

from .attribution_cases import FACTS, MODEL, X, Y, network
from .draws import data


def names(**wanted):
    """A test for every registered name of which the facts hold, and that takes a bare function."""
    found = [n for n, own in FACTS.items() if not own["needs_module"] and wanted.items() <= own.items()]
    return pytest.mark.parametrize("name", sorted(found))


every = names()


def tracked(x):
    """What Captum wants, lest it warn."""
    return x.clone().requires_grad_()


SIGNED = {
    "saliency": {"absolute": False},
    "smoothgrad": {"absolute": False},
    "captum:Saliency": {"abs": False},
    "captum:NoiseTunnel": {"abs": False},
}
"""Options under which a method's scores are linear in the model."""


def thirds(s):
    """Pairs of columns as groups, since exact Shapley values take few; another leaf is a group of its own."""

    def label(leaf):
        return torch.arange(6) // 2 if leaf.shape[-1] == 6 else torch.full(leaf.shape[1:], 3)

    return Groups(("left", "middle", "right", "else"), tree.map_leaves(label, s), "column")


def made(name, s=X, **options):
    if name == "captum:ShapleyValues":
        options["groups"] = thirds(s)
    return create("attribution", name, **options)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.Softplus])
@pytest.mark.parametrize("target", [Y, 1], ids=["labels", "one class"])
def test_in_the_datas_own_space_the_numbers_are_captums(activation, target):
    model = network(activation)
    ours = [Saliency(), InputXGradient(), IntegratedGradients(16)]
    captums = [captum.attr.Saliency(model), captum.attr.InputXGradient(model), captum.attr.IntegratedGradients(model)]
    options = [{}, {}, {"n_steps": 16, "method": "gausslegendre"}]
    for our, theirs, extra in zip(ours, captums, options, strict=True):
        expected = theirs.attribute(tracked(X), target=target, **extra).detach()
        assert torch.allclose(our(model, X, target=target), expected, atol=1e-8)


def test_other_forms_of_target_give_captums_numbers_too():
    model = nn.Sequential(network(classes=6), nn.Unflatten(1, (2, 3)))
    ours = InputXGradient()(model, X, target=(1, 2))
    assert torch.allclose(ours, captum.attr.InputXGradient(model).attribute(tracked(X), target=(1, 2)))
    regression = network(classes=1)
    expected = captum.attr.InputXGradient(regression).attribute(tracked(X), target=0)
    assert torch.allclose(InputXGradient()(regression, X), expected)


def test_a_baseline_gives_captums_numbers():
    base = data(1, 1, 6, 6, seed=5)
    expected = captum.attr.IntegratedGradients(MODEL).attribute(tracked(X), base, target=1, n_steps=20).detach()
    assert torch.allclose(IntegratedGradients(20)(MODEL, X, target=1, baseline=base), expected, atol=1e-8)
    assert torch.allclose(
        IntegratedGradients(20)(MODEL, X, target=1, baseline=0.5),
        IntegratedGradients(20)(MODEL, X, target=1, baseline=torch.full_like(X, 0.5)),
    )


@pytest.mark.parametrize("transform", [FFT(), DCT(), FrequencyBands()], ids=lambda t: type(t).__name__)
def test_integrated_gradients_are_complete_in_every_space(transform):
    def composed(s):
        return MODEL(transform.inverse(s, (1, 6, 6)))

    found = IntegratedGradients(64).explain(composed, transform(X), target=Y)
    change = (MODEL(X) - MODEL(torch.zeros_like(X))).gather(1, Y[:, None])[:, 0].detach()
    assert torch.allclose(tree.sample_sums(found.scores), change, atol=1e-10)
    assert torch.allclose(found.output, MODEL(X).detach())


def test_attributions_of_orthonormal_coefficients_follow_the_change_of_basis():
    matrix = torch.linalg.qr(data(36, 36)).Q

    def rotated(s):
        return MODEL((s @ matrix).reshape(-1, 1, 6, 6))

    s = X.flatten(1) @ matrix.T
    gradient = Saliency(absolute=False)(MODEL, X, target=1).flatten(1)
    assert torch.allclose(Saliency(absolute=False)(rotated, s, target=1), gradient @ matrix.T)


def test_the_score_of_a_complex_coefficient_is_the_sum_of_its_real_and_imaginary_parts():
    fft = FFT()
    s = fft(X)

    def of_complex(s):
        return MODEL(fft.inverse(s, (1, 6, 6)))

    def of_pair(pair):
        return of_complex(torch.view_as_complex(pair))

    pair = torch.view_as_real(s).clone()
    for attribution in (InputXGradient(), IntegratedGradients(8)):
        assert torch.allclose(attribution(of_complex, s, target=Y), attribution(of_pair, pair, target=Y).sum(-1))
    magnitudes = Saliency(absolute=False)(of_pair, pair, target=Y).norm(dim=-1)
    assert torch.allclose(Saliency()(of_complex, s, target=Y), magnitudes)


@names(tree_ok=True, stochastic=False)
def test_trees_are_explained_leaf_by_leaf(name):
    def of_tree(parts):
        return MODEL(torch.cat([parts["top"], parts["rest"][0]], dim=2))

    parts = {"top": X[:, :, :2], "rest": (X[:, :, 2:], data(4, 3))}  # the last leaf is not used
    found = made(name, parts)(of_tree, parts, target=Y)
    whole = made(name)(MODEL, X, target=Y)
    assert torch.allclose(torch.cat([found["top"], found["rest"][0]], dim=2), whole)
    assert torch.equal(found["rest"][1], torch.zeros(4, 3, dtype=torch.float64))


@names()
def test_scores_are_linear_in_the_model(name):
    if name == "gradient_of_loss":
        pytest.skip("a loss is not linear in the logits")
    if name == "captum:Lime":
        pytest.skip("Lime is a lasso, whose threshold is not linear in what it fits")
    one, two = network(seed=1), network(seed=2)
    attribution = made(name, **SIGNED.get(name, {}))
    combined = attribution(lambda x: 2 * one(x) - 3 * two(x), X, target=1)
    apart = 2 * attribution(one, X, target=1) - 3 * attribution(two, X, target=1)
    assert torch.allclose(combined, apart, atol=1e-6 if name.startswith("captum:") else 1e-8)  # in part float32 there


@every
def test_two_implementations_of_one_function_get_the_same_scores(name):
    matrix = data(6, 9)

    def factored(x):
        return (x @ matrix) @ matrix.T

    def fused(x):
        return x @ (matrix @ matrix.T)

    x = data(3, 6)
    attribution = made(name, x, **({"window": 2} if name == "occlusion" else {}))
    assert torch.allclose(attribution(factored, x, target=2), attribution(fused, x, target=2))


@names(stochastic=False)
def test_samples_are_explained_on_their_own(name):
    attribution = made(name)
    assert torch.allclose(attribution(MODEL, X, target=Y)[2:3], attribution(MODEL, X[2:3], target=Y[2:3]))


@every
def test_without_create_graph_the_scores_are_detached_and_the_caller_untouched(name):
    x = X.clone().requires_grad_()
    found = made(name).explain(MODEL, x, target=Y)
    assert not found.scores.requires_grad
    assert not found.output.requires_grad
    assert x.grad is None
    assert all(p.grad is None for p in MODEL.parameters())
    plain = X.clone()
    made(name)(MODEL, plain, target=Y, create_graph=FACTS[name]["differentiable"])
    assert not plain.requires_grad


@every
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_scores_are_the_same_where_gradients_are_off(name, context):
    expected = made(name)(MODEL, X, target=Y)
    with context():
        found = made(name)(MODEL, X.clone(), target=Y)
    assert torch.equal(found, expected)


@names(order="gradient", differentiable=True)
def test_the_output_comes_from_one_forward(name):
    calls = []

    def counted(x):
        calls.append(len(x))
        return MODEL(x)

    attribution = made(name, **({"n_steps": 5} if name == "integrated_gradients" else {}))
    found = attribution.explain(counted, X, target=Y, create_graph=True)
    assert len(calls) == 1
    assert torch.allclose(found.output, MODEL(X))
    assert found.output.requires_grad


def test_chunks_bound_the_rows_of_a_forward_and_change_nothing():
    rows = []

    def counted(x):
        rows.append(len(x))
        return MODEL(x)

    whole = IntegratedGradients(12, chunk=12)(MODEL, X, target=Y)
    assert torch.allclose(IntegratedGradients(12, chunk=5)(counted, X, target=Y), whole)
    assert rows == [4 + 5 * 4, 5 * 4, 2 * 4]


def test_quadrature_is_exact_for_polynomials():
    nodes, weights = gauss_legendre(4)
    for degree in range(8):
        assert torch.allclose((weights * nodes**degree).sum(), torch.tensor(1 / (degree + 1), dtype=torch.float64))
    cubic = IntegratedGradients(2)(lambda x: (x**3).sum(1), torch.tensor([[2.0, -1.0]]))
    assert torch.allclose(cubic, torch.tensor([[8.0, -1.0]]))


def test_every_path_point_keeps_its_dtype():
    found = IntegratedGradients(4)(network().float(), X.float(), target=Y)
    assert found.dtype == torch.float32


@pytest.mark.parametrize("attribution", [IntegratedGradients(2), InputXGradient()])
def test_a_model_may_return_a_class_of_its_own(attribution):
    class Output:
        def __init__(self, logits):
            self.logits = logits

    def model(x):
        return Output(MODEL(x))

    scores = attribution(model, X, target=lambda out: out.logits[:, 1])
    assert torch.allclose(scores, attribution(MODEL, X, target=1), atol=1e-12)


def test_no_gradient_flows_to_a_baseline():
    base = torch.zeros(1, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    for memory in ("graph", "two_pass"):
        scores = IntegratedGradients(4, chunk=2, memory=memory)(MODEL, X, target=Y, baseline=base, create_graph=True)
        assert torch.autograd.grad(scores.sum(), [base, MODEL[0].weight], allow_unused=True)[0] is None


def test_a_baseline_of_complex_coefficients_may_be_real():
    s = FFT()(X)
    assert torch.equal(expand_baseline(0.5, s), torch.full_like(s, 0.5))


def test_attention_can_be_trained_through():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    x = torch.randn(2, 5, 8)
    for attribution, training in itertools.product((Saliency(), InputXGradient()), (True, False)):
        layer.train(training)
        scores = attribution(lambda x: layer(x).mean(1), x, target=1, create_graph=True)
        scores.square().sum().backward()
        assert layer.self_attn.in_proj_weight.grad.abs().sum() > 0


def test_a_trees_baseline_is_matched_by_key():
    def function(s):
        return (2 * s["a"] + s["b"] ** 2).sum(1)

    s = {"a": torch.ones(2, 3), "b": torch.full((2, 3), 2.0)}
    attribution = trimkit.create("attribution", "integrated_gradients")
    scores = attribution(function, s, baseline={"b": torch.ones(2, 3), "a": torch.zeros(2, 3)})
    assert torch.allclose(scores["a"], torch.full((2, 3), 2.0))
    assert torch.allclose(scores["b"], torch.full((2, 3), 3.0))


def test_one_logit_is_a_binary_classifier_to_the_gradient_of_its_loss():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1))
    x = torch.randn(4, 8, requires_grad=True)
    z = model(x)[:, 0]
    logsigmoid = torch.nn.functional.logsigmoid
    expected = torch.autograd.grad((logsigmoid(z) + logsigmoid(-z)).sum(), x)[0]
    flat = torch.nn.Sequential(model, torch.nn.Flatten(0))
    for f in (model, flat):
        assert torch.allclose(trimkit.Trim(f, attribution="gradient_of_loss")(x.detach()).scores, expected, atol=1e-6)
    labels = torch.tensor([0, 1, 1, 0])
    expected = torch.autograd.grad(
        torch.nn.functional.binary_cross_entropy_with_logits(model(x)[:, 0], labels.float(), reduction="sum"), x
    )[0]
    cross_entropy = ("gradient_of_loss", {"loss": "cross_entropy"})
    assert torch.allclose(
        trimkit.Trim(model, attribution=cross_entropy)(x.detach(), labels).scores, expected, atol=1e-6
    )


def test_an_occlusion_window_that_juts_out_is_cut_at_the_edge():
    weights = torch.tensor([1.0, 2.0, 3.0])
    occlusion = trimkit.create("attribution", "occlusion", window=2, stride=2)
    scores = occlusion(lambda s: s @ weights, torch.ones(1, 3))
    assert torch.allclose(scores, torch.tensor([[1.5, 1.5, 3.0]]))

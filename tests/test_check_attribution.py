"""The numeric check must pass what is right and find each known way of being silently wrong."""

import math
import threading

import captum.attr
import pytest
import torch
from torch import nn

from trimkit.attributions import InputXGradient, check_attribution
from trimkit.attributions.base import Attribution
from trimkit.attributions.check import _Comparison, _verdict
from trimkit.errors import AttributionError
from trimkit.registry import available, facts
from trimkit.transforms import FFT


def network(activation):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), activation(), nn.Flatten(), nn.Linear(48, 3))


X = torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([0, 1, 2])
REFERENCES = torch.randn(5, 1, 6, 6, generator=torch.Generator().manual_seed(2))
TRAINABLE = sorted(name for name in available("attributions") if facts("attribution", name)["differentiable"])


@pytest.mark.parametrize("name", TRAINABLE)
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_every_registered_name_that_claims_it_can_be_trained_through(name, activation):
    found = check_attribution(name, network(activation), X, target=Y, baseline=REFERENCES[:1])
    assert found.ok, found.message
    assert found.parameter_error < 1e-5
    assert found.input_error < 1e-5


COMPLEX = [name for name in TRAINABLE if facts("attribution", name)["complex_ok"]]


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_coefficients_pass_too(name):
    model, fft = network(nn.Tanh).double(), FFT()
    found = check_attribution(
        name, lambda s: model(fft.inverse(s, (1, 6, 6))), fft(X), target=Y, baseline=fft(REFERENCES[:1])
    )
    assert found.ok, found.message
    assert found.parameter_error is None


class Captums(Attribution):
    """Captum as it comes: its result requires grad and holds no gradient of the parameters."""

    def attribute(self, probe, s, baseline, generator):
        model = probe.function
        return captum.attr.InputXGradient(model).attribute(s, target=Y)


class Detached(Attribution):
    """Forgets the gradient's own graph."""

    def attribute(self, probe, s, baseline, generator):
        return s * probe.gradient().detach()


class NoGraph(Attribution):
    """Returns plain numbers."""

    def attribute(self, probe, s, baseline, generator):
        return (s * probe.gradient()).detach()


@pytest.mark.parametrize("attribution", [Captums(), Detached()], ids=lambda a: type(a).__name__)
def test_a_graph_that_misses_the_parameters_is_found(attribution):
    scores = attribution(network(nn.Tanh), X, target=Y, create_graph=True)
    assert scores.requires_grad  # the trap: it looks as if it could be trained through
    found = check_attribution(attribution, network(nn.Tanh), X, target=Y)
    assert found.verdict == "wrong gradient"
    assert found.parameter_error > 0.5


def test_scores_without_graph_are_found():
    found = check_attribution(NoGraph(), network(nn.Tanh), X, target=Y)
    assert found.verdict == "no graph"
    assert not found.ok


class SavedIntermediate(torch.autograd.Function):
    """sin, whose backward uses a saved cos that autograd cannot see through."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x.cos())
        return x.sin()

    @staticmethod
    def backward(ctx, gradient):
        (cosine,) = ctx.saved_tensors
        return gradient * cosine


class Sine(nn.Module):
    def forward(self, x):
        return SavedIntermediate.apply(x)


def test_a_custom_function_with_a_saved_intermediate_is_found():
    found = check_attribution("saliency", network(Sine), X, target=Y)
    assert found.verdict == "wrong gradient"
    assert "custom autograd.Function" in found.message


class Distances(nn.Module):
    def __init__(self):
        super().__init__()
        self.centres = nn.Parameter(torch.randn(3, 36))

    def forward(self, x):
        return torch.cdist(x.flatten(1), self.centres)


def test_an_operation_without_second_derivative_is_named_with_its_remedy():
    found = check_attribution("input_x_gradient", Distances(), X, target=Y)
    assert found.verdict == "no graph"
    assert "torch.cdist is not twice differentiable; write it out" in found.message


def test_the_model_keeps_its_bits_its_mode_and_the_global_random_state():
    model = network(nn.Tanh).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    check_attribution("saliency", model, X, target=Y)
    assert torch.equal(torch.rand(3), expected)
    assert model.training
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert all(p.grad is None for p in model.parameters())


def test_an_attribution_that_refuses_is_not_checked():
    class Refusing(Detached):
        differentiable = False

    with pytest.raises(AttributionError, match="Refusing cannot be trained through"):
        check_attribution(Refusing(), network(nn.Tanh), X, target=Y)


def test_names_with_options_are_checked():
    assert check_attribution(("integrated_gradients", {"n_steps": 3}), network(nn.Tanh), X, target=1).ok
    assert check_attribution(InputXGradient(), network(nn.Tanh), X, target=1).ok


class NotANumber(Attribution):
    """Scores as they should be, with a gradient that is NaN along one kind of direction: √0."""

    def __init__(self, of_parameters):
        self.of_parameters = of_parameters

    def attribute(self, probe, s, baseline, generator):
        poisoned = probe.function[3].bias if self.of_parameters else s
        return s * probe.gradient() + (poisoned - poisoned).square().sum().sqrt()


@pytest.mark.parametrize("of_parameters", [True, False])
def test_a_gradient_of_nan_is_wrong(of_parameters):
    found = check_attribution(NotANumber(of_parameters), network(nn.Tanh), X, target=Y)
    assert found.verdict == "wrong gradient"
    assert not found.ok
    assert "NaN" in found.message


@pytest.mark.parametrize(("one", "other"), [(float("nan"), 0.0), (0.0, float("nan")), (0.0, float("inf"))])
def test_no_order_of_errors_hides_one(one, other):
    assert _verdict("it", 1e-3, one, other).verdict == "wrong gradient"


def test_the_median_keeps_nan():
    errors = iter([0.0, 0.0, float("nan")])
    comparison = _Comparison(lambda s, graph: X.sum(), X, [], torch.Generator())
    assert math.isnan(comparison._median(lambda gradient: next(errors), None))


class Casting(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = network(nn.Tanh)

    def forward(self, x):
        return self.inner(x.float())


@pytest.mark.parametrize("make", [lambda model: lambda s: model(s), lambda model: Casting()], ids=["lambda", "cast"])
def test_a_function_that_is_not_float64_says_what_to_pass(make):
    with pytest.raises(AttributionError, match=r"works in float64, and the model does not .*pass the torch.nn.Module"):
        check_attribution("saliency", make(network(nn.Tanh)), X, target=Y)


def test_other_errors_of_the_model_stay_what_they_are():
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        check_attribution("saliency", network(nn.Tanh), X[..., :5], target=Y)


def test_a_model_that_cannot_be_copied_is_refused():
    model = network(nn.Tanh)
    model.lock = threading.Lock()
    with pytest.raises(AttributionError, match=r"Sequential cannot be copied .*build it anew"):
        check_attribution("saliency", model, X, target=Y)

"""Models that are no plain modules, and outputs in classes of their own: explained and penalised as any others are."""

import dataclasses
import warnings

import pytest
import torch
from torch import nn

import trimkit
from trimkit.predictor.rows import map_tensors

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
PATH = ("integrated_gradients", {"n_steps": 4, "chunk": 1, "memory": "graph"})


def linear(*sizes):
    module = nn.Linear(*sizes)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


@dataclasses.dataclass(slots=True)
class Slots:
    """An output without a dictionary of attributes."""

    logits: torch.Tensor
    name: str = "slots"


class GivesSlots(nn.Module):
    """Returns its logits in `Slots`."""

    def __init__(self):
        super().__init__()
        self.last = linear(6, 3)

    def forward(self, x):
        return Slots(self.last(x).tanh())


@dataclasses.dataclass
class Unhashable:
    """A function whose equality is that of its weights, so that it has no hash."""

    weight: torch.Tensor

    def __call__(self, x):
        return (x @ self.weight).tanh()


class Slotted:
    """A function to which no weak reference can be made."""

    __slots__ = ("weight",)

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, x):
        return (x @ self.weight).tanh()


def test_a_dataclass_with_slots_is_mapped():
    doubled = map_tensors(lambda leaf: 2 * leaf, Slots(torch.ones(2), "kept"))
    assert doubled.logits.tolist() == [2.0, 2.0]
    assert doubled.name == "kept"


def test_a_dataclass_itself_stays_as_it_is():
    assert map_tensors(lambda leaf: 2 * leaf, {"kind": Slots}) == {"kind": Slots}


def test_a_penalty_takes_a_model_that_returns_a_dataclass_with_slots():
    model = GivesSlots()
    output, value = trimkit.TrimPenalty("l1", attribution=PATH)(model, X, target=1)
    value.backward()
    plain = nn.Sequential(linear(6, 3), nn.Tanh())
    expected = trimkit.TrimPenalty("l1", attribution=PATH)(plain, X, target=1)[1]
    assert torch.equal(output.logits, model(X).logits)
    assert torch.allclose(value, expected)
    assert model.last.weight.grad is not None


@pytest.mark.parametrize("kind", [Unhashable, Slotted])
def test_a_penalty_takes_functions_that_cannot_be_remembered(kind):
    weight = nn.Parameter(torch.randn(6, 3, generator=torch.Generator().manual_seed(2)))
    penalty = trimkit.TrimPenalty("l1", parameters=[weight])
    values = [penalty(kind(weight), X, target=0)[1] for _ in range(2)]
    expected = penalty(lambda x: (x @ weight).tanh(), X, target=0)[1]
    assert values[0] == values[1] == expected
    assert penalty.last.reached == 1


def scripted(kind, training):
    model = nn.Sequential(linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), linear(5, 3)).train(training)
    model(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return model, torch.jit.script(model) if kind == "script" else torch.jit.trace(model, X)


@pytest.mark.parametrize("kind", ["script", "trace"])
def test_a_torchscript_model_with_buffers_is_explained_as_the_module_it_was_made_from(kind):
    model, script = scripted(kind, training=False)
    assert torch.allclose(trimkit.Trim(script)(X, target=0).scores, trimkit.Trim(model)(X, target=0).scores, atol=1e-6)


def test_a_penalty_of_several_forwards_counts_once_in_the_buffers_of_a_torchscript_model():
    model, script = scripted("script", training=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", trimkit.TrimkitWarning)
        _, value = trimkit.TrimPenalty("l1", attribution=PATH)(script, X, target=0)
    model(X)
    value.backward()
    for (name, ours), (_, theirs) in zip(script.named_buffers(), model.named_buffers(), strict=True):
        assert torch.allclose(ours, theirs), name


class Gated(nn.Module):
    """What a layer gives is multiplied with what lies beside it, and with the input itself."""

    def __init__(self):
        super().__init__()
        self.same, self.gate, self.layer, self.last = nn.Identity(), linear(6, 6), linear(6, 6), linear(6, 3)

    def forward(self, x):
        x = self.same(x)
        return self.last(self.gate(x) * self.layer(x).tanh() * x)


@pytest.mark.parametrize("attribution", ["integrated_gradients", "input_x_gradient", "feature_ablation"])
def test_a_layer_is_explained_under_inference_mode(attribution):
    trim = trimkit.Trim(Gated().eval(), attribution=attribution, at="layer")
    with torch.inference_mode():
        inside = trim(X.clone(), target=0).scores
    assert torch.equal(inside, trim(X, target=0).scores)


@pytest.mark.parametrize("target", [None, "predicted", 1])
def test_the_probabilities_of_all_classes_are_explained_whatever_the_target(target):
    model = nn.Sequential(linear(6, 3), nn.Tanh())
    x = X.clone().requires_grad_()
    (expected,) = torch.autograd.grad(model(x).log_softmax(1).sum(), x)
    result = trimkit.Trim(model, attribution="gradient_of_loss")(X, target=target)
    assert torch.allclose(result.scores, expected, atol=1e-6)


@pytest.mark.parametrize("target", [1, torch.ones(4).long()])
def test_the_cross_entropy_of_one_logit_is_explained_for_the_class_that_it_says(target):
    model = linear(6, 1)
    x = X.clone().requires_grad_()
    (expected,) = torch.autograd.grad(-nn.functional.logsigmoid(model(x)).sum(), x)
    result = trimkit.Trim(model, attribution=("gradient_of_loss", {"loss": "cross_entropy"}))(X, target=target)
    assert torch.allclose(result.scores, expected, atol=1e-6)

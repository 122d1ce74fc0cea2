"""Contextual decomposition against closed forms, a second implementation, and one group at a time."""

import pytest
import torch
from torch import nn

from trimkit import Trim, TrimPenalty, check_attribution
from trimkit.attributions import InputXGradient
from trimkit.attributions.contextual import ContextualDecomposition, decompose
from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups
from trimkit.errors import AttributionError, OptionError
from trimkit.transforms import DCT, FFT, FrequencyBands
from trimkit.transforms.base import Identity

from .coarse import Coarse
from .draws import data

X, Y = data(4, 1, 12, 12), torch.tensor([0, 2, 1, 1])


class Residual(nn.Module):
    """A block with everything that is said to be supported, in place where people do so."""

    def __init__(self, channels):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.second(self.relu(self.norm(self.first(x))))
        out += x
        return torch.cat([self.relu(out), x], dim=1)


def network(seed=0):
    torch.manual_seed(seed)
    made = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.LeakyReLU(), Residual(4), nn.MaxPool2d(2), nn.GroupNorm(2, 8), nn.GELU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(), nn.LayerNorm(32), nn.Linear(32, 8), nn.Tanh()),
        *(nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 3)),
    )
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return made.double().eval()


class Shifted(Identity):
    """An affine inverse, as a mean that is subtracted gives it."""

    def forward(self, x):
        return x - 5

    def inverse(self, s, size=None):
        return s + 5


TRANSFORMS = [Identity(), FFT(), DCT(), FrequencyBands(), Coarse(), Shifted()]
spaces = pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: type(t).__name__)


@spaces
def test_of_a_linear_model_the_relevant_parts_are_input_times_gradient(transform):
    model = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.Flatten(), nn.Linear(200, 3, bias=False)).double()
    found = Trim(model, transform, ContextualDecomposition())(X, Y)
    expected = Trim(model, transform, InputXGradient())(X, Y)
    groups = transform.groups((1, 12, 12))
    assert torch.allclose(groups.sums(found.scores), groups.sums(expected.scores))


def decomposed_by_hand(weights, biases, relevant, irrelevant):
    """Murdoch et al. 2018 for a ReLU network, with both parts carried: independent of trimkit's rules."""
    for weight, bias in zip(weights, biases, strict=True):
        relevant, irrelevant = relevant @ weight.T, irrelevant @ weight.T
        share = relevant.abs() / (relevant.abs() + irrelevant.abs())
        relevant, irrelevant = relevant + share * bias, irrelevant + (1 - share) * bias
        if weight is not weights[-1]:
            relevant, irrelevant = relevant.relu(), (relevant + irrelevant).relu() - relevant.relu()
    return relevant, irrelevant


def test_a_second_implementation_gives_the_same_parts():
    model = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)).double()
    x, mask = data(6, 20), data(20, seed=2) > 0
    found = decompose(model, x, (x * mask)[None])
    layers = [model[0], model[2], model[4]]
    relevant, irrelevant = decomposed_by_hand([m.weight for m in layers], [m.bias for m in layers], x * mask, x * ~mask)
    assert torch.allclose(found.relevant[0], relevant)
    assert torch.allclose(found.irrelevant[0], irrelevant)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parts_sum_to_the_output_of_a_deep_network(dtype):
    model, x = network().to(dtype), X.to(dtype)
    found = decompose(model, x, torch.stack([x * (data(12, 12) > 0), x * 0, x]))
    assert torch.allclose(found.relevant + found.irrelevant, model(x).expand(3, 4, 3), atol=1e-5)


@spaces
@pytest.mark.parametrize("chunk", [1, 4])
def test_all_groups_in_one_batch_are_what_they_are_one_by_one(transform, chunk):
    model = network()
    whole = Trim(model, transform, ContextualDecomposition())(X, Y).scores
    assert torch.allclose(Trim(model, transform, ContextualDecomposition(chunk=chunk))(X, Y).scores, whole)


def test_each_coefficient_of_a_spectrum_can_be_its_own_group():
    model = nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 2)).double()
    x = data(3, 20)
    found = Trim(model, "fft", ContextualDecomposition("coefficients"))(x, target=1)
    assert found.scores.shape == (3, 11)
    alone = torch.zeros_like(found.coefficients)
    alone[:, 4] = found.coefficients[:, 4]
    relevant = torch.fft.irfft(alone, n=20, norm="ortho")
    assert torch.allclose(found.scores[:, 4], decompose(model, x, relevant[None]).relevant[0, :, 1])


def test_a_groups_part_is_shared_equally_among_its_coefficients():
    groups = FFT(bands=3).groups((1, 12, 12))
    scores = Trim(network(), FFT(bands=3), ContextualDecomposition())(X, Y).scores
    assert torch.equal(groups.mask("dc"), groups.labels == 0)
    for index in range(4):
        own = scores[:, groups.labels == index]
        assert torch.allclose(own, own[:, :1].expand_as(own))


def test_own_groups_and_a_baseline_are_taken():
    halves = Groups(("left", "right"), (torch.arange(12) // 6).expand(1, 12, 12), "column")
    model, base = network(), data(1, 1, 12, 12, seed=9)
    found = ContextualDecomposition(halves)(model, X, target=Y, baseline=base)
    left = torch.where(torch.arange(12) < 6, X - base, 0.0)
    relevant = decompose(model, X, left[None]).relevant[0].gather(1, Y[:, None])[:, 0]
    assert torch.allclose(halves.sums(found)[:, 0], relevant.detach())


def test_targets_are_decomposed_with_the_output():
    model = network()
    labels = ContextualDecomposition()(model, X, target=Y)
    assert torch.allclose(
        ContextualDecomposition()(model, X, target=lambda out: out.gather(1, Y[:, None])[:, 0]), labels
    )
    difference = ContextualDecomposition()(model, X, target=lambda out: out[:, 0] - out[:, 1])
    parts = [ContextualDecomposition()(model, X, target=index) for index in (0, 1)]
    assert torch.allclose(difference, parts[0] - parts[1])
    with pytest.raises(AttributionError, match="'log_softmax'"):
        ContextualDecomposition()(model, X, target=lambda out: out.log_softmax(1)[:, 0])


@spaces
def test_scores_in_every_space_can_be_trained_through(transform):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(75, 3)).double()

    def composed(s):
        return model(transform.inverse(s, (1, 12, 12)))

    s = tree.map_leaves(lambda leaf: leaf[:2], transform(X))
    found = check_attribution(ContextualDecomposition(transform.groups((1, 12, 12))), composed, s, target=Y[:2])
    assert found.ok, found.message


def test_a_penalty_trains_the_model_with_it():
    model = network()
    penalty = TrimPenalty("l1", transform="fft", attribution="contextual_decomposition")
    logits, value = penalty(model, X, target=Y)
    value.backward()
    assert torch.allclose(logits, model(X))
    assert model[0].weight.grad.abs().sum() > 0


def test_a_compiled_model_is_followed_as_it_was_written():
    model = network()
    expected = ContextualDecomposition()(model, X[:1], target=1)
    compiled = torch.compile(model, backend="eager")
    compiled(X[:1])
    assert torch.allclose(
        Trim(compiled, "identity", ContextualDecomposition("coefficients"))(X[:1], 1).scores, expected
    )


class WritesIntoAView(nn.Module):
    def forward(self, x):
        x = x * 2
        x.view(len(x), -1).relu_()
        return x.sum((1, 2, 3))


def test_what_does_not_add_up_is_never_returned():
    with pytest.raises(AttributionError, match=r"does not add up: .* write into a view"):
        ContextualDecomposition()(WritesIntoAView(), X)
    with pytest.raises(AttributionError, match="does not add up"):
        ContextualDecomposition()(lambda x: x.sum((1, 2, 3)) * float("nan"), X)


def test_an_output_that_cannot_be_followed_is_refused():
    with pytest.raises(AttributionError, match="lost track"):
        ContextualDecomposition()(lambda x: torch.ones(4), X)


@pytest.mark.parametrize(("options", "says"), [({"chunk": 0}, "chunk ≥ 1"), ({"groups": "bands"}, "expected groups")])
def test_wrong_options_are_refused(options, says):
    with pytest.raises(OptionError, match=says):
        ContextualDecomposition(**options)

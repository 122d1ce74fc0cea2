"""What is explained: one of several inputs or a layer; all else is held, each row with its sample."""

from collections import UserDict

import pytest
import torch
from torch import nn

import trimkit
from trimkit.errors import ModelError, OptionError, ShapeError

torch.manual_seed(0)
A, B = torch.randn(4, 6, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
IDS = torch.randint(0, 10, (4, 5))
MASK = torch.ones(4, 5, dtype=torch.long)
MASK[0, 3:] = 0
LOSSY = torch.randn(3, 30, dtype=torch.float64)
"""Three patterns for a layer of 30 units: most of the layer is their residual."""


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 3).double(), nn.Linear(5, 3).double()

    def forward(self, left, right):
        return (self.a(left) * self.b(right)).tanh()


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(10, 4), nn.LSTM(4, 6, batch_first=True)
        self.mix, self.head = nn.Linear(6, 6), nn.Linear(6, 3)
        self.double()

    def forward(self, ids, mask):
        h = self.mix(self.lstm(self.embedding(ids))[0]).tanh()
        return self.head((h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


@pytest.fixture
def two():
    torch.manual_seed(0)
    return Two()


@pytest.fixture
def tokens():
    torch.manual_seed(0)
    return Tokens()


@pytest.mark.parametrize(
    ("x", "at"),
    [((A, B), 0), ((A, B), -2), ({"left": A, "right": B}, "left"), (UserDict(right=B, left=A), "left")],
)
@pytest.mark.parametrize("attribution", ["integrated_gradients", "feature_ablation", "captum:IntegratedGradients"])
def test_the_other_inputs_are_held_row_by_row(two, x, at, attribution):
    alone = [trimkit.Trim(lambda z, i=i: two(z, B[i : i + 1].expand(len(z), -1)), "dct", attribution) for i in range(4)]
    wanted = torch.cat([t(A[i : i + 1], 1).scores for i, t in enumerate(alone)])
    result = trimkit.Trim(two, "dct", attribution, at=at)(x, 1)
    torch.testing.assert_close(result.scores, wanted)
    torch.testing.assert_close(result.output, two(A, B))


@pytest.mark.parametrize(
    ("attribution", "options"),
    [
        ("integrated_gradients", {}),
        ("captum:DeepLift", {}),
        ("captum:FeatureAblation", {}),
        ("captum:DeepLiftShap", {"baseline": torch.zeros(2, 4, dtype=torch.float64)}),
        (("captum:GradientShap", {"stdevs": 0.0}), {"baseline": torch.zeros(2, 4, dtype=torch.float64)}),
        (("captum:NoiseTunnel", {"stdevs": 1e-9, "method": "InputXGradient"}), {}),
    ],
)
def test_interleaving_methods_give_each_row_the_condition_of_its_sample(attribution, options):
    x, condition = torch.randn(3, 4, dtype=torch.float64), torch.rand(3, 4, dtype=torch.float64)

    class Conditioned(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.randn(4, dtype=torch.float64))

        def forward(self, z, condition):
            return (z * condition * self.w).sum(1)

    model = Conditioned()
    scores = trimkit.Trim(model, "identity", attribution, at=0)((x, condition), **options).scores
    torch.testing.assert_close(scores, (x * condition * model.w).detach(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("at", ["embedding", "lstm[0]", "mix"])
@pytest.mark.parametrize("transform", ["identity", "dct"])
def test_a_layer_is_explained_as_the_rest_of_the_model_would_be(tokens, at, transform):
    result = trimkit.Trim(tokens, transform, at=at)({"ids": IDS, "mask": MASK}, 2)
    assert result.gap.abs().max() < 1e-6
    torch.testing.assert_close(result.output, tokens(IDS, MASK))
    module = tokens.get_submodule(at.split("[")[0])
    if "[" not in at:
        again = trimkit.Trim(tokens, transform, at=module)((IDS, MASK), 2)
        assert torch.equal(again.scores, result.scores)
    assert not module._forward_hooks


def test_scores_at_a_layer_are_those_of_the_truncated_model(tokens):
    def rest(h):
        mask = MASK.repeat(len(h) // 4, 1)
        return tokens.head((h.tanh() * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))

    h = tokens.mix(tokens.lstm(tokens.embedding(IDS))[0]).detach()
    wanted = trimkit.Trim(rest, "identity")(h, 1).scores
    torch.testing.assert_close(trimkit.Trim(tokens, at="mix")((IDS, MASK), 1).scores, wanted)


class TestPenaltyAtALayer:
    @pytest.mark.parametrize(
        "transform", ["identity", "dct", ("frequency_bands", {"bands": 2}), ("dictionary", {"matrix": LOSSY})]
    )
    @pytest.mark.parametrize("attribution", ["input_x_gradient", ("integrated_gradients", {"n_steps": 4})])
    def test_the_task_has_the_plain_models_output_and_gradients(self, tokens, transform, attribution):
        y = torch.tensor([0, 1, 2, 0])
        plain = tokens(IDS, MASK)
        wanted = torch.autograd.grad(nn.functional.cross_entropy(plain, y), list(tokens.parameters()))
        penalty = trimkit.TrimPenalty("l1", transform=transform, attribution=attribution, at="mix")
        output, value = penalty(tokens, (IDS, MASK), y)
        assert torch.equal(output, plain)
        loss = nn.functional.cross_entropy(output, y)
        torch.testing.assert_close(torch.autograd.grad(loss, list(tokens.parameters()), retain_graph=True), wanted)
        assert value.requires_grad

    def test_one_forward(self, tokens):
        calls = []
        tokens.register_forward_hook(lambda *_: calls.append(1))
        trimkit.TrimPenalty("l1", transform="dct", at="mix")(tokens, (IDS, MASK), 1)
        assert len(calls) == 1

    @pytest.mark.parametrize("at", ["embedding", "mix"])
    @pytest.mark.parametrize("attribution", ["input_x_gradient", ("integrated_gradients", {"n_steps": 3, "chunk": 1})])
    def test_its_gradient_for_all_parameters_is_that_of_finite_differences(self, tokens, at, attribution):
        def square(scores):
            return scores.flatten(1).square().sum(1)

        penalty = trimkit.TrimPenalty(square, transform="dct", attribution=attribution, at=at)
        weights = list(tokens.parameters())
        gradients = torch.autograd.grad(penalty(tokens, (IDS, MASK), 1)[1], weights, allow_unused=True)
        step = 1e-6
        for weight, gradient in zip(weights, gradients, strict=True):
            direction = torch.randn_like(weight)
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    saved = weight.clone()
                    weight.add_(sign * step * direction)
                values.append(float(penalty(tokens, (IDS, MASK), 1)[1].detach()))
                with torch.no_grad():
                    weight.copy_(saved)
            expected = (values[0] - values[1]) / (2 * step)
            got = 0.0 if gradient is None else float((gradient * direction).sum())
            assert got == pytest.approx(expected, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize(
    ("x", "at", "kind", "says"),
    [
        ((IDS, MASK), None, OptionError, "name what is explained"),
        ((IDS, MASK), 0, ShapeError, "explain token ids at their embedding: at='embedding'"),
        ((IDS, MASK), 2, OptionError, "no position"),
        ((IDS, MASK), "embeding", OptionError, "Did you mean 'embedding'"),
        ((IDS, MASK), ["embedding", "mix"], OptionError, "one at a time"),
        ((IDS, MASK[:3]), "mix", ShapeError, "expected 4 rows, one a sample"),
        ((IDS, MASK), "lstm", ShapeError, r"at='lstm\[0\]'"),
        ((IDS, MASK), nn.Linear(2, 2), OptionError, "no part of the model"),
    ],
)
def test_what_cannot_be_explained_says_the_way_out(tokens, x, at, kind, says):
    with pytest.raises(kind, match=says):
        trimkit.Trim(tokens, at=at)(x, 0)


def test_a_layer_that_runs_twice_and_a_function_without_layers_are_refused():
    layer = nn.Linear(6, 6).double()

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(self.layer(x))

    with pytest.raises(ModelError, match="ran 2 times"):
        trimkit.Trim(Twice(), at="layer")(A, 0)
    assert not layer._forward_hooks
    with pytest.raises(ModelError, match="pass the module itself"):
        trimkit.Trim(lambda x: layer(x), at="layer")(A, 0)

"""Models as people write them: they write in place, draw numbers, keep state, or are made in another way."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import dropout
from torch.utils.checkpoint import checkpoint

import trimkit
from trimkit.errors import ModelError, ShapeError, TrimkitWarning

ATTRIBUTIONS = ("integrated_gradients", "input_x_gradient", "saliency", "captum:IntegratedGradients")


class WritesToInput(nn.Module):
    """Changes its own input before it uses it."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        x.mul_(2)
        x += 0.5
        return self.last(x)


class WritesToLayer(nn.Module):
    """Changes a layer's output in place."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = self.first(x)
        h += 1
        return self.last(h.tanh_())


@pytest.fixture
def x():
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def scores(model, x, attribution, **options):
    return trimkit.Trim(model, "identity", attribution, **options)(x, 1).scores


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_a_model_may_write_to_its_input(x, attribution):
    model, given = WritesToInput().double().eval(), x.clone()
    plain = lambda x: model.last(2 * x + 0.5)  # noqa: E731
    torch.testing.assert_close(scores(model, given, attribution), scores(plain, x, attribution))
    assert torch.equal(given, x)


@pytest.mark.parametrize("attribution", ATTRIBUTIONS[:3])
def test_a_bare_function_may_write_to_its_input(x, attribution):
    explain = trimkit.create("attribution", attribution)
    given = x.clone()
    got = explain(lambda x: x.mul_(2).square().sum(1), given)
    torch.testing.assert_close(got, explain(lambda x: (2 * x).square().sum(1), x))
    assert torch.equal(given, x)


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_a_model_may_write_to_the_layer_that_is_explained(x, attribution):
    model = WritesToLayer().double().eval()
    h = model.first(x).detach()
    result = trimkit.Trim(model, "identity", attribution, at="first")(x, 1)
    torch.testing.assert_close(result.coefficients, h)
    torch.testing.assert_close(result.scores, scores(lambda h: model.last((h + 1).tanh()), h, attribution))


def test_a_layer_may_run_under_no_grad(x):
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(8, 6), nn.Linear(6, 3)

        def forward(self, x):
            with torch.no_grad():
                h = self.first(x)
            return self.last(h)

    model = Frozen().double().eval()
    expected = model.first(x) * model.last.weight[1]
    torch.testing.assert_close(scores(model, x, "input_x_gradient", at="first"), expected.detach())


def test_functional_dropout_that_never_ends_is_told(x):
    last = nn.Linear(8, 3).double()
    with pytest.warns(TrimkitWarning, match="it draws random numbers"):
        trimkit.Trim(Function(lambda x: last(dropout(x))).eval(), "identity", "input_x_gradient")(x, 1)


def test_a_model_that_keeps_something_is_told_and_its_buffers_are_put_back(x):
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return x * self.calls

    model = Counts().eval()
    with pytest.warns(TrimkitWarning, match="keeps something from call to call"):
        trimkit.Trim(model, "identity", "input_x_gradient")(x, 1)
    assert float(model.calls) == 0


def test_draws_of_a_model_in_eval_mode_leave_the_global_state(x):
    torch.manual_seed(1)  # one seed in twenty draws the same five masks twice
    before = torch.get_rng_state()
    with pytest.warns(TrimkitWarning):
        trimkit.Trim(Function(dropout).eval(), "identity", "saliency")(x, 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_steady_model_is_measured_once(x):
    calls = []
    model = Function(lambda x: calls.append(1) or x.tanh()).eval()
    trim = trimkit.Trim(model, "identity", "input_x_gradient")
    trim(x, 1)
    first = len(calls)
    trim(x, 1)
    assert (first, len(calls)) == (3, 4)  # once more to be the same again, once with other rows beside


class Function(nn.Module):
    """A module of a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_reentrant_checkpoints_are_refused_by_name(x):
    inner = nn.Linear(8, 3).double()
    model = Function(lambda x: checkpoint(inner, x, use_reentrant=True))
    with pytest.raises(ModelError, match="use_reentrant=False"):
        trimkit.TrimPenalty("l1", parameters=inner.parameters())(model, x, 1)


def test_a_model_that_sets_requires_grad_inside_is_refused_and_the_way_out_works(x):
    class Extractor(nn.Module):
        def forward(self, x):
            x = x[:, None]
            if self.training:
                x.requires_grad = True
            return x.flatten(1)

    model = nn.Sequential(Extractor(), nn.Linear(8, 3)).double()
    penalty = trimkit.TrimPenalty("l1")
    with pytest.raises(ModelError, match="eval mode"):
        penalty(model, x, 1)
    model[0].eval()
    assert penalty(model, x, 1)[1].item() > 0


def test_weights_made_under_inference_mode_are_refused_and_the_way_out_works(x):
    with torch.inference_mode():
        model = nn.Linear(8, 3).double()
    with pytest.raises(ModelError, match=r"p\.data\.clone"):
        scores(model, x, "input_x_gradient")
    cloned = nn.Linear(8, 3).double()
    for own, made in zip(cloned.parameters(), model.parameters(), strict=True):
        own.data = made.data.clone()
    torch.testing.assert_close(scores(cloned, x, "input_x_gradient"), x * cloned.weight[1].detach())


def test_a_model_without_values_is_refused(x):
    with torch.device("meta"):
        model = nn.Linear(8, 3)
    with pytest.raises(ModelError, match="meta device"):
        scores(model, x, "input_x_gradient")


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_data_of_another_number_type_are_refused_by_name(x, kind):
    model = nn.Conv1d(1, 2, 3).to(kind)
    other = torch.float64 if kind == torch.float32 else torch.float32
    with pytest.raises(ModelError, match=rf"pass x\.to\({kind}\)"):
        scores(lambda_head(model), x[:, None].to(other), "input_x_gradient")


def lambda_head(model):
    return nn.Sequential(model, nn.Flatten())


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_layer_of_torchscript_is_refused(x):
    model = torch.jit.trace(nn.Sequential(nn.Linear(8, 3)).double(), x)
    with pytest.raises(ModelError, match="TorchScript"):
        scores(model, x, "input_x_gradient", at="0")


def test_a_layer_behind_a_wrapper_has_both_names(x):
    model = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)).double().eval()
    wrapped = nn.DataParallel(copy.deepcopy(model))
    expected = scores(model, x, "integrated_gradients", at="0")
    for path in ("0", "module.0"):
        torch.testing.assert_close(scores(wrapped, x, "integrated_gradients", at=path), expected)


def test_a_list_of_inputs_is_told_the_way_out(x):
    with pytest.raises(ShapeError, match="as a tuple or mapping"):
        trimkit.Trim(lambda a, b: a + b)([x, x], 1)
    assert trimkit.Trim(lambda a, b: a + b, at=0)((x, x), 1).scores.shape == x.shape


class Named(dict):
    """An output with parts, as Hugging Face's are."""

    __getattr__ = dict.__getitem__


@pytest.mark.parametrize("target", [1, "predicted", torch.tensor([0, 1, 2, 0, 1])])
@pytest.mark.parametrize("kind", [dict, Named])
def test_the_logits_of_an_output_with_parts_are_explained(x, target, kind):
    last = nn.Linear(8, 3).double()
    model = Function(lambda x: kind(loss=x.sum(), logits=last(x))).eval()
    one, other = (trimkit.Trim(f, "identity", "integrated_gradients")(x, target) for f in (model, last))
    torch.testing.assert_close(one.scores, other.scores)
    torch.testing.assert_close(
        trimkit.PredictionLoss(model)(x + 1, x), trimkit.PredictionLoss(last)(x + 1, x), check_dtype=False
    )

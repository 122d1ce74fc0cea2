"""An explanation leaves model, random states and accelerators as they were, and tokens of padding without a score."""

import copy
import gc

import pytest
import torch
from torch import nn

import trimkit
from trimkit.predictor import PredictionLoss
from trimkit.predictor.kernels import math_in_backward
from trimkit.predictor.rows import keyed_draws

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


class Counting(nn.Module):
    """Counts its calls and draws a number in each, also in eval mode."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        torch.rand(())
        return self.last(x)


def test_a_model_that_counts_and_draws_in_eval_mode_is_as_before_each_time():
    model = Counting().eval()
    trim = trimkit.Trim(model)
    for _ in range(3):
        state = torch.get_rng_state()
        trim(X, target=0)
        assert torch.equal(torch.get_rng_state(), state)
        assert float(model.calls) == 0


@pytest.mark.filterwarnings("ignore:the model has batch normalisation in train mode")
def test_running_statistics_stay_when_a_model_is_put_into_train_mode_after_its_first_explanation():
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    trim = trimkit.Trim(model.eval(), attribution="input_x_gradient")
    trim(X, target=0)
    before = copy.deepcopy(dict(model.train().named_buffers()))
    trim(X, target=0)
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name]), name


class Tokens(nn.Module):
    """The sum over tokens, padding too."""

    def forward(self, x, attention_mask):
        return x.exp().sum((1, 2))


def padded():
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1))
    return {"x": x, "attention_mask": torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])}


def test_tokens_of_padding_score_nothing():
    inputs = padded()
    scores = trimkit.Trim(Tokens(), attribution="saliency", at="x")(inputs).scores
    assert torch.equal(scores, inputs["x"].exp() * inputs["attention_mask"][:, :, None])


def test_coefficients_of_tokens_are_no_tokens_and_keep_their_scores():
    inputs = padded()
    trim = trimkit.Trim(Tokens(), ("dct", {"dims": 2}), ("saliency", {"absolute": False}), at="x")
    dct = trim.transform(inputs["x"].exp())  # orthonormal: the gradient of coefficients is the transform of the data's
    assert torch.allclose(trim(inputs).scores, dct, atol=1e-5)


def test_a_backward_pass_that_fails_leaves_the_kernels_of_attention_as_before():
    def fail(gradient):
        raise KeyError

    x = torch.zeros(2, requires_grad=True)
    x.register_hook(fail)
    enabled = [torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.mem_efficient_sdp_enabled]
    before = [get() for get in enabled]
    with pytest.raises(KeyError):
        math_in_backward(2 * x).sum().backward()
    gc.collect()
    assert [get() for get in enabled] == before
    seen = []
    x = torch.zeros(2, requires_grad=True)
    x.register_hook(lambda gradient: seen.append([get() for get in enabled]))
    math_in_backward(2 * x).sum().backward()
    assert seen == [[False, False]]
    assert [get() for get in enabled] == before


def test_accelerators_that_nobody_uses_are_not_set_up(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    state = torch.get_rng_state()
    with keyed_draws():
        first = torch.rand(2)
    with keyed_draws():
        assert torch.equal(torch.rand(2), first)
    assert torch.equal(torch.get_rng_state(), state)
    trimkit.Trim(nn.Linear(6, 3).eval(), attribution="captum:Saliency")(X, target=0)


def test_a_prediction_loss_keeps_no_batch():
    class Two(nn.Module):
        def forward(self, a, b):
            return a * b

    loss = PredictionLoss(Two(), match="mse", at="a")
    held = {"b": (2 * X.clone().requires_grad_())}
    expected = (held["b"] * 0.5).square().mean(1)
    assert torch.allclose(loss.per_sample(X + 0.5, X, held), expected)
    assert not any(value is held for value in vars(loss).values())
    copy.deepcopy(loss)

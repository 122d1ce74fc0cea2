"""The prediction loss around predictors of every task, as strangers write them."""

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, kl_divergence
from torch.nn import functional as F

from trimkit.errors import ModelError, ShapeError, TrimkitWarning
from trimkit.predictor import PredictionLoss

SEED = torch.Generator().manual_seed(0)
X = torch.randn(4, 6, generator=SEED, dtype=torch.float64)
PICTURES = torch.randn(4, 2, 5, 5, generator=SEED, dtype=torch.float64)


@pytest.mark.parametrize("outputs", [1, 3])
def test_bernoulli_is_the_divergence_summed_over_outputs(outputs):
    f = nn.Linear(6, outputs).double()
    expected = kl_divergence(Bernoulli(logits=f(X)), Bernoulli(logits=f(X + 1))).sum(1)
    torch.testing.assert_close(PredictionLoss(f, "bernoulli").per_sample(X + 1, X), expected)


def test_kl_of_a_map_is_the_mean_over_its_pixels():
    f = nn.Conv2d(2, 3, 3).double()
    p, q = (F.log_softmax(f(x), 1) for x in (PICTURES, PICTURES + 1))
    expected = (p.exp() * (p - q)).sum(1).mean((1, 2))
    torch.testing.assert_close(PredictionLoss(f).per_sample(PICTURES + 1, PICTURES), expected)


def test_kl_of_tokens_asks_for_the_axis_of_classes():
    f, x = nn.Linear(5, 3).double(), PICTURES[:, 0]
    with pytest.raises(ShapeError, match="class_axis=-1"):
        PredictionLoss(f)(x + 1, x)
    p, q = (F.log_softmax(f(x), -1) for x in (x, x + 1))
    got = PredictionLoss(f, class_axis=-1).per_sample(x + 1, x)
    torch.testing.assert_close(got, (p.exp() * (p - q)).sum(-1).mean(1))


def test_labels_of_pixels_are_those_of_cross_entropy():
    f = nn.Conv2d(2, 3, 3, padding=1).double()
    y = torch.randint(0, 3, (4, 5, 5), generator=SEED)
    y[0, :2] = -100
    expected = torch.stack([F.cross_entropy(f(x)[None], labels[None]) for x, labels in zip(PICTURES, y, strict=True)])
    torch.testing.assert_close(PredictionLoss(f, "label").per_sample(PICTURES, y), expected)


def test_labels_of_tokens_say_which_axis_holds_the_classes():
    f, y = nn.Linear(5, 3).double(), torch.randint(0, 3, (4, 5), generator=SEED)
    expected = F.cross_entropy(f(PICTURES[:, 0]).transpose(1, 2), y, reduction="none").mean(1)
    torch.testing.assert_close(PredictionLoss(f, "label").per_sample(PICTURES[:, 0], y), expected)


def test_labels_that_fit_two_axes_are_refused():
    f, y = nn.Linear(5, 5).double(), torch.zeros(4, 5, dtype=torch.long)
    with pytest.raises(ShapeError, match="one label for each pixel"):
        PredictionLoss(f, "label")(PICTURES[:, 0], y)
    assert PredictionLoss(f, "label", class_axis=-1)(PICTURES[:, 0], y).isfinite()


def test_the_label_of_no_class_is_refused_where_there_are_pixels():
    with pytest.raises(ShapeError, match="mark what has no label by −100"):
        PredictionLoss(nn.Conv2d(2, 3, 3, padding=1).double(), "label")(PICTURES, torch.full((4, 5, 5), 7))


class Doubles(nn.Module):
    """Writes to its input."""

    def forward(self, x):
        return x.mul_(2)[:, :3]


def test_a_predictor_may_write_to_its_input():
    x_hat = (X + 1).requires_grad_()
    held = x_hat * 1
    PredictionLoss(Doubles(), "mse")(held, X).backward()
    assert torch.equal(held, X + 1)
    torch.testing.assert_close(x_hat.grad[:, :3], torch.full((4, 3), 8 / 12, dtype=X.dtype))


class Drops(nn.Module):
    """Dropout that never ends."""

    def forward(self, x):
        return F.dropout(x)


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_a_predictor_that_draws_numbers_is_told_once(seed):
    torch.default_generator.manual_seed(seed)
    loss = PredictionLoss(Drops(), "mse")
    with pytest.warns(TrimkitWarning, match="it draws random numbers"):
        loss(X, X)
    loss(X, X)


def test_data_of_another_number_type_are_refused():
    with pytest.raises(ModelError, match=r"pass x\.to\(torch\.float32\)"):
        PredictionLoss(nn.Linear(6, 3))(X, X)


def test_inputs_beside_the_reconstruction_go_into_held():
    with pytest.raises(ShapeError, match="held="):
        PredictionLoss(nn.Linear(6, 3).double(), at=0)((X, X), (X, X))
